"""The tasks of an evaluation: published lists, or protocols generated from labelled items."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from indexer.errors import BadRequest, printable
from indexer.types import Media, Modality
from trainer.evaluation.items import EvalItems, attributes_of, media_under
from trainer.evaluation.leakage import Contents
from trainer.evaluation.section import SEEN, UNSEEN
from trainer.protocols.fame import Unlabelled
from trainer.protocols.generate import ANSWERS, STRATA, Attributes, Generator, by_attribute
from trainer.protocols.open_list import read_published
from trainer.protocols.trials import Bools, Items, Matching, Protocol, Retrieval
from trainer.protocols.voxceleb_people import People, read_people

EVERYBODY, TRAINED = "all", {"seen": SEEN, "unseen": UNSEEN}
DIRECTIONS = ("V-F", "F-V", "V-V", "F-F")
_KIND = re.compile(r"verification|retrieval|1:([2-9]|[1-9][0-9]|100)")
_SHOWN = 5  # reasons in the message where no protocol can be generated
_SIDES: dict[str, Modality] = {"F": "face", "V": "voice"}


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A protocol, the attributes of its people, and its media by item name where at hand.

    ``contents`` finds media that are copies. For a published list, ``list`` is its file,
    ``published`` the protocol with all of its trials, and ``selected`` the mask (n,) of the trials
    that are evaluated; None for all.
    """

    protocol: Protocol
    attributes: Attributes
    media: Mapping[str, Media]
    contents: Contents
    people: People = dataclasses.field(default_factory=People)
    list: Path | None = None
    published: Protocol | None = None
    selected: Bools | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TrialLists:
    """Published lists, the tables of their people, and the folder their paths begin in."""

    paths: tuple[Path, ...]
    tables: tuple[Path, ...] = ()
    media: Path | None = None
    answers: Sequence[str] = ("identity",)
    without_same_recording: bool = False

    def tasks(self) -> list[Task]:
        """Return a task for every protocol of every list; matching is by identity only.

        Raises:
            BadRequest: A list cannot be read or has no answers, media are missing, or no task is
                left.
        """
        people = read_people(self.tables) if self.tables else People()
        attributes = attributes_of(people)
        found = [
            task
            for path in self.paths
            for protocol in _read_labelled(path, people)
            for task in self._tasks_of(path, protocol, people, attributes)
        ]
        if not found:
            raise BadRequest("Matching is by identity; evaluate these lists by identity.")
        return found

    def _tasks_of(
        self, path: Path, protocol: Protocol, people: People, attributes: Attributes
    ) -> Iterator[Task]:
        media = {} if self.media is None else media_under(self.media, protocol.items)
        known = attributes, media, Contents(media), people, path
        evaluated, selected = protocol, None
        if self.without_same_recording and not isinstance(protocol, Retrieval):
            selected = ~protocol.own_recording()
            evaluated = protocol.take(selected)
        for answer in self.answers:
            if answer == "identity":
                yield Task(evaluated, *known, protocol, selected)
            elif not isinstance(evaluated, Matching):
                yield Task(by_attribute(evaluated, attributes, answer), *known)


@dataclasses.dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """The protocols to generate from labelled items.

    ``kinds`` are ``verification``, ``1:N`` and ``retrieval``; ``answers`` are keys of ANSWERS.
    ``groups`` are the people who take part, by the name of their group; the empty name with None
    stands for everybody.
    """

    kinds: Sequence[str]
    directions: Sequence[str]
    strata: Sequence[str]
    answers: Sequence[str] = ("identity",)
    groups: Mapping[str, frozenset[str] | None] = dataclasses.field(
        default_factory=lambda: {"": None}
    )
    seed: int = 0


def require_known(spec: ProtocolSpec, trained: Sequence[str] = ()) -> None:
    """Raise BadRequest for an unknown word of a specification, naming the known ones."""
    known = {
        "direction": (spec.directions, DIRECTIONS),
        "stratum": (spec.strata, STRATA),
        "right answer": (spec.answers, ANSWERS),
        "group of people": (trained, (EVERYBODY, *TRAINED)),
    }
    for kind, (words, allowed) in known.items():
        for word in words:
            if word not in allowed:
                raise BadRequest(f"There is no {kind} {word!r}; there are {', '.join(allowed)}.")
    for word in spec.kinds:
        if not _KIND.fullmatch(word):
            raise BadRequest(
                f"There is no protocol {word!r}; there are verification, retrieval, and 1:N with N "
                "from 2 to 100."
            )


