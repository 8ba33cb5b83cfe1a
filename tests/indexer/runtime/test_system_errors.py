"""Messages on files that the system refuses: its reason, and no other."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.identification.evidence_matrix import read_calibrations
from avsearch.media.open_file import opened
from avsearch.models.checkpoint import load_checkpoint
from avsearch.models.pretrained import read_face_trunk
from avsearch.models.registry import MODELS
from indexer.catalog import connection
from indexer.errors import AvsearchError, os_reason
from indexer.ingest.read_file import file_sha256
from indexer.runtime.lock import only_writer
from indexer.tables.people import read_people
from trainer.data.mmap_arrays import map_npz, map_safetensors
from trainer.protocols.text_file import read_lines
from trainer.protocols.vfal_pickle import read_pickle
from trainer.training.resume import read_state


def _open_media(path: Path) -> None:
    with opened(path):
        pass


def _lock(path: Path) -> None:
    with only_writer(path.parent):
        pass


READERS: dict[str, Callable[[Path], Any]] = {
    "calibrations": read_calibrations,
    "checkpoint": lambda path: load_checkpoint(path, MODELS),
    "face trunk": read_face_trunk,
    "hash": file_sha256,
    "lines": read_lines,
    "lock": _lock,
    "media": _open_media,
    "npz": map_npz,
    "people": read_people,
    "pickle": read_pickle,
    "safetensors": map_safetensors,
    "state": read_state,
    "turns": read_diarization,
}
ADVICE = {
    errno.EACCES: "permission",
    errno.EIO: None,
    errno.EMFILE: "ulimit",
    errno.ENOSPC: "make room",
    errno.EROFS: "another disk",
    errno.ESTALE: None,
}


@pytest.mark.parametrize("number", ADVICE)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_cannot_be_opened_is_refused_with_the_systems_reason_alone(
    reader: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"content")

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("indexer.runtime.lock.FileIO", refuse)
    with pytest.raises(AvsearchError) as caught:
        READERS[reader](path)
    said = str(caught.value).lower()
    assert os.strerror(number).lower() in said or (reader, number) == ("media", errno.EACCES)
    words = {word for word in ADVICE.values() if word}
    assert {word for word in words if word in said.replace("permission denied", "")} <= {
        ADVICE[number]
    }
    assert all(word not in said for word in ("cut short", "damaged", "corrupt", "not there"))


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_advice_follows_from_the_number_of_the_error(number: int) -> None:
    reason = os_reason(OSError(number, os.strerror(number)))
    assert reason.startswith(os.strerror(number))
    assert ("permissions" in reason) == (number in (errno.EACCES, errno.EPERM))
    assert ("room" in reason) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_an_error_without_a_number_has_its_own_words() -> None:
    assert os_reason(OSError("Could not load this library: x")) == "Could not load this library: x"
    assert os_reason(OSError("odd"), "name another") == "odd; name another"
    full = OSError(errno.ENOSPC, "No space left on device")
    assert os_reason(full, "name another") == "No space left on device; make room, or name another"


@pytest.mark.parametrize(("left", "full"), [(4096, True), (1 << 40, False)])
def test_a_database_that_cannot_be_written_tells_how_full_its_disk_is(
    left: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.shutil, "disk_usage", lambda _: SimpleNamespace(free=left))
    said = _said_of(tmp_path / "catalog.sqlite", sqlite3.SQLITE_IOERR_WRITE, "disk I/O error")
    assert "(disk I/O error, SQLITE_IOERR_WRITE)" in said
    assert ("4,096 bytes left, make room" in said) == full


def test_a_database_that_cannot_be_opened_tells_what_its_permissions_are(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    words = (path, sqlite3.SQLITE_CANTOPEN, "unable to open database file")
    assert _said_of(*words).endswith("cannot be opened (unable to open database file).")


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ({os.R_OK}, "its permissions do not let it be read"),
        ({os.W_OK}, "its permissions do not let it be written to"),
    ],
)
def test_permissions_are_named_where_they_are_in_the_way(
    closed: set[int], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite"
    path.touch()
    monkeypatch.setattr(os, "access", lambda _, mode, **__: mode not in closed)
    monkeypatch.setattr(connection, "writable", lambda _: True)
    assert _said_of(path, sqlite3.SQLITE_CANTOPEN, "unable to open").endswith(f"; {words}.")


def _said_of(path: Path, code: int, words: str) -> str:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    names = {value: name for name, value in vars(sqlite3).items() if name.startswith("SQLITE_")}
    error.sqlite_errorname = names[code]
    with pytest.raises(AvsearchError) as caught, connection.sqlite_errors(path):
        raise error
    return str(caught.value)
