"""Add the named speakers of a recording to an index: their speech and their faces."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.audio_clock import ClockedRecording, match_clock
from avsearch.annotation.audio_source import ProgressCallback, ignore_progress, open_recording
from avsearch.annotation.embed_speech import SpeechEmbedder, cut_silence
from avsearch.annotation.face_association import SpeakerFace, find_speaker_faces
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.identification.clustering import Calibrations
from avsearch.annotation.identification.speaker_model import (
    MIN_SPEECH_S,
    SpeakerModel,
    speaker_models,
)
from avsearch.annotation.turns import Diarization, single_speaker_segments
from avsearch.media.audio import MIN_AUDIO_S
from avsearch.media.file_types import kind_of
from indexer.errors import BadRequest, RefusedFile, printable
from indexer.index import Index
from indexer.ingest.read_file import file_sha256
from indexer.ingest.scan import file_fault
from indexer.records import FileRecord, NewItem, Person, SourceKey, Stat
from indexer.types import Embedder
from indexer.unicode_names import cleaned

TOO_LITTLE: Final = f"speaks alone for less than {MIN_SPEECH_S} s."
SETTINGS: Final = "enrolled by turns"  # unlike any extractor's, so that indexing reads the file
# The labels of diarizers for unknown speakers, which annotating leaves as they are.
_ANONYMOUS: Final = re.compile(
    r"(?:unknown[ _-]*)?(?:speaker|spk|guest|cluster)[ _-]*(?:\d+|[a-z])?"
    r"|(?:unknown|[a-z])?[ _-]*(?:\d+(?:\.0)?)?|unknown .*",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Enrolled:
    """The result of enrolling.

    Attributes:
        voices: The number of segments and the seconds of speech of each person, by key.
        faces: The number of face tracks of each person, by key.
        new: The people who were not in the index.
        passed_over: The reason for each label that was not enrolled.
        notes: Sentences on what was unusual.
    """

    voices: dict[str, tuple[int, float]]
    faces: dict[str, int]
    new: tuple[str, ...]
    passed_over: dict[str, str]
    notes: tuple[str, ...]


def enrol_recording(
    path: Path,
    diarization: Any,
    index: Index,
    embedder: Embedder,
    names: Mapping[str, str] | None = None,
    calibrations: Calibrations | None = None,
    on_progress: ProgressCallback = ignore_progress,
) -> Enrolled:
    """Add the named speakers of a recording to an index, in place of what it has of the recording.

    A label is the key of a person, or a name that the index has. Another label is a new person,
    unless it is one that diarizers give to unknown speakers.

    Args:
        path: The recording.
        diarization: Turns, as :func:`avsearch.annotation.formats.detect.read_diarization` takes
            them. Silence in them is left out.
        index: The index.
        embedder: The model of the index.
        names: The person of each label, by key or name; takes precedence over the labels.
        calibrations: Calibrations, to tell the faces of a video apart.
        on_progress: Receives the seconds that were read.

    Raises:
        ForeignSpace: The model is not that of the index.
        RefusedFile: The recording cannot be read.
        BadRequest: The diarization has no known format or is of another recording, or no speaker
            has a name.
    """
    index.check_space(embedder.space)
    path = _require_file(path)
    diarization = read_diarization(diarization, path.stem)
    people, passed_over = _people(diarization, index.people(), names or {})
    clocked = match_clock(open_recording(path), diarization.turns)
    voices, silent = _embed_voices(clocked, diarization, people, embedder, on_progress)
    passed_over |= _require_speech(path, people, voices)
    faces, face_notes = dict[str, SpeakerFace](), tuple[str, ...]()
    if kind_of(path) == "video":
        turns = [
            turn._replace(speaker=people.get(turn.speaker, turn.speaker))
            for turn in clocked.clock.turns_on_file(diarization.turns)
        ]
        found, face_notes = find_speaker_faces(path, turns, embedder, calibrations or {})
        faces = {key: face for key, face in found.items() if key in voices}
    known = {person.key for person in index.people()}
    replaced = _write(index, path, _items(voices, faces))
    return Enrolled(
        {key: (len(voice.segments), voice.speech_s) for key, voice in sorted(voices.items())},
        {key: len(face.tracks) for key, face in sorted(faces.items())},
        tuple(sorted(voices.keys() - known)),
        passed_over,
        (
            *(*diarization.notes, *clocked.notes, *silent, *clocked.recording.file_notes()),
            *(*face_notes, *replaced),
        ),
    )


def plan_enrolment(
    path: Path, diarization: Any, index: Index | None, names: Mapping[str, str] | None = None
) -> Enrolled:
    """Return what :func:`enrol_recording` would add, by the turns alone; nothing is written.

    Seconds are those of the turns; the recording may have less. There are no faces. ``index`` is
    None for an index that does not exist yet. Raises as that function.
    """
    path = _require_file(path)
    diarization = read_diarization(diarization, path.stem)
    known = [] if index is None else index.people()
    people, passed_over = _people(diarization, known, names or {})
    lengths_s: dict[str, list[float]] = {}
    for speaker, span in single_speaker_segments(diarization.turns):
        if speaker in people and span.duration_s >= MIN_AUDIO_S:
            lengths_s.setdefault(people[speaker], []).append(span.duration_s)
    enough = {key: each for key, each in sorted(lengths_s.items()) if sum(each) >= MIN_SPEECH_S}
    passed_over |= _require_speech(path, people, enough)
    return Enrolled(
        {key: (len(each), sum(each)) for key, each in enough.items()},
        {},
        tuple(sorted(enough.keys() - {person.key for person in known})),
        passed_over,
        (*diarization.notes, *([] if index is None else _replaced(index, path, "would be"))),
    )


def _require_file(path: Path) -> Path:
    fault = file_fault(path)
    if fault is not None:
        raise RefusedFile(path, fault)
    return path.resolve()


def _require_speech(
    path: Path, people: Mapping[str, str], enough: Collection[str]
) -> dict[str, str]:
    """Return the labels of people with too little speech; BadRequest if all have too little."""
    if not enough:
        raise BadRequest(f"{printable(path)}: everybody who is named {TOO_LITTLE}")
    return {label: TOO_LITTLE for label, key in people.items() if key not in enough}


def _embed_voices(
    clocked: ClockedRecording,
    diarization: Diarization,
    people: Mapping[str, str],
    embedder: Embedder,
    on_progress: ProgressCallback,
) -> tuple[dict[str, SpeakerModel], list[str]]:
    """Return the voices of people with enough speech, on the clock of the file, and notes."""
    spoken, notes = cut_silence(clocked.recording, diarization)
    wanted = [
        (people[label], span) for label, span in single_speaker_segments(spoken) if label in people
    ]
    speech = SpeechEmbedder(clocked.recording, embedder, on_progress=on_progress)
    voices = speaker_models(
        [
            dataclasses.replace(each, span=clocked.clock.on_file(each.span))
            for each in speech.embed(wanted)
        ]
    )
    return {key: voice for key, voice in voices.items() if voice.speech_s >= MIN_SPEECH_S}, notes


def _items(voices: Mapping[str, SpeakerModel], faces: Mapping[str, SpeakerFace]) -> list[NewItem]:
    """Return an item for each segment of speech and each face track, at its best view."""
    items = [
        NewItem(key, "voice", *segment.span, None, segment.vector)
        for key, voice in voices.items()
        for segment in voice.segments
    ]
    for key, face in faces.items():
        for track in face.tracks:
            best = track.views[0]
            items.append(NewItem(key, "face", best.start_s, None, best.box, track.vector))
    return items


def _people(
    diarization: Diarization, known: Sequence[Person], names: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the key of each label that names a person, and the reasons for the others."""
    given = _given_names(names, diarization.speakers)
    people, passed_over = {}, {}
    for label in diarization.speakers:
        key = _find_person(given.get(label, label), known)
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
            f"No speaker has a name: {', '.join(diarization.speakers[:10])}; say who they are with "
            "--name LABEL=PERSON, or in the file."
        )
    return people, passed_over


