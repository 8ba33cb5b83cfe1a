"""AnnotateOptions much speech of scripted conversations gets the right name.

``python -m benchmarks.quality.annotating --data ../shared/data [--model FILE]``

Conversations of two to eight people whom the model has not seen in training, mixed from real
recordings with overlap and noise; about a third of the people are not in the index. Reports, with
the true turns, with turns padded by silence and with damaged ones, and by what the index holds, the
share of speech time of known people that gets the right name, any name, or whose nearest person is
the right one; and the share of speech of unknown people that gets a name. 95 % intervals by
drawing people. ``--turns 6 --gap 6`` makes conversations in which everybody says little, with long
pauses. Next to nobody in the data has a face and a voice: everybody gets the pictures of somebody
of the own gender, so that across modalities there is the gender to find and no more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.evidence_matrix import read_calibrations
from avsearch.annotation.identification.identify import MIN_PROBABILITY
from avsearch.annotation.identification.plda import VoiceVectors, plda_from_record
from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording
from avsearch.annotation.result import Annotated
from avsearch.annotation.turns import Diarization, Turn
from avsearch.calibration import calibrations_of
from avsearch.media import SAMPLE_RATE
from avsearch.models import TrainedEmbedder, load_model
from benchmarks.machine import Machine
from benchmarks.quality.conversations import (
    GAP_S,
    Talker,
    anonymous,
    converse,
    damaged,
    padded,
    read_talker,
)
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Stat
from indexer.tables.people import read_people
from indexer.types import Media, Modality, Space
from trainer.evaluation.bootstrap import PersonBootstrap
from trainer.recipes.fit_speakers import GALLERIES

Held = Mapping[str, Mapping[Modality, VoiceVectors]]  # of people, by key and modality

SIDE = "test"
FACES = "lfw"
KNOWN = 2 / 3  # of the people are in the index
TURNS = 40  # of a conversation, at most
STEP_S = 0.01  # of speech time, for scoring


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What became of one person's speech in one conversation, in seconds.

    ``closest_s`` is where this person was the nearest of the index, named or not.
    """

    person: str
    known: bool
    speech_s: float
    right_s: float
    named_s: float
    closest_s: float


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default=None, help="A shipped model's name or a checkpoint file.")
@click.option("--worlds", default=10, show_default=True, help="Indexes, of other people each.")
@click.option("--conversations", default=6, show_default=True, help="Of each world.")
@click.option("--turns", default=TURNS, show_default=True, help="Of a conversation, at most.")
@click.option("--gap", default=GAP_S[1], show_default=True, help="Longest pause between turns, s.")
@click.option("--calibration", type=click.Path(exists=True, path_type=Path))
@click.option("--at-least", default=MIN_PROBABILITY, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    data: Path,
    model: str | None,
    worlds: int,
    conversations: int,
    turns: int,
    gap: float,
    calibration: Path | None,
    at_least: float,
    seed: int,
) -> None:
    """Print the table."""
    embedder = load_model(model)
    talkers = talkers_of(data, embedder, SIDE)
    click.echo(Machine.here(["torch", "numpy"]).described())
    click.echo(f"{len(talkers)} people of the {SIDE} side; model {embedder.space.describe()}")
    lent = lent_faces(data, embedder, SIDE, [who.key for who in talkers])
    faces = {
        key: embedded_faces(embedder, [Media(path, "face") for path in crops])
        for key, crops in lent.items()
    }
    how = dataclasses.replace(how_of(embedder, calibration), min_probability=at_least)
    report(Bench(embedder, talkers, faces, how, seed).run(worlds, conversations, turns, gap))


def how_of(embedder: TrainedEmbedder, file: Path | None) -> AnnotateOptions:
    """What scores are worth, by a file or by the model."""
    if file is not None:
        return AnnotateOptions(calibrations=read_calibrations(file))
    return AnnotateOptions(
        calibrations_of(embedder.record), plda_from_record(embedder.record, embedder.space.dim)
    )


def report(runs: Mapping[tuple[str, str], list[Row]]) -> None:
    """Print a row for each way, and how much speech there was."""
    click.echo("| index holds | turns | right | named | nearest | strangers named |")
    click.echo("|---|---|---|---|---|---|")
    for (holds, turns), rows in runs.items():
        click.echo(f"| {holds} | {turns} | {' | '.join(shares(rows))} |")
    rows = next(iter(runs.values()))
    minutes = [
        sum(row.speech_s for row in rows if row.known is side) / 60 for side in (True, False)
    ]
    click.echo(f"{minutes[0]:.0f} min of known and {minutes[1]:.0f} min of unknown people each.")


