"""``avsearch index``: take the faces and voices of a gallery into an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import (
    FILE,
    confirmation,
    device_option,
    dry_run_option,
    faces_option,
    index_option,
    json_option,
)
from avsearch.cli.output import ProgressBar, print_json, say, warn
from indexer.errors import printable

if TYPE_CHECKING:
    from avsearch.media import Faces
    from indexer.ingest.ingest import IngestReport

_SHOWN = 20  # the most rejected files that are named; --json lists all


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
    help="CSV or Parquet with the files: path,person,modality,start_s,end_s and attributes.",
)
@faces_option
@device_option
@click.option("--prune", is_flag=True, help="Remove files that have disappeared from the gallery.")
@click.option("--yes", is_flag=True, help="Let --prune remove more than half without a question.")
@click.option(
    "--approximate",
    type=click.Choice(["hnsw", "none"]),
    help="Keep an approximate index too, for very large galleries; none removes it.",
)
@dry_run_option
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
    yes: bool,
    dry_run: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Add the faces and voices of a GALLERY, one folder per person, to an index.

    A people.csv in the gallery (person,name,gender,nationality and further columns) describes
    the people. A second run reads only new and changed files.
    """
    from avsearch.api import MediaIndex
    from avsearch.media.extract import NO_FACE
    from indexer.open import new_index

    place = new_index(index_path)
    opened = MediaIndex(place, model=model, device=device, upgrade=not dry_run)
    with opened as index, ProgressBar("file") as progress:
        report = index.add(
            *galleries,
            manifest=manifest,
            faces=faces,
            prune=prune,
            confirm=_report_question if dry_run else confirmation(yes=yes),
            approximate=approximate,
            dry_run=dry_run,
            on_progress=progress,
        )
    if as_json:
        print_json(report.to_dict() | ({"dry_run": True} if dry_run else {}))
    else:
        say(_planned(report) if dry_run else _done(report))
    for sentence in _remarks(report):
        warn(sentence)
    if any(reason == NO_FACE for _, reason in report.refused):
        warn("--faces whole takes pictures that are face crops already.")
    if strict and report.refused:
        ctx.exit(3)


def _report_question(question: str) -> bool:
    warn(f"without --yes it would be asked: {question}")
    return True


def _done(report: IngestReport) -> str:
    return (
        f"{printable(report.index)} holds {report.people} people, {report.faces} faces and "
        f"{report.voices} voices. Files: {report.added} added, {report.updated} updated, "
        f"{report.moved} moved, {report.unchanged} unchanged, {report.removed} removed, "
        f"{len(report.refused)} refused, in {report.seconds:.1f} s."
    )


def _planned(report: IngestReport) -> str:
    return (
        f"Nothing was written to {printable(report.index)}. Told without reading them, files are: "
        f"{report.added} new or moved, {report.updated} changed, {report.unchanged} unchanged, "
        f"{report.removed} to be removed, {len(report.refused)} refused."
    )


def _remarks(report: IngestReport) -> Iterator[str]:
    """Yield warnings and remarks, a sentence each."""
    from indexer.maintenance.prune import whole_words

    yield from _first(
        [f"refused {printable(path)}: {reason}" for path, reason in report.refused],
        "refused {} more; --json and avsearch info list all.",
    )
    yield from _first(
        [f"note on {printable(path)}: {note}" for path, note in report.notes],
        "{} more notes; --json and avsearch info list all.",
    )
    yield from _first(
        [
            f"the same file is there for {' and '.join(same.people)}: "
            f"{', '.join(printable(path) for path in same.paths)}."
            for same in report.duplicates
        ],
        "so are {} more; --json lists all.",
    )
    for gallery, known in report.vanished.items():
        yield (
            f"{whole_words(gallery, known)} They stay; look whether its disk is mounted and it is "
            "the right folder."
        )
    missing = len(report.missing) - sum(report.vanished.values())
    if missing:
        yield f"{missing} files are gone from the gallery; --prune removes them here."
    if report.unmatched:
        more = " ..." if len(report.unmatched) > _SHOWN else ""
        named = ", ".join(report.unmatched[:_SHOWN])
        yield f"people.csv names people who have no folder here: {named}{more}."
    if report.ignored:
        suffixes = ", ".join(
            f"{count} {suffix or 'without suffix'}" for suffix, count in report.ignored.items()
        )
        yield f"left alone what is not media: {suffixes}."
    if report.passed_over:
        names = ", ".join(f"{count} {name}" for name, count in report.passed_over.items())
        yield f"passed over what systems and programs leave: {names}."


def _first(sentences: Sequence[str], rest: str) -> Iterator[str]:
    """Yield the first sentences, then the number of the others."""
    yield from sentences[:_SHOWN]
    if len(sentences) > _SHOWN:
        yield rest.format(len(sentences) - _SHOWN)
