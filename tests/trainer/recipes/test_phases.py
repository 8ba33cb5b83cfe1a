"""Trainings in phases, as the recipes of the shipped checkpoints have them."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.tiny import tiny_adsm, tiny_batch
from trainer.recipes.phases import Phase, train


class Maker:
    """Batches of noise; remembers the sizes it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    def make(self, face_size, voice_seconds):
        self.asked.append((face_size, voice_seconds))
        return tiny_batch(seed=len(self.asked))


def fit(phases, scores, **changes):
    """The network, and everything that could be seen of its training, at every step."""
    network, maker, seen, states = tiny_adsm(**changes), Maker(), [], []
    left = iter(scores)

    def validate(phase):
        states.append({k: v.clone() for k, v in network.state_dict().items()})
        return {"score": next(left)}

    def watch(step, terms, found):
        seen.append((step, set(terms), found["score"]))

    train(network, phases, maker, validate, watch, every=1)
    return network, maker, seen, states


def phase(steps, **changes):
    return Phase(steps, **{"face_size": 32, "voice_seconds": 0.5, "peak_rate": 1e-3} | changes)


def test_each_phase_has_its_sizes_and_its_terms():
    phases = [
        phase(2, face_size=16, terms=("attribute", "identity")),
        phase(3, centred=True, voice_seconds=1.0),
    ]
    _, maker, seen, _ = fit(phases, range(5), turns=3, identity_weight=0.5, attribute_weight=1.0)
    assert maker.asked == [(16, 0.5)] * 2 + [(32, 1.0)] * 3
    some, every = {"attribute", "identity"}, {"adversary", "centres", "identity", "attribute"}
    wanted = [(1, some), (2, some), (3, {"critic"}), (4, every), (5, every)]
    assert [(step, terms) for step, terms, _ in seen] == wanted


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0, 0, 1, 2, 3], 4), ([0, 9, 1, 3, 2], 3), ([0, 0, 1, 1, 1], 2)],
)
def test_the_best_state_of_the_last_phase_is_left(scores, best):
    network, _, _, states = fit([phase(2), phase(3)], scores, turns=100)
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in states[best].items())
    assert not torch.equal(states[3]["face_net.0.0.weight"], states[4]["face_net.0.0.weight"])


def test_a_phase_goes_on_from_the_last_state_and_not_from_the_best():
    _, _, _, states = fit([phase(2), phase(1, peak_rate=0.0)], [5, 1, 0], turns=100)
    name = "face_net.0.0.weight"
    assert torch.equal(states[2][name], states[1][name])
    assert not torch.equal(states[1][name], states[0][name])
