"""Name the speakers of a recording: recording, diarization and index in, names out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.audio_clock import match_clock
from avsearch.annotation.audio_source import (
    ProgressCallback,
    Recording,
    ignore_progress,
    open_recording,
)
from avsearch.annotation.embed_speech import SpeechEmbedder, cut_silence
from avsearch.annotation.face_association import SpeakerFace, find_speaker_faces
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.identification.clustering import (
    Calibrations,
    equal_odds_score,
    label_speakers,
    segments_to_turns,
)
from avsearch.annotation.identification.evidence_matrix import SpeakerVector, compare
from avsearch.annotation.identification.identify import (
    MAX_CANDIDATES,
    MIN_PROBABILITY,
    Decision,
    decide,
    find_nearest,
)
from avsearch.annotation.identification.plda import PLDA
from avsearch.annotation.identification.speaker_model import (
    MIN_SPEECH_S,
    SpeakerModel,
    SpeechSegment,
    speaker_models,
)
from avsearch.annotation.result import Annotated, Speaker, create_folder, make_speaker
from avsearch.annotation.resume import SavedTracks, SavedVectors
from avsearch.annotation.turns import (
    Diarization,
    build_diarization,
    clip_turns,
    single_speaker_segments,
    speech_by_speaker,
)
from avsearch.media.file_types import kind_of
from avsearch.media.speech_segments import cut_windows
from avsearch.media.vad import find_speech_in_stream
from indexer.errors import RefusedFile
from indexer.index import Index
from indexer.types import Embedder, Modality
from indexer.unicode_names import normalised

CLUSTERED: Final = (
    "No diarization was given: speech was found and grouped by likeness, which is a simple way; "
    "a diarizer's file is better."
)
UNCALIBRATED: Final = (
    "The model carries no calibration, so that no score says how likely somebody is, and nobody is "
    "named; give it one by avsearch evaluate --calibrate."
)
_UNKNOWN: Final = Decision(None, None, (), None)


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotateOptions:
    """Options of :func:`annotate_recording`.

    Attributes:
        calibrations: The calibration of scores by direction.
        plda: Compares two voices in place of their calibration.
        min_probability: The least probability of a name.
        max_candidates: The number of candidates to report for each speaker.
        faces: Look at the faces of a video.
        speaker_count: The number of speakers, where it is known and there is no diarization.
        resume_folder: The folder of partial results; None saves none.
        on_progress: Receives the seconds that were read.
        recording_id: The recording to take from a diarization of several.
    """

    calibrations: Calibrations = dataclasses.field(default_factory=dict)
    plda: PLDA | None = None
    min_probability: float = MIN_PROBABILITY
    max_candidates: int = MAX_CANDIDATES
    faces: bool = True
    speaker_count: int | None = None
    resume_folder: Path | None = None
    on_progress: ProgressCallback = ignore_progress
    recording_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SpeakerEvidence:
    """The voices and faces of the speakers of a recording."""

    diarization: Diarization
    duration_s: float
    voices: Mapping[str, SpeakerModel]
    faces: Mapping[str, SpeakerFace]
    notes: tuple[str, ...]

    def vectors(self) -> dict[str, dict[Modality, SpeakerVector]]:
        """Return the vectors of speakers with enough speech or a face, by label."""
        found: dict[str, dict[Modality, SpeakerVector]] = {}
        for speaker, voice in self.voices.items():
            if voice.speech_s >= MIN_SPEECH_S:
                vector = SpeakerVector(voice.vector, voice.speech_s)
                found.setdefault(speaker, {})["voice"] = vector
        for speaker, face in self.faces.items():
            found.setdefault(speaker, {})["face"] = SpeakerVector(face.vector, face.seconds)
        return found

    def short_vectors(self) -> dict[str, dict[Modality, SpeakerVector]]:
        """Return the voices of speakers with too little evidence for a name, by label."""
        enough = self.vectors()
        return {
            speaker: {"voice": SpeakerVector(voice.vector, voice.speech_s)}
            for speaker, voice in self.voices.items()
            if speaker not in enough
        }


def annotate_recording(
    source: Any,
    diarization: Any,
    index: Index,
    embedder: Embedder,
    options: AnnotateOptions | None = None,
) -> Annotated:
    """Name the speakers of a recording by an index of the embedder's space.

    Args:
        source: A recording, as :func:`avsearch.annotation.audio_source.open_recording` takes it.
        diarization: Turns, as :func:`avsearch.annotation.formats.detect.read_diarization` takes
            them. None finds speech and groups it by likeness.
        index: The index of the people.
        embedder: The model of the index.
        options: Further options.

    Raises:
        ForeignSpace: The model is not that of the index.
        RefusedFile: The recording cannot be read.
        BadRequest: The diarization has no known format, or is of another recording.
    """
    options = options or AnnotateOptions()
    index.check_space(embedder.space)
    recording = open_recording(source)
    if diarization is not None:
        diarization = read_diarization(diarization, recording.name, options.recording_id)
    evidence = _collect_evidence(recording, diarization, embedder, options)
    enough, short = (
        compare(index, vectors, options.calibrations, options.plda)
        for vectors in (evidence.vectors(), evidence.short_vectors())
    )
    decisions = decide(enough, options.min_probability, options.max_candidates)
    return Annotated(
        recording=recording.name,
        path=recording.path,
        duration_s=evidence.duration_s,
        turns=evidence.diarization.turns,
        speakers=_speakers(
            evidence, decisions | find_nearest(short), index, options.min_probability
        ),
        model=embedder.space.model,
        index=index.folder,
        notes=(*evidence.notes, *([] if options.calibrations else [UNCALIBRATED])),
    )


def _collect_evidence(
    recording: Recording,
    diarization: Diarization | None,
    embedder: Embedder,
    options: AnnotateOptions,
) -> SpeakerEvidence:
    """Embed the speech of a recording and, if it is a video, its faces."""
    clocked = match_clock(recording, () if diarization is None else diarization.turns)
    with _saved_vectors(clocked.recording, embedder, options) as saved:
        speech = SpeechEmbedder(clocked.recording, embedder, saved, options.on_progress)
        if diarization is None:
            diarization, segments = _diarize(recording, speech, options)
        else:
            spoken, silent = cut_silence(clocked.recording, diarization)
            segments = list(speech.embed(single_speaker_segments(spoken)))
            diarization = clip_turns(diarization, speech.duration_s)
            diarization = dataclasses.replace(diarization, notes=(*diarization.notes, *silent))
    faces, face_notes = dict[str, SpeakerFace](), tuple[str, ...]()
    if options.faces and recording.path is not None and kind_of(recording.path) == "video":
        turns = clocked.clock.turns_on_file(diarization.turns)
        with _saved_tracks(recording.path, embedder, options) as tracks:
            faces, face_notes = find_speaker_faces(
                recording.path, turns, embedder, options.calibrations, tracks
            )
    notes = (*diarization.notes, *clocked.notes, *recording.file_notes(), *face_notes)
    return SpeakerEvidence(diarization, speech.duration_s, speaker_models(segments), faces, notes)


def _diarize(
    recording: Recording, speech: SpeechEmbedder, options: AnnotateOptions
) -> tuple[Diarization, list[SpeechSegment]]:
    """Return turns by clustering, where no diarizer gave any, and their segments."""
    spans = find_speech_in_stream(recording.stream)
    if not spans:
        raise RefusedFile(
            recording.display_path, "no speech found; check that somebody speaks in it."
        )
    windows = list(speech.embed([("", window) for window in cut_windows(spans)]))
    min_cosine = equal_odds_score(options.calibrations, "V-V")
    segments = label_speakers(windows, min_cosine, options.speaker_count)
    return build_diarization(segments_to_turns(segments), recording.name, [CLUSTERED]), segments


def _saved_vectors(
    recording: Recording, embedder: Embedder, options: AnnotateOptions
) -> AbstractContextManager[SavedVectors | None]:
    path, folder = recording.path, options.resume_folder
    if folder is None or path is None or not path.is_file():
        return contextlib.nullcontext()
    place = create_folder(folder) / f"{recording.name}.vectors.partial"
    return SavedVectors(place, embedder.space, f"{_file_identity(path)} {recording.clock}")


def _saved_tracks(
    path: Path, embedder: Embedder, options: AnnotateOptions
) -> AbstractContextManager[SavedTracks | None]:
    if options.resume_folder is None:
        return contextlib.nullcontext()
    place = create_folder(options.resume_folder) / f"{path.stem}.faces.partial"
    return SavedTracks(place, path, embedder.space, _file_identity(path))


def _file_identity(path: Path) -> str:
    """Return a text that differs once the file has changed."""
    found = path.stat()
    return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"


def _speakers(
    evidence: SpeakerEvidence,
    decisions: Mapping[str, Decision],
    index: Index,
    min_probability: float,
) -> tuple[Speaker, ...]:
    keys = {normalised(person.key) for person in index.people()}
    speech = speech_by_speaker(evidence.diarization.turns)
    return tuple(
        make_speaker(
            label,
            sum(span.duration_s for span in speech[label]),
            evidence.voices.get(label),
            evidence.faces.get(label),
            decisions.get(label, _UNKNOWN),
            # A stranger's label must not be that of a person.
            f"unknown {label}" if normalised(label) in keys else label,
            min_probability,
        )
        for label in evidence.diarization.speakers
    )
