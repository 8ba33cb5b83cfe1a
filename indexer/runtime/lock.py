"""The write lock of an index: an advisory lock on a file in its folder."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from indexer.errors import BadRequest, IndexBusy, os_reason, printable

NAME = "lock"

_threads: dict[str, threading.RLock] = {}  # by the real path of a folder
os.register_at_fork(after_in_child=_threads.clear)  # their holders do not exist in the child


@contextlib.contextmanager
def only_writer(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the write lock of an index folder; readers need none.

    The kernel releases the lock when its holder dies, so none is left behind.

    Args:
        folder: the folder of the index.
        wait: wait for other threads of this process.

    Raises:
        IndexBusy: another process or this very thread holds it, with process, host and time.
        BadRequest: the folder cannot be written to.
    """
    with _only_thread(folder, wait=wait), _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IndexBusy(_busy_message(file, folder)) from error
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": os.uname().nodename, "since": since}
        _write(file, json.dumps(holder))
        try:
            yield
        finally:
            _write(file, "")


@contextlib.contextmanager
def _only_thread(folder: Path, *, wait: bool) -> Iterator[None]:
    lock = _threads.setdefault(os.path.realpath(folder), threading.RLock())
    if not lock.acquire(blocking=wait):
        raise IndexBusy(f"{printable(folder)} is being written to by another thread; try again.")
    try:
        yield
    finally:
        lock.release()


def _lock_file(folder: Path) -> FileIO:
    try:
        return FileIO(folder / NAME, "a+")
    except OSError as error:
        raise BadRequest(
            f"{printable(folder)} cannot be written to: {os_reason(error, 'use another folder')}."
        ) from error


def _write(file: FileIO, text: str) -> None:
    """Write the holder of the lock; a full disk is ignored."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(text.encode())


def _busy_message(file: FileIO, folder: Path) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read() or b"")
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has not written its name yet
        who = "another process"
    return f"{printable(folder)} is being written to by {who}; wait for it to end, or stop it."
