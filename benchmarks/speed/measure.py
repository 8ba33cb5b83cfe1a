"""Queries sent to several engines in turns, with every answer checked."""

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
class Workload:
    """Queries of all items or of one nationality, all in one call or each in its own."""

    name: str
    nationality: str | None = None
    together: bool = False

    @property
    def needs(self) -> Way:
        """The kind of query that an engine must support."""
        if self.nationality is not None:
            return "filter"
        return "many" if self.together else "one"

    def queries(self, number: int) -> slice:
        """Return the slice of the world's queries for a round."""
        if self.together:
            return slice(0, QUERIES)
        start = number * SINGLY % QUERIES
        return slice(start, start + SINGLY)


MANY = Workload("256 queries", together=True)
ONE = Workload("one query")
FILTERED = (
    Workload("10 %", "one in 10"),
    Workload("1 %", "one in 100"),
    Workload("0.1 %", "one in 1000"),
)


@dataclasses.dataclass(slots=True)
class Outcome:
    """The results of one engine for one workload.

    ``seconds`` holds one value per round: of the call, or the median of the round's calls.
    ``checked`` answers were compared with the reference: ``identical`` of them have the same rows
    in the same order, and ``recall`` is over all of them.
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
    def too_slow(self) -> bool:
        """Return True if the engine skips the other rounds."""
        return self.failure is not None or sum(self.seconds) > BUDGET_S

    def note(self, answer: Answer, right: Ids) -> None:
        """Add a round."""
        right = right[: len(answer.rows)]
        self.seconds.append(statistics.median(answer.seconds))
        self.recalls.append(reference.recall(answer.rows, right))
        self.identical += reference.identical(answer.rows, right)
        self.checked += len(right)


def ask_in_turns(
    workers: Mapping[str, Worker], world: World, question: Workload, rounds: int
) -> list[Outcome]:
    """Query every engine in every round, so that a slow moment of the machine affects all.

    Before the first round each engine answers one query that is not counted.
    """
    queries = np.asarray(world.queries)
    right = reference.nearest(world, queries, TOP, question.nationality)
    asked = [Outcome(name, question.name) for name in workers]
    for each in asked:
        _try(each, workers[each.engine], queries[-1:], question)
    for number in range(rounds):
        part = question.queries(number)
        for each in asked:
            if not each.too_slow:
                answer = _try(each, workers[each.engine], queries[part], question)
                if answer is not None:
                    each.note(answer, right[part])
    return asked


def _try(each: Outcome, worker: Worker, queries: Vectors, question: Workload) -> Answer | None:
    try:
        return worker.ask(queries, TOP, question.nationality, together=question.together)
    except EngineFailed as failure:
        each.failure = str(failure)
        return None


def say(text: str) -> None:
    """Print progress to standard error; standard output gets only the tables."""
    print(text, file=sys.stderr, flush=True)
