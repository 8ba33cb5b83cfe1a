"""Approximate search beside exact search: speed and recall.

``python -m benchmarks.speed.approximate --count 1000000`` makes the synthetic world of
`benchmarks.speed.search`, builds the HNSW graph of ``avsearch index --approximate hnsw``, and sends
both indexes the same queries in turns, one at a time and all 256 in one call.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from avsearch.runtime import int8_torch
from benchmarks.machine import Machine
from benchmarks.speed import reference
from benchmarks.speed.measure import SINGLY, TOP
from benchmarks.speed.world import DIM, Recipe, World
from benchmarks.tables import Spread, table
from indexer.approximate import ApproximateIndex, HnswGraph
from indexer.search.exact_index import ExactIndex
from indexer.search.segment import Segment
from indexer.types import Vectors


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="Items.")
@click.option("--work", default="bench-work", type=click.Path(path_type=Path), show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(count: int, work: Path, rounds: int) -> None:
    """Print the table."""
    int8_torch.use()  # as loading a model does
    click.echo(Machine.here(["numpy", "faiss-cpu"]).described() + "\n")
    world = World.made(work, Recipe(count))
    segments = [_segment(world, block) for block in world.blocks(1 << 18)]
    exact = ExactIndex(DIM, "cosine", "cpu", segments)
    started = time.perf_counter()
    graph = HnswGraph.build("cosine", segments)
    build_s = time.perf_counter() - started
    approximate = ApproximateIndex(exact, graph)
    queries = np.asarray(world.queries)
    found = approximate.nearest(queries, TOP).ids
    assert (exact.nearest(queries, TOP).ids == reference.nearest(world, queries, TOP)).all()
    recall = reference.recall(found, reference.nearest(world, queries, TOP))

    rows = []
    for name, size in (("one query", 1), (f"{len(queries)} queries", len(queries))):
        seconds: dict[ExactIndex | ApproximateIndex, list[float]] = {exact: [], approximate: []}
        for number in range(rounds):
            for index, taken in seconds.items():
                if size == 1:
                    first = number * SINGLY % len(queries)
                    batches = [queries[at : at + 1] for at in range(first, first + SINGLY)]
                else:
                    batches = [queries]
                taken.append(float(np.median([_seconds(index, batch) for batch in batches])))
        ratios = [slow / quick for slow, quick in zip(*seconds.values(), strict=True)]
        ms = [Spread.of([1e3 * each for each in taken]) for taken in seconds.values()]
        rows.append((name, *(f"{each:.2f}" for each in ms), f"{Spread.of(ratios):.1f}"))
    click.echo(f"{count:,} items; graph built in {build_s:.0f} s; recall@{TOP} {recall:.3f}\n")
    click.echo(table(("", "exact, ms", "approximate, ms", "times as fast"), rows))


def _segment(world: World, block: slice) -> Segment:
    ids = np.arange(block.start, block.stop)
    people, faces = world.people[block].astype(np.int64), np.asarray(world.faces[block])
    return Segment.of(ids, people, faces, np.asarray(world.vectors[block]), "cosine")


def _seconds(index: ExactIndex | ApproximateIndex, queries: Vectors) -> float:
    started = time.perf_counter()
    index.nearest(queries, TOP)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
