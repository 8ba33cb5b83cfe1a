"""``avsearch export``: write the whole index to a Parquet file."""

from __future__ import annotations

from pathlib import Path

import click

from avsearch.cli.options import FILE, index_option, json_option
from avsearch.cli.output import ProgressBar, plain, print_json, say
from indexer.errors import printable


@click.command("export")
@click.argument("file", type=FILE)
@index_option
@json_option
def command(file: Path, index_path: Path | None, *, as_json: bool) -> None:
    """Write everything in the index to a Parquet FILE: vectors, people, files.

    avsearch import makes an equal index from it; pandas, DuckDB and others read it.
    """
    import avsearch

    with avsearch.open(index_path) as index, ProgressBar("item") as progress:
        done = index.export(file, on_progress=progress)
    if as_json:
        print_json({"file": file, **plain(done)})
    else:
        say(
            f"{printable(file)} has {done.people} people, {done.faces} faces and {done.voices} "
            f"voices of {done.files} files."
        )
