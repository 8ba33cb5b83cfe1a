"""avsearch: which faces could this voice have, and which voices this face.

Three lines ask an index::

    index, model = avsearch.open_index(), avsearch.load_model()
    for hit in avsearch.Searcher(index, model).search(avsearch.Media("voice.wav", "voice")):
        print(hit.rank, hit.person, hit.score)

Names are imported when they are first used, so that ``import avsearch`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsearch.annotating import annotate, enrol
    from avsearch.media import MediaExtractor
    from avsearch.models import load_model, load_reranker
    from avsearch.search import Hit, Searcher
    from indexer.errors import AvsearchError, BadRequest, IndexUnusable, RefusedFile
    from indexer.index import Index
    from indexer.ingest import ingest
    from indexer.locate import open_index
    from indexer.types import Box, Media, Space

__version__ = "0.1.0"
__all__ = [
    "AvsearchError",
    "BadRequest",
    "Box",
    "Hit",
    "Index",
    "IndexUnusable",
    "Media",
    "MediaExtractor",
    "RefusedFile",
    "Searcher",
    "Space",
    "annotate",
    "enrol",
    "ingest",
    "load_model",
    "load_reranker",
    "open_index",
]

_HOMES = {
    "avsearch.annotating": ("annotate", "enrol"),
    "avsearch.media": ("MediaExtractor",),
    "avsearch.models": ("load_model", "load_reranker"),
    "avsearch.search": ("Hit", "Searcher"),
    "indexer.errors": ("AvsearchError", "BadRequest", "IndexUnusable", "RefusedFile"),
    "indexer.index": ("Index",),
    "indexer.ingest": ("ingest",),
    "indexer.locate": ("open_index",),
    "indexer.types": ("Box", "Media", "Space"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'avsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
