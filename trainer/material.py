"""What an evaluation is made on: media with vectors, whose they are, and what is known of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from indexer.errors import BadRequest
from indexer.index import Index
from indexer.types import Embedder, Media
from trainer.protocols.generate import Attributes
from trainer.protocols.people import People
from trainer.protocols.trials import Items, Register
from trainer.scorers import Scores, VectorScorer


@dataclasses.dataclass(frozen=True, slots=True)
class Material:
    """Items, their vectors, what is known of their people, and where their media are."""

    items: Items
    scorer: VectorScorer
    attributes: Attributes
    media: dict[str, Media]  # by the item's name


def material_of(index: Index) -> Material:
    """All items of an index; one is named by its file and number, its recording is its file.

    Raises BadRequest for an index without items.
    """
    with index.catalog.read() as read:
        ids, _, _ = read.owners()
        if not len(ids):
            raise BadRequest("The index holds no items; there is nothing to evaluate.")
        found = read.items(ids)
        vectors = read.vectors(ids)
    register, media, attributes = Register(), {}, {}
    for number in ids.tolist():
        item = found[number]
        name = f"{item.path}#{number}"
        register.add(name, item.modality, item.person.key, str(item.path))
        media[name] = Media(item.path, item.modality, item.start_s, item.end_s, item.box)
        attributes[item.person.key] = item.person.cells()
    items = register.items()
    return Material(items, VectorScorer(items.paths, _unit(vectors)), attributes, media)


def attributes_of(people: People) -> Attributes:
    """What a table of VoxCeleb1 people knows, by their VGGFace names."""
    return {who.name: {"gender": who.gender, "nationality": who.nationality} for who in people}


def media_under(folder: Path, items: Items) -> dict[str, Media]:
    """The media of a list whose paths are relative to a folder.

    Raises BadRequest where one is not there.
    """
    found = {
        path: Media(folder / path, modality)
        for path, modality in zip(items.paths, items.modalities, strict=True)
    }
    absent = [media.path for media in found.values() if not media.path.is_file()]
    if absent:
        raise BadRequest(
            f"{len(absent)} of {len(found)} media of the list are not there, {absent[0]} the "
            "first; name the folder that the list's paths begin in."
        )
    return found


def embedded(items: Items, media: dict[str, Media], embedder: Embedder) -> VectorScorer:
    """Vectors of all items; BadRequest names one that the embedder refused."""
    found = embedder.embed([media[path] for path in items.paths])
    if found.refusals:
        at, reason = next(iter(found.refusals.items()))
        raise BadRequest(
            f"{len(found.refusals)} of {len(items)} media cannot be embedded, "
            f"{items.paths[at]} the first: {reason}"
        )
    return VectorScorer(items.paths, _unit(found.vectors))


def _unit(vectors: Scores) -> Scores:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Scores = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
