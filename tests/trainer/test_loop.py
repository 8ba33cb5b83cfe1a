from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from tiny import tiny_adsm, tiny_batch
from torch import Tensor, nn

from trainer.loop import Phase, Progress, train


class Toy(nn.Module):
    """One number a player; writes down what it is asked for."""

    def __init__(self, turns: int = 3) -> None:
        super().__init__()
        self.settings = SimpleNamespace(turns=turns)
        self.generator = nn.Parameter(torch.tensor(1.0))
        self.critic = nn.Parameter(torch.tensor(1.0))
        self.asked: list[str] = []
        self.encoded_with_gradient: list[bool] = []
        self.modes: list[bool] = []

    def encode(self, batch: object) -> tuple[Tensor, Tensor]:
        self.encoded_with_gradient.append(torch.is_grad_enabled())
        self.modes.append(self.training)
        return 2 * self.generator, 3 * self.generator

    def critic_loss(self, encoded: tuple[Tensor, Tensor]) -> Tensor:
        self.asked.append("critic")
        return self.critic * encoded[0]

    def loss_terms(self, encoded: tuple[Tensor, Tensor], batch: object, *, centred: bool):
        self.asked.append("centres" if centred else "triplet")
        return {
            "adversary": self.critic * encoded[0],  # its gradient for the generator: 2 * critic
            "one": encoded[1],  # 3
            "other": 10 * encoded[1],  # 30
        }


class Run:
    """A training of a toy, and everything that could be seen of it."""

    def __init__(self, phases, model=None, scores=(), every=1000, **rates) -> None:
        self.model = model or Toy()
        self.rates: list[tuple[float, float]] = []
        self.moved: list[tuple[bool, bool]] = []  # generator, critic
        self.sizes: list[tuple[int, float]] = []
        self.validated: list[Phase] = []
        self.states: list[dict[str, Tensor]] = []
        self.reports: list[Progress] = []
        self._scores = iter(scores)
        self.optimizers = tuple(
            torch.optim.SGD([player], lr=9.0)
            for player in (self.model.generator, self.model.critic)
        )
        for optimizer in self.optimizers:
            optimizer.register_step_post_hook(self._stepped)
        train(
            self.model,
            self.optimizers,
            phases,
            self._batch,
            self._validate,
            every=every,
            report=self.reports.append,
        )

    def _batch(self, face_size: int, voice_seconds: float) -> None:
        self.sizes.append((face_size, voice_seconds))

    def _stepped(self, optimizer, args, kwargs) -> None:
        self.moved.append((optimizer is self.optimizers[0], optimizer is self.optimizers[1]))
        self.rates.append(tuple(each.param_groups[0]["lr"] for each in self.optimizers))

    def _validate(self, phase: Phase) -> dict[str, float]:
        self.model.eval()
        self.validated.append(phase)
        self.states.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return {"score": next(self._scores, 0.0), "seen": 1.0}

    def is_in_state(self, place: int) -> bool:
        """Whether the model was left as it was at this validation."""
        now = self.model.state_dict()
        return all(torch.equal(now[key], value) for key, value in self.states[place].items())


def phase(steps: int, **changes) -> Phase:
    return Phase(steps, **{"face_size": 8, "voice_seconds": 0.5, "peak_rate": 0.01} | changes)


# Turns.


def test_every_h_th_step_is_the_critics_and_the_others_are_the_generators():
    run = Run([phase(8)], Toy(turns=3))
    assert run.model.asked == ["critic", *["triplet"] * 2] * 2 + ["critic", "triplet"]
    assert run.moved == [(asked != "critic", asked == "critic") for asked in run.model.asked]


def test_turns_go_on_from_phase_to_phase():
    run = Run([phase(2), phase(3)], Toy(turns=3))
    assert run.model.asked == ["critic", "triplet", "triplet", "critic", "triplet"]


