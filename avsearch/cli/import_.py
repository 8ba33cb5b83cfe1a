"""``avsearch import``: take vectors of a Parquet file into an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import FILE, dry_run_option, index_option, json_option
from avsearch.cli.output import ProgressBar, plain, print_json, say, warn
from indexer.errors import printable

if TYPE_CHECKING:
    from indexer.types import Metric


@click.command("import")
@click.argument("file", type=FILE)
@index_option
@click.option("--model", metavar="NAME|FILE", help="The model that made the vectors.")
@click.option("--space", metavar="NAME", help="A name for the vectors of a model of your own.")
@click.option(
    "--metric",
    type=click.Choice(["cosine", "l2"]),
    default="cosine",
    show_default=True,
    help="The metric of --space.",
)
@dry_run_option
@json_option
def command(
    file: Path,
    index_path: Path | None,
    model: str | None,
    space: str | None,
    metric: Metric,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add the vectors of a Parquet FILE to an index, made if there is none.

    FILE is from avsearch export, which names its model, or from another tool: then the columns
    person, modality and vector are enough, with --model or --space. The vectors of a media file
    replace those that the index has of it.
    """
    from avsearch.api import MediaIndex
    from indexer.open import new_index

    opened = MediaIndex(new_index(index_path), model=model, upgrade=not dry_run)
    with opened as index, ProgressBar("row") as progress:
        done = index.import_vectors(
            file, space=space, metric=metric, dry_run=dry_run, on_progress=progress
        )
    where = printable(index.folder)
    if as_json:
        facts = {"index": index.folder, **plain(done)}
        rows = facts.pop("rows")
        print_json(facts | ({"rows": rows, "dry_run": True} if dry_run else {}))
    elif dry_run:
        say(
            f"Nothing was written to {where}. {printable(file)} has {done.rows} rows: "
            f"{done.people} people, {done.faces} faces and {done.voices} voices of {done.files} "
            f"files, of which {done.replaced} would be replaced."
        )
    else:
        say(
            f"Took {done.people} people, {done.faces} faces and {done.voices} voices of "
            f"{done.files} files into {where}; {done.replaced} files were replaced."
        )
    for note in done.notes:
        warn(f"{printable(file)}: {note}")
