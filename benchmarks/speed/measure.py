"""Questions asked of several engines in turns, and every answer checked."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Mapping

import numpy as np

from benchmarks.speed import reference
from benchmarks.speed.engines import Way
from benchmarks.speed.worker import Answer, EngineFailed, Worker
from benchmarks.speed.world import QUERIES, World
from indexer.types import Ids, Vectors

TOP = 10
SINGLY = 16  # queries of a round that are asked one by one
BUDGET_S = 60.0  # an engine that has taken longer over a question sits the other rounds out


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of all items or of one nationality, all queries at once or each alone."""

    name: str
    nationality: str | None = None
    together: bool = False

    @property
    def way(self) -> Way:
        """What an engine must be able to do to be asked."""
        if self.nationality is not None:
            return "filter"
        return "many" if self.together else "one"

    def queries(self, number: int) -> slice:
        """Which of the world's queries a round asks."""
        if self.together:
            return slice(0, QUERIES)
        start = number * SINGLY % QUERIES
        return slice(start, start + SINGLY)


MANY = Question("256 queries", together=True)
ONE = Question("one query")
FILTERED = (
    Question("10 %", "one in 10"),
    Question("1 %", "one in 100"),
    Question("0.1 %", "one in 1000"),
)


@dataclasses.dataclass(slots=True)
class Asked:
    """What one engine made of one question.

    ``seconds`` holds one value a round: of the call, or the median of the round's calls.
    ``checked`` queries were compared with the reference: ``identical`` of them have the same
    rows in the same order, and ``recall`` is over all of them.
    """

    engine: str
    question: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    recalls: list[float] = dataclasses.field(default_factory=list)
    identical: int = 0
    checked: int = 0
    failure: str | None = None

    @property
    def recall(self) -> float:
        """The mean over the rounds."""
        return statistics.fmean(self.recalls)

    @property
    def tired(self) -> bool:
        """Whether it is not asked again."""
        return self.failure is not None or sum(self.seconds) > BUDGET_S

    def note(self, answer: Answer, right: Ids) -> None:
        """Take in a round."""
        right = right[: len(answer.rows)]
        self.seconds.append(statistics.median(answer.seconds))
        self.recalls.append(reference.recall(answer.rows, right))
        self.identical += reference.identical(answer.rows, right)
        self.checked += len(right)


def ask_in_turns(
    workers: Mapping[str, Worker], world: World, question: Question, rounds: int
) -> list[Asked]:
    """Ask every engine in every round, so that a slow moment of the machine hits all of them.

    Before the first round each engine answers one query that is not counted.
    """
    queries = np.asarray(world.queries)
    right = reference.nearest(world, queries, TOP, question.nationality)
    asked = [Asked(name, question.name) for name in workers]
    for each in asked:
        _try(each, workers[each.engine], queries[-1:], question)
    for number in range(rounds):
        part = question.queries(number)
        for each in asked:
            if not each.tired:
                answer = _try(each, workers[each.engine], queries[part], question)
                if answer is not None:
                    each.note(answer, right[part])
    return asked


def _try(each: Asked, worker: Worker, queries: Vectors, question: Question) -> Answer | None:
    try:
        return worker.ask(queries, TOP, question.nationality, together=question.together)
    except EngineFailed as failure:
        each.failure = str(failure)
        return None


def say(text: str) -> None:
    """What is being done, to the person who waits; the tables alone go to standard output."""
    print(text, file=sys.stderr, flush=True)