def talkers_of(data: Path, embedder: TrainedEmbedder, side: str) -> list[Talker]:
    """The people of a side, as the model's record has it, who have recordings enough."""
    keys = embedder.record["people"][side]
    ours = [key for key in keys if key.split("/")[0] in GALLERIES]
    found = (read_talker(data, key) for key in ours)
    return [talker for talker in found if talker is not None]


def lent_faces(
    data: Path, embedder: TrainedEmbedder, side: str, keys: Sequence[str], least: int = 1
) -> dict[str, list[Path]]:
    """Pictures for each of these people: of somebody else of the side, of the own gender.

    Those who lend theirs have at least so many; people for whom nobody is left have none.
    """
    genders = {
        f"{gallery}/{key}": person.gender
        for gallery in (*GALLERIES, FACES)
        for key, person in read_people(data / gallery / "people.csv").items()
    }
    theirs = {
        key: sorted((data / key).glob("*.jpg"))
        for key in embedder.record["people"][side]
        if key.startswith(f"{FACES}/")
    }
    models = [key for key, crops in theirs.items() if len(crops) >= least]
    lent = {}
    for key in keys:
        fitting = next((model for model in models if genders[model] == genders[key]), None)
        if fitting is not None:
            models.remove(fitting)
            lent[key] = theirs[fitting]
    return lent


def embedded_faces(embedder: TrainedEmbedder, faces: Sequence[Media]) -> VoiceVectors:
    """Vectors of faces; they have no seconds."""
    rows = embedder.embed(faces).vectors
    return VoiceVectors(rows, np.zeros(len(rows)))


def embedded_voice(embedder: TrainedEmbedder, who: Talker) -> VoiceVectors:
    """Vectors of the recordings that somebody is known by."""
    path = Path(who.key)
    media = [Media(path, "voice", float(n), data=s) for n, s in enumerate(who.enrolled)]
    seconds = np.array([len(samples) / SAMPLE_RATE for samples in who.enrolled])
    return VoiceVectors(embedder.embed(media).vectors, seconds)


def by_holding(
    voices: Mapping[str, VoiceVectors], faces: Mapping[str, VoiceVectors]
) -> dict[str, Held]:
    """What an index holds of people of whom both are there: voices, faces or both."""
    return {
        "voices": {key: {"voice": voices[key]} for key in voices},
        "faces": {key: {"face": faces[key]} for key in voices},
        "both": {key: {"voice": voices[key], "face": faces[key]} for key in voices},
    }


@contextlib.contextmanager
def indexed(space: Space, held: Held, known: Collection[str]) -> Iterator[Index]:
    """An index of some of these people, gone afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder) / "index", space) as index,
    ):
        _enrol(index, {key: held[key] for key in sorted(known)})
        yield index


def drawn_known(rng: np.random.Generator, keys: Sequence[str]) -> set[str]:
    """The people who are in an index."""
    order = rng.permutation(len(keys))
    return {keys[at] for at in order[: round(KNOWN * len(order))]}


class Bench:
    """People, their vectors, and conversations of theirs annotated."""

    def __init__(
        self,
        embedder: TrainedEmbedder,
        talkers: Sequence[Talker],
        faces: Mapping[str, VoiceVectors],
        how: AnnotateOptions,
        seed: int,
    ) -> None:
        self._embedder, self._talkers, self._how = embedder, talkers, how
        self._rng = np.random.default_rng(seed)
        voices = {who.key: embedded_voice(embedder, who) for who in talkers}
        self._held = by_holding(voices, faces)

    def run(
        self, worlds: int, conversations: int, turns: int, gap_s: float
    ) -> dict[tuple[str, str], list[Row]]:
        """What became of everybody's speech, by what the index holds and by the diarization."""
        rows: dict[tuple[str, str], list[Row]] = {}
        keys = [who.key for who in self._talkers]
        for _ in range(worlds):
            known = drawn_known(self._rng, keys)
            spoken = [converse(self._rng, self._cast(), turns, gap_s) for _ in range(conversations)]
            broken = [damaged(self._rng, each.turns) for each in spoken]
            for holds, held in self._held.items():
                with indexed(self._embedder.space, held, known) as index:
                    for each, wrong in zip(spoken, broken, strict=True):
                        for name, said in (
                            ("true", each.turns),
                            ("padded", padded(each.turns)),
                            ("damaged", wrong),
                        ):
                            found = self._annotate(each.samples, anonymous(said)[0], index)
                            rows.setdefault((holds, name), []).extend(
                                rows_of(each.turns, found, known)
                            )
        return rows

    def _annotate(
        self, samples: NDArray[np.float32], turns: Diarization, index: Index
    ) -> Annotated:
        recording = {"waveform": samples, "sample_rate": SAMPLE_RATE, "uri": "conversation"}
        return annotate_recording(recording, turns, index, self._embedder, self._how)

    def _cast(self) -> list[Talker]:
        count = int(self._rng.integers(2, 9))
        return [self._talkers[at] for at in self._rng.permutation(len(self._talkers))[:count]]


