"""Assemble data sources into one data set, with people and attributes as numbers."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from avsearch.models.layers.batch import UNKNOWN
from indexer.errors import BadRequest
from indexer.records import Person
from trainer.data.dataset import NO_MODALITY, DataSet, InputSource, Ints, Side
from trainer.data.sources import JoinedSource

GENDERS = {"f": 0, "m": 1}


@dataclasses.dataclass(frozen=True, slots=True)
class SourceItems:
    """One modality of a data source: the inputs, and the person's name for every row."""

    source: InputSource
    people: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class DataSource:
    """A data source: its faces and voices, and the known people of its tables by name."""

    name: str  # for messages
    faces: SourceItems | None
    voices: SourceItems | None
    known: Mapping[str, Person]


def assemble(sources: Sequence[DataSource]) -> DataSet:
    """Return one data set of all sources; people are numbered in the order of their names.

    Equal names in several sources are one person.

    Raises:
        BadRequest: A gender is neither f nor m, sources disagree about a person, features have
            different shapes, or a modality is missing.
    """
    faces = [source.faces for source in sources if source.faces is not None]
    voices = [source.voices for source in sources if source.voices is not None]
    names = sorted({name for items in (*faces, *voices) for name in items.people})
    numbers = {name: number for number, name in enumerate(names)}
    genders = [_agreed(sources, name, "gender") for name in names]
    nationalities = [_agreed(sources, name, "nationality") for name in names]
    gender_of = np.array([GENDERS.get(gender or "", UNKNOWN) for gender in genders], np.int64)
    country_of = _countries(nationalities)

    def side(items: Sequence[SourceItems], modality: str) -> Side:
        people = np.array([numbers[name] for one in items for name in one.people], np.int64)
        source = _joined([one.source for one in items], modality)
        rows = np.arange(len(people))
        return Side(source, rows, people, people, gender_of[people], country_of[people])

    return DataSet(side(faces, "faces"), side(voices, "voices"), tuple(names))


def _agreed(sources: Sequence[DataSource], name: str, what: str) -> str | None:
    """The value of a person's attribute, in which all sources that have it must agree."""
    found: str | None = None
    for source in sources:
        value = getattr(source.known.get(name), what, None)
        if value is None:
            continue
        if what == "gender" and value not in GENDERS:
            raise BadRequest(
                f"{source.name}: the gender of {name} is {value!r}; write f, m or nothing."
            )
        if found is not None and found != value:
            raise BadRequest(
                f"{source.name}: the {what} of {name} is {value!r}, but other data says {found!r}."
            )
        found = value
    return found


def _countries(nationalities: Sequence[str | None]) -> Ints:
    """Number nationalities by how many people have them, ties in the order of names."""
    counts = collections.Counter(country for country in nationalities if country is not None)
    order = sorted(counts, key=lambda country: (-counts[country], country))
    return np.array([order.index(c) if c is not None else UNKNOWN for c in nationalities], np.int64)


def _joined(sources: Sequence[InputSource], modality: str) -> InputSource:
    shapes = {source.features for source in sources}
    if not sources:
        raise BadRequest(NO_MODALITY.format(modality))
    if len(shapes) > 1:
        described = " and ".join(str(shape or "media") for shape in sorted(shapes))
        raise BadRequest(f"The {modality} of the data have different shapes: {described}.")
    return sources[0] if len(sources) == 1 else JoinedSource(sources)
