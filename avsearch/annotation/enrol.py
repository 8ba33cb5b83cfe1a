"""Named speakers of a recording into an index: the ranges they speak in alone, their faces."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.audio_source import Heard, open_recording
from avsearch.annotation.embed_speech import Listener, spoken_parts
from avsearch.annotation.face_association import Sight, look
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.identification.speaker_llr import Calibrations
from avsearch.annotation.identification.speaker_model import LEAST_SPEECH_S, Voice, voices
from avsearch.annotation.sound_clock import Clocked, clocked_by
from avsearch.annotation.turns import Diarization, clean_stretches
from avsearch.media.audio import SHORTEST_S
from avsearch.media.file_types import kind_of
from indexer.errors import BadRequest, RefusedFile, printable
from indexer.index import Index
from indexer.ingest.read_file import file_sha256
from indexer.ingest.scan import file_fault
from indexer.records import FileRecord, NewItem, Person, SourceKey, Stat
from indexer.types import Embedder
from indexer.unicode_names import cleaned

TOO_LITTLE: Final = f"speaks alone for less than {LEAST_SPEECH_S} s."
SETTINGS: Final = "enrolled by turns"  # other than any extractor's: an index run looks anew
# What diarizers call somebody whom they do not know, and annotate leaves so.
_ANONYMOUS: Final = re.compile(
    r"(?:unknown[ _-]*)?(?:speaker|spk|guest|cluster)[ _-]*(?:\d+|[a-z])?"
    r"|(?:unknown|[a-z])?[ _-]*(?:\d+(?:\.0)?)?|unknown .*",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Enrolled:
    """What was added to an index.

    ``voices`` has of each person, by key, how many stretches and seconds of speech, ``faces`` how
    many appearances in a video; ``new`` are
    those who were not in the index. ``passed_over`` says of each other label why it was.
    """

    voices: dict[str, tuple[int, float]]
    faces: dict[str, int]
    new: tuple[str, ...]
    passed_over: dict[str, str]
    notes: tuple[str, ...]


def enrol_with(
    path: Path,
    diarization: Any,
    index: Index,
    embedder: Embedder,
    names: Mapping[str, str] | None = None,
    calibrations: Calibrations | None = None,
    heard: Heard = lambda _: None,
) -> Enrolled:
    """Add the named speakers of a recording to an index of the embedder's space.

    A label is the key of a person, or the name that the index has for one. A label that is
    neither is a new person, unless it is such as diarizers give; but ``names``, which says who
    labels are, counts whatever it says. Silence in the turns is left out.
    ``calibrations`` help to tell the faces of a video apart. What the index had of the recording
    is replaced. Raises as :func:`avsearch.annotation.pipeline.annotate_with` does, and
    BadRequest where nobody is named.
    """
    index.check_space(embedder.space)
    path = _plain_file(path)
    said = read_diarization(diarization, path.stem)
    people, passed_over = _people(said, index.people(), names or {})
    clocked = clocked_by(open_recording(path), said.turns)
    spoken, silent = _spoken(clocked, said, people, embedder, heard)
    passed_over |= {label: TOO_LITTLE for label, key in people.items() if key not in spoken}
    if not spoken:
        raise BadRequest(f"{printable(path)}: everybody who is named {TOO_LITTLE}")
    on_file = dataclasses.replace(said, turns=clocked.clock.turns_on_file(said.turns))
    seen, blind = _faces(path, on_file, people, embedder, calibrations or {})
    seen = {key: sight for key, sight in seen.items() if key in spoken}
    known = {who.key for who in index.people()}
    replaced = _write(index, path, [*_voice_items(spoken), *_face_items(seen)])
    return Enrolled(
        {key: (len(voice.stretches), voice.speech_s) for key, voice in sorted(spoken.items())},
        {key: len(sight.appearances) for key, sight in sorted(seen.items())},
        tuple(sorted(spoken.keys() - known)),
        passed_over,
        (*said.notes, *clocked.notes, *silent, *clocked.recording.said(), *blind, *replaced),
    )


def plan_enrolment(
    path: Path, diarization: Any, index: Index | None, names: Mapping[str, str] | None = None
) -> Enrolled:
    """What :func:`enrol_with` would add, told by the turns alone; nothing is heard or written.

    Seconds are those of the turns, of which the recording may have less. Faces are not told.
    None for ``index`` stands for an index that is yet to be made. Raises as that does.
    """
    path = _plain_file(path)
    said = read_diarization(diarization, path.stem)
    known = [] if index is None else index.people()
    people, passed_over = _people(said, known, names or {})
    spans: dict[str, list[float]] = {}
    for who, span in clean_stretches(said.turns):
        if who in people and span.duration_s >= SHORTEST_S:
            spans.setdefault(people[who], []).append(span.duration_s)
    spoken = {key: each for key, each in sorted(spans.items()) if sum(each) >= LEAST_SPEECH_S}
    passed_over |= {label: TOO_LITTLE for label, key in people.items() if key not in spoken}
    if not spoken:
        raise BadRequest(f"{printable(path)}: everybody who is named {TOO_LITTLE}")
    there = {who.key for who in known}
    return Enrolled(
        {key: (len(each), sum(each)) for key, each in spoken.items()},
        {},
        tuple(sorted(spoken.keys() - there)),
        passed_over,
        (*said.notes, *([] if index is None else _replaced(index, path, "would be"))),
    )


def _plain_file(path: Path) -> Path:
    fault = file_fault(path)
    if fault is not None:
        raise RefusedFile(path, fault)
    return path.resolve()


def _spoken(
    clocked: Clocked, said: Diarization, people: Mapping[str, str], embedder: Embedder, heard: Heard
) -> tuple[dict[str, Voice], list[str]]:
    """Return the voices of people who speak enough, by key, on the clock of the file; and notes."""
    parts, notes = spoken_parts(clocked.recording, said)
    wanted = [(people[who], span) for who, span in clean_stretches(parts) if who in people]
    stretches = Listener(clocked.recording, embedder, heard=heard).listen(wanted)
    spoken = voices(
        [dataclasses.replace(each, span=clocked.clock.on_file(each.span)) for each in stretches]
    )
    enough = {key: voice for key, voice in spoken.items() if voice.speech_s >= LEAST_SPEECH_S}
    return enough, notes


def _faces(
    path: Path,
    said: Diarization,
    people: Mapping[str, str],
    embedder: Embedder,
    calibrations: Calibrations,
) -> tuple[dict[str, Sight], tuple[str, ...]]:
    """The faces of the people of a video by their keys; a stranger's label stays what it is."""
    if kind_of(path) != "video":
        return {}, ()
    turns = [turn._replace(speaker=people.get(turn.speaker, turn.speaker)) for turn in said.turns]
    return look(path, turns, embedder, calibrations)


