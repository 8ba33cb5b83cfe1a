"""What an evaluation asks: published lists as they are, or protocols made of labelled media."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

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
WAYS = ("V-F", "F-V", "V-V", "F-F")
_KIND = re.compile(r"verification|retrieval|1:([2-9]|[1-9][0-9]|100)")
_SHOWN = 5  # reasons why nothing can be asked
_SIDES: dict[str, Modality] = {"F": "face", "V": "voice"}


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A protocol, what is known of its people, and its media by name where they are at hand.

    ``contents`` tells which media are copies. Of a published list, ``list`` is its file,
    ``published`` the protocol with all of its trials and ``kept`` which of them, (n,), are asked;
    None for all.
    """

    protocol: Protocol
    attributes: Attributes
    media: Mapping[str, Media]
    contents: Contents
    people: People = dataclasses.field(default_factory=People)
    list: Path | None = None
    published: Protocol | None = None
    kept: Bools | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TrialLists:
    """Published lists, the tables of their people, and the folder their paths begin in."""

    paths: tuple[Path, ...]
    tables: tuple[Path, ...] = ()
    media: Path | None = None
    answers: Sequence[str] = ("identity",)
    without_same_recording: bool = False

    def ask(self) -> list[Task]:
        """Every protocol of every list; matching is asked by identity alone.

        Raises BadRequest for a list that cannot be read, for media that are not there, for trials
        without answers, and where nothing is left to ask.
        """
        people = read_people(self.tables) if self.tables else People()
        attributes = attributes_of(people)
        found = [
            asked
            for path in self.paths
            for protocol in _labelled(path, people)
            for asked in self._ask(path, protocol, people, attributes)
        ]
        if not found:
            raise BadRequest("Matching is by identity; ask these lists by identity.")
        return found

    def _ask(
        self, path: Path, protocol: Protocol, people: People, attributes: Attributes
    ) -> Iterator[Task]:
        media = {} if self.media is None else media_under(self.media, protocol.items)
        known = attributes, media, Contents(media), people, path
        asked, kept = self._stripped(protocol)
        for answer in self.answers:
            if answer == "identity":
                yield Task(asked, *known, protocol, kept)
            elif not isinstance(asked, Matching):
                yield Task(by_attribute(asked, attributes, answer), *known)

    def _stripped(self, protocol: Protocol) -> tuple[Protocol, Bools | None]:
        """A protocol as it is asked, and which of its trials these are."""
        if isinstance(protocol, Retrieval) or not self.without_same_recording:
            return protocol, None
        kept = ~protocol.own_recording()
        return protocol.take(kept), kept


@dataclasses.dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """What protocols are to be made of labelled media.

    ``kinds`` are ``verification``, ``1:N`` and ``retrieval``, ``answers`` keys of ANSWERS.
    ``parts`` gives the people who take part, by what they are called; the empty name with None is
    everybody.
    """

    kinds: Sequence[str]
    directions: Sequence[str]
    strata: Sequence[str]
    answers: Sequence[str] = ("identity",)
    parts: Mapping[str, frozenset[str] | None] = dataclasses.field(
        default_factory=lambda: {"": None}
    )
    seed: int = 0


def require_known(wanted: ProtocolSpec, trained: Sequence[str] = ()) -> None:
    """Raise BadRequest, naming what there is, for a word that means nothing here."""
    known = {
        "direction": (wanted.directions, WAYS),
        "stratum": (wanted.strata, STRATA),
        "right answer": (wanted.answers, ANSWERS),
        "part of the people": (trained, (EVERYBODY, *TRAINED)),
    }
    for what, (words, allowed) in known.items():
        for word in words:
            if word not in allowed:
                raise BadRequest(f"There is no {what} {word!r}; there are {', '.join(allowed)}.")
    for kind in wanted.kinds:
        if not _KIND.fullmatch(kind):
            raise BadRequest(
                f"There is no protocol {kind!r}; there are verification, retrieval, and 1:N with N "
                "from 2 to 100."
            )


