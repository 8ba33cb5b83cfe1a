"""How much speech of scripted conversations gets the right name.

``python -m benchmarks.annotating --data ../shared/data [--model FILE]``

Conversations of two to eight people whom the model has not seen in training, mixed from real
recordings with overlap and noise; about a third of the people are not in the index. Reports, with
the true turns and with damaged ones, the share of speech time of known people that gets the right
name, a wrong one or none, and the share of speech of unknown people that gets a name. 95 %
intervals by drawing people. ``--calibrate FILE`` fits the strength of scores on the people with
whom the model was chosen and writes it, for ``--calibration FILE`` and ``avsearch annotate``.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.naming import LEAST_PROBABILITY, SHOWN
from avsearch.annotation.result import Annotated
from avsearch.annotation.run import How, annotate_with
from avsearch.annotation.strength import read_calibrations
from avsearch.annotation.turns import Diarization, Turn
from avsearch.evidence import calibrations_of
from avsearch.media import SAMPLE_RATE
from avsearch.models import load_model
from avsearch.models.embedder import TorchEmbedder
from benchmarks.conversations import Talker, anonymous, converse, damaged, read_talker
from benchmarks.machine import Machine
from indexer.index import Index
from indexer.people import read_people
from indexer.records import FileRecord, NewItem, Stat
from indexer.types import Media, Vectors
from trainer.calibration import cllr, fit
from trainer.intervals import Draws
from trainer.metrics import roc_auc

Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]  # scores (n,), and which fit

FACES = "lfw"
GALLERIES = ("librispeech", "ravdess", "urdu", "nemo", "fsdd")
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
@click.option("--calibration", type=click.Path(exists=True, path_type=Path))
@click.option("--calibrate", "target", type=click.Path(path_type=Path), help="Fit, and write.")
@click.option("--at-least", default=LEAST_PROBABILITY, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    data: Path,
    model: str | None,
    worlds: int,
    conversations: int,
    calibration: Path | None,
    target: Path | None,
    at_least: float,
    seed: int,
) -> None:
    """Print the table, or fit a calibration."""
    embedder = load_model(model)
    side = "test" if target is None else "validation"
    known = (
        calibrations_of(embedder.record) if calibration is None else read_calibrations(calibration)
    )
    talkers = _talkers(data, embedder, side)
    click.echo(Machine.here(["torch", "numpy"]).described())
    click.echo(f"{len(talkers)} people of the {side} side; model {embedder.space.describe()}")
    how = How(known, at_least, shown=len(talkers) if target else SHOWN)
    bench = Bench(embedder, talkers, how, side, seed)
    if target is not None:
        target.write_text(json.dumps(_fitted(bench, data, worlds, conversations), indent=1) + "\n")
        return
    for name, rows in bench.run(worlds, conversations).items():
        click.echo(f"{name}: {described(rows)}")


def _talkers(data: Path, embedder: TorchEmbedder, side: str) -> list[Talker]:
    """The people of a side, as the model's record has it, who have recordings enough."""
    keys = embedder.record["people"][side]
    ours = [key for key in keys if key.split("/")[0] in GALLERIES]
    found = (read_talker(data, key) for key in ours)
    return [talker for talker in found if talker is not None]


class Bench:
    """People, their vectors, and conversations of theirs annotated."""

    def __init__(
        self, embedder: TorchEmbedder, talkers: Sequence[Talker], how: How, side: str, seed: int
    ) -> None:
        self._embedder, self._talkers, self.how = embedder, talkers, how
        self.side = side
        self._rng = np.random.default_rng(seed)
        self._vectors = {who.key: self._embed(who) for who in talkers}

    def run(self, worlds: int, conversations: int) -> dict[str, list[Row]]:
        """Of each kind of diarization what became of everybody's speech."""
        rows: dict[str, list[Row]] = {"true turns": [], "damaged turns": []}
        for known, index in self.worlds(worlds):
            for _ in range(conversations):
                cast = self._cast()
                spoken = converse(self._rng, cast, TURNS)
                for name, turns in (
                    ("true turns", spoken.turns),
                    ("damaged turns", damaged(self._rng, spoken.turns)),
                ):
                    annotated = self._annotate(spoken.samples, anonymous(turns)[0], index)
                    rows[name] += _rows(spoken.turns, annotated, known)
        return rows

    def worlds(self, count: int) -> Iterator[tuple[set[str], Index]]:
        """Indexes of some of the people each."""
        for _ in range(count):
            number = round(KNOWN * len(self._talkers))
            chosen = self._rng.permutation(len(self._talkers))[:number]
            known = {self._talkers[at].key for at in chosen}
            with (
                tempfile.TemporaryDirectory() as folder,
                Index.create(Path(folder) / "index", self._embedder.space) as index,
            ):
                _enrol(index, {key: self._vectors[key] for key in known})
                yield known, index

    def voices(self) -> dict[str, Vectors]:
        """The vectors (n, dim) of everybody's recordings to know them by."""
        return self._vectors

    def faces(self, data: Path) -> dict[str, Vectors]:
        """The vectors (n, dim) of the crops of faces of the bench's side."""
        keys = [key for key in self._embedder.record["people"][self.side] if key.startswith(FACES)]
        crops = {key: sorted((data / key).glob("*.jpg")) for key in keys}
        media = [Media(path, "face") for paths in crops.values() for path in paths]
        rows = iter(self._embedder.embed(media).vectors)
        return {key: np.stack([next(rows) for _ in paths]) for key, paths in crops.items()}

    def scores(self, worlds: int, conversations: int) -> Pairs:
        """Cosines of speakers with people of the index, of true turns, and whether they are one."""
        found: list[tuple[float, bool]] = []
        for _, index in self.worlds(worlds):
            for _ in range(conversations):
                spoken = converse(self._rng, self._cast(), int(self._rng.integers(4, TURNS)))
                turns, whose = anonymous(spoken.turns)
                annotated = self._annotate(spoken.samples, turns, index)
                found += [
                    (candidate.scores["V-V"], candidate.person == whose[each.speaker])
                    for each in annotated.speakers
                    for candidate in each.decision.candidates
                ]
        scores, same = zip(*found, strict=True)
        return np.array(scores), np.array(same)

    def _annotate(
        self, samples: NDArray[np.float32], turns: Diarization, index: Index
    ) -> Annotated:
        recording = {"waveform": samples, "sample_rate": SAMPLE_RATE, "uri": "conversation"}
        return annotate_with(recording, turns, index, self._embedder, self.how)

    def _cast(self) -> list[Talker]:
        count = int(self._rng.integers(2, 9))
        return [self._talkers[at] for at in self._rng.permutation(len(self._talkers))[:count]]

    def _embed(self, who: Talker) -> Vectors:
        path = Path(who.key)
        media = [Media(path, "voice", float(n), data=s) for n, s in enumerate(who.enrolled)]
        return self._embedder.embed(media).vectors