def _voice_items(spoken: Mapping[str, Voice]) -> list[NewItem]:
    return [
        NewItem(key, "voice", *stretch.span, None, stretch.vector)
        for key, voice in spoken.items()
        for stretch in voice.stretches
    ]


def _face_items(seen: Mapping[str, Sight]) -> list[NewItem]:
    """An item an appearance: where its best view is, and the vector of the whole."""
    return [
        NewItem(key, "face", each.views[0].start_s, None, each.views[0].box, each.vector)
        for key, sight in seen.items()
        for each in sight.appearances
    ]


def _people(
    said: Diarization, known: Sequence[Person], names: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the key of each label that names somebody, and the reasons why others do not."""
    given = _given(names, said.speakers)
    people, passed_over = {}, {}
    for label in said.speakers:
        key = _known(given.get(label, label), known)
        if key is not None:
            people[label] = key
        elif label in given:
            people[label] = given[label]
        elif not _ANONYMOUS.fullmatch(label.strip()):
            people[label] = cleaned(label)
        else:
            passed_over[label] = "it is a diarizer's label; say who it is with --name LABEL=PERSON."
    if not people:
        raise BadRequest(
            f"No speaker has a name: {', '.join(said.speakers[:10])}; say who they are with "
            "--name LABEL=PERSON, or in the file."
        )
    return people, passed_over


def _given(names: Mapping[str, str], speakers: Sequence[str]) -> dict[str, str]:
    """Return the person that the user gives for each label; BadRequest for an unknown label."""
    plain = {cleaned(speaker): speaker for speaker in speakers}
    given = {}
    for label, person in (_split(*pair, plain) for pair in names.items()):
        if cleaned(label) not in plain:
            raise BadRequest(
                f"Nobody is called {label!r} in the diarization; it has {', '.join(speakers[:10])}."
            )
        if not str(person).strip():
            raise BadRequest(f"{label!r} is named nobody; give the key or the name of a person.")
        given[plain[cleaned(label)]] = cleaned(str(person))
    return given


def _split(label: str, person: str, speakers: Collection[str]) -> tuple[str, str]:
    """Split a label and its person where the label is a speaker: either may have an = in it."""
    text = f"{label}={person}"
    places = [len(label), *(found.start() for found in re.finditer("=", text))]
    at = next((place for place in places if cleaned(text[:place]) in speakers), len(label))
    return text[:at], text[at + 1 :]


def _known(label: str, known: Sequence[Person]) -> str | None:
    """Return the key of the person whom a label means, by key or by name; None for nobody."""
    label = cleaned(label)
    keys = [who.key for who in known if cleaned(who.key) == label]
    if keys:
        return keys[0]
    folded = label.casefold()
    called = [who.key for who in known if who.name and cleaned(who.name).casefold() == folded]
    if len(called) > 1:
        raise BadRequest(f"{label!r} is the name of {' and of '.join(called)}; use the key.")
    return called[0] if called else None


def _write(index: Index, path: Path, items: Sequence[NewItem]) -> list[str]:
    """Write the file with its items in one transaction; a note where it was known before."""
    found = path.stat()
    asked: frozenset[SourceKey] = frozenset(
        (item.person, item.modality, item.start_s, item.end_s) for item in items
    )
    record = FileRecord(
        path,
        path.parent,
        Stat(found.st_size, found.st_mtime_ns),
        file_sha256(path),
        SETTINGS,
        asked,
    )
    with index.writing() as catalog:
        replaced = _replaced(index, path, "was")
        with catalog.write("enrol") as write:
            write.put_files([(record, items)], {})
    return replaced


def _replaced(index: Index, path: Path, was: str) -> list[str]:
    """A note where the index has something of a recording."""
    with index.catalog.read() as read:
        before = read.files_named([path]).get(path)
    if before is None:
        return []
    people = ", ".join(sorted({who for who, *_ in before.source_keys}))
    return [f"What the index had of this recording, of {people}, {was} replaced."]
