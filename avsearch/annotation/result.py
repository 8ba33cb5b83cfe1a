"""The result of annotating: the speakers, their names and the reasons, in every format."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.face_association import SpeakerFace
from avsearch.annotation.formats.captions import write_webvtt
from avsearch.annotation.formats.label_studio import write_label_studio
from avsearch.annotation.formats.pyannote import to_annotation
from avsearch.annotation.formats.rttm import write_rttm
from avsearch.annotation.formats.tab_separated import write_audacity, write_elan
from avsearch.annotation.identification.identify import Decision, best_score
from avsearch.annotation.identification.speaker_model import MIN_SPEECH_S, SpeakerModel
from avsearch.annotation.render import TimelineRow, render_contact_sheet, render_timeline
from avsearch.annotation.turns import Turn
from indexer.errors import BadRequest, os_reason, printable
from indexer.runtime.atomic import replacing


@dataclasses.dataclass(frozen=True, slots=True)
class Speaker:
    """One speaker of a recording.

    Attributes:
        speaker: The diarizer's label.
        label: The label to write: the person's key, or the diarizer's label for an unknown.
        decision: The person, and the candidates.
        speech_s: Seconds of speech.
        clean_s: Seconds that were compared, in which nobody else speaks.
        stretches: The number of segments that were compared.
        dropped: The number of segments that were outliers.
        reason: The reason for the decision, a sentence.
        face: The face that is seen while they speak, in a video.
    """

    speaker: str
    label: str
    decision: Decision
    speech_s: float
    clean_s: float
    stretches: int
    dropped: int
    reason: str
    face: SpeakerFace | None = None

    @property
    def person(self) -> str | None:
        """The key of the person in the index; None for an unknown."""
        return self.decision.person

    def to_dict(self) -> dict[str, Any]:
        """Return the speaker as JSON has it."""
        decision, face = self.decision, self.face
        return {
            "speaker": self.speaker,
            "label": self.label,
            "person": decision.person,
            "name": decision.name,
            "probability": decision.probability,
            "margin": decision.margin,
            "elsewhere": decision.elsewhere,
            "reason": self.reason,
            "speech_s": round(self.speech_s, 3),
            "clean_s": round(self.clean_s, 3),
            "stretches": self.stretches,
            "dropped": self.dropped,
            "seen_s": 0.0 if face is None else round(face.seconds, 3),
            "tracks": [] if face is None else [list(track.span) for track in face.tracks],
            "candidates": [dataclasses.asdict(each) for each in decision.candidates],
            "nearest": None if decision.nearest is None else dataclasses.asdict(decision.nearest),
        }


def make_speaker(
    label: str,
    speech_s: float,
    voice: SpeakerModel | None,
    face: SpeakerFace | None,
    decision: Decision,
    unknown_label: str,
    min_probability: float,
) -> Speaker:
    """Return a speaker; ``unknown_label`` is the label to write if no person is decided."""
    return Speaker(
        speaker=label,
        label=unknown_label if decision.person is None else decision.person,
        decision=decision,
        speech_s=speech_s,
        clean_s=0.0 if voice is None else voice.speech_s,
        stretches=0 if voice is None else len(voice.segments),
        dropped=0 if voice is None else voice.dropped,
        reason=_reason(voice, face, decision, min_probability),
        face=face,
    )


def _reason(
    voice: SpeakerModel | None,
    face: SpeakerFace | None,
    decision: Decision,
    min_probability: float,
) -> str:
    """Return a sentence on the evidence for a name, or on what is missing."""
    clean_s = 0.0 if voice is None else voice.speech_s
    if clean_s < MIN_SPEECH_S and face is None:
        return f"speaks alone for {clean_s:.1f} s; at least {MIN_SPEECH_S} s are needed."
    seen = "" if face is None else f", {face.seconds:.1f} s seen"
    evidence = f"{clean_s:.1f} s of speech{seen}; "
    if decision.elsewhere is not None:
        person, speaker = decision.elsewhere
        return f"{evidence}like {person}, who is {speaker}: one speaker may have been split in two."
    if not decision.candidates:
        return f"{evidence}nobody of the index is left to compare with."
    best = decision.candidates[0]
    ahead = "" if decision.margin is None else f", {decision.margin:.1f} before the next"
    scores = " and ".join(f"{way} {score:.2f}" for way, score in best.scores.items())
    short = "" if decision.person is not None else f", and {min_probability:g} is asked for"
    return f"{evidence}{best.person}: {scores}{ahead}; probability {best.probability:.2f}{short}."


def nearest_text(decision: Decision) -> str:
    """Return the nearest person with the score; "-" where nobody was compared."""
    nearest = decision.nearest
    best = None if nearest is None else best_score(nearest.scores)
    return "-" if nearest is None or best is None else f"{nearest.person} ({best[0]} {best[1]:.2f})"


@dataclasses.dataclass(frozen=True, slots=True)
class Annotated:
    """A recording with its speakers named.

    Attributes:
        recording: The name of the recording, by default its file's stem.
        path: Its file; None for samples in memory.
        duration_s: Its length in seconds.
        turns: The turns of the diarization, with its labels.
        speakers: The speakers, in the order in which they first speak.
        model: The name of the model.
        index: The folder of the index.
        notes: Sentences on what was unusual.
    """

    recording: str
    path: Path | None
    duration_s: float
    turns: tuple[Turn, ...]
    speakers: tuple[Speaker, ...]
    model: str
    index: Path
    notes: tuple[str, ...]

    @property
    def labels(self) -> dict[str, str]:
        """The label to write for each of the diarizer's labels; for pyannote's rename_labels."""
        return {each.speaker: each.label for each in self.speakers}

    @property
    def named_turns(self) -> tuple[Turn, ...]:
        """The turns with the people's keys; unknown speakers keep the diarizer's labels."""
        labels = self.labels
        return tuple(turn._replace(speaker=labels[turn.speaker]) for turn in self.turns)

    def annotation(self) -> Any:
        """Return the named turns as an ``Annotation`` of pyannote.core.

        Raises:
            LibraryUnusable: pyannote.core is not installed.
        """
        return to_annotation(self.named_turns, self.recording)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``avsearch annotate``; its segments are those of WhisperX."""
        path = None if self.path is None else printable(self.path)
        return {
            "recording": {"name": self.recording, "path": path, "duration_s": self.duration_s},
            "index": printable(self.index),
            "model": self.model,
            "speakers": [each.to_dict() for each in self.speakers],
            "segments": [
                {
                    "start": turn.start_s,
                    "end": turn.end_s,
                    "speaker": named.speaker,
                    "diarized": turn.speaker,
                    **({} if turn.text is None else {"text": turn.text}),
                }
                for turn, named in zip(self.turns, self.named_turns, strict=True)
            ],
            "notes": list(self.notes),
        }

    def write(self, folder: str | Path) -> list[Path]:
        """Write every format into a folder, and return the files in a fixed order.

        Each file appears under its name when it is complete. The folder is created if needed.
        """
        folder = create_folder(Path(folder))
        stem = _file_name(self.recording)
        contents = {f"{stem}{suffix}": write(self).encode() for suffix, write in WRITERS.items()}
        contents |= {
            f"{stem}.{_file_name(each.speaker)}.png": render_contact_sheet(each.face.views)
            for each in self.speakers
            if each.face is not None
        }
        for name, content in contents.items():
            with replacing(folder / name) as partial:
                partial.write_bytes(content)
        return [folder / name for name in contents]

    def display_name(self, label: str) -> str:
        """Return the name that people read for a label."""
        names = {each.label: each.decision.name for each in self.speakers}
        return names.get(label) or label