def _enrol(index: Index, vectors: Mapping[str, Vectors]) -> None:
    files: list[tuple[FileRecord, list[NewItem]]] = []
    for key, rows in vectors.items():
        path = Path("/") / key
        asked = frozenset({(key, None, 0.0, None)})
        record = FileRecord(path, path.parent, Stat(1, 1), "", "benchmark", asked)
        items = [NewItem(key, "voice", float(n), None, None, row) for n, row in enumerate(rows)]
        files.append((record, items))
    with index.writing() as catalog, catalog.write("benchmark") as write:
        write.put_files(files, {})


def _rows(truth: Diarization, annotated: Annotated, known: set[str]) -> list[Row]:
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


def described(rows: Sequence[Row]) -> str:
    """The shares of speech time, with their intervals."""
    known, unknown = ([row for row in rows if row.known is side] for side in (True, False))
    return (
        f"known people {sum(row.speech_s for row in known) / 60:.0f} min: "
        f"right {_share(known, 'right_s')}, named at all {_share(known, 'named_s')}, "
        f"nearest, named or not, {_share(known, 'closest_s')}; "
        f"unknown people {sum(row.speech_s for row in unknown) / 60:.0f} min: "
        f"named {_share(unknown, 'named_s')}"
    )


def _share(rows: Sequence[Row], column: str) -> str:
    people = {who: at for at, who in enumerate(sorted({row.person for row in rows}))}
    places = np.array([people[row.person] for row in rows])
    spoken = np.bincount(places, [row.speech_s for row in rows], len(people))
    counted = np.bincount(places, [getattr(row, column) for row in rows], len(people))
    drawn = Draws(len(people)).counts
    low, high = np.quantile((drawn @ counted) / (drawn @ spoken), [0.025, 0.975])
    return f"{counted.sum() / spoken.sum():.3f} [{low:.3f}, {high:.3f}]"


def _fitted(
    bench: Bench, data: Path, worlds: int, conversations: int
) -> dict[str, dict[str, float]]:
    """The strength of scores in all four directions, on the people of the bench."""
    pairs = {"V-V": bench.scores(worlds, conversations), **_face_scores(bench, data)}
    fitted = {}
    for direction, (scores, same) in pairs.items():
        found = fit(scores, same)
        click.echo(
            f"{direction}: {int(same.sum())} pairs that fit, {int((~same).sum())} that do not, "
            f"AUC {roc_auc(scores, same):.3f}, Cllr {cllr(found(scores), same):.3f} bits: {found}"
        )
        fitted[direction] = dataclasses.asdict(found)
    return fitted


def _face_scores(bench: Bench, data: Path) -> dict[str, Pairs]:
    """Faces of people of the same side with each other, and with the bench's voices.

    Next to nobody in the data has a face and a voice, so across modalities two of one gender
    stand for one person, beside any two for two people: a model may know more, never less.
    """
    faces = bench.faces(data)
    halves = [
        np.stack([_unit(rows[part::2].mean(0)) for rows in faces.values() if len(rows) > 1])
        for part in (0, 1)
    ]
    scores = halves[0] @ halves[1].T
    same = np.eye(len(scores), dtype=bool)
    genders = _genders(data)
    voices = bench.voices()
    across = np.array([_unit(rows.mean(0)) for rows in faces.values()])
    heard = np.array([_unit(rows.mean(0)) for rows in voices.values()])
    alike = np.array([[genders[v] == genders[f] for f in faces] for v in voices])
    any_two = (heard @ across.T).ravel().astype(np.float64)
    one = any_two[alike.ravel()]
    pairs = np.concatenate([one, any_two]), np.arange(len(one) + len(any_two)) < len(one)
    return {
        "F-F": (scores.ravel().astype(np.float64), same.ravel()),
        "V-F": pairs,
        "F-V": pairs,
    }


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _genders(data: Path) -> dict[str, str | None]:
    """Of everybody, by gallery and key, as the galleries' tables say."""
    return {
        f"{gallery}/{key}": person.gender
        for gallery in (*GALLERIES, FACES)
        for key, person in read_people(data / gallery / "people.csv").items()
    }


if __name__ == "__main__":
    main()
