"""``avsearch verify``: check an index from end to end."""

from __future__ import annotations

from pathlib import Path

import click

from avsearch.cli.options import index_option, json_option
from avsearch.cli.output import print_json, say
from indexer.errors import IndexDamaged, printable


@click.command("verify")
@index_option
@json_option
def command(index_path: Path | None, *, as_json: bool) -> None:
    """Check the catalog, every vector, and the cache; the exit code is 4 if any is damaged."""
    import avsearch

    with avsearch.open(index_path) as index:
        problems = index.verify()
        folder = index.folder
    if as_json:
        print_json({"index": folder, "clean": not problems, "problems": problems})
    else:
        for problem in problems:
            say(problem)
    if problems:
        raise IndexDamaged(f"{printable(folder)} has {len(problems)} problems.")
    if not as_json:
        say(f"{printable(folder)} is clean.")
