"""The share of speech in scripted conversations that gets the right name.

``python -m benchmarks.quality.annotating --data DATA [--model FILE]``

Conversations of two to eight people of the test split are mixed from real recordings, with overlap
and noise; a third of the people are not in the index. For true turns, turns padded with silence
and damaged turns, and by what the index holds, the table has the shares of speech time of known
people with the right name, with any name, and with the right person nearest, and the share of
speech of unknown people with a name; 95 % intervals are over people. ``--turns 6 --gap 6`` makes
conversations with little speech and long pauses. Almost nobody in the data has a face and a voice,
so everybody gets the images of another person of the same gender.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from avsearch.annotation.identification.plda import plda_from_record
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
from benchmarks.tables import table
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Stat
from indexer.tables.people import read_people
from indexer.types import Media, Modality
from trainer.evaluation.bootstrap import PersonBootstrap
from trainer.recipes.fit_speakers import GALLERIES

FACES = "lfw"
KNOWN = 2 / 3  # share of the people in the index
TURNS = 40  # of a conversation, at most
STEP_S = 0.01  # resolution of speech time
HOLDINGS: dict[str, tuple[Modality, ...]] = {
    "voices": ("voice",),
    "faces": ("face",),
    "both": ("voice", "face"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Seconds of one person's speech in one conversation.

    In ``closest_s`` the person was the nearest of the index, named or not.
    """

    person: str
    known: bool
    speech_s: float
    right_s: float
    named_s: float
    closest_s: float


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default=None, help="Name of a shipped model, or a checkpoint file.")
@click.option("--worlds", default=10, show_default=True, help="Indexes, each of other people.")
@click.option("--conversations", default=6, show_default=True, help="Per index.")
@click.option("--turns", default=TURNS, show_default=True, help="Of a conversation, at most.")
@click.option("--gap", default=GAP_S[1], show_default=True, help="Longest pause between turns, s.")
def main(
    data: Path, model: str | None, worlds: int, conversations: int, turns: int, gap: float
) -> None:
    """Print the table."""
    click.echo(Machine.here(["torch", "numpy"]).described())
    embedder, rng = load_model(model), np.random.default_rng(0)
    keys = [key for key in embedder.record["people"]["test"] if key.split("/")[0] in GALLERIES]
    talkers = [who for key in keys if (who := read_talker(data, key)) is not None]
    click.echo(f"{len(talkers)} people of the test split; model {embedder.space.describe()}")
    items = _items(data, embedder, talkers)
    options = AnnotateOptions(
        calibrations_of(embedder.record), plda_from_record(embedder.record, embedder.space.dim)
    )
    rows: dict[tuple[str, str], list[Row]] = {}
    for _ in range(worlds):
        order = rng.permutation(len(talkers))
        known = {talkers[at].key for at in order[: round(KNOWN * len(order))]}
        spoken = [converse(rng, _cast(rng, talkers), turns, gap) for _ in range(conversations)]
        broken = [damaged(rng, each.turns) for each in spoken]
        for holds, modalities in HOLDINGS.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                Index.create(Path(folder) / "index", embedder.space) as index,
            ):
                _fill(index, {key: items[key] for key in sorted(known)}, modalities)
                for each, wrong in zip(spoken, broken, strict=True):
                    recording = {
                        "waveform": each.samples,
                        "sample_rate": SAMPLE_RATE,
                        "uri": "conversation",
                    }
                    diarizations = {"true": each.turns, "padded": padded(each.turns)}
                    for name, said in (diarizations | {"damaged": wrong}).items():
                        found = annotate_recording(
                            recording, anonymous(said)[0], index, embedder, options
                        )
                        own = rows.setdefault((holds, name), [])
                        own += _rows_of(each.turns, found, known)
    head = ("index holds", "turns", "right", "named", "nearest", "strangers named")
    click.echo(table(head, [(*key, *_shares(own)) for key, own in rows.items()]))
    minutes = (
        sum(row.speech_s for row in next(iter(rows.values())) if row.known is side) / 60
        for side in (True, False)
    )
    click.echo("{:.0f} min of known and {:.0f} min of unknown people each.".format(*minutes))


