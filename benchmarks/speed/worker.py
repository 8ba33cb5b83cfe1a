"""An engine in a process of its own, so that none shares memory, threads or settings.

An engine that is not installed, raises, or dies does not stop the run: it becomes an
:class:`EngineFailed`, which the tables show.
"""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.machine import Memory
from benchmarks.speed.engines import Engine
from benchmarks.speed.world import World
from indexer.types import Ids, Vectors

LIMIT_S = 3600.0  # an engine that has not answered a call by then is ended
PATIENCE_S = 4.0  # of queries asked one by one; the rest of a slow engine's are left out


class EngineFailed(Exception):
    """An engine failed; the message is its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """(q, k) rows that an engine found, and the seconds of each call."""

    rows: Ids
    seconds: list[float]


class Worker:
    """An engine in a process; a context manager."""

    def __init__(self, engine: type[Engine], folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(engine, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fill(self, world: World) -> float:
        """Fill the engine with a world; return the seconds."""
        seconds: float = self.call("fill", world.folder, self.folder)
        return seconds

    def ask(self, queries: Vectors, k: int, nationality: str | None, *, together: bool) -> Answer:
        """Send all queries in one call, or one by one for at most ``PATIENCE_S``."""
        answer: Answer = self.call("ask", queries, k, nationality, together)
        return answer

    def memory(self) -> Memory:
        """Return the memory of the process."""
        memory: Memory = self.call("memory")
        return memory

    def call(self, name: str, *args: object) -> Any:
        """Call a method of the engine; EngineFailed with what it raised."""
        try:
            self._connection.send((name, args))
            if not self._connection.poll(LIMIT_S):
                self._process.kill()
                self._process.join()
                raise EngineFailed(f"it had not answered after {LIMIT_S:.0f} s")
            done, result = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            code = self._process.exitcode
            raise EngineFailed(f"its process ended with exit code {code}") from error
        if not done:
            raise EngineFailed(result)
        return result

    def close(self) -> None:
        """End the process and delete the engine's files."""
        self._connection.close()  # which ends the loop over there
        self._process.join(timeout=60)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Host:
    """The engine's side of the connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def fill(self, world: Path, folder: Path) -> float:
        started = time.perf_counter()
        self.engine.fill(World.load(world), folder)
        seconds = time.perf_counter() - started
        gc.collect()
        gc.freeze()  # no pause while measuring for the many objects an engine may have made
        return seconds

    def ask(
        self,
        queries: Vectors,
        k: int,
        nationality: str | None,
        together: bool,  # noqa: FBT001  a call of another process has no keywords
    ) -> Answer:
        parts = [queries] if together else [query[None] for query in queries]
        rows: list[Ids] = []
        seconds: list[float] = []
        for part in parts:
            started = time.perf_counter()
            rows.append(self.engine.search(part, k, nationality))
            seconds.append(time.perf_counter() - started)
            if sum(seconds) > PATIENCE_S:
                break
        return Answer(np.concatenate(rows), seconds)

    def memory(self) -> Memory:
        return Memory.now()


def _serve(engine: type[Engine], connection: Connection) -> None:
    host = _Host(engine())
    while True:
        try:
            name, args = connection.recv()
        except EOFError:
            break
        connection.send(_done(host, name, args))
    host.engine.close()


def _done(host: _Host, name: str, args: tuple[Any, ...]) -> tuple[bool, Any]:
    method = getattr(host if hasattr(host, name) else host.engine, name)
    try:
        return True, method(*args)
    except Exception as error:  # whatever an engine raises is its result
        return False, f"{type(error).__name__}: {error}".splitlines()[0]
