from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.evaluation.test_score import perfect, world_items
from trainer.evaluation.bootstrap import PersonBootstrap
from trainer.evaluation.compare import differences
from trainer.evaluation.metrics import matching_hits
from trainer.evaluation.score import score
from trainer.evaluation.scorers import VectorScorer
from trainer.protocols.generate import Generator


@pytest.fixture
def items():
    return world_items()


def noisy(items, amount, seed=0):
    """Perfect vectors with so much noise."""
    vectors = perfect(items).vectors
    noise = np.random.default_rng(seed).standard_normal(vectors.shape).astype(np.float32)
    return VectorScorer(items.paths, vectors + amount * noise)


@pytest.fixture(params=["verification", "matching", "retrieval"])
def protocol(request, items):
    generator = Generator(items, "voice", "face")
    made = {
        "verification": generator.verification,
        "matching": lambda: generator.matching(4),
        "retrieval": generator.retrieval,
    }
    return made[request.param]()


def test_a_scorer_is_no_better_than_itself(protocol, items):
    scored = score(protocol, noisy(items, 0.5))
    for found in differences(scored, scored).values():
        assert (found.difference.value, found.better) == (0, 0)
        assert found.difference.lower == found.difference.upper == 0


def test_the_clearly_better_scorer_is_told_in_both_orders(protocol, items):
    good, bad = (score(protocol, noisy(items, amount)) for amount in (0.1, 5.0))
    main = next(iter(good.metrics().figures))
    one, other = differences(good, bad)[main], differences(bad, good)[main]
    assert (one.better, other.better) == (1, 2)
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.difference.lower == pytest.approx(-other.difference.upper)
    assert one.first == good.metrics().figures[main].value


def test_a_smaller_equal_error_rate_is_the_better_one(items):
    pairs = Generator(items, "voice", "face").verification()
    good, bad = (score(pairs, noisy(items, amount)) for amount in (0.1, 5.0))
    found = differences(good, bad)["EER"]
    assert found.difference.upper < 0
    assert found.better == 1


def test_both_are_judged_on_the_same_people_of_each_draw(items):
    trials = Generator(items, "voice", "face").matching(4)
    first, second = (score(trials, noisy(items, 1.0, seed)) for seed in (1, 2))
    hits = [matching_hits(each.values, trials.truth) for each in (first, second)]
    people = items.people[trials.probes]
    apart = [
        np.average(hits[0] - hits[1], weights=drawn[people])
        for drawn in PersonBootstrap(len(items.names)).counts
    ]
    found = differences(first, second)["accuracy"].difference
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))
    apart_alone = first.metrics().figures["accuracy"], second.metrics().figures["accuracy"]
    assert found.upper - found.lower < sum(each.upper - each.lower for each in apart_alone)


def test_scores_of_two_protocols_are_not_compared(items):
    made = [Generator(items, "voice", "face", seed=seed).matching(4) for seed in (0, 1)]
    with pytest.raises(ValueError, match="only scores of one protocol"):
        differences(*(score(each, noisy(items, 1.0)) for each in made))