def _cast(rng: np.random.Generator, talkers: Sequence[Talker]) -> list[Talker]:
    count = int(rng.integers(2, 9))
    return [talkers[at] for at in rng.permutation(len(talkers))[:count]]


def _items(
    data: Path, embedder: TrainedEmbedder, talkers: Sequence[Talker]
) -> dict[str, list[NewItem]]:
    """Return the items of each person: enrolled recordings, and faces of another person.

    A person without a remaining face of the same gender has none, and is not enrolled by faces.
    """
    genders = {
        f"{gallery}/{key}": person.gender
        for gallery in (*GALLERIES, FACES)
        for key, person in read_people(data / gallery / "people.csv").items()
    }
    lenders = [key for key in embedder.record["people"]["test"] if key.startswith(f"{FACES}/")]
    items: dict[str, list[NewItem]] = {}
    for who in talkers:
        path = Path(who.key)
        media = [Media(path, "voice", float(n), data=s) for n, s in enumerate(who.enrolled)]
        lender = next((key for key in lenders if genders[key] == genders[who.key]), None)
        if lender is not None:
            lenders.remove(lender)
            media += [Media(face, "face") for face in sorted((data / lender).glob("*.jpg"))]
        lengths = [len(samples) / SAMPLE_RATE for samples in who.enrolled]
        ends: list[float | None] = [*lengths, *[None] * (len(media) - len(lengths))]
        items[who.key] = [
            NewItem(who.key, each.modality, 0.0, end, None, vector)
            for each, end, vector in zip(media, ends, embedder.embed(media).vectors, strict=True)
        ]
    return items


def _fill(
    index: Index, people: Mapping[str, Sequence[NewItem]], modalities: Sequence[Modality]
) -> None:
    files = [
        (
            FileRecord(
                Path("/") / key,
                (Path("/") / key).parent,
                Stat(1, 1),
                "",
                "benchmark",
                frozenset({(key, None, 0.0, None)}),
            ),
            [item for item in items if item.modality in modalities],
        )
        for key, items in people.items()
    ]
    with index.writing() as catalog, catalog.write("benchmark") as write:
        write.put_files(files, {})


def _rows_of(truth: Diarization, annotated: Annotated, known: set[str]) -> list[Row]:
    """Return a row per person, from a fine grid of time that includes overlapped speech.

    During overlap the name of another speaker does not count as wrong.
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
        nearest = [
            _grid(annotated.turns, each.speaker, steps)
            for each in annotated.speakers
            if each.decision.candidates and each.decision.candidates[0].person == who
        ]
        closest = speaks & np.any([nothing, *nearest], axis=0)
        counts = (speaks, right, right | wrong, closest)
        rows.append(Row(who, who in known, *(float(each.sum() * STEP_S) for each in counts)))
    return rows


def _grid(turns: Sequence[Turn], speaker: str, steps: int) -> NDArray[np.bool_]:
    """The steps of time at which a speaker speaks."""
    speaks = np.zeros(steps, bool)
    for turn in turns:
        if turn.speaker == speaker:
            speaks[round(turn.start_s / STEP_S) : round(turn.end_s / STEP_S)] = True
    return speaks


def _shares(rows: Sequence[Row]) -> list[str]:
    """Shares of known people's speech: right, named, nearest; of strangers' speech: named."""
    known, unknown = ([row for row in rows if row.known is side] for side in (True, False))
    columns = ("right_s", "named_s", "closest_s")
    return [*(_share(known, column) for column in columns), _share(unknown, "named_s")]


def _share(rows: Sequence[Row], column: str) -> str:
    people = {who: at for at, who in enumerate(sorted({row.person for row in rows}))}
    at = np.array([people[row.person] for row in rows])
    spoken = np.bincount(at, [row.speech_s for row in rows], len(people))
    counted = np.bincount(at, [getattr(row, column) for row in rows], len(people))
    weights = PersonBootstrap(len(people)).counts
    low, high = np.quantile((weights @ counted) / (weights @ spoken), [0.025, 0.975])
    return f"{counted.sum() / spoken.sum():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
