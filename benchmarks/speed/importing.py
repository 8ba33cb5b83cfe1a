"""Bulk import beside the bare work: ``python -m benchmarks.speed.importing``.

Writes synthetic vectors to a Parquet file, imports it into a new index, and does the two things
that any such program must do: add the same vectors to a flat FAISS index, and write the same rows
with ``sqlite3.executemany``, into tables without an index or a check, in WAL mode. All take turns,
so that a slow moment of the machine affects all; the figure is the ratio of the medians. The import
runs in a process of its own, which gives its memory.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import faiss
import numpy as np

from benchmarks.machine import Machine, Memory
from indexer.exchange.exchange import import_file
from indexer.exchange.parquet_writer import ParquetTarget
from indexer.index import Index
from indexer.search.faiss_scan import import_faiss
from indexer.tables.parquet import group_rows
from indexer.types import Space, Vectors

PEOPLE = 5000  # with equally many items each
TABLES = {
    "person": "id INTEGER PRIMARY KEY, key, name, gender, nationality, attributes",
    "file": "id INTEGER PRIMARY KEY, path, gallery, size, mtime_ns, sha256, settings, status, "
    "reason, lasting",
    "source": "id INTEGER PRIMARY KEY, file_id, person_id, modality, start_s, end_s",
    "item": "id INTEGER PRIMARY KEY, file_id, person_id, modality, start_s, end_s, box, vector",
}


@click.command()
@click.option("--count", default=200_000, show_default=True, help="Items.")
@click.option("--dim", default=128, show_default=True, help="Numbers of a vector.")
@click.option("--each", default=1, show_default=True, help="Items of one file.")
@click.option("--rounds", default=3, show_default=True, help="How often each is done.")
def main(count: int, dim: int, each: int, rounds: int) -> None:
    """Print the seconds of the import, of a cache alone, and of the bare work."""
    seconds: dict[str, list[float]] = {}
    memory: list[Memory] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _write(place / "v.parquet", count, dim, each)
        click.echo(f"{count} x {dim}, {each} an own file, {PEOPLE} people")
        for at in range(rounds):
            index = place / f"index{at}"
            steps: dict[str, Callable[[], object]] = {
                "import": functools.partial(_import_alone, place / "v.parquet", index, memory),
                "a cache built again": functools.partial(_make_cache, index),
                "bare FAISS": functools.partial(_add, count, dim),
                "bare sqlite3": functools.partial(_execute, place / "bare.sqlite", index),
            }
            for name, step in steps.items():
                seconds.setdefault(name, []).append(_seconds(step))
            for path in index.rglob("*"):
                if path.is_file():
                    path.unlink()
    click.echo(Machine.here(["numpy", "faiss-cpu", "pyarrow", "sqlalchemy"]).described())
    _print(seconds)
    peak = max(each.peak for each in memory) / 2**20
    click.echo(f"most memory of the import, mapped files included   {peak:.0f} MiB")


def _print(seconds: dict[str, list[float]]) -> None:
    for name, taken in seconds.items():
        median = statistics.median(taken)
        click.echo(f"{name:20} {median:7.2f} s [{min(taken):.2f}, {max(taken):.2f}]")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    bare = medians["bare FAISS"] + medians["bare sqlite3"]
    click.echo(f"import / bare           {medians['import'] / bare:.2f}")


def _import_alone(path: Path, folder: Path, memory: list[Memory]) -> float:
    """Seconds of an import in a new process; appends its memory to ``memory``."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_import, args=(path, folder, theirs))
    process.start()
    theirs.close()
    seconds, held = ours.recv()
    process.join()
    memory.append(held)
    return float(seconds)


def _import(path: Path, folder: Path, answer: Connection) -> None:
    import_faiss()
    before = Memory.now()
    seconds = _seconds(functools.partial(import_file, path, folder))
    answer.send((seconds, Memory.now().beyond(before)))


def _write(path: Path, count: int, dim: int, each: int) -> None:
    size = group_rows(dim)
    vectors = _vectors(count, dim)
    with ParquetTarget(path, Space("synthetic", "0" * 64, dim, "cosine"), {}, ["club"]) as target:
        for start in range(0, count, size):
            part = vectors[start : start + size]
            target.write(_columns(range(start, start + len(part)), each, part), len(part))


def _columns(items: range, each: int, vectors: Vectors) -> dict[str, Any]:
    people = [at // each % PEOPLE for at in items]
    return {
        "person": [f"person{who:05}" for who in people],
        "modality": ["face" if who % 2 else "voice" for who in people],
        "vector": vectors,
        "path": [f"/gallery/person{at // each % PEOPLE:05}/{at // each:07}.jpg" for at in items],
        "gender": ["f" if who % 2 else "m" for who in people],
        "nationality": [f"country{who % 40}" for who in people],
        "club": [f"club{who % 7}" for who in people],
    }


def _vectors(count: int, dim: int) -> Vectors:
    return np.random.default_rng(0).standard_normal((count, dim), np.float32)


def _make_cache(folder: Path) -> None:
    with Index.open(folder) as index:
        index.rebuild()


def _add(count: int, dim: int) -> float:
    """Seconds of adding the vectors to a flat index, without making them."""
    vectors, flat = _vectors(count, dim), faiss.IndexFlatIP(dim)
    started = time.perf_counter()
    flat.add(vectors)
    return time.perf_counter() - started


def _execute(path: Path, index: Path) -> float:
    """Seconds of writing the rows of an index to bare tables, without reading them."""
    rows = dict(_rows(index))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        for table, columns in TABLES.items():
            bare.execute(f"CREATE TABLE {table} ({columns})")
        started = time.perf_counter()
        bare.execute("BEGIN")
        for table, values in rows.items():
            places = ", ".join("?" * len(TABLES[table].split(",")))
            bare.executemany(f"INSERT INTO {table} VALUES ({places})", values)
        bare.execute("COMMIT")
    return time.perf_counter() - started


def _rows(index: Path) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    with contextlib.closing(sqlite3.connect(index / "catalog.sqlite")) as connection:
        for table, columns in TABLES.items():
            names = columns.replace(" INTEGER PRIMARY KEY", "")
            yield table, connection.execute(f"SELECT {names} FROM {table}").fetchall()


def _seconds(step: Callable[[], object]) -> float:
    """The seconds that the step returns, or else those it took."""
    started = time.perf_counter()
    said = step()
    return said if isinstance(said, float) else time.perf_counter() - started


if __name__ == "__main__":
    main()
