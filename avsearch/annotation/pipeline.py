"""From a recording, its diarization and an index to names."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.audio_source import Heard, Recording, open_recording
from avsearch.annotation.embed_speech import Listener, spoken_parts
from avsearch.annotation.face_association import Sight, look
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.identification.clustering import grouped, turns_of
from avsearch.annotation.identification.evidence_matrix import Known, compare
from avsearch.annotation.identification.identify import (
    LEAST_PROBABILITY,
    SHOWN,
    Decision,
    decide,
    unnamed,
)
from avsearch.annotation.identification.plda import PLDA
from avsearch.annotation.identification.speaker_llr import Calibrations, even_score
from avsearch.annotation.identification.speaker_model import LEAST_SPEECH_S, Stretch, Voice, voices
from avsearch.annotation.output_folder import made_folder
from avsearch.annotation.result import Annotated, Speaker, speaker_of
from avsearch.annotation.resume import KeptTracks, KeptVectors
from avsearch.annotation.sound_clock import clocked_by
from avsearch.annotation.turns import Diarization, clean_stretches, clipped, speech_of
from avsearch.annotation.turns import diarization as diarization_of
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import windows
from avsearch.media.vad import find_speech_in_stream
from indexer.errors import RefusedFile
from indexer.index import Index
from indexer.types import Embedder, Modality
from indexer.unicode_names import normalised

GROUPED: Final = (
    "No diarization was given: speech was found and grouped by likeness, which is a simple way; "
    "a diarizer's file is better."
)
UNCALIBRATED: Final = (
    "The model carries no calibration, so that no score says how likely somebody is, and nobody is "
    "named; give it one by avsearch evaluate --calibrate."
)
_NOBODY: Final = Decision(None, None, (), None)


@dataclasses.dataclass(frozen=True, slots=True)
class How:
    """How to annotate: what scores are worth, how sure a name must be, how many are shown.

    ``plda`` says it of two voices, in place of their calibration.
    ``faces`` says whether those of a video are looked at. ``speakers`` is their number, where
    there is no diarization and it is known. ``kept`` is a folder for what a stopped run goes on
    with; None keeps nothing. ``recording_id`` chooses among the recordings of the turns.
    """

    calibrations: Calibrations = dataclasses.field(default_factory=dict)
    plda: PLDA | None = None
    least_probability: float = LEAST_PROBABILITY
    shown: int = SHOWN
    faces: bool = True
    speakers: int | None = None
    kept: Path | None = None
    heard: Heard = lambda _: None
    recording_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Sensed:
    """What was heard and seen of the speakers of a recording."""

    said: Diarization
    duration_s: float
    voices: Mapping[str, Voice]
    sights: Mapping[str, Sight]
    notes: tuple[str, ...]

    def known(self) -> dict[str, dict[Modality, Known]]:
        """What there is to compare of each speaker of whom there is enough."""
        found: dict[str, dict[Modality, Known]] = {}
        for speaker, voice in self.voices.items():
            if voice.speech_s >= LEAST_SPEECH_S:
                found.setdefault(speaker, {})["voice"] = Known(voice.vector, voice.speech_s)
        for speaker, sight in self.sights.items():
            found.setdefault(speaker, {})["face"] = Known(sight.vector, sight.seconds)
        return found

    def brief(self) -> dict[str, dict[Modality, Known]]:
        """Return the voices of those who speak too little to be named."""
        named = self.known()
        return {
            speaker: {"voice": Known(voice.vector, voice.speech_s)}
            for speaker, voice in self.voices.items()
            if speaker not in named
        }


def annotate_with(
    source: Any, diarization: Any, index: Index, embedder: Embedder, how: How | None = None
) -> Annotated:
    """Name the speakers of a recording by an index of the embedder's space.

    ``source`` as :func:`avsearch.annotation.audio_source.open_recording` takes it, ``diarization``
    as :func:`avsearch.annotation.formats.detect.read_diarization`, or None to have speech found and
    grouped here. Raises ForeignSpace for a model that is not the index's own, RefusedFile for a
    recording that cannot be read, BadRequest for a diarization that is none or of another
    recording.
    """
    how = how or How()
    index.check_space(embedder.space)
    recording = open_recording(source)
    said = (
        None
        if diarization is None
        else read_diarization(diarization, recording.name, how.recording_id)
    )
    sensed = _sense(recording, said, embedder, how)
    evidence = compare(index, sensed.known(), how.calibrations, how.plda)
    brief = compare(index, sensed.brief(), how.calibrations, how.plda)
    decisions = decide(evidence, how.least_probability, how.shown) | unnamed(brief)
    return Annotated(
        recording=recording.name,
        path=recording.path,
        duration_s=sensed.duration_s,
        turns=sensed.said.turns,
        speakers=_speakers(sensed, decisions, index, how.least_probability),
        model=embedder.space.model,
        index=index.folder,
        notes=(*sensed.notes, *([] if how.calibrations else [UNCALIBRATED])),
    )


def _sense(recording: Recording, said: Diarization | None, embedder: Embedder, how: How) -> _Sensed:
    """Listen to a recording, and look at it where it is a video."""
    clocked = clocked_by(recording, () if said is None else said.turns)
    with _kept(clocked.recording, embedder, how) as kept:
        listener = Listener(clocked.recording, embedder, kept, how.heard)
        if said is None:
            said, stretches = _diarized(recording, listener, how)
        else:
            parts, silent = spoken_parts(clocked.recording, said)
            stretches = list(listener.listen(clean_stretches(parts)))
            said = clipped(said, listener.duration_s)
            said = dataclasses.replace(said, notes=(*said.notes, *silent))
    on_file = dataclasses.replace(said, turns=clocked.clock.turns_on_file(said.turns))
    sights, blind = _seen(recording, on_file, embedder, how)
    notes = (*said.notes, *clocked.notes, *recording.said(), *blind)
    return _Sensed(said, listener.duration_s, voices(stretches), sights, notes)


def _diarized(
    recording: Recording, listener: Listener, how: How
) -> tuple[Diarization, list[Stretch]]:
    """Turns found and grouped here, where no diarizer did, and their stretches.

    Two windows are alike enough to be of one speaker where the evidence speaks for it.
    """
    speech = find_speech_in_stream(recording.stream)
    if not speech:
        raise RefusedFile(recording.shown, "no speech found; check that somebody speaks in it.")
    heard = list(listener.listen([("", window) for window in windows(speech)]))
    stretches = grouped(heard, even_score(how.calibrations, "V-V"), how.speakers)
    return diarization_of(turns_of(stretches), recording.name, [GROUPED]), stretches


def _kept(
    recording: Recording, embedder: Embedder, how: How
) -> AbstractContextManager[KeptVectors | None]:
    """Where vectors are kept meanwhile; nowhere for samples in memory."""
    if how.kept is None or recording.path is None or not recording.path.is_file():
        return contextlib.nullcontext()
    place = made_folder(how.kept) / f"{recording.name}.vectors.partial"
    return KeptVectors(place, embedder.space, f"{_about(recording.path)} {recording.clock}")


def _kept_tracks(
    path: Path, embedder: Embedder, how: How
) -> AbstractContextManager[KeptTracks | None]:
    """Where the faces of a video are kept meanwhile."""
    if how.kept is None:
        return contextlib.nullcontext()
    place = made_folder(how.kept) / f"{path.stem}.faces.partial"
    return KeptTracks(place, path, embedder.space, _about(path))


def _about(path: Path) -> str:
    """What tells that a file is the one it was."""
    found = path.stat()
    return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"


def _seen(
    recording: Recording, said: Diarization, embedder: Embedder, how: How
) -> tuple[dict[str, Sight], tuple[str, ...]]:
    """The speakers' faces, where the recording is a video and they are wanted."""
    if not how.faces or recording.path is None or kind_of(recording.path) != "video":
        return {}, ()
    with _kept_tracks(recording.path, embedder, how) as kept:
        return look(recording.path, said.turns, embedder, how.calibrations, kept)


def _speakers(
    sensed: _Sensed, decisions: Mapping[str, Decision], index: Index, least_probability: float
) -> tuple[Speaker, ...]:
    keys = {normalised(who.key) for who in index.people()}
    speech = speech_of(sensed.said.turns)
    return tuple(
        speaker_of(
            label,
            sum(span.duration_s for span in speech[label]),
            sensed.voices.get(label),
            sensed.sights.get(label),
            decisions.get(label, _NOBODY),
            f"unknown {label}" if normalised(label) in keys else label,
            least_probability,
        )
        for label in sensed.said.speakers
    )
