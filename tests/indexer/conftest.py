from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.catalog import connection
from indexer.index import Index
from indexer.ingest.ingest import IngestReport, ingest
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor
from tests.helpers.places import PEOPLE, fill

NOBODY = 65534  # the user of no rights, by convention


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PRAGMAS", (*connection._PRAGMAS, "PRAGMA synchronous = OFF"))


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    files = {
        "people.csv": PEOPLE,
        "ann/one.wav": "voice: ann one\nvoice: ann two\n",
        "ann/deep/er/face.jpg": "face: ann\n",
        "bob/talk.wav": "voice: bob\n",
        "bob/film.mp4": "face: bob\nvoice: bob film\n",
        "cid/face.jpg": "face: cid\n",
    }
    return fill(tmp_path / "gallery", files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".avsearch"


@pytest.fixture
def run(folder: Path, gallery: Path) -> Callable[..., IngestReport]:
    """Index the gallery, by default with new fakes."""

    def go(galleries=gallery, extractor=None, embedder=None, **options) -> IngestReport:
        with Index.open_or_create(folder, SPACE) as index:
            return ingest(
                index,
                galleries,
                extractor or FakeExtractor(),
                embedder or FakeEmbedder(),
                **options,
            )

    return go


@pytest.fixture
def index(run: Callable[..., IngestReport], folder: Path) -> Iterator[Index]:
    run()
    with Index.open(folder) as opened:
        yield opened


@pytest.fixture
def unprivileged() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """Run as a user who may read a folder with its files and write nothing."""
    if os.geteuid() and os.access("/", os.W_OK):
        pytest.skip("this system lets every user write everywhere")
    return _unprivileged


@contextlib.contextmanager
def _unprivileged(folder: Path) -> Iterator[None]:
    was, modes = os.geteuid(), _closed(folder)
    try:
        if was == 0:  # root ignores permissions
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(was)
        for place, mode in modes.items():
            if place.exists() and stat.S_IMODE(place.stat().st_mode) != mode:
                place.chmod(mode)


def _closed(folder: Path) -> dict[Path, int]:
    """Make a folder read-only for all users, and return the old permissions."""
    inside = (folder, *folder.rglob("*"))
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in (*folder.parents, *inside)}
    for place in inside:
        place.chmod(0o555 if place.is_dir() else 0o444)
    for place in folder.parents:
        if modes[place] & 0o111 != 0o111:
            place.chmod(modes[place] | 0o111)
    return modes
