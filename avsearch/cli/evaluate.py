"""``avsearch evaluate``: audited figures with their intervals, chance and oracles beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.common import (
    ProgressBar,
    device_option,
    index_option,
    json_option,
    print_json,
    print_table,
)
from avsearch.cli.say import warn
from indexer.errors import BadRequest, printable
from indexer.locate import open_index

if TYPE_CHECKING:
    from trainer.evaluation import Section

DIRECTIONS = ("V-F", "F-V", "V-V", "F-F")
INVALID = 3  # the exit code where a scorer did not pass its audit


@click.command("evaluate")
@index_option
@click.option(
    "--list",
    "lists",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A published trial list; without one, protocols are made from the index.",
)
@click.option(
    "--people",
    "tables",
    multiple=True,
    type=click.Path(path_type=Path),
    help="vox1_meta.csv or the split tables that belong to a list.",
)
@click.option(
    "--media", type=click.Path(path_type=Path), help="The folder a list's paths begin in."
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Ready vectors of faces and voices by path (.npz, .safetensors, .parquet).",
)
@click.option("--model", help="The model, for --media, and to audit it on an index's own media.")
@click.option(
    "--protocol",
    "kinds",
    default="verification,1:2,1:10,retrieval",
    show_default=True,
    help="What to make of an index: verification, 1:N, retrieval.",
)
@click.option(
    "--direction", "directions", default="V-F,F-V", show_default=True, help="V-F: a voice asks."
)
@click.option(
    "--stratum",
    "strata",
    default="U,G",
    show_default=True,
    help="Wrong answers share nothing (U), gender (G), nationality (N) or both (GN).",
)
@click.option(
    "--without-same-recording",
    is_flag=True,
    help="Leave right answers of the asker's own recording out.",
)
@click.option(
    "--audit", "sample", default=40, show_default=True, help="Media that are embedded again."
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Do not evaluate: fit on the index what the model's scores are worth, and write that "
    "into its checkpoint.",
)
@device_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder for report.json and report.html."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    index_path: Path | None,
    lists: tuple[Path, ...],
    tables: tuple[Path, ...],
    media: Path | None,
    features: Path | None,
    model: str | None,
    kinds: str,
    directions: str,
    strata: str,
    sample: int,
    seed: int,
    device: str,
    out: Path | None,
    *,
    without_same_recording: bool,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Evaluate an index, or a model on a published list.

    Every figure is audited first: a score that changes with its company makes it invalid, and
    the exit code 3.
    """
    if calibrate:
        _calibrate(index_path, model)
        return
    from trainer.evaluating import Request, run

    request = Request(
        index=index_path,
        lists=lists,
        tables=tables,
        media=media,
        model=model,
        features=features,
        kinds=_words(kinds),
        directions=_words(directions, DIRECTIONS),
        strata=_words(strata, ("U", "G", "N", "GN")),
        without_same_recording=without_same_recording,
        sample=sample,
        seed=seed,
        device=device,
    )
    with ProgressBar("protocol") as progress:
        report = run(request, progress)
    if out is not None:
        report.write(out)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report.sections)
    invalid = [section for section in report.sections if not section.valid]
    for section in invalid:
        warn(f"{section.protocol} is INVALID: {'; '.join(section.audit.faults)}.")
    if invalid:
        ctx.exit(INVALID)


def _calibrate(index_path: Path | None, model: str | None) -> None:
    from trainer.calibrating import calibrate_on_index

    with open_index(index_path) as index:
        path, found = calibrate_on_index(index, model)
    rows = [
        (way, *(f"{one[name]:.4g}" for name in ("scale", "offset", "Cllr", "minCllr")))
        for way, one in found.items()
    ]
    print_table(("direction", "scale", "offset", "Cllr", "minCllr"), rows)
    click.echo(f"Written into {printable(path)}.")


def _words(text: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    strange = [word for word in words if known and word not in known]
    if strange or not words:
        raise BadRequest(f"{text!r} should be one or more of {', '.join(known)}, with commas.")
    return words


def _show(sections: list[Section]) -> None:
    rows: list[tuple[Any, ...]] = []
    for section in sections:
        main = section.main
        for name, judged in section.rows.items():
            first = name == "model"
            state = "" if section.valid or not first else "INVALID"
            label = f"{section.protocol}" if first else ""
            rows.append(
                (
                    label,
                    str(judged.trials) if first else "",
                    name,
                    main,
                    str(judged.figures[main]),
                    state,
                )
            )
    print_table(("protocol", "trials", "scorer", "figure", "value [95 %]", ""), rows)
