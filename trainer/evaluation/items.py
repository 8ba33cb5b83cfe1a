"""What an evaluation is made on: media with vectors, whose they are, and what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexer.errors import BadRequest, printable
from indexer.index import Index
from indexer.records import Item
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
    """Items, their vectors, what is known of their people, and where their media are."""

    items: Items
    scorer: VectorScorer
    attributes: Attributes
    media: dict[str, Media]  # by the item's name


def material_of(index: Index) -> EvalItems:
    """All items of an index; an item's recording is its file.

    Its name says the part of the file it is, so that indexes of other models share it. Raises
    BadRequest for an index without items.
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
        name, person = _name(item), normalised(item.person.key)
        if register.place(name) is not None:  # the same stretch under two people
            name = f"{name} {person}"
        register.add(name, item.modality, person, str(item.path))
        media[name] = Media(item.path, item.modality, item.start_s, item.end_s, item.box)
        attributes[person] = item.person.cells()
    items = register.items()
    return EvalItems(items, VectorScorer(items.paths, _unit(vectors)), attributes, media)


def material_of_features(path: Path) -> EvalItems:
    """All rows of a feature file, whose vectors of both modalities are of one space.

    What is known of the people stands in ``people.csv`` beside the file. Raises BadRequest for a
    file that is wrong, and where faces and voices have vectors of different lengths.
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


def by_file(material: EvalItems, items: Items, media: Mapping[str, Media]) -> VectorScorer:
    """Vectors of a list's files as an index has them: the mean of a file's items.

    Files are where ``media`` has them, else where the list says. Raises BadRequest where one is
    not in the index.
    """
    rows: dict[tuple[Path, Modality], list[int]] = {}
    for place, path in enumerate(material.items.paths):
        own = material.media[path]
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
        vectors.append(material.scorer.vectors[found].mean(0))
    return VectorScorer(items.paths, _unit(np.array(vectors)))


def attributes_of(people: People) -> Attributes:
    """What a table of VoxCeleb1 people knows, by their VGGFace names."""
    return {who.name: {"gender": who.gender, "nationality": who.nationality} for who in people}


def media_under(folder: Path, items: Items) -> dict[str, Media]:
    """The media of a list whose paths are relative to a folder.

    Raises BadRequest where one is not there.
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


def embedded(paths: Sequence[str], media: Mapping[str, Media], embedder: Embedder) -> VectorScorer:
    """Vectors of these media; BadRequest names one that the embedder refused."""
    found = embedder.embed([media[path] for path in paths])
    if found.refusals:
        at, reason = next(iter(found.refusals.items()))
        raise BadRequest(
            f"{len(found.refusals)} of {len(paths)} media cannot be embedded, "
            f"{paths[at]} the first: {reason}"
        )
    return VectorScorer(paths, _unit(found.vectors))


def _name(item: Item) -> str:
    """An item by its file and the part of it that it is."""
    end = "" if item.end_s is None else f"-{item.end_s:.3f}"
    box = "" if item.box is None else " " + ",".join(f"{side:.1f}" for side in item.box)
    return f"{item.path}#{item.modality} {item.start_s:.3f}{end}{box}"


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
