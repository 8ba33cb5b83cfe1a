from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from avsearch.models.layers.trainable import Optimizers, Schedule, Stage
from tests.helpers.tiny import tiny_adsm, tiny_batch
from tests.helpers.toys import Toy, ToyBatches, toy_batch
from trainer.training.loop import (
    NotFinite,
    PlateauDetector,
    Progress,
    TrainConfig,
    Trainer,
    fit,
    to_float32,
)
from trainer.training.prefetch import BatchPrefetcher

IN_TURNS = Schedule(epochs=1, batch=1, discriminator_every=3, discriminator_alone=True)
TOGETHER = Schedule(epochs=1, batch=1, discriminator_every=2)


class Run:
    """A training of a toy, and everything that could be seen of it."""

    def __init__(self, schedule=IN_TURNS, steps=8, batches=None, scores=(), every=1000, **course):
        self.model = Toy(schedule)
        self.trainer = Trainer(self.model, TrainConfig(steps, every, **course))
        self.seen: list[Progress] = []
        self.places: list[tuple[float, float]] = [(1.0, 1.0)]
        self.validated_at: list[tuple[int, float, bool]] = []
        self._scores = iter(scores)
        with BatchPrefetcher(batches or ToyBatches()) as ahead:
            fit(self.trainer, ahead, self.validate, self)

    def validate(self):
        self.model.eval()
        return {"score": next(self._scores, 0.0)}

    def on_step(self, progress):
        self.seen.append(progress)
        self.places.append((self.model.generator.item(), self.model.discriminator.item()))

    def on_validation(self, step, scores, *, best):
        self.validated_at.append((step, scores["score"], best))


# Turns.


def test_every_h_th_step_is_the_critics_alone_where_the_paper_says_so():
    run = Run(IN_TURNS)
    assert run.model.asked == ["critic", *["generator"] * 2] * 2 + ["critic", "generator"]
    moved = [
        (before[0] != after[0], before[1] != after[1])
        for before, after in zip(run.places, run.places[1:], strict=False)
    ]
    assert moved == [(asked == "generator", asked == "critic") for asked in run.model.asked]


def test_the_critic_learns_beside_the_generator_where_it_has_no_turn_of_its_own():
    run = Run(TOGETHER, steps=4)
    assert run.model.asked == ["generator", "critic", "generator"] * 2
    assert [set(seen.terms) for seen in run.seen] == [
        {"adversary", "one", "other", "critic"},
        {"adversary", "one", "other"},
    ] * 2


def test_a_batch_is_encoded_once_a_step_and_without_gradient_in_the_critics_own():
    assert Run(IN_TURNS, steps=4).model.graded == [False, True, True, False]
    assert Run(TOGETHER, steps=4).model.graded == [True] * 4


def test_without_turns_of_the_critic_it_never_moves():
    run = Run(dataclasses.replace(IN_TURNS, discriminator_every=0), steps=3)
    assert run.model.asked == ["generator"] * 3
    assert {discriminator for _, discriminator in run.places} == {1.0}


@pytest.mark.parametrize("schedule", [IN_TURNS, TOGETHER])
def test_each_player_moves_by_the_gradient_of_its_own_loss_alone(schedule):
    run = Run(schedule, steps=5)
    for progress, before, after in zip(run.seen, run.places, run.places[1:], strict=False):
        generator, discriminator = before
        critics = (progress.step - 1) % schedule.discriminator_every == 0
        moves = not (critics and schedule.discriminator_alone)
        assert after[0] == pytest.approx(generator - 0.01 * moves * (2 * discriminator + 33))
        assert after[1] == pytest.approx(discriminator - 0.01 * critics * 2 * generator)


def test_every_step_is_in_training_mode_though_validation_turns_it_off():
    assert Run(steps=4, every=1).model.modes == [True] * 4


# Rates and stages.


def test_rates_follow_the_schedule_and_the_course():
    schedule = dataclasses.replace(IN_TURNS, warmup=0.2, drops=((0.5, 0.1), (0.8, 0.5)))
    run = Run(schedule, steps=10, rate=3.0)
    factors = [0, 0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05]
    assert [seen.rate for seen in run.seen] == pytest.approx([0.03 * f for f in factors])


def test_a_cosine_falls_from_the_full_rate_to_a_fiftieth():
    schedule = dataclasses.replace(IN_TURNS, warmup=0.1, cosine=True)
    assert [schedule.factor(done) for done in (0, 0.05, 0.1)] == pytest.approx([0, 0.5, 1])
    assert schedule.factor(0.55) == pytest.approx(0.02 + 0.98 / 2)
    assert schedule.factor(1) == pytest.approx(0.02)


