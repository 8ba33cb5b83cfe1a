"""From what each place of data gives to one data set: people numbered, attributes as numbers."""

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
    """One modality of a place: a source and, of every row of it, the person's name."""

    source: InputSource
    people: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class DataSource:
    """What one place of data gives; ``known`` is what its tables say of people, by name."""

    name: str  # for messages
    faces: SourceItems | None
    voices: SourceItems | None
    known: Mapping[str, Person]


def assemble(places: Sequence[DataSource]) -> DataSet:
    """One data set of all places; equal names are one person, numbered in the order of names.

    Raises BadRequest for a gender that is neither f nor m, for places that say different things
    of one person, for features of different shapes, and where one modality is missing.
    """
    faces = [place.faces for place in places if place.faces is not None]
    voices = [place.voices for place in places if place.voices is not None]
    names = sorted({name for items in (*faces, *voices) for name in items.people})
    numbers = {name: number for number, name in enumerate(names)}
    genders = [_agreed(places, name, "gender") for name in names]
    nationalities = [_agreed(places, name, "nationality") for name in names]
    gender_of = np.array([GENDERS.get(gender or "", UNKNOWN) for gender in genders], np.int64)
    country_of = _countries(nationalities)

    def side(items: Sequence[SourceItems], what: str) -> Side:
        people = np.array([numbers[name] for one in items for name in one.people], np.int64)
        source = _joined([one.source for one in items], what)
        rows = np.arange(len(people))
        return Side(source, rows, people, people, gender_of[people], country_of[people])

    return DataSet(side(faces, "faces"), side(voices, "voices"), tuple(names))


def _agreed(places: Sequence[DataSource], name: str, what: str) -> str | None:
    """What the places that say something of a person say; they must not differ."""
    found: str | None = None
    for place in places:
        said = getattr(place.known.get(name), what, None)
        if said is None:
            continue
        if what == "gender" and said not in GENDERS:
            raise BadRequest(
                f"{place.name}: the gender of {name} is {said!r}; write f or m, or leave it empty."
            )
        if found is not None and found != said:
            raise BadRequest(
                f"{place.name}: the {what} of {name} is {said!r}, but other data says {found!r}."
            )
        found = said
    return found


def _countries(nationalities: Sequence[str | None]) -> Ints:
    """Nationalities as numbers, that of the most people first, ties in the order of names."""
    counts = collections.Counter(country for country in nationalities if country is not None)
    order = sorted(counts, key=lambda country: (-counts[country], country))
    return np.array([order.index(c) if c is not None else UNKNOWN for c in nationalities], np.int64)


def _joined(sources: Sequence[InputSource], what: str) -> InputSource:
    shapes = {source.features for source in sources}
    if not sources:
        raise BadRequest(NO_MODALITY.format(what))
    if len(shapes) > 1:
        told = " and ".join(str(shape or "media") for shape in sorted(shapes))
        raise BadRequest(f"The {what} of the data are of different shapes: {told}.")
    return sources[0] if len(sources) == 1 else JoinedSource(sources)
