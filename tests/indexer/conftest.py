from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import SPACE, FakeEmbedder, FakeExtractor
from places import PEOPLE, fill

from indexer import catalog
from indexer.index import Index
from indexer.ingest import IngestReport, ingest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_PRAGMAS", (*catalog._PRAGMAS, "PRAGMA synchronous = OFF"))


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
    """Index the gallery, with fresh stand-ins unless others are given."""

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
