"""Training in phases, as the recipes of the shipped checkpoints use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.sides import numbered_side
from tests.helpers.tiny import tiny_adsm, tiny_batch
from trainer.data.dataset import BatchMaker, DataSet, Side
from trainer.data.sources import FaceSource, VoiceSource, with_input_sizes
from trainer.recipes.phases import Phase, thin, train


class Noise:
    """Batches of noise."""

    def __init__(self) -> None:
        self.planned = 0

    def plan(self):
        self.planned += 1
        return self.planned

    def fill(self, plan):
        return tiny_batch(seed=plan)

    def state(self):
        return {}


def fit(phases, scores, **changes):
    """The network, and everything that could be seen of its training, at every step."""
    network, noise, phased, seen, states = tiny_adsm(**changes), Noise(), [], [], []
    left = iter(scores)

    def batches_of(phase):
        phased.append(phase)
        return noise

    def validate(phase):
        states.append({k: v.clone() for k, v in network.state_dict().items()})
        return {"score": next(left)}

    def on_validation(step, terms, found):
        seen.append((step, set(terms), found["score"]))

    train(network, phases, batches_of, validate, on_validation, every=1)
    return network, phased, seen, states


def phase(steps, **changes):
    return Phase(steps, **{"face_size": 32, "voice_seconds": 0.5, "peak_rate": 1e-3} | changes)


def test_each_phase_has_its_batches_and_its_terms():
    phases = [phase(2, terms=("attribute", "identity")), phase(3, centred=True)]
    _, phased, seen, _ = fit(phases, range(5), turns=3, identity_weight=0.5, attribute_weight=1.0)
    assert phased == phases
    some, every = {"attribute", "identity"}, {"adversary", "centres", "identity", "attribute"}
    wanted = [(1, some), (2, some), (3, {"critic"}), (4, every), (5, every)]
    assert [(step, terms) for step, terms, _ in seen] == wanted


def test_a_phase_trains_on_batches_of_its_own_input_sizes():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(4), 2)
    faces = [rng.integers(0, 256, (36, 36, 3), dtype=np.uint8) for _ in people]
    voices = [rng.integers(-900, 900, 9000).astype(np.int16) for _ in people]
    paths = [f"file{at}" for at in range(8)]
    data = DataSet(
        Side.of_source(FaceSource(faces, paths, 0), people, people),
        Side.of_source(VoiceSource(voices, paths, 0), people, people),
        ("a", "b", "c", "d"),
    )
    network, sizes = tiny_adsm(classes=4), []
    embed = network.encode

    def encode(batch):
        sizes.append((batch.faces.inputs.shape[-1], batch.voices.inputs.shape[-1]))
        return embed(batch)

    network.encode = encode
    train(
        network,
        [phase(2), phase(1, face_size=16, voice_seconds=0.25)],
        lambda each: BatchMaker(
            with_input_sizes(data, each.face_size, each.voice_seconds), 2, 2, rng
        ),
        lambda _: {"score": 0.0},
        lambda *_: None,
        every=1,
    )
    assert sizes == [(32, 8000), (32, 8000), (16, 4000)]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0, 0, 1, 2, 3], 4), ([0, 9, 1, 3, 2], 3), ([0, 0, 1, 1, 1], 2)],
)
def test_the_best_state_of_the_last_phase_is_left(scores, best):
    network, _, _, states = fit([phase(2), phase(3)], scores, turns=100)
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in states[best].items())
    assert not torch.equal(states[3]["face_net.0.0.weight"], states[4]["face_net.0.0.weight"])


def test_a_phase_continues_from_the_last_state_and_not_from_the_best():
    _, _, _, states = fit([phase(2), phase(1, peak_rate=0.0)], [5, 1, 0], turns=100)
    name = "face_net.0.0.weight"
    assert torch.equal(states[2][name], states[1][name])
    assert not torch.equal(states[1][name], states[0][name])


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=9),
    each=st.integers(1, 4),
    people=st.integers(1, 12),
)
def test_thinning_leaves_the_first_items_of_some_people(counts, each, people):
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    side = numbered_side(order.tolist())
    part = thin(side, each, people)
    left = sorted(set(part.people.tolist()))
    assert len(left) == min(people, len(counts))
    for person in left:
        own = np.flatnonzero(order == person)
        assert part.rows[part.people == person].tolist() == own[:each].tolist()
