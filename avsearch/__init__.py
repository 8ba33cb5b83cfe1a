"""avsearch: find the faces that a voice could have, and the voices of a face.

::

    import avsearch

    with avsearch.open("gallery") as index:       # the folder of the index, or one above it
        index.add("./gallery")                    # a folder per person; only what is new is read
        for hit in index.query("voice.wav", top=10, where={"gender": "f"}):
            print(hit.rank, hit.person, hit.score)

``query`` takes a file, ``person=`` or ``vectors=``; ``query_many`` takes many files. ``annotate``
names the speakers of a recording and ``enrol`` adds them to the index. ``forget``, ``verify``,
``export`` and ``import_vectors`` do what the verbs of the command line do.

Names are imported on first use, so ``import avsearch`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsearch.annotation.enrol import Enrolled
    from avsearch.annotation.result import Annotated
    from avsearch.api import MediaIndex, open  # noqa: A004
    from avsearch.media import MediaExtractor
    from avsearch.models import load_model, load_reranker
    from avsearch.search import Answer, Hit
    from indexer.errors import (
        AvsearchError,
        BadRequest,
        Diverged,
        ForeignSpace,
        IndexBusy,
        IndexDamaged,
        IndexUnusable,
        LaterIndex,
        LibraryUnusable,
        NoIndex,
        NotInFile,
        RefusedFile,
    )
    from indexer.ingest.ingest import IngestReport
    from indexer.maintenance.erase import Receipt
    from indexer.records import Person
    from indexer.types import Box, Embedded, Media, Space

__version__ = "0.1.0"
__all__ = [
    "Annotated",
    "Answer",
    "AvsearchError",
    "BadRequest",
    "Box",
    "Diverged",
    "Embedded",
    "Enrolled",
    "ForeignSpace",
    "Hit",
    "IndexBusy",
    "IndexDamaged",
    "IndexUnusable",
    "IngestReport",
    "LaterIndex",
    "LibraryUnusable",
    "Media",
    "MediaExtractor",
    "MediaIndex",
    "NoIndex",
    "NotInFile",
    "Person",
    "Receipt",
    "RefusedFile",
    "Space",
    "load_model",
    "load_reranker",
    "open",
]

_HOMES = {
    "avsearch.annotation.enrol": ("Enrolled",),
    "avsearch.annotation.result": ("Annotated",),
    "avsearch.api": ("MediaIndex", "open"),
    "avsearch.media": ("MediaExtractor",),
    "avsearch.models": ("load_model", "load_reranker"),
    "avsearch.search": ("Answer", "Hit"),
    "indexer.maintenance.erase": ("Receipt",),
    "indexer.errors": (
        *("AvsearchError", "BadRequest", "Diverged", "ForeignSpace", "IndexBusy", "IndexDamaged"),
        *("IndexUnusable", "LaterIndex", "LibraryUnusable", "NoIndex", "NotInFile", "RefusedFile"),
    ),
    "indexer.ingest.ingest": ("IngestReport",),
    "indexer.records": ("Person",),
    "indexer.types": ("Box", "Embedded", "Media", "Space"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'avsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
