"""The figures of avsearch at one size: build, open, search and change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Memory
from benchmarks.speed.avsearch_engine import Avsearch
from benchmarks.speed.measure import FILTERED, MANY, ONE, SINGLY, TOP, Workload, say
from benchmarks.speed.opening import Opened, opened
from benchmarks.speed.worker import Worker
from benchmarks.speed.world import Recipe, World
from benchmarks.tables import Spread

CHANGED = 1000  # items of an update
TIMES = 3  # openings and changes, of which the median is taken


@dataclasses.dataclass(frozen=True, slots=True)
class SizeResult:
    """Seconds and bytes of an index of ``count`` items.

    ``memory`` is that of the process that built it and searched; ``changes`` holds the seconds of
    every change, by kind.
    """

    count: int
    build_s: float
    disk: int
    memory: Memory
    openings: list[Opened]
    seconds: dict[str, list[float]]
    changes: dict[str, list[float]]

    def share(self, change: str) -> float:
        """Return the median time of a change as a share of the first build."""
        return Spread.of(self.changes[change]).median / self.build_s


def grown(work: Path, recipe: Recipe) -> SizeResult:
    """Build an index of this size and measure it; EngineFailed if it fails."""
    world = World.made(work, recipe)
    with Worker(Avsearch, work / "engines" / f"grown-{recipe.count}") as worker:
        say(f"avsearch takes in {recipe.count:,} items")
        build_s = worker.fill(world)
        queries = world.folder / "queries.npy"
        openings = [opened("avsearch", worker.folder, queries) for _ in range(TIMES)]
        return taken(worker, world, build_s, openings)


def taken(worker: Worker, world: World, build_s: float, openings: list[Opened]) -> SizeResult:
    """Measure an index that was built and opened; this changes it."""
    seconds = {q.name: _ask(worker, world, q) for q in (MANY, ONE, *FILTERED)}
    return SizeResult(
        count=len(world),
        build_s=build_s,
        disk=sum(path.stat().st_size for path in worker.folder.rglob("*") if path.is_file()),
        memory=worker.memory(),
        openings=openings,
        seconds=seconds,
        changes=_change(worker, world),
    )


def _ask(worker: Worker, world: World, question: Workload) -> list[float]:
    queries = np.asarray(world.queries)
    worker.ask(queries[-1:], TOP, question.nationality, together=True)
    part = queries if question.together else queries[:SINGLY]
    answer = worker.ask(part, TOP, question.nationality, together=question.together)
    return answer.seconds


def _change(worker: Worker, world: World) -> dict[str, list[float]]:
    say(f"changing and adding {CHANGED:,} items")
    times: list[Any] = [
        worker.call("change", world.folder, CHANGED, number) for number in range(TIMES)
    ]
    return {what: [each[what] for each in times] for what in times[0]}
