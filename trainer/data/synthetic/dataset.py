"""The synthetic world as a data source: ``synthetic:people=600,takes=4,shared=0.8``."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from indexer.errors import BadRequest
from indexer.records import Person
from indexer.types import Media
from trainer.data.prepared_cache import PrepareJob
from trainer.data.synthetic.world import SyntheticPerson, World, WorldSettings

NAME = "synthetic"
VERSION = 1  # of the rendering; a new number renders everybody again


@dataclasses.dataclass(frozen=True, slots=True)
class SyntheticSet:
    """A part of a world: people from a first number on, and takes of each."""

    people: int = 600
    takes: int = 4  # faces, and as many voices
    first: int = 0
    seed: int = 0
    seconds: float = 4.0  # of a voice
    world: WorldSettings = dataclasses.field(default_factory=WorldSettings)

    @property
    def spec(self) -> str:
        """The text from which :func:`parse_synthetic` makes this set."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        settings = {**own, **dataclasses.asdict(self.world)}
        del settings["world"]
        return f"{NAME}:" + ",".join(f"{name}={value}" for name, value in settings.items())


def parse_synthetic(spec: str) -> SyntheticSet:
    """Return a set from its text, with any settings of the set and of its world.

    Raises:
        BadRequest: A setting is unknown, or no number.
    """
    own = {field.name: field.type for field in dataclasses.fields(SyntheticSet)}
    of_world = {field.name: field.type for field in dataclasses.fields(WorldSettings)}
    kinds = {**own, **of_world}
    del kinds["world"]
    values: dict[str, float | int] = {}
    for part in filter(None, spec.partition(":")[2].split(",")):
        name, _, text = part.partition("=")
        if name not in kinds:
            raise BadRequest(
                f"{spec!r}: the synthetic world has no setting {name!r}; it has {', '.join(kinds)}."
            )
        values[name] = _number(spec, name, text, whole=kinds[name] == "int")
    world = WorldSettings(**{k: v for k, v in values.items() if k in of_world})  # type: ignore[arg-type]
    chosen = SyntheticSet(world=world, **{k: v for k, v in values.items() if k in own})  # type: ignore[arg-type]
    for name in ("people", "takes", "first", "seed", "seconds"):
        if getattr(chosen, name) < (0 if name in ("first", "seed") else 1e-3):
            raise BadRequest(f"{spec!r}: {name} is {getattr(chosen, name)}; give more.")
    return chosen


def synthetic_jobs(chosen: SyntheticSet) -> tuple[list[PrepareJob], Mapping[str, Person]]:
    """Return the rendering jobs, one for each person, and the people."""
    world = World(chosen.world, chosen.seed)
    people = [world.person(chosen.first + number) for number in range(chosen.people)]
    known = {p.key: Person(p.key, p.name, p.gender, p.nationality) for p in people}
    return [_job(chosen, world, person) for person in people], known


def _job(chosen: SyntheticSet, world: World, person: SyntheticPerson) -> PrepareJob:
    same = {**dataclasses.asdict(chosen), "people": None, "first": None}
    identity = json.dumps([NAME, VERSION, same, person.number], sort_keys=True)
    read = functools.partial(_items, world, person, chosen)
    return PrepareJob(person.key, f"{NAME}/{person.key}", identity, read)


def _items(world: World, person: SyntheticPerson, chosen: SyntheticSet) -> Iterator[Media]:
    path = Path(NAME) / person.key
    for take in range(chosen.takes):
        yield Media(path, "face", data=world.draw_face(person, take))
    for take in range(chosen.takes):
        yield Media(path, "voice", data=world.speak(person, take, chosen.seconds))


def _number(spec: str, name: str, text: str, *, whole: bool) -> float | int:
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        kind = "whole number" if whole else "number"
        raise BadRequest(f"{spec!r}: {name} is {text!r}, which is no {kind}.") from error
