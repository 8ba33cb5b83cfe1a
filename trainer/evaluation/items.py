"""The items of an evaluation: media with vectors, their people, and the people's attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import BadRequest, printable
from indexer.index import Index
from indexer.tables.people import find_people, read_people
from indexer.types import Embedder, Media, Modality
from indexer.unicode_names import DiskNames, normalised
from trainer.data.features import read_feature_file
from trainer.evaluation.scorers import Floats, VectorScorer
from trainer.protocols.generate import Attributes
from trainer.protocols.trials import Items, Register
from trainer.protocols.voxceleb_people import People


@dataclasses.dataclass(frozen=True, slots=True)
class EvalItems:
    """Items with their vectors, the attributes of their people, and their media by item name."""

    items: Items
    scorer: VectorScorer
    attributes: Attributes
    media: dict[str, Media]

    def restrict(self, paths: frozenset[str]) -> EvalItems:
        """Return the items of these names; people and recordings keep their numbers."""
        chosen = np.flatnonzero([path in paths for path in self.items.paths])
        items = dataclasses.replace(
            self.items,
            paths=tuple(self.items.paths[at] for at in chosen),
            modalities=tuple(self.items.modalities[at] for at in chosen),
            people=self.items.people[chosen],
            videos=self.items.videos[chosen],
        )
        return dataclasses.replace(self, items=items)


def index_items(index: Index) -> EvalItems:
    """Return all items of an index; an item's recording is its file.

    An item is named by its file and the part of it, so that indexes of other models share names.

    Raises:
        BadRequest: The index has no items.
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
        end = "" if item.end_s is None else f"-{item.end_s:.3f}"
        box = "" if item.box is None else " " + ",".join(f"{side:.1f}" for side in item.box)
        name = f"{item.path}#{item.modality} {item.start_s:.3f}{end}{box}"
        person = normalised(item.person.key)
        if register.place(name) is not None:  # the same segment under two people
            name = f"{name} {person}"
        register.add(name, item.modality, person, str(item.path))
        media[name] = Media(item.path, item.modality, item.start_s, item.end_s, item.box)
        attributes[person] = item.person.cells()
    items = register.items()
    return EvalItems(items, VectorScorer(items.paths, _unit(vectors)), attributes, media)


def feature_items(path: Path) -> EvalItems:
    """Return all rows of a feature file, with the attributes of the ``people.csv`` beside it.

    Raises:
        BadRequest: The file is wrong, or faces and voices have vectors of different lengths.
    """
    tables = read_feature_file(path)
    beside = find_people(path.parent)
    known = {} if beside is None else read_people(beside)
    register, rows = Register(), []
    for modality, table in tables.items():
        for name, person in zip(table.paths, table.people, strict=True):
            register.add(name, modality, person)
        rows.append(np.asarray(table.values, np.float32))
    if len({one.shape[1:] for one in rows}) > 1 or rows[0].ndim != 2:
        shapes = " and ".join(str(one.shape) for one in rows)
        raise BadRequest(
            f"{printable(path)}: arrays of {shapes} are not vectors of one space; an evaluation "
            "compares what a model made of both modalities."
        )
    items = register.items()
    if len(items) != sum(map(len, rows)):
        raise BadRequest(f"{printable(path)} names a path twice; give each one row.")
    attributes = {key: known[key].cells() if key in known else {} for key in items.names}
    return EvalItems(items, VectorScorer(items.paths, _unit(np.concatenate(rows))), attributes, {})


def file_vectors(indexed: EvalItems, items: Items, media: Mapping[str, Media]) -> VectorScorer:
    """Return an index's vectors for the files of a list: the mean over a file's items.

    Args:
        indexed: The items of the index.
        items: The items of the list.
        media: The files by item name; an item that is not in it is at its own path.

    Raises:
        BadRequest: A file is not in the index.
    """
    rows: dict[tuple[Path, Modality], list[int]] = {}
    for place, path in enumerate(indexed.items.paths):
        own = indexed.media[path]
        rows.setdefault((own.path.resolve(), own.modality), []).append(place)
    vectors = []
    for path, modality in zip(items.paths, items.modalities, strict=True):
        file = media[path].path if path in media else Path(path)
        found = rows.get((file.resolve(), modality))
        if found is None:
            raise BadRequest(
                f"The index has no {modality} of {printable(file)}; index the list's media, and "
                "name by --media the folder its paths begin in."
            )
        vectors.append(indexed.scorer.vectors[found].mean(0))
    return VectorScorer(items.paths, _unit(np.array(vectors)))


def attributes_of(people: People) -> Attributes:
    """Return the gender and nationality of VoxCeleb1 people, by their VGGFace names."""
    return {who.name: {"gender": who.gender, "nationality": who.nationality} for who in people}


def media_under(folder: Path, items: Items) -> dict[str, Media]:
    """Return the media of a list whose paths are relative to a folder.

    Raises:
        BadRequest: A file is missing.
    """
    disk = DiskNames()
    found = {
        path: Media(disk.find(folder / path), modality)
        for path, modality in zip(items.paths, items.modalities, strict=True)
    }
    absent = [media.path for media in found.values() if not media.path.is_file()]
    if absent:
        raise BadRequest(
            f"{len(absent)} of {len(found)} media of the list are not there, {absent[0]} the "
            "first; name the folder that the list's paths begin in."
        )
    return found


def embed_items(
    paths: Sequence[str], media: Mapping[str, Media], embedder: Embedder
) -> VectorScorer:
    """Embed the media of these items.

    Raises:
        BadRequest: The embedder rejects one of them.
    """
    found = embedder.embed([media[path] for path in paths])
    if found.refusals:
        at, reason = next(iter(found.refusals.items()))
        raise BadRequest(
            f"{len(found.refusals)} of {len(paths)} media cannot be embedded, "
            f"{paths[at]} the first: {reason}"
        )
    return VectorScorer(paths, _unit(found.vectors))


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