def test_a_model_is_told_how_much_is_done():
    run = Run(dataclasses.replace(IN_TURNS, discriminator_every=0), steps=4)
    assert run.model.stages == [Stage(done) for done in (0, 0.25, 0.5, 0.75)]


def test_a_training_settles_when_the_watched_term_no_longer_falls():
    schedule = dataclasses.replace(IN_TURNS, epochs=5, watched="a", patience=2, warmup=0.2)
    settling = PlateauDetector(schedule, 10)
    losses = [9, 9, 5, 5, 4, 4, 4, 4, 4, 4]  # of every step; two make an epoch
    seen = [settling.observe(step + 1, {"a": loss}) for step, loss in enumerate(losses)]
    # Epochs after the warm-up, from step 2 on: 7, 4.5, 4, 4, then one step.
    assert seen == [False] * 10
    assert [settling.observe(11 + step, {"a": 4.0}) for step in range(2)] == [True, False]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_settling_is_by_the_means_of_epochs(losses):
    schedule = Schedule(epochs=len(losses), batch=1, watched="a", patience=2, tolerance=0.1)
    settling = PlateauDetector(schedule, len(losses))
    lowest, waited = math.inf, 0
    for step, loss in enumerate(losses):
        waited = 0 if math.isinf(lowest) or loss < 0.9 * lowest else waited + 1
        lowest = loss if waited == 0 else lowest
        assert settling.observe(step, {"a": loss}) == (waited >= 2)


def test_steps_without_the_watched_term_do_not_count():
    settling = PlateauDetector(Schedule(epochs=9, batch=1, watched="a", patience=1), 9)
    assert not any(settling.observe(step, {"b": 1.0}) for step in range(9))


def test_once_settled_the_model_is_told_so_and_the_rates_start_anew():
    schedule = Schedule(
        epochs=10, batch=1, discriminator_every=0, watched="one", patience=1, tolerance=1.0,
        drops=((0.3, 0.1),), restarts=True,
    )  # fmt: skip
    run = Run(schedule, steps=10)
    # Nothing falls by all of itself: the second epoch settles it.
    assert [stage.settled for stage in run.model.stages] == [False] * 2 + [True] * 8
    rates = [0.01] * 5 + [0.001] * 5
    assert [seen.rate for seen in run.seen] == pytest.approx(rates)


# Accumulation, norms, precision.


def test_batches_of_a_step_count_as_their_mean():
    together = Run(TOGETHER, steps=2, batches=ToyBatches(1, 3, 2, 6), accumulate=2)
    apart = Run(TOGETHER, steps=2, batches=ToyBatches(2, 4))
    for one, other in zip(together.places, apart.places, strict=True):
        assert one == pytest.approx(other)
    assert together.seen[1].terms == pytest.approx(apart.seen[1].terms)


def test_a_gradient_is_cut_to_the_norm_for_each_player_by_itself():
    run = Run(TOGETHER, steps=1, clip=0.5)
    assert run.places[1] == pytest.approx((1 - 0.01 * 0.5, 1 - 0.01 * 0.5))
    assert Run(TOGETHER, steps=1, clip=1000.0).places[1] == pytest.approx((1 - 0.35, 1 - 0.02))


def test_in_half_precision_networks_run_short_and_losses_in_full():
    network, batch = tiny_adsm(attribute_weight=1.0), tiny_batch()
    kinds = {}
    network.face_net[-4].register_forward_hook(lambda m, a, out: kinds.update(net=out.dtype))
    network.classifier.register_forward_hook(lambda m, a, out: kinds.update(loss=out.dtype))
    trainer = Trainer(network, TrainConfig(10, 10, precision="bfloat16"))
    before = [p.detach().clone() for p in network.parameters()]
    terms = [trainer.train_step([batch]).terms for _ in range(3)]
    assert kinds == {"net": torch.bfloat16, "loss": torch.float32}
    assert all(math.isfinite(value) for seen in terms for value in seen.values())
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))


def test_what_a_model_encodes_becomes_full_precision_wherever_it_stands():
    @dataclasses.dataclass
    class Encoded:
        maps: torch.Tensor
        more: list

    half = torch.ones(2, dtype=torch.bfloat16)
    whole = torch.arange(2)
    seen = to_float32(Encoded(half, [(half, whole), {"a": half.half(), "b": None}]))
    assert isinstance(seen, Encoded)
    assert seen.maps.dtype == seen.more[0][0].dtype == seen.more[1]["a"].dtype == torch.float32
    assert seen.more[0][1] is whole
    assert seen.more[1]["b"] is None


# Validation.


