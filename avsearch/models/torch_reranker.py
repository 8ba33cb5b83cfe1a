"""A re-ranker: a trained network of ACIENet or AICANet scores a query against candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.models.checkpoint import Checkpoint
from avsearch.models.torch_embedder import TorchEmbedder
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media, Vectors

_PAIRS = 32  # of one forward pass
_MEMORY = 256 * 2**20  # bytes of cached maps: about 14,000 for a model of the papers' size

Map = NDArray[np.float32]  # (C, h, w)


class TorchReranker:
    """Scores pairs of a query and a candidate, each pair alone.

    The map of an item is computed once and cached while its file does not change. The cache holds
    ``memory`` bytes; the least recently used maps leave it first.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, *, memory: int = _MEMORY
    ) -> None:
        self.name = checkpoint.space.model
        self.record = checkpoint.record
        self.embedder = TorchEmbedder(checkpoint, device)
        self.maps = MapCache(memory)

    @torch.inference_mode()
    def score(self, query: Media, candidates: Sequence[Media]) -> Vectors:
        """Return scores (k,) float32 of candidates of the other modality; larger is nearer.

        A candidate that cannot be read has NaN.

        Raises:
            RefusedFile: The query cannot be read.
            BadRequest: A candidate has the query's modality.
        """
        if any(each.modality == query.modality for each in candidates):
            raise BadRequest(
                f"A re-ranker compares faces with voices; a {query.modality} was asked with, "
                "so want the other modality, or ask without the re-ranker."
            )
        own, *others = self._maps([query, *candidates])
        if isinstance(own, str):
            raise RefusedFile(query.path, own)
        device, interact = self.embedder.device, self.embedder.network.interact
        query_map = torch.from_numpy(own)[None].to(device)
        scores = np.full(len(candidates), np.nan, np.float32)
        readable = [at for at, each in enumerate(others) if not isinstance(each, str)]
        for start in range(0, len(readable), _PAIRS):
            chunk = readable[start : start + _PAIRS]
            maps = torch.from_numpy(np.stack([others[at] for at in chunk])).to(device)
            scores[chunk] = interact(query_map, maps, query.modality).cpu().numpy()
        return scores

    def _maps(self, media: Sequence[Media]) -> list[Map | str]:
        """Return the map of each item, cached or computed, or the reason if it is unreadable.

        A voice longer than the model's window has the mean of the maps of windows that cover it.
        """
        keys = [_cache_key(item) for item in media]
        found: dict[int, Map | str] = {}
        for at, key in enumerate(keys):
            cached = self.maps.get(key)
            if cached is not None:
                found[at] = cached
        missing = [at for at in range(len(media)) if at not in found]
        rows = self.embedder.rows("feature_map", [media[at] for at in missing])
        found |= {missing[at]: reason for at, reason in rows.refusals.items()}
        for place in np.unique(rows.places).tolist():
            at = missing[place]
            found[at] = mean = rows.values[rows.places == place].mean(0)
            self.maps.put(keys[at], mean)
        return [found[at] for at in range(len(media))]


class MapCache:
    """Maps by key in a bounded number of bytes; the least recently used leave first."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.used = 0
        self._maps: OrderedDict[Hashable, Map] = OrderedDict()

    def __len__(self) -> int:
        return len(self._maps)

    def get(self, key: Hashable | None) -> Map | None:
        """Return the map of a key, or None."""
        if key not in self._maps:
            return None
        self._maps.move_to_end(key)
        return self._maps[key]

    def put(self, key: Hashable | None, value: Map) -> None:
        """Add a map; a key of None is ignored."""
        if key is None or key in self._maps:
            return
        self._maps[key] = value
        self.used += value.nbytes
        while self.used > self.memory:
            _, removed = self._maps.popitem(last=False)
            self.used -= removed.nbytes


def _cache_key(item: Media) -> Hashable | None:
    """Return the item with the state of its file; None for an item without a file."""
    if item.data is not None:
        return None
    try:
        state = item.path.stat()
    except OSError:
        return None
    return item, state.st_mtime_ns, state.st_size