def _given_names(names: Mapping[str, str], speakers: Sequence[str]) -> dict[str, str]:
    """Return the person that the user gives for each label; BadRequest for an unknown label."""
    labels = {cleaned(speaker): speaker for speaker in speakers}
    given = {}
    for pair in names.items():
        # A label and a person may both have an = in them.
        text = "=".join(map(str, pair))
        places = [len(pair[0]), *(found.start() for found in re.finditer("=", text))]
        at = next((place for place in places if cleaned(text[:place]) in labels), places[0])
        label, person = text[:at], text[at + 1 :]
        if cleaned(label) not in labels:
            raise BadRequest(
                f"Nobody is called {label!r} in the diarization; it has {', '.join(speakers[:10])}."
            )
        if not person.strip():
            raise BadRequest(f"{label!r} is named nobody; give the key or the name of a person.")
        given[labels[cleaned(label)]] = cleaned(person)
    return given


def _find_person(label: str, known: Sequence[Person]) -> str | None:
    """Return the key of the person with this key or name; None if there is none."""
    label = cleaned(label)
    keys = [person.key for person in known if cleaned(person.key) == label]
    if keys:
        return keys[0]
    folded = label.casefold()
    named = [each.key for each in known if each.name and cleaned(each.name).casefold() == folded]
    if len(named) > 1:
        raise BadRequest(f"{label!r} is the name of {' and of '.join(named)}; use the key.")
    return named[0] if named else None


def _write(index: Index, path: Path, items: Sequence[NewItem]) -> list[str]:
    """Write the file with its items in one transaction; return a note if it was known before."""
    found = path.stat()
    asked: frozenset[SourceKey] = frozenset(
        (item.person, item.modality, item.start_s, item.end_s) for item in items
    )
    stat = Stat(found.st_size, found.st_mtime_ns)
    record = FileRecord(path, path.parent, stat, file_sha256(path), SETTINGS, asked)
    with index.writing() as catalog:
        replaced = _replaced(index, path, "was")
        with catalog.write("enrol") as write:
            write.put_files([(record, items)], {})
    return replaced


def _replaced(index: Index, path: Path, was: str) -> list[str]:
    """Return a note if the index has items of a recording."""
    with index.catalog.read() as read:
        before = read.files_named([path]).get(path)
    if before is None:
        return []
    people = ", ".join(sorted({person for person, *_ in before.source_keys}))
    return [f"What the index had of this recording, of {people}, {was} replaced."]