def test_validation_is_every_so_many_steps_and_at_the_end():
    run = Run(steps=5, every=2)
    assert [step for step, *_ in run.validated_at] == [2, 4, 5]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [1]), ([1, 1, 1], [1]), ([-3, -2, -5], [1, 2])],
)
def test_the_best_is_the_first_of_the_highest_scores(scores, best):
    run = Run(steps=3, every=1, scores=scores)
    assert [step for step, _, better in run.validated_at if better] == best
    assert run.trainer.best.step == best[-1]
    assert run.trainer.best.scores["score"] == max(scores)


# What is not finite.


def test_a_loss_that_is_not_a_number_stops_before_it_moves_anything():
    with pytest.raises(NotFinite) as caught:
        Run(steps=9, batches=ToyBatches(1.0, 1.0, math.nan))
    assert caught.value.step == 3
    assert math.isnan(caught.value.plans[0])
    assert math.isnan(caught.value.terms["one"])


def test_a_gradient_that_ruins_the_weights_is_found_by_the_batch_that_gave_it():
    class Ruinous(Toy):
        def loss_terms(self, encoded, batch, stage):
            x = encoded["three"] - encoded["three"].detach()  # zero
            safe = batch.faces.inputs.mean() != 5.0
            return {"root": x if safe else x.abs().sqrt()}  # a gradient of NaN at zero

    trainer = Trainer(Ruinous(IN_TURNS), TrainConfig(9, 1000))
    with BatchPrefetcher(ToyBatches(1, 1, 5, 1, 7)) as ahead, pytest.raises(NotFinite) as caught:
        fit(trainer, ahead, dict, Quiet())
    assert caught.value.plans == (5.0,)


class Quiet:
    """A watcher that tells nobody."""

    def on_step(self, progress):
        pass

    def on_validation(self, step, scores, *, best):
        pass


def test_ruined_weights_are_found_before_they_are_validated():
    class Ruined(Toy):
        def loss_terms(self, encoded, batch, stage):
            return {"root": (self.generator - self.generator.detach()).abs().sqrt()}

    trainer = Trainer(
        Ruined(dataclasses.replace(IN_TURNS, discriminator_every=0)), TrainConfig(1, 1)
    )
    with BatchPrefetcher(ToyBatches(2.0)) as ahead, pytest.raises(NotFinite) as caught:
        fit(trainer, ahead, lambda: pytest.fail("it was validated"), Quiet())
    assert caught.value.plans == (2.0,)


def test_statistics_that_a_bad_batch_spoilt_do_not_put_the_blame_on_the_batch_before():
    class Counting(Toy):
        def __init__(self, schedule):
            super().__init__(schedule)
            self.norm = nn.BatchNorm1d(1)

        def encode(self, batch):
            self.norm(batch.faces.inputs[:, None].repeat(2, 1))
            return super().encode(batch)

    trainer = Trainer(Counting(IN_TURNS), TrainConfig(9, 1000), optimizers=None)
    with BatchPrefetcher(ToyBatches(1, math.nan)) as ahead, pytest.raises(NotFinite) as caught:
        fit(trainer, ahead, dict, Quiet())
    assert math.isnan(caught.value.plans[0])


# A model of a paper.


def test_the_critic_learns_to_tell_modalities_where_the_generator_does_not_resist():
    network, batch = tiny_adsm(turns=1), tiny_batch()  # every turn is the critic's

    def loss() -> float:
        with torch.no_grad():
            return network.discriminator_loss(network.train().encode(batch)).item()

    before = loss()
    plain = dataclasses.replace(network.schedule(), warmup=0.0, drops=())
    trainer = Trainer(network, TrainConfig(60, 1000, rate=30), schedule=plain)
    for _ in range(60):
        trainer.train_step([batch])
    assert before == pytest.approx(2 * math.log(2), abs=0.3)
    assert loss() < before / 4


def test_the_triplet_falls_on_a_batch_that_is_seen_again_and_again():
    network, batch = tiny_adsm(eta=0.0), tiny_batch()
    plain = Schedule(epochs=1, batch=8, discriminator_every=0)
    trainer = Trainer(network, TrainConfig(40, 1000, rate=10), schedule=plain)
    terms = [trainer.train_step([batch]).terms["triplet"] for _ in range(40)]
    assert min(terms[-5:]) < terms[0] / 2


def test_a_batch_that_teaches_a_player_nothing_leaves_it_where_it_is():
    class Idle(Toy):
        def loss_terms(self, encoded, batch, stage):
            return {"nothing": torch.zeros(())}

    trainer = Trainer(Idle(TOGETHER), TrainConfig(2, 1000))
    assert isinstance(trainer.optimizers, Optimizers)
    assert trainer.train_step([toy_batch(1.0)]).terms["nothing"] == 0
    assert trainer.model.generator.item() == 1
    assert trainer.model.discriminator.item() != 1