def protocols_of(
    items: Items,
    attributes: Attributes,
    wanted: ProtocolSpec,
    say: Callable[[str], None] = lambda _: None,
) -> list[Protocol]:
    """The protocols that are wanted and can be made; matching is asked by identity alone.

    ``say`` is told of those that the people do not suffice for, which are left out. Raises
    BadRequest for a word that means nothing, and where nothing is left to ask.
    """
    require_known(wanted)
    made: list[Protocol] = []
    lacking: list[str] = []
    for way in wanted.directions:
        probe, answer = (_SIDES[letter] for letter in way.split("-"))
        for who, among in wanted.parts.items():
            for stratum in wanted.strata:
                generator = Generator(
                    items, probe, answer, attributes, stratum, wanted.seed, among, who
                )
                for shared in wanted.answers:
                    made += _made(generator, wanted.kinds, shared, lacking)
    if not made and lacking:
        raise BadRequest(" ".join(["Nothing is left to ask.", *lacking[:_SHOWN]]))
    if not made:
        raise BadRequest(
            "Nothing is left to ask: matching is by identity, retrieval is unstratified, and "
            "within a stratum what it shares cannot be asked for."
        )
    for each in lacking:
        say(f"Left out: {each}")
    return made


def _made(
    generator: Generator, kinds: Sequence[str], shared: str, lacking: list[str]
) -> list[Protocol]:
    """The protocols of one direction, stratum and kind of right answer that make sense.

    Why another one cannot be made is added to ``lacking``.
    """
    if set(ANSWERS[shared]) & set(STRATA[generator.stratum]):
        return []
    made = []
    for kind in kinds:
        try:
            protocol = _make(generator, kind, shared)
        except BadRequest as error:
            lacking.append(str(error))
            continue
        made += [] if protocol is None else [protocol]
    return made


def _make(generator: Generator, kind: str, shared: str) -> Protocol | None:
    if kind == "retrieval":
        if generator.stratum != "U":
            return None
        asked = generator.retrieval()
        if shared == "identity":
            return asked
        return by_attribute(asked, generator.attributes, shared)
    if kind == "verification":
        if shared == "identity":
            return generator.verification()
        return generator.verification_by(shared)
    return generator.matching(int(kind.removeprefix("1:"))) if shared == "identity" else None


def made_of(
    material: EvalItems, wanted: ProtocolSpec, say: Callable[[str], None] = lambda _: None
) -> list[Task]:
    """Protocols of labelled media, as :func:`protocols_of`."""
    contents = Contents(material.media)
    return [
        Task(protocol, material.attributes, material.media, contents)
        for protocol in protocols_of(material.items, material.attributes, wanted, say)
    ]


def parts_of(
    trained: Sequence[str], names: Sequence[str], trained_on: Sequence[str]
) -> dict[str, frozenset[str] | None]:
    """The people who take part, by what they are called: all, those of the training, others.

    ``trained`` has ``all``, ``seen`` and ``unseen``. Raises BadRequest where seen people are told
    apart from others and no training is recorded, or one of the two is nobody.
    """
    seen = frozenset(names) & frozenset(trained_on)
    people = {"seen": seen, "unseen": frozenset(names) - seen}
    parts: dict[str, frozenset[str] | None] = {}
    for which in trained:
        if which == EVERYBODY:
            parts[""] = None
            continue
        if not trained_on:
            raise BadRequest(
                "Who was trained on is not recorded where the vectors come from, so nobody can be "
                "told to be seen or unseen; evaluate a checkpoint."
            )
        if not people[which]:
            raise BadRequest(f"Nobody here is {which} by the model's training.")
        parts[TRAINED[which]] = people[which]
    return parts


def without_answers(path: Path, tables: tuple[Path, ...]) -> Unlabelled:
    """Trials to be scored for others to judge; BadRequest for a list whose answers are known."""
    people = read_people(tables) if tables else People()
    found = read_published(path, people)
    if not isinstance(found, Unlabelled):
        raise BadRequest(
            f"{printable(path)} tells its right answers; a submission is for trials that do not, "
            "so evaluate it instead."
        )
    return found


def restricted(material: EvalItems, paths: frozenset[str]) -> EvalItems:
    """The material of these items alone; people and recordings keep their numbers."""
    places = np.flatnonzero([path in paths for path in material.items.paths])
    items = material.items
    kept = dataclasses.replace(
        items,
        paths=tuple(items.paths[at] for at in places),
        modalities=tuple(items.modalities[at] for at in places),
        people=items.people[places],
        videos=items.videos[places],
    )
    return dataclasses.replace(material, items=kept)


def _labelled(path: Path, people: People) -> list[Protocol]:
    found = read_published(path, people)
    if isinstance(found, Unlabelled):
        raise BadRequest(
            f"{printable(path)} does not tell its right answers; write its scores with "
            "--submission FILE."
        )
    return found
