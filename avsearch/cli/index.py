"""``avsearch index``: take the faces and voices of a gallery into an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.common import (
    FILE,
    ProgressBar,
    device_option,
    faces_option,
    index_option,
    json_option,
    print_json,
)
from avsearch.cli.say import say, warn
from indexer.errors import printable

if TYPE_CHECKING:
    from avsearch.media import Faces
    from indexer.ingest import IngestReport

_SHOWN = 20  # refused files that are named on a terminal; --json lists all


@click.command("index")
@click.argument(
    "galleries",
    metavar="GALLERY",
    nargs=-1,
    required=True,
    type=FILE,
)
@index_option
@click.option("--model", help="A shipped model's name or a checkpoint file.  [default: adsm]")
@click.option(
    "--manifest",
    type=FILE,
    help="CSV or Parquet naming the files: path,person,modality,start_s,end_s and attributes.",
)
@faces_option
@device_option
@click.option("--prune", is_flag=True, help="Remove what has disappeared from the gallery.")
@click.option(
    "--approximate",
    type=click.Choice(["hnsw", "ivf", "none"]),
    help="An approximate index besides, for very large galleries; kept up to date until none.",
)
@click.option("--strict", is_flag=True, help="End with exit code 3 if a file was refused.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    galleries: tuple[Path, ...],
    index_path: Path | None,
    model: str | None,
    manifest: Path | None,
    faces: Faces,
    device: str,
    approximate: str | None,
    *,
    prune: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Take the faces and voices of a GALLERY, a folder a person, into an index.

    A people.csv in the gallery (person,name,gender,nationality and further columns) says who
    they are. Run again, it takes only what is new or changed.
    """
    from avsearch.api import MediaIndex
    from avsearch.media.extract import NO_FACE
    from indexer.locate import new_index

    place = new_index(index_path)
    with MediaIndex(place, model=model, device=device) as index, ProgressBar("file") as progress:
        report = index.add(
            *galleries,
            manifest=manifest,
            faces=faces,
            prune=prune,
            approximate=approximate,
            on_progress=progress,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        say(_sentence(report))
    _warn(report)
    if any(reason == NO_FACE for _, reason in report.refused):
        warn("--faces whole takes pictures that are face crops already.")
    if strict and report.refused:
        ctx.exit(3)


def _sentence(report: IngestReport) -> str:
    return (
        f"{printable(report.index)} holds {report.people} people, {report.faces} faces and "
        f"{report.voices} voices. Files: {report.added} added, {report.updated} updated, "
        f"{report.moved} moved, {report.unchanged} unchanged, {report.removed} removed, "
        f"{len(report.refused)} refused, in {report.seconds:.1f} s."
    )


def _warn(report: IngestReport) -> None:
    for path, reason in report.refused[:_SHOWN]:
        warn(f"refused {printable(path)}: {reason}")
    if len(report.refused) > _SHOWN:
        warn(f"refused {len(report.refused) - _SHOWN} more; --json and avsearch info list all.")
    for path, note in report.notes[:_SHOWN]:
        warn(f"note on {printable(path)}: {note}")
    if len(report.notes) > _SHOWN:
        warn(f"{len(report.notes) - _SHOWN} more notes; --json and avsearch info list all.")
    for same in report.duplicates[:_SHOWN]:
        paths = ", ".join(printable(path) for path in same.paths)
        warn(f"the same file is there for {' and '.join(same.people)}: {paths}.")
    if len(report.duplicates) > _SHOWN:
        warn(f"so are {len(report.duplicates) - _SHOWN} more; --json lists all.")
    if report.missing:
        warn(f"{len(report.missing)} files are gone from the gallery; --prune removes them here.")
    if report.unmatched:
        named = ", ".join(report.unmatched[:_SHOWN]) + (
            " ..." if len(report.unmatched) > _SHOWN else ""
        )
        warn(f"people.csv names people who have no folder here: {named}.")
    _warn_of_other_files(report)


def _warn_of_other_files(report: IngestReport) -> None:
    if report.ignored:
        suffixes = ", ".join(
            f"{count} {suffix or 'without suffix'}" for suffix, count in report.ignored.items()
        )
        warn(f"left alone what is not media: {suffixes}.")
    if report.passed_over:
        names = ", ".join(f"{count} {name}" for name, count in report.passed_over.items())
        warn(f"passed over what systems and programs leave: {names}.")
