"""A trained network of pairs as a re-ranker: a query and candidates in, scores out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from avsearch.models.checkpoint import Checkpoint
from avsearch.models.embed_media import Forward, Rows
from avsearch.models.torch_runtime import TorchPasses
from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media, Vectors

_PAIRS = 32  # of one forward pass
_MEMORY = 256 * 2**20  # bytes of maps that are kept: about 14,000 of a model of the papers' size

Map = NDArray[np.float32]  # (C, h, w)


class TorchReranker:
    """Scores candidates against a query with a network of ACIENet or AICANet.

    The map of an item is computed once and kept, as long as its file does not change and
    ``memory`` bytes hold it; those that were not asked for the longest go first.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, *, memory: int = _MEMORY
    ) -> None:
        self.name = checkpoint.space.model
        self.record = checkpoint.record
        self.passes = TorchPasses(checkpoint.network, device)
        self.forward = Forward(self.passes)
        self.maps = KeptMaps(memory)

    def score(self, query: Media, candidates: Sequence[Media]) -> Vectors:
        """(k,) float32 scores of candidates of the other modality, larger is nearer.

        Each pair is scored alone. NaN for a candidate that cannot be read. Raises RefusedFile
        where the query cannot be, BadRequest for a candidate of the query's modality.
        """
        if any(each.modality == query.modality for each in candidates):
            raise BadRequest(
                f"A re-ranker compares faces with voices; a {query.modality} was asked with, "
                "so want the other modality, or ask without the re-ranker."
            )
        found = self._maps([query, *candidates])
        if isinstance(found[0], str):
            raise RefusedFile(query.path, found[0])
        scores = np.full(len(candidates), np.nan, np.float32)
        taken = [at for at, each in enumerate(found[1:]) if not isinstance(each, str)]
        for start in range(0, len(taken), _PAIRS):
            chunk = taken[start : start + _PAIRS]
            scores[chunk] = self._interact(query, found[0], [found[1 + at] for at in chunk])
        return scores

    @torch.inference_mode()
    def _interact(self, query: Media, own: Map, others: Sequence[Map | str]) -> Vectors:
        """Scores (k,) of a query's map against those of candidates."""
        asked = torch.from_numpy(own)[None].to(self.passes.device)
        shown = torch.from_numpy(np.stack(others)).to(self.passes.device)
        scores: Vectors = self.passes.network.interact(asked, shown, query.modality).cpu().numpy()
        return scores

    def _maps(self, media: Sequence[Media]) -> list[Map | str]:
        """The map of each item, kept or computed, or why there is none."""
        keys = [_key(item) for item in media]
        found: dict[int, Map | str] = {}
        for at, key in enumerate(keys):
            kept = self.maps.get(key)
            if kept is not None:
                found[at] = kept
        missing = [at for at in range(len(media)) if at not in found]
        rows = self.forward.run("feature_map", [media[at] for at in missing])
        found |= {missing[at]: reason for at, reason in rows.refusals.items()}
        for at, value in _mean_maps(rows):
            found[missing[at]] = value
            self.maps.put(keys[missing[at]], value)
        return [found[at] for at in range(len(media))]


class KeptMaps:
    """Maps by key, in a bounded number of bytes; the longest unused go first."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.used = 0
        self._maps: OrderedDict[Hashable, Map] = OrderedDict()

    def __len__(self) -> int:
        return len(self._maps)

    def get(self, key: Hashable | None) -> Map | None:
        """The map of a key, None where it is not kept; the key None is of nothing."""
        if key not in self._maps:
            return None
        self._maps.move_to_end(key)
        return self._maps[key]

    def put(self, key: Hashable | None, value: Map) -> None:
        """Keep a map, in place of others if need be."""
        if key is None or key in self._maps:
            return
        self._maps[key] = value
        self.used += value.nbytes
        while self.used > self.memory:
            _, gone = self._maps.popitem(last=False)
            self.used -= gone.nbytes


def _key(item: Media) -> Hashable | None:
    """What a map is kept by: the item and the state of its file; None where it has none."""
    if item.data is not None:
        return None
    try:
        state = item.path.stat()
    except OSError:
        return None
    return item, state.st_mtime_ns, state.st_size


def _mean_maps(rows: Rows) -> Iterator[tuple[int, Map]]:
    """The mean of each item's rows, with its position.

    A voice longer than the model's window is the mean of windows that cover it.
    """
    firsts = np.flatnonzero(np.diff(rows.places, prepend=-1))
    for own in np.split(np.arange(len(rows.places)), firsts[1:]):
        if len(own):
            yield int(rows.places[own[0]]), rows.values[own].mean(0)