def test_a_turn_moves_its_player_by_its_own_gradient_alone():
    run = Run([phase(2, peak_rate=0.01)], Toy(turns=2), every=1, scores=[0, 1])
    first, second = run.states
    # The critic's loss is critic * 2 * generator.
    assert first["critic"].item() == pytest.approx(1 - 0.01 * 2)
    assert first["generator"].item() == 1
    gradient = 2 * first["critic"].item() + 3 + 30
    assert second["generator"].item() == pytest.approx(1 - run.rates[1][0] * gradient)
    assert second["critic"].item() == first["critic"].item()


def test_what_one_player_leaves_as_gradient_of_the_other_is_not_used():
    run = Run([phase(5, peak_rate=1e-6)], Toy(turns=4), every=1, scores=range(5))
    # The generator's three turns leave 2 * generator each in the critic's gradient.
    moved = (run.states[3]["critic"] - run.states[4]["critic"]).item()
    assert moved == pytest.approx(run.rates[4][1] * 2, rel=0.1)


def test_the_critics_turn_encodes_without_gradient():
    run = Run([phase(4)], Toy(turns=2))
    assert run.model.encoded_with_gradient == [False, True, False, True]


def test_every_step_is_in_training_mode_though_validation_turns_it_off():
    run = Run([phase(4)], every=1)
    assert run.model.modes == [True] * 4


# Terms.


def test_only_the_terms_of_the_phase_count_and_without_adversary_the_critic_has_no_turn():
    run = Run([phase(4, terms=("one",))], Toy(turns=2), every=1, scores=range(4))
    assert run.model.asked == ["triplet"] * 4
    assert run.moved == [(True, False)] * 4
    generator = 1.0
    for (rate, _), state, report in zip(run.rates, run.states, run.reports, strict=True):
        assert report.terms == {"one": pytest.approx(3 * generator)}
        generator -= rate * 3
        assert state["generator"].item() == pytest.approx(generator)


def test_all_terms_count_where_none_is_named():
    run = Run([phase(2)], Toy(turns=2), every=1)
    assert run.reports[0].terms == {"critic": pytest.approx(2.0)}
    assert run.reports[1].terms.keys() == {"adversary", "one", "other"}


def test_a_phase_says_whether_it_is_centred():
    run = Run([phase(3), phase(3, centred=True)], Toy(turns=3))
    assert run.model.asked == ["critic", *["triplet"] * 2, "critic", *["centres"] * 2]


# Phases and rates.


def test_each_phase_has_its_sizes_and_its_rates():
    phases = [phase(3, warmup=2), phase(4, face_size=16, voice_seconds=2.0, peak_rate=0.5)]
    run = Run(phases)
    assert run.sizes == [(8, 0.5)] * 3 + [(16, 2.0)] * 4
    wanted = [each.rate(place) for each in phases for place in range(each.steps)]
    assert run.rates == [(rate, rate) for rate in wanted]  # of both players
    assert len(set(wanted)) == 6  # the end of the warm-up and what follows it are both the peak


def test_the_rate_rises_to_its_peak_and_falls_along_a_cosine():
    one = phase(110, peak_rate=0.5, warmup=10)
    rates = [one.rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[10] == 0.5
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    for step in range(100):
        cosine = (1 + math.cos(math.pi * step / 100)) / 2
        assert rates[10 + step] == pytest.approx(0.5 * (0.02 + 0.98 * cosine))
    assert rates[-1] > 0.02 * 0.5


def test_without_warm_up_the_rate_begins_at_its_peak():
    assert phase(5, peak_rate=0.5).rate(0) == 0.5


def test_a_phase_that_only_warms_up():
    assert [phase(2, peak_rate=0.5, warmup=2).rate(step) for step in (0, 1)] == [0.25, 0.5]


# Validation.


def test_validation_is_every_so_many_steps_and_at_the_end_of_each_phase():
    phases = [phase(5), phase(4)]
    run = Run(phases, every=2)
    assert [report.step for report in run.reports] == [2, 4, 5, 6, 8, 9]
    assert run.validated == [phases[0]] * 3 + [phases[1]] * 3
    assert all(report.scores == {"score": 0.0, "seen": 1.0} for report in run.reports)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0, 0, 1, 2, 3], 4),
        ([0, 0, 3, 2, 1], 2),
        ([0, 0, 1, 3, 2], 3),
        ([0, 9, 1, 3, 2], 3),  # the scores of two phases are not compared
        ([0, 9, -3, -2, -5], 3),
        ([0, 0, 1, 1, 1], 2),  # of equals the first
    ],
)
def test_the_best_state_of_the_last_phase_is_left(scores, best):
    run = Run([phase(2), phase(3)], every=1, scores=scores)
    states = [tuple(value.item() for value in state.values()) for state in run.states]
    assert len(set(states)) == 5
    assert run.is_in_state(best)


