"""A process that does what it is told and can be killed at any moment of it.

Run as a program it takes jobs, a line of JSON each, forks for each of them, and answers how that
ended. Whatever the work does that may leave something half done is a *point*, known by a label:
a statement of SQLite, some thousand steps of one, a file made, renamed, deleted or brought to the
disk. A job names a point by its label and how often it is passed before; there the work is
killed with SIGKILL, at once or some moments later, which is in the middle of what follows.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from indexer import approximate
from indexer.cache import prewrite
from indexer.exchange import exchange, parquet_reader
from indexer.exchange.exchange import export_index, import_file
from indexer.index import Index
from indexer.ingest import ingest
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor, FakeMatcher

STEPS = 200  # of SQLite's machine between two points of one statement
_CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir")


@dataclasses.dataclass(frozen=True)
class Moment:
    """The moment to kill at: a point, numbered from 0, and a delay."""

    label: str
    number: int
    later_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a job: if it was killed, and the labels of the points it passed."""

    killed: bool
    points: dict[str, int]


# The work


def index(folder: Path, gallery: str, *, prune: bool = False, kind: str = "none") -> None:
    """Bring an index up to date, in batches and transactions that are small.

    ``kind`` is that of its approximate index, which takes in every new item.
    """
    ingest.COMMIT_FILES, approximate.NEW_ITEMS = 2, 0
    notes = {"model": "/m", approximate.NOTE: kind}
    with Index.open_or_create(folder, SPACE, notes=notes) as opened:
        ingest.ingest(
            opened,
            Path(gallery),
            FakeExtractor(),
            FakeEmbedder(),
            batch_size=3,
            prune=prune,
            matcher=FakeMatcher(),
        )


def export(folder: Path, file: str) -> None:
    """Write all of an index to a Parquet file."""
    with Index.open(folder) as opened:
        export_index(opened, Path(file))


def take_in(folder: Path, file: str) -> None:
    """Take in a Parquet file, in batches and parts that are small."""
    exchange.group_rows = parquet_reader.group_rows = lambda _: 5
    prewrite.READ_AT_ONCE = 8
    import_file(Path(file), folder)


def forget(folder: Path, person: str) -> None:
    """Forget somebody, unless that was done before."""
    with Index.open(folder) as opened:
        if person in {who.key for who in opened.people()}:
            assert opened.forget(person).clean


def migrate(folder: Path) -> None:
    """Open an index of an earlier version."""
    Index.open(folder).close()


WORK: dict[str, Callable[..., None]] = {
    work.__name__: work for work in (index, export, take_in, forget, migrate)
}


class Process:
    """The program, running; a context manager."""

    def __enter__(self) -> Self:
        paths = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a fork has but one
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.helpers.crashing"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def do(
        self, work: str, folder: Path, moment: Moment | None = None, **options: object
    ) -> Ending:
        """Do some work on an index folder; RuntimeError if it failed by itself."""
        job = {
            "work": work, "folder": str(folder), "options": options,
            "moment": None if moment is None else dataclasses.asdict(moment),
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if answer["status"] not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{work} failed:\n{answer['said']}")
        return Ending(answer["status"] == -signal.SIGKILL, answer["points"])


# In the program


class _Points:
    """Counts the points that are passed, and has the process killed at the one it was told."""

    def __init__(self, moment: Moment | None, executioner: int) -> None:
        self.passed: collections.Counter[str] = collections.Counter()
        self._moment, self._executioner = moment, executioner

    def watch(self) -> None:
        """From now on, count; there is no way back."""
        sys.addaudithook(self._hear)
        sync, connect = os.fsync, sqlite3.connect

        def synced(descriptor: int) -> None:
            self.point("before fsync")
            sync(descriptor)
            self.point("after fsync")

        def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self._statement)
            connection.set_progress_handler(self._step, STEPS)
            return connection

        os.fsync, sqlite3.connect = synced, connected

    def point(self, label: str) -> None:
        """Something is about to happen."""
        self.passed[label] += 1
        moment = self._moment
        if moment is None or (label, self.passed[label]) != (moment.label, moment.number + 1):
            return
        if not moment.later_s:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self._executioner, struct.pack("d", moment.later_s))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and _writes(arguments)):
            self.point(f"{event} {Path(os.fsdecode(str(arguments[0]))).suffix}")

    def _statement(self, statement: str) -> None:
        self.point(" ".join(statement.split()[:3]))

    def _step(self) -> None:
        self.point("a step")


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(mode and set(mode) & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR))


def _run(job: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    notes = Path(job["folder"]).with_suffix(".points")
    notes.write_text("{}")
    child = os.fork()
    if not child:
        _work(job, writer, notes)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if told := pipe.read(struct.calcsize("d")):  # nothing if the work ended, however it did
            time.sleep(struct.unpack("d", told)[0])
            os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = notes.read_text()
    notes.unlink()
    points = json.loads(said) if status <= 0 else {}
    return {"status": status, "points": points, "said": said}


def _work(job: dict[str, Any], executioner: int, notes: Path) -> None:
    try:
        moment = None if job["moment"] is None else Moment(**job["moment"])
        points = _Points(moment, executioner)
        points.watch()
        WORK[job["work"]](Path(job["folder"]), **job["options"])
        passed = dict(points.passed)
        notes.write_text(json.dumps(passed))
        os._exit(0)
    except BaseException:
        notes.write_text(traceback.format_exc())
    finally:
        os._exit(1)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()
