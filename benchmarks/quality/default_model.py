"""Figures of the default model on people it was not trained on.

``python -m benchmarks.quality.default_model CHECKPOINT --data DATA --side test --out FOLDER``
writes trial lists to a folder, evaluates them as ``avsearch evaluate`` does, with the batch audit,
and prints one row per list: the figure with its 95 % interval over people, the same for women and
men, their difference, the figure of an oracle that knows only genders, and the loss for voices in
noise, cut short or sent by telephone. ``--teachers`` adds Resemblyzer and dlib's face encoder on
the same trials and the same bootstrap samples. The folder also gets ``report.html``,
``report.json`` and ``figures.json``; its lists can be evaluated with any other model.

The accuracy of pairs is at the threshold that is best for the validation people. If these are
evaluated themselves, half of them give the threshold for the other half.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.machine import Machine
from benchmarks.quality import other_encoders
from benchmarks.quality.exam import Exam, Reaches, read_exam
from benchmarks.quality.exam_table import shown
from benchmarks.quality.held_out import Person, people_of_side
from benchmarks.quality.trial_folder import TrialFolder
from benchmarks.quality.trial_lists import write_people
from benchmarks.quality.trial_media import Extract, whole_recordings
from indexer.runtime.atomic import replacing
from trainer.data.splits import SPLITS, Split
from trainer.evaluation.results import EvalRequest, Report, SystemResult
from trainer.evaluation.run import write_report
from trainer.evaluation.score import Metric
from trainer.evaluation.section import MODEL
from trainer.evaluation.systems import Model, ReadyVectors, RunOptions

AUDITED = 12  # media of each list that are embedded again


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--side", type=click.Choice(SPLITS[1:]), default="test", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--teachers", "compared", is_flag=True, help="Beside Resemblyzer and dlib.")
@click.option("--whole", is_flag=True, help="Recordings with their silences, not the speech.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
def main(
    checkpoint: Path, data: Path, side: Split, out: Path, seed: int, *, compared: bool, whole: bool
) -> None:
    """Print the table of a checkpoint's figures on the people of a split."""
    click.echo(Machine.here(["torch", "numpy"]).described())
    people, others = people_and_others(checkpoint, data, side)
    exam = prepare(out, people, others, seed, whole_recordings if whole else None)
    model = Model(str(checkpoint), RunOptions(sample=AUDITED))
    ours = exam.take(model)
    theirs = beside(exam, out / "features") if compared else {}
    click.echo(f"\n{model.name} on {side} people:\n")
    click.echo(shown(ours, theirs))
    write(out, model.name, exam, ours, theirs)


def people_and_others(
    checkpoint: Path, data: Path, side: Split
) -> tuple[list[Person], list[Person]]:
    """Return the people of a split, and other people whose faces set the threshold."""
    people = people_of_side(checkpoint, data, side)
    if side == "test":
        return people, _with_faces(people_of_side(checkpoint, data, "validation"))
    others = _with_faces(people)[1::2]
    kept = {one.key for one in others}
    return [one for one in people if one.key not in kept], others


def _with_faces(people: Sequence[Person]) -> list[Person]:
    return [one for one in people if one.gallery == "lfw"]


def prepare(
    out: Path,
    people: list[Person],
    others: list[Person],
    seed: int = 0,
    extract: Extract | None = None,
) -> Exam:
    """Write media, lists and the table of people to a folder, and read them."""
    out.mkdir(parents=True, exist_ok=True)
    rows = TrialFolder(out, people, seed, extract).rows()
    threshold_rows = TrialFolder(out, others, seed, extract).threshold_rows()
    write_people(out / "people.tsv", [*people, *others])
    return read_exam(out, rows, threshold_rows)


def beside(exam: Exam, folder: Path) -> Reaches:
    """Return the results of the other encoders on the rows of their modality."""
    found: Reaches = {}
    for modality, name in other_encoders.OF.items():
        media = exam.media_within(modality)
        if media and (absent := other_encoders.missing(name)) is not None:
            click.echo(f"{absent} Its columns are left out.")
        elif media:
            vectors = other_encoders.write_features(name, media, folder)
            found |= exam.take(ReadyVectors(vectors, RunOptions()), modality)
    return found


def write(out: Path, name: str, exam: Exam, ours: Reaches, theirs: Reaches) -> None:
    """Write the report page and all figures."""
    lists = tuple(found.row.list for found in ours.values())
    request = EvalRequest(lists=lists, tables=(exam.table,), media=exam.media, model=name)
    reached = SystemResult(name, [found.section for found in ours.values()], {})
    write_report(Report(request, sys.argv, [reached]), out)
    told = {"ours": _plain(ours), "theirs": _plain(theirs)}
    with replacing(out / "figures.json") as partial:
        partial.write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")


def _plain(reaches: Reaches) -> dict[str, object]:
    return {
        title: {
            "figures": {
                key: _numbers(each) for key, each in found.section.rows[MODEL].figures.items()
            },
            "women": _numbers(found.women.with_interval()),
            "men": _numbers(found.men.with_interval()),
            "women less men": _numbers(found.gap),
            "faults": found.section.faults,
        }
        for title, found in reaches.items()
    }


def _numbers(figure: Metric) -> list[float | None]:
    """The value and the ends of its interval; None for missing values."""
    values = dataclasses.astuple(figure)
    return [value if math.isfinite(value) else None for value in values]


if __name__ == "__main__":
    main()