def test_a_phase_goes_on_from_the_last_state_and_not_from_the_best():
    run = Run([phase(3), phase(1)], Toy(turns=100), every=1, scores=[0, 5, 1, 0])
    # The toy's generator only falls; from the best state it would fall to where it was.
    falling = [state["generator"].item() for state in run.states[:3]]
    assert falling[1] > falling[2] > run.states[3]["generator"].item()
    assert run.is_in_state(3)


# A model of a paper.


def fit(seed: int = 0, steps: int = 6, **changes):
    """A few steps of the tiny ADSM; the network and what each step moved, by optimizer."""
    network = tiny_adsm(turns=3, identity_weight=0.5, attribute_weight=1.0, **changes)
    seeds = iter(range(1000 * seed, 1000 * seed + steps))
    moved, before = [], dict.fromkeys(("generator", "critic"))

    def players() -> dict[str, Tensor]:
        parts = {
            "generator": network.generator_parameters(),
            "critic": network.classifier.parameters(),
        }
        return {
            name: torch.cat([p.detach().flatten() for p in part]) for name, part in parts.items()
        }

    def validate(one: Phase) -> dict[str, float]:
        nonlocal before
        now = players()
        moved.append({name: not torch.equal(now[name], before[name]) for name in now})
        before = now
        return {"score": len(moved)}

    before = players()
    train(
        network,
        network.optimizers(),
        [phase(steps // 2), phase(steps - steps // 2, centred=True)],
        lambda size, seconds: tiny_batch(seed=next(seeds)),
        validate,
        every=1,
        report=lambda progress: None,
    )
    return network, moved


def test_of_adsm_each_player_moves_in_its_own_turn_alone():
    _, moved = fit()
    critic, generator = (
        {"generator": False, "critic": True},
        {"generator": True, "critic": False},
    )
    assert moved == [critic, generator, generator] * 2


def test_a_training_is_decided_by_its_seeds():
    one, again, other = (fit(seed)[0].state_dict() for seed in (0, 0, 1))
    for key, value in one.items():
        torch.testing.assert_close(again[key], value, rtol=0, atol=0)
    assert not torch.equal(one["face_net.0.0.weight"], other["face_net.0.0.weight"])


def test_the_critic_learns_to_tell_modalities_where_the_generator_does_not_resist():
    network, batch = tiny_adsm(turns=1), tiny_batch()  # every turn is the critic's

    def loss() -> float:
        with torch.no_grad():
            return network.critic_loss(network.train().encode(batch)).item()

    before = loss()
    train(
        network,
        network.optimizers(),
        [phase(60, peak_rate=0.3)],
        lambda size, seconds: batch,
        lambda one: {"score": 0.0},
        every=1000,
        report=lambda progress: None,
    )
    assert before == pytest.approx(2 * math.log(2), abs=0.3)
    assert loss() < before / 4


def test_the_triplet_falls_on_a_batch_that_is_seen_again_and_again():
    network, batch = tiny_adsm(), tiny_batch()
    terms: list[float] = []
    train(
        network,
        network.optimizers(),
        [phase(40, peak_rate=0.1, terms=("triplet",))],
        lambda size, seconds: batch,
        lambda one: {"score": 0.0},
        every=1,
        report=lambda progress: terms.append(progress.terms["triplet"]),
    )
    assert min(terms[-5:]) < terms[0] / 2