def generate_tasks(
    items: EvalItems, spec: ProtocolSpec, on_warning: Callable[[str], None] = lambda _: None
) -> list[Task]:
    """Generate the protocols of a specification as tasks; see :func:`generate_protocols`."""
    contents = Contents(items.media)
    return [
        Task(protocol, items.attributes, items.media, contents)
        for protocol in generate_protocols(items.items, items.attributes, spec, on_warning)
    ]


def generate_protocols(
    items: Items,
    attributes: Attributes,
    spec: ProtocolSpec,
    on_warning: Callable[[str], None] = lambda _: None,
) -> list[Protocol]:
    """Generate the protocols of a specification; matching is by identity only.

    Args:
        items: The labelled items.
        attributes: The attributes of people by name.
        spec: The protocols to generate.
        on_warning: Called for each protocol that is left out because there are too few people.

    Raises:
        BadRequest: A word is unknown, or no protocol can be generated.
    """
    require_known(spec)
    made: list[Protocol] = []
    lacking: list[str] = []
    for direction, (group, among), stratum, shared, kind in itertools.product(
        spec.directions, spec.groups.items(), spec.strata, spec.answers, spec.kinds
    ):
        probe, answer = (_SIDES[letter] for letter in direction.split("-"))
        generator = Generator(items, probe, answer, attributes, stratum, spec.seed, among, group)
        try:
            made += _generate(generator, kind, shared)
        except BadRequest as error:
            lacking.append(str(error))
    if not made and lacking:
        raise BadRequest(" ".join(["No protocol can be made.", *lacking[:_SHOWN]]))
    if not made:
        raise BadRequest(
            "No protocol can be made: matching is by identity, retrieval has no strata, and "
            "within a stratum everybody shares its attributes."
        )
    for each in lacking:
        on_warning(f"Left out: {each}")
    return made


def _generate(generator: Generator, kind: str, shared: str) -> list[Protocol]:
    """One protocol; none where the kind, the stratum and the right answer do not go together."""
    if set(ANSWERS[shared]) & set(STRATA[generator.stratum]):
        return []  # all candidates share the attribute
    if kind == "retrieval":
        if generator.stratum != "U":
            return []
        found = generator.retrieval()
        if shared == "identity":
            return [found]
        return [by_attribute(found, generator.attributes, shared)]
    if kind == "verification":
        if shared == "identity":
            return [generator.verification()]
        return [generator.verification_by(shared)]
    return [generator.matching(int(kind.removeprefix("1:")))] if shared == "identity" else []


def people_groups(
    trained: Sequence[str], names: Sequence[str], trained_on: Sequence[str]
) -> dict[str, frozenset[str] | None]:
    """Return the people who take part, by the name of their group in a protocol's name.

    Args:
        trained: The groups: ``all``, ``seen`` in the training, or ``unseen``.
        names: All people of the evaluation.
        trained_on: The people of the training split.

    Raises:
        BadRequest: No training is recorded, or a group is empty.
    """
    seen = frozenset(names) & frozenset(trained_on)
    people = {"seen": seen, "unseen": frozenset(names) - seen}
    groups: dict[str, frozenset[str] | None] = {}
    for group in trained:
        if group == EVERYBODY:
            groups[""] = None
            continue
        if not trained_on:
            raise BadRequest(
                "The people of the training are not recorded with these vectors, so seen and "
                "unseen people cannot be separated; evaluate a checkpoint."
            )
        if not people[group]:
            raise BadRequest(f"None of the people is {group} in the model's training.")
        groups[TRAINED[group]] = people[group]
    return groups


def read_unlabelled(path: Path, tables: tuple[Path, ...]) -> Unlabelled:
    """Read trials whose labels the organisers keep; raise BadRequest for a list with labels."""
    found = read_published(path, read_people(tables) if tables else People())
    if not isinstance(found, Unlabelled):
        raise BadRequest(
            f"{printable(path)} has labels; a submission is for trials without, "
            "so evaluate it instead."
        )
    return found


def _read_labelled(path: Path, people: People) -> list[Protocol]:
    found = read_published(path, people)
    if isinstance(found, Unlabelled):
        raise BadRequest(
            f"{printable(path)} has no labels; write its scores with --submission FILE."
        )
    return found
