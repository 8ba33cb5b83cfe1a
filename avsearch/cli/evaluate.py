"""``avsearch evaluate``: audited figures with intervals, chance and oracles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.options import FILE, device_option, index_option, json_option
from avsearch.cli.output import ProgressBar, print_json, print_table, say, warn
from indexer.errors import BadRequest, printable
from indexer.open import open_index

if TYPE_CHECKING:
    from trainer.evaluation.results import EvalRequest, Report
    from trainer.evaluation.section import Section

DIRECTIONS = ("V-F", "F-V", "V-V", "F-F")
STRATA = ("U", "G", "N", "A", "GN", "GNA")
ANSWERS = ("identity", "gender", "nationality", "both")
TRAINED = ("all", "seen", "unseen")
INVALID = 3  # the exit code if a scorer fails its audit


@click.command("evaluate")
@index_option
@click.option(
    "--list",
    "lists",
    multiple=True,
    type=FILE,
    help="A published trial list; without one, protocols are made from the index.",
)
@click.option(
    "--people",
    "tables",
    multiple=True,
    type=FILE,
    help="vox1_meta.csv or the split tables that belong to a list.",
)
@click.option("--media", type=FILE, help="The folder that a list's paths are relative to.")
@click.option(
    "--features",
    type=FILE,
    help="Vectors of faces and voices by path (.npz, .safetensors, .parquet).",
)
@click.option(
    "--scores",
    multiple=True,
    type=FILE,
    help="Scores of each --list's trials, in its order (.npy or text); not audited.",
)
@click.option("--model", help="The model, for --media, and to audit it on an index's own media.")
@click.option("--rerank", metavar="NAME|FILE", help="A re-ranker, with figures in its own column.")
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Two models, feature files, score files or indexes: their difference in every figure.",
)
@click.option(
    "--protocol",
    "kinds",
    default=("verification,1:2,1:10,retrieval",),
    multiple=True,
    show_default=True,
    help="Protocols made from an index: verification, 1:N, retrieval; may be given again.",
)
@click.option(
    "--direction",
    "directions",
    default=("V-F,F-V",),
    multiple=True,
    show_default=True,
    help="V-F: a voice is the query, faces are candidates.",
)
@click.option(
    "--stratum",
    "strata",
    default=("U,G",),
    multiple=True,
    show_default=True,
    help="Wrong answers share nothing (U), gender (G), nationality (N), age (A), GN or GNA.",
)
@click.option(
    "--by",
    "answers",
    default=("identity",),
    multiple=True,
    show_default=True,
    help="Right answers share the identity, gender, nationality, or both.",
)
@click.option(
    "--trained",
    default=("all",),
    multiple=True,
    show_default=True,
    help="The people: all, those of the model's training (seen), others (unseen).",
)
@click.option(
    "--without-same-recording",
    is_flag=True,
    help="Leave out right answers from the query's own recording.",
)
@click.option(
    "--threshold-list",
    type=FILE,
    help="A list of other people's pairs; its best threshold gives each verification an accuracy.",
)
@click.option(
    "--audit", "sample", default=40, show_default=True, help="Media that are embedded again."
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Instead of evaluating, calibrate the model's scores on the index, and write the "
    "calibration into its checkpoint.",
)
@device_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder for report.json and report.html."
)
@click.option(
    "--submission",
    type=click.Path(path_type=Path),
    help="Write the scores of a FAME list, whose answers are secret, to this file.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: Path | None,
    submission: Path | None,
    *,
    calibrate: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate an index, a model on a published list, vectors or scores.

    Every figure is audited first: a score that depends on its batch makes the figure invalid, and
    the exit code is 3.
    """
    if calibrate:
        _calibrate(options["index_path"], options["model"])
        return
    from trainer.evaluation.run import run, submit, write_report

    request = _request(options)
    if submission is not None:
        count, checked = submit(request, submission)
        say(f"{count} scores are written to {printable(submission)}.")
        _end(ctx, checked.faults)
        return
    with ProgressBar("protocol") as progress:
        report = run(request, progress, warn)
    if out is not None:
        write_report(report, out)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)
    _end(
        ctx,
        [f"{each.protocol}: {'; '.join(each.faults)}" for each in report.sections if each.faults],
    )


def _request(options: dict[str, Any]) -> EvalRequest:
    """Return the request of the options; words with commas are split."""
    from trainer.evaluation.results import EvalRequest

    options["index"] = options.pop("index_path")
    options["compare"] = options["compare"] or ()
    known = {"kinds": (), "directions": DIRECTIONS, "strata": STRATA, "answers": ANSWERS}
    for name, words in {**known, "trained": TRAINED}.items():
        options[name] = _words(options[name], words)
    return EvalRequest(**options)


def _end(ctx: click.Context, faults: list[str]) -> None:
    """Warn about invalid figures, and exit with their code."""
    for fault in faults:
        warn(f"INVALID: {fault}.")
    if faults:
        ctx.exit(INVALID)


def _calibrate(index_path: Path | None, model: str | None) -> None:
    from trainer.evaluation.calibrate_index import calibrate_on_index

    with open_index(index_path) as index:
        path, found = calibrate_on_index(index, model)
    shown = ("scale", "offset", "least", "most", "Cllr", "minCllr")
    rows = [(way, *(f"{one[name]:.4g}" for name in shown)) for way, one in found.items()]
    print_table(("direction", *shown), rows)
    say(f"Written into {printable(path)}.")


def _words(texts: tuple[str, ...], known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the words of an option that may be given again, each once."""
    text = ",".join(texts)
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    unknown = [word for word in words if known and word not in known]
    if unknown or not words:
        there = ", ".join(known or ("verification", "1:N", "retrieval"))
        raise BadRequest(f"{text!r} should be one or more of {there}, with commas.")
    return words


def _show(report: Report) -> None:
    for result in report.results:
        if report.comparisons:
            say(f"{result.name}:")
        rows = [row for section in result.sections for row in _rows(section)]
        print_table(("protocol", "trials", "scorer", "figure", "value [95 %]", ""), rows)
        for note in dict.fromkeys(note for section in result.sections for note in section.notes):
            warn(note)
    if report.comparisons:
        _show_compared(report)


def _rows(section: Section) -> Iterator[tuple[str, ...]]:
    """Yield a row for each scorer of a protocol."""
    counts = section.protocol, str(section.trials)
    for place, (name, metrics) in enumerate(section.rows.items()):
        audit = section.audits.get(name)
        state = "" if audit is None or audit.verdict == "passed" else audit.verdict
        scorer = section.column if place == 0 else name
        figure = str(metrics.figures[section.main])
        yield (*(counts if place == 0 else ("", "")), scorer, section.main, figure, state)


def _show_compared(report: Report) -> None:
    names = [result.name for result in report.results]
    say(f"{names[0]} minus {names[1]}:")
    rows = []
    for compared in report.comparisons:
        for place, (name, found) in enumerate(compared.differences.items()):
            better = names[found.better - 1] if found.better else "neither"
            state = better if compared.valid else "INVALID"
            rows.append(
                (compared.protocol if place == 0 else "", name, str(found.difference), state)
            )
    print_table(("protocol", "figure", "difference [95 %]", "better"), rows)
