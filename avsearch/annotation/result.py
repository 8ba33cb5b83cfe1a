"""What annotating came to: who the speakers are and why, and the files to write it into."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from avsearch.annotation.contact_sheet import contact_sheet
from avsearch.annotation.face_association import Sight
from avsearch.annotation.formats.captions import write_webvtt
from avsearch.annotation.formats.label_studio import write_label_studio
from avsearch.annotation.formats.pyannote import to_annotation
from avsearch.annotation.formats.rttm import write_rttm
from avsearch.annotation.formats.tab_separated import write_audacity, write_elan
from avsearch.annotation.identification.identify import Decision, best_score
from avsearch.annotation.identification.speaker_model import LEAST_SPEECH_S, Voice
from avsearch.annotation.output_folder import made_folder, written
from avsearch.annotation.timeline import Row, timeline
from avsearch.annotation.turns import Turn
from indexer.errors import printable


@dataclasses.dataclass(frozen=True, slots=True)
class Speaker:
    """One speaker of a recording.

    ``speaker`` is the diarizer's label, ``label`` the one to write: the person's key, or the
    diarizer's for an unknown. Of ``speech_s`` seconds ``clean_s`` were compared, those in which
    nobody else speaks; ``dropped`` stretches were outliers. ``reason`` is a sentence. ``sight`` is
    the face that is seen while they speak, in a video.
    """

    speaker: str
    label: str
    decision: Decision
    speech_s: float
    clean_s: float
    stretches: int
    dropped: int
    reason: str
    sight: Sight | None = None

    @property
    def person(self) -> str | None:
        """The key of the person in the index; None for an unknown."""
        return self.decision.person


def speaker_of(
    label: str,
    speech_s: float,
    voice: Voice | None,
    sight: Sight | None,
    decision: Decision,
    unknown: str,
    least_probability: float,
) -> Speaker:
    """A speaker with everything that is known of them; ``unknown`` is what to call a stranger."""
    return Speaker(
        speaker=label,
        label=unknown if decision.person is None else decision.person,
        decision=decision,
        speech_s=speech_s,
        clean_s=0.0 if voice is None else voice.speech_s,
        stretches=0 if voice is None else len(voice.stretches),
        dropped=0 if voice is None else voice.dropped,
        reason=_reason(voice, sight, decision, least_probability),
        sight=sight,
    )


def _reason(
    voice: Voice | None, sight: Sight | None, decision: Decision, least_probability: float
) -> str:
    """Why a speaker has this name or none, in a sentence."""
    clean_s = 0.0 if voice is None else voice.speech_s
    if clean_s < LEAST_SPEECH_S and sight is None:
        return f"speaks alone for {clean_s:.1f} s; at least {LEAST_SPEECH_S} s are needed."
    seen = "" if sight is None else f", {sight.seconds:.1f} s seen"
    return f"{clean_s:.1f} s of speech{seen}; {_verdict(decision, least_probability)}"


def nearest_shown(decision: Decision) -> str:
    """Return who of the index is nearest to a speaker, with the score; "-" where nobody is."""
    nearest = decision.nearest
    best = None if nearest is None else best_score(nearest.scores)
    return "-" if nearest is None or best is None else f"{nearest.person} ({best[0]} {best[1]:.2f})"


def _verdict(decision: Decision, least_probability: float) -> str:
    if decision.elsewhere is not None:
        person, speaker = decision.elsewhere
        return f"like {person}, who is {speaker}: one speaker may have been split in two."
    if not decision.candidates:
        return "nobody of the index is left to compare with."
    best = decision.candidates[0]
    ahead = "" if decision.margin is None else f", {decision.margin:.1f} before the next"
    matched = " and ".join(f"{way} {score:.2f}" for way, score in best.scores.items())
    facts = f"{best.person}: {matched}{ahead}; probability {best.probability:.2f}"
    if decision.person is not None:
        return f"{facts}."
    return f"{facts}, and {least_probability:g} is asked for."


@dataclasses.dataclass(frozen=True, slots=True)
class Annotated:
    """A recording with its speakers named.

    ``turns`` are the diarization's, with its labels; ``notes`` sentences on what was odd.
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
        """What to write for each of the diarizer's labels; for pyannote's ``rename_labels``."""
        return {each.speaker: each.label for each in self.speakers}

    @property
    def named_turns(self) -> tuple[Turn, ...]:
        """The turns by the people's keys; those of unknown speakers keep the diarizer's."""
        labels = self.labels
        return tuple(turn._replace(speaker=labels[turn.speaker]) for turn in self.turns)

    def annotation(self) -> Any:
        """The named turns as an ``Annotation`` of pyannote.core; BadRequest without it."""
        return to_annotation(self.named_turns, self.recording)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as the JSON of ``avsearch annotate``; segments as WhisperX's."""
        path = None if self.path is None else printable(self.path)
        return {
            "recording": {"name": self.recording, "path": path, "duration_s": self.duration_s},
            "index": printable(self.index),
            "model": self.model,
            "speakers": [_speaker_json(each) for each in self.speakers],
            "segments": [
                _segment_json(turn, named)
                for turn, named in zip(self.turns, self.named_turns, strict=True)
            ],
            "notes": list(self.notes),
        }

    def write(self, folder: str | Path) -> list[Path]:
        """Write every format into a folder, made if there is none; the files, in a fixed order.

        Each appears under its name only when it is whole.
        """
        folder = made_folder(Path(folder))
        stem = _stem(self.recording)
        texts = [
            written(folder / f"{stem}{ending}", write(self).encode())
            for ending, write in WRITERS.items()
        ]
        sheets = [
            written(folder / f"{stem}.{_stem(each.speaker)}.png", contact_sheet(each.sight.views))
            for each in self.speakers
            if each.sight is not None
        ]
        return texts + sheets

    def shown(self, label: str) -> str:
        """The name that people read for a label."""
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
    ".vtt": lambda it: write_webvtt(it.named_turns, it.shown),
    ".svg": lambda it: timeline(it.turns, [_row_of(each) for each in it.speakers], it.duration_s),
}