WRITERS: Final[Mapping[str, Callable[[Annotated], str]]] = {
    ".rttm": lambda it: write_rttm(it.named_turns, it.recording),
    ".json": lambda it: json.dumps(it.to_dict(), ensure_ascii=False, indent=1) + "\n",
    ".audacity.txt": lambda it: write_audacity(it.named_turns),
    ".elan.txt": lambda it: write_elan(it.named_turns),
    ".labelstudio.json": lambda it: write_label_studio(
        it.named_turns,
        it.recording if it.path is None else printable(it.path),
        it.model,
        it.duration_s,
    ),
    ".vtt": lambda it: write_webvtt(it.named_turns, it.display_name),
    ".svg": lambda it: render_timeline(it.turns, map(_timeline_row, it.speakers), it.duration_s),
}


def _timeline_row(speaker: Speaker) -> TimelineRow:
    decision = speaker.decision
    name = decision.name or decision.person or "unknown"
    sure = f", {decision.probability:.2f}" if decision.person and decision.probability else ""
    text = f"{speaker.speaker}: {name}{sure}"
    return TimelineRow(speaker.speaker, text, decision.person is not None)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)[:100]


def create_folder(folder: Path) -> Path:
    """Return a folder, created if needed.

    Raises:
        BadRequest: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(
            f"{printable(folder)} cannot be a folder for the results: "
            f"{os_reason(error, 'choose another one')}."
        ) from error
    return folder
