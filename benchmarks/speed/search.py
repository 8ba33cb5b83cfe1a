"""Search by avsearch, FAISS and other engines, in one run.

``python -m benchmarks.speed.search --count 1000000`` makes a synthetic world, fills each engine
with it in a process of its own, sends all of them the same queries in turns, compares every answer
with the reference, and prints tables. ``docs/benchmarks.md`` explains the figures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import Machine
from benchmarks.speed.avsearch_engine import Avsearch
from benchmarks.speed.engines import (
    Engine,
    Faiss,
    FaissBatch,
    FaissNewBitmap,
    Hnswlib,
    Lance,
    Milvus,
    Qdrant,
    Usearch,
)
from benchmarks.speed.growth import grown, taken
from benchmarks.speed.measure import FILTERED, MANY, ONE, TOP, ask_in_turns, say
from benchmarks.speed.opening import Opened, opened
from benchmarks.speed.report import OURS, SHIPPED, Filled, Overhead, Results, rendered
from benchmarks.speed.worker import EngineFailed, Worker
from benchmarks.speed.world import Recipe, World

ENGINES: dict[str, type[Engine]] = {
    OURS: Avsearch,
    SHIPPED: Faiss,
    "FAISS, list of ids": FaissBatch,
    "FAISS, new bitmap per search": FaissNewBitmap,
    "usearch": Usearch,
    "hnswlib": Hnswlib,
    "lancedb": Lance,
    "milvus-lite": Milvus,
    "qdrant, local": Qdrant,
}
Workers = Mapping[str, Worker]
LOOKED_INTO = 64  # queries whose time is taken apart


@click.command()
@click.option("--count", default=1_000_000, show_default=True, help="Items.")
@click.option("--work", default="bench-work", type=click.Path(path_type=Path), show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--order", type=click.Choice(["gallery", "shuffled"]), default="gallery")
@click.option("--engine", "engines", multiple=True, type=click.Choice(list(ENGINES)))
@click.option("--growth", default="10000,100000", show_default=True, help="Further sizes.")
@click.option("--json", "raw", type=click.Path(path_type=Path), help="Raw numbers go here.")
def main(
    count: int,
    work: Path,
    rounds: int,
    seed: int,
    order: str,
    engines: tuple[str, ...],
    growth: str,
    raw: Path | None,
) -> None:
    """Print the tables, and write the raw numbers."""
    recipe = Recipe(count, seed, "shuffled" if order == "shuffled" else "gallery")
    chosen = {name: ENGINES[name] for name in engines or ENGINES}
    packages = ["numpy", *(package for engine in chosen.values() for package in engine.packages)]
    results = Results(Machine.here(packages), recipe, rounds)
    try:
        _measure(results, chosen, work)
        for size in [int(size) for size in growth.split(",") if size]:
            _grow(results, work, size)
    finally:  # what was measured before a run is stopped is not lost
        raw = raw or work / f"search-{count}.json"
        raw.write_text(results.to_json())
        click.echo(rendered(results))
        say(f"The raw numbers are in {raw}.")


def _measure(results: Results, engines: Mapping[str, type[Engine]], work: Path) -> None:
    world = World.made(work, results.recipe)
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, engine in engines.items():
            folder = work / "engines" / engine.__name__.lower()
            worker = stack.enter_context(Worker(engine, folder))
            if _keep(results, name, functools.partial(_fill, results, name, worker, world)):
                workers[name] = worker
            else:
                worker.close()
        _ask(results, engines, workers, world)
        for name in workers.keys() - {OURS, SHIPPED}:
            workers[name].close()
        opened_all = _keep(results, "opening", lambda: _open(results, workers, world))
        if OURS in workers and opened_all:
            _keep(results, OURS, lambda: _ours(results, workers[OURS], world))


def _keep(results: Results, name: str, work: Callable[[], None]) -> bool:
    """Return True if an engine did its work; its failure goes to the results."""
    try:
        work()
    except EngineFailed as failure:
        say(f"{name} failed: {failure}")
        results.failed[name] = str(failure)
        return False
    return True


def _fill(results: Results, name: str, worker: Worker, world: World) -> None:
    say(f"{name} takes in {len(world):,} items")
    seconds = worker.fill(world)
    results.filled.append(Filled(name, seconds, worker.memory()))


def _ask(
    results: Results, engines: Mapping[str, type[Engine]], workers: Workers, world: World
) -> None:
    for question in (MANY, ONE, *FILTERED):
        say(f"asking {question.name}")
        asked = {n: worker for n, worker in workers.items() if question.needs in engines[n].ways}
        for each in ask_in_turns(asked, world, question, results.rounds):
            results.asked.append(each)
            if each.failure:
                results.failed[f"{each.engine}, {question.name}"] = each.failure


def _open(results: Results, workers: Workers, world: World) -> None:
    """Open avsearch's index on disk, and a file of FAISS, in turns."""
    say("opening")
    places = {name: worker.folder for name, worker in workers.items() if name == OURS}
    if SHIPPED in workers:
        places[SHIPPED] = workers[SHIPPED].folder / "flat.faiss"
        workers[SHIPPED].call("save", places[SHIPPED])
    runs: dict[str, list[Opened]] = {name: [] for name in places}
    for _ in range(results.rounds):
        for name, place in places.items():
            kind = "avsearch" if name == OURS else "faiss"
            runs[name].append(opened(kind, place, world.folder / "queries.npy"))
    results.openings = runs


def _ours(results: Results, worker: Worker, world: World) -> None:
    """Measure avsearch alone; this changes the index at the end."""
    say("looking into avsearch")
    queries = np.asarray(world.queries[:LOOKED_INTO])
    for question in (ONE, FILTERED[1]):
        pairs = worker.call("overhead", queries, TOP, question.nationality)
        whole, inside = zip(*pairs, strict=True)
        name = question.name if question.nationality is None else f"filter {question.name}"
        results.spent.append(Overhead(name, list(whole), list(inside)))
    build_s = next(each.seconds for each in results.filled if each.engine == OURS)
    results.grown.append(taken(worker, world, build_s, results.openings[OURS]))


def _grow(results: Results, work: Path, size: int) -> None:
    if size != results.recipe.count:
        recipe = dataclasses.replace(results.recipe, count=size)
        name = f"avsearch of {size:,}"
        _keep(results, name, lambda: results.grown.append(grown(work, recipe)))


if __name__ == "__main__":
    main()
