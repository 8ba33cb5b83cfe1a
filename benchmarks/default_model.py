"""The figures of the default model, on people whom it was never trained on.

``python -m benchmarks.default_model CHECKPOINT --data ../shared/data --side test --out FOLDER``
writes trials into a folder, asks them as ``avsearch evaluate`` does, audited, and prints a row a
list: the figure with its 95 % interval over people, the same of women and of men and their
difference, what knowing genders alone would give, and what voices lose that are noisy, short or
telephoned. ``--teachers`` adds Resemblyzer and dlib's face encoder on the same trials, with the
difference in the same draws of people. ``report.html``, ``report.json`` and ``figures.json`` in
the folder have the rest, and its lists can be asked of any other model.

Accuracies of pairs are at the threshold that is best for validation people. Where these are
tested themselves, half of them give the threshold for the other half.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import teachers
from benchmarks.exam import Exam, Found, read_exam
from benchmarks.held_out import Person, people_of_side
from benchmarks.machine import Machine
from benchmarks.markdown import table
from benchmarks.trial_folder import TrialFolder
from benchmarks.trial_lists import write_people
from benchmarks.trial_media import Extract
from indexer.files import replacing
from trainer.contenders import Means, Model, ReadyVectors
from trainer.data.splits import SPLITS, Split
from trainer.evaluating import Reached, Report, Request
from trainer.evaluation import MODEL
from trainer.judge import Figure, Measured

AUDITED = 12  # media of each list that are embedded again
_KNOWING = "knows gender"
_HEAD = (
    "what",
    "figure",
    "people",
    "trials",
    "reached [95 %]",
    "women",
    "men",
    "women less men, points",
    _KNOWING,
    "lost, points",
    "audit",
)
_THEIRS = ("beside", "reached [95 %]", "ours less theirs, points", "lost, points")

Reaches = dict[str, Found]  # by the row's title


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--side", type=click.Choice(SPLITS[1:]), default="test", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--teachers", "compared", is_flag=True, help="Beside Resemblyzer and dlib.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
def main(
    checkpoint: Path, data: Path, side: Split, out: Path, seed: int, *, compared: bool
) -> None:
    """Print the table of a checkpoint's figures on the people of a side."""
    click.echo(Machine.here(["torch", "numpy"]).described())
    exam = prepare(out, *people_and_others(checkpoint, data, side), seed)
    model = Model(str(checkpoint), Means(sample=AUDITED))
    ours = exam.take(model)
    theirs = beside(exam, out / "features") if compared else {}
    click.echo(f"\n{model.name} on {side} people:\n")
    click.echo(shown(ours, theirs))
    write(out, model.name, exam, ours, theirs)


def people_and_others(
    checkpoint: Path, data: Path, side: Split
) -> tuple[list[Person], list[Person]]:
    """The people of a side, and people with faces to choose a threshold on."""
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
    """Write media, lists and the table of people into a folder, and read them."""
    out.mkdir(parents=True, exist_ok=True)
    rows = TrialFolder(out, people, seed, extract).rows()
    chosen = TrialFolder(out, others, seed, extract).to_choose_on()
    write_people(out / "people.tsv", [*people, *others])
    return read_exam(out, rows, chosen)


def beside(exam: Exam, folder: Path) -> Reaches:
    """What the teachers reach on the rows that ask within their modality."""
    found: Reaches = {}
    for modality, name in teachers.OF.items():
        media = exam.media_within(modality)
        if media and (absent := teachers.missing(name)) is not None:
            click.echo(f"{absent} Its columns are left out.")
        elif media:
            vectors = teachers.write_features(name, media, folder)
            found |= exam.take(ReadyVectors(vectors, Means()), modality)
    return found


def shown(ours: Reaches, theirs: Reaches) -> str:
    """All figures as a table in Markdown; the teachers' columns where there are any."""
    rows = [
        [*_own_cells(found, ours), *(_their_cells(found, theirs) if theirs else ())]
        for found in ours.values()
    ]
    return table([*_HEAD, *(_THEIRS if theirs else ())], rows)


def _own_cells(found: Found, ours: Reaches) -> list[str]:
    section, women, men = found.section, found.measured("f"), found.measured("m")
    knowing = section.rows[_KNOWING].figures.get(found.row.figure)
    return [
        found.row.title,
        found.row.figure,
        str(section.people),
        str(section.trials),
        _text(found.figure),
        f"{women.value:.3f}",
        f"{men.value:.3f}",
        _points(found.gap),
        "" if knowing is None else f"{knowing.value:.3f}",
        _lost(found, ours),
        section.audit.verdict if section.valid else "INVALID",
    ]


def _their_cells(found: Found, theirs: Reaches) -> list[str]:
    other = theirs.get(found.row.title)
    if other is None or found.row.within is None:
        return [""] * len(_THEIRS)
    name = teachers.OF[found.row.within]
    return [name, _text(other.figure), _points(found.less(other)), _lost(other, theirs)]


def _lost(found: Found, all_found: Reaches) -> str:
    """How much larger the error is than of the same voices as they were."""
    return "" if found.row.clean is None else _points(found.less(all_found[found.row.clean]))


def _text(figure: Figure) -> str:
    return f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]"


def _points(figure: Figure) -> str:
    values = (f"{100 * value:+.1f}" for value in (figure.value, figure.lower, figure.upper))
    return "{} [{}, {}]".format(*values)


def write(out: Path, name: str, exam: Exam, ours: Reaches, theirs: Reaches) -> None:
    """Write the page and the figures in full."""
    lists = tuple(found.row.list for found in ours.values())
    request = Request(lists=lists, tables=(exam.table,), media=exam.media, model=name)
    reached = Reached(name, [found.section for found in ours.values()], {})
    Report(request, sys.argv, [reached]).write(out)
    told = {"ours": _plain(ours), "theirs": _plain(theirs)}
    with replacing(out / "figures.json") as partial:
        partial.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _plain(reaches: Reaches) -> dict[str, object]:
    return {
        title: {
            "figures": {
                key: dataclasses.astuple(each)
                for key, each in found.section.rows[MODEL].figures.items()
            },
            "women": _value(found.measured("f")),
            "men": _value(found.measured("m")),
            "women less men": dataclasses.astuple(found.gap),
            "faults": found.section.faults,
        }
        for title, found in reaches.items()
    }


def _value(measured: Measured) -> tuple[float, ...]:
    return dataclasses.astuple(measured.figure())


if __name__ == "__main__":
    main()
