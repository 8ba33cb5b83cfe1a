"""A training set from galleries: the folders and people.csv that an index reads too."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from avsearch.media import MediaExtractor, kind_of
from indexer.errors import BadRequest, RefusedFile
from indexer.ingest.scan import scan
from indexer.records import Source
from indexer.types import Media, Modality
from trainer.data.pcm import pcm
from trainer.recipes.in_memory import FACE_SIZE, Side, TrainingSet

LABELS = {"f": 0, "m": 1}  # the class that faces and voices of different people share


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One decoded item: a face (160, 160, 3) uint8 or a voice (samples,) int16 at 16 kHz."""

    person: str  # the name of the gallery, a slash, and the person's folder
    gender: str
    modality: Modality
    path: Path
    data: NDArray[Any]


def read_gallery(
    gallery: Path, extractor: MediaExtractor, wanted: Container[str] | None = None
) -> list[Example]:
    """Every item of a gallery whose person's gender is known; files that are refused are left out.

    Of several faces in a picture the largest is taken, and how many were left out is said.
    ``wanted`` are the people to read, by gallery and folder as in :class:`Example`; None means
    all. Raises BadRequest for a gallery that gives nothing, unless it was asked for some.
    """
    found = scan(gallery, extractor.kind)
    genders = {key: person.gender for key, person in found.people.items()}
    sources = [
        source
        for source in found.sources
        if genders.get(source.person) in LABELS
        and (wanted is None or f"{gallery.name}/{source.person}" in wanted)
    ]
    with ThreadPoolExecutor(2) as pool:
        read = pool.map(lambda source: list(_items(source, extractor)), sources)
        bar = tqdm(read, gallery.name, len(sources), unit="file", disable=None)
        found_in = [(source, *_one_face(items)) for source, items in zip(sources, bar, strict=True)]
    examples = [
        _example(f"{gallery.name}/{source.person}", str(genders[source.person]), media)
        for source, items, _ in found_in
        for media in items
    ]
    if left_out := sum(count for *_, count in found_in):
        click.echo(f"{gallery.name}: {left_out} faces beside the largest of pictures left out.")
    if not examples and wanted is None:
        raise BadRequest(f"{gallery} holds no media of people whose gender its people.csv gives.")
    return examples


def training_set(examples: Sequence[Example]) -> TrainingSet:
    """Examples as a training set; people are numbered in the order of their names."""
    numbers = {name: number for number, name in enumerate(sorted({e.person for e in examples}))}

    def side(modality: Modality) -> Side[Any]:
        own = [e for e in examples if e.modality == modality]
        return Side(
            [e.data for e in own],
            np.array([numbers[e.person] for e in own], np.int64),
            np.array([LABELS[e.gender] for e in own], np.int64),
        )

    return TrainingSet(side("face"), side("voice"))


def _items(source: Source, extractor: MediaExtractor) -> Iterator[Media]:
    try:
        yield from extractor.extract(source.path, source.modality)
    except RefusedFile:
        return


def _one_face(items: list[Media]) -> tuple[list[Media], int]:
    """The items of a file, of a picture the largest face alone, and how many were left out."""
    if not items or kind_of(items[0].path) != "image":
        return items, 0
    return items[:1], len(items) - 1


def _example(person: str, gender: str, media: Media) -> Example:
    data: Any = media.data
    if media.modality == "face":
        picture = Image.fromarray(data).resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR)
        data = np.asarray(picture)
    else:
        data = pcm(data)
    return Example(person, gender, media.modality, media.path, data)