def _row_of(speaker: Speaker) -> Row:
    decision = speaker.decision
    name = decision.name or decision.person or "unknown"
    sure = f", {decision.probability:.2f}" if decision.person and decision.probability else ""
    return Row(speaker.speaker, f"{speaker.speaker}: {name}{sure}", decision.person is not None)


def _speaker_json(speaker: Speaker) -> dict[str, Any]:
    decision, sight = speaker.decision, speaker.sight
    return {
        "speaker": speaker.speaker,
        "label": speaker.label,
        "person": decision.person,
        "name": decision.name,
        "probability": decision.probability,
        "margin": decision.margin,
        "elsewhere": decision.elsewhere,
        "reason": speaker.reason,
        "speech_s": round(speaker.speech_s, 3),
        "clean_s": round(speaker.clean_s, 3),
        "stretches": speaker.stretches,
        "dropped": speaker.dropped,
        "seen_s": 0.0 if sight is None else round(sight.seconds, 3),
        "tracks": [] if sight is None else [list(each.span) for each in sight.appearances],
        "candidates": [dataclasses.asdict(each) for each in decision.candidates],
        "nearest": None if decision.nearest is None else dataclasses.asdict(decision.nearest),
    }


def _segment_json(turn: Turn, named: Turn) -> dict[str, Any]:
    said = {} if turn.text is None else {"text": turn.text}
    times = {"start": turn.start_s, "end": turn.end_s}
    return {**times, "speaker": named.speaker, "diarized": turn.speaker, **said}


def _stem(name: str) -> str:
    """A name that a file may have."""
    return re.sub(r"[^\w.-]", "_", name)[:100]
