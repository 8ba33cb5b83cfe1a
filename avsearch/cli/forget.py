"""``avsearch forget``: remove a person for good, and prove it."""

from __future__ import annotations

from pathlib import Path

import click

from avsearch.cli.common import index_option, json_option, print_json
from avsearch.cli.say import say
from indexer.errors import IndexDamaged


@click.command("forget")
@click.argument("person")
@index_option
@json_option
def command(person: str, index_path: Path | None, *, as_json: bool) -> None:
    """Remove a PERSON for good, backups of the catalog too, and search for traces."""
    import avsearch

    with avsearch.open(index_path) as index:
        receipt = index.forget(person)
    if as_json:
        print_json(receipt)
    else:
        say(receipt.sentence())
        say("Their files are untouched: take them out of the gallery before indexing again.")
    if not receipt.clean:
        raise IndexDamaged(f"Traces of {person} are left: {'; '.join(receipt.leftovers)}.")
