"""Opening an index on disk: seconds, and memory beyond that of the imports.

``python -m benchmarks.speed.opening KIND PATH QUERIES`` opens one in a new process, searches it
twice, and prints a line of JSON. The files are in the page cache.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Memory
from benchmarks.speed.worker import EngineFailed
from indexer.types import Vectors

Search = Callable[[Vectors], object]


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """Seconds of opening and of the first two searches, and the memory after each.

    The memory is beyond that of the process with everything imported and nothing open.
    """

    open_s: float
    first_s: float
    next_s: float
    opened: Memory
    searched: Memory

    @classmethod
    def parsed(cls, line: str) -> Opened:
        """Read the line of JSON that this module prints."""
        facts = json.loads(line)
        for name in ("opened", "searched"):
            facts[name] = Memory(**facts[name])
        return cls(**facts)


def opened(kind: str, path: Path, queries: Path) -> Opened:
    """Open an index of a kind, ``avsearch`` or ``faiss``, in a new process.

    Raises EngineFailed where the process fails; its standard error says why.
    """
    command = [sys.executable, "-m", "benchmarks.speed.opening", kind, str(path), str(queries)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise EngineFailed(f"opening {kind} ended with exit code {done.returncode}")
    return Opened.parsed(done.stdout)


def _avsearch() -> Callable[[Path], Search]:
    import faiss  # noqa: F401  imported by the first search otherwise, and counted to it

    from indexer.index import Index

    def open_(path: Path) -> Search:
        index = Index.open(path)
        return lambda query: index.search(query, 10)

    return open_


def _faiss() -> Callable[[Path], Search]:
    import faiss

    def open_(path: Path) -> Search:
        index: Any = faiss.read_index(str(path))
        return lambda query: index.search(query, 10)

    return open_


KINDS = {"avsearch": _avsearch, "faiss": _faiss}


def main(kind: str, path: str, queries: str) -> None:
    """Measure one opening and print it."""
    open_ = KINDS[kind]()
    first, second = np.load(queries)[:2, None]
    before = Memory.now()
    times = [time.perf_counter()]
    search = open_(Path(path))
    times.append(time.perf_counter())
    after_opening = Memory.now().beyond(before)
    for query in (first, second):
        started = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - started)
    found = Opened(
        times[1] - times[0], times[2], times[3], after_opening, Memory.now().beyond(before)
    )
    print(json.dumps(dataclasses.asdict(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
