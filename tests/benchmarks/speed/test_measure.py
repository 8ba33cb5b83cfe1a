from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.speed import measure, reference
from benchmarks.speed.measure import FILTERED, MANY, ONE, ask_in_turns
from benchmarks.speed.worker import Answer, EngineFailed
from benchmarks.speed.world import Recipe, World
from benchmarks.tables import Spread


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World.made(tmp_path_factory.mktemp("work"), Recipe(1000))


@dataclasses.dataclass
class Right:
    """Answers rightly, says how long it took, and writes its name into a log."""

    world: World
    log: list[str]
    name: str = "right"
    seconds: float = 0.5

    def ask(self, queries, k, nationality, *, together):
        self.log.append(self.name)
        rows = reference.nearest(self.world, queries, k, nationality)
        return Answer(rows, [self.seconds] * (1 if together else len(queries)))


@dataclasses.dataclass
class Halved(Right):
    """Finds the first half of what is right, of the first half of the queries."""

    def ask(self, queries, k, nationality, *, together):
        answer = super().ask(queries, k, nationality, together=together)
        rows = answer.rows[: max(1, len(queries) // 2)].copy()
        rows[:, k // 2 :] = -1
        return Answer(rows, answer.seconds)


class Failing:
    def ask(self, queries, k, nationality, *, together):
        raise EngineFailed("no")


def test_engines_are_asked_in_turns_after_one_query_each_that_is_not_counted(world):
    log: list[str] = []
    workers = {name: Right(world, log, name) for name in "ab"}
    asked = ask_in_turns(workers, world, ONE, rounds=3)
    assert log == list("ab" * 4)
    assert [each.seconds for each in asked] == [[0.5] * 3] * 2
    assert [(each.identical, each.checked) for each in asked] == [(48, 48)] * 2


@pytest.mark.parametrize("question", [MANY, *FILTERED])
def test_every_answer_is_compared_with_the_reference(world, question):
    workers = {"right": Right(world, []), "halved": Halved(world, [])}
    right, halved = ask_in_turns(workers, world, question, rounds=2)
    each_time = 256 if question.together else 16
    assert (right.recall, right.identical, right.checked) == (1, 2 * each_time, 2 * each_time)
    assert (halved.recall, halved.identical, halved.checked) == (0.5, 0, each_time)


def test_an_engine_that_took_too_long_sits_the_other_rounds_out(world):
    log: list[str] = []
    workers = {"slow": Right(world, log, "slow", measure.BUDGET_S), "quick": Right(world, log, "q")}
    slow, quick = ask_in_turns(workers, world, MANY, rounds=5)
    assert (len(slow.seconds), len(quick.seconds)) == (2, 5)


def test_an_engine_that_fails_stops_nobody(world):
    failing, right = ask_in_turns({"f": Failing(), "r": Right(world, [])}, world, ONE, rounds=2)
    assert (failing.failure, failing.seconds) == ("no", [])
    assert (right.failure, len(right.seconds)) == (None, 2)


def test_rounds_ask_different_queries_one_by_one_and_all_of_them_at_once():
    asked = [ONE.queries(number) for number in range(17)]
    assert sorted({row for part in asked for row in range(256)[part]}) == list(range(256))
    assert asked[16] == asked[0]
    assert MANY.queries(3) == slice(0, 256)


def test_a_figure_is_a_median_with_its_range():
    assert Spread.of([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)
    assert np.isclose(Spread.of([0.1]).median, 0.1)
    assert f"{Spread(2.5, 1.0, 9.0):.2f}" == "2.50 [1.00, 9.00]"