def _enrol(index: Index, people: Held) -> None:
    files: list[tuple[FileRecord, list[NewItem]]] = []
    for key, held in people.items():
        path = Path("/") / key
        asked = frozenset({(key, None, 0.0, None)})
        record = FileRecord(path, path.parent, Stat(1, 1), "", "benchmark", asked)
        items = [
            NewItem(key, modality, 0.0, length or None, None, row)
            for modality, each in held.items()
            for row, length in zip(each.vectors, each.seconds.tolist(), strict=True)
        ]
        files.append((record, items))
    with index.writing() as catalog, catalog.write("benchmark") as write:
        write.put_files(files, {})


def rows_of(truth: Diarization, annotated: Annotated, known: set[str]) -> list[Row]:
    """What became of everybody's speech, on a fine grid of time, overlapped speech included.

    Where others speak too a name that is theirs is not counted against somebody.
    """
    steps = round(annotated.duration_s / STEP_S) + 1
    spoken = {who: _grid(truth.turns, who, steps) for who in truth.speakers}
    named = [each.label for each in annotated.speakers if each.person is not None]
    given = {label: _grid(annotated.named_turns, label, steps) for label in named}
    nothing = np.zeros(steps, bool)
    rows = []
    for who, speaks in spoken.items():
        alone = speaks & (np.sum(list(spoken.values()), axis=0) == 1)
        right = speaks & given.get(who, nothing)
        wrong = alone & np.any([nothing, *given.values()], axis=0) & ~right
        closest = speaks & np.any([nothing, *_closest(annotated, who, steps)], axis=0)
        counts = (speaks, right, right | wrong, closest)
        rows.append(Row(who, who in known, *(float(each.sum() * STEP_S) for each in counts)))
    return rows


def _closest(annotated: Annotated, who: str, steps: int) -> list[NDArray[np.bool_]]:
    """When the speakers speak to whom somebody is the nearest, named or not."""
    return [
        _grid(annotated.turns, each.speaker, steps)
        for each in annotated.speakers
        if each.decision.candidates and each.decision.candidates[0].person == who
    ]


def _grid(turns: Sequence[Turn], speaker: str, steps: int) -> NDArray[np.bool_]:
    """Whether a speaker speaks at each step of time."""
    speaks = np.zeros(steps, bool)
    for turn in turns:
        if turn.speaker == speaker:
            speaks[_steps(turn.start_s, turn.end_s)] = True
    return speaks


def _steps(start_s: float, end_s: float) -> slice:
    return slice(round(start_s / STEP_S), round(end_s / STEP_S))


def shares(rows: Sequence[Row]) -> list[str]:
    """Of known people's speech what is right, named, nearest; of strangers' what is named."""
    known, unknown = ([row for row in rows if row.known is side] for side in (True, False))
    columns = ("right_s", "named_s", "closest_s")
    return [*(_share(known, column) for column in columns), _share(unknown, "named_s")]


def _share(rows: Sequence[Row], column: str) -> str:
    people = {who: at for at, who in enumerate(sorted({row.person for row in rows}))}
    places = np.array([people[row.person] for row in rows])
    spoken = np.bincount(places, [row.speech_s for row in rows], len(people))
    counted = np.bincount(places, [getattr(row, column) for row in rows], len(people))
    drawn = PersonBootstrap(len(people)).counts
    low, high = np.quantile((drawn @ counted) / (drawn @ spoken), [0.025, 0.975])
    return f"{counted.sum() / spoken.sum():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
