"""``avsearch forget``: remove a person for good, and prove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.options import dry_run_option, index_option, json_option
from avsearch.cli.output import plain, print_json, say
from indexer.errors import IndexDamaged

if TYPE_CHECKING:
    from indexer.maintenance.erase import DeletionPlan


@click.command("forget")
@click.argument("person")
@index_option
@dry_run_option
@json_option
def command(person: str, index_path: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Remove a PERSON for good, backups of the catalog too, and search for traces."""
    from avsearch.api import MediaIndex
    from indexer.open import find_index

    with MediaIndex(find_index(index_path), upgrade=not dry_run) as index:
        if dry_run:
            _show_plan(index.forgettable(person), as_json=as_json)
            return
        receipt = index.forget(person)
    if as_json:
        print_json(receipt)
    else:
        say(receipt.sentence())
        say("Their files are untouched: take them out of the gallery before indexing again.")
    if not receipt.clean:
        raise IndexDamaged(f"Traces of {person} are left: {'; '.join(receipt.leftovers)}.")


def _show_plan(found: DeletionPlan, *, as_json: bool) -> None:
    """Print what would be deleted; the results of a search of the files are unknown."""
    if as_json:
        unknown: dict[str, Any] = {"bytes_searched": 0, "clean": None}
        unknown |= {"leftovers": [], "skipped": []}
        print_json({**plain(found), **unknown, "dry_run": True})
    else:
        say(
            f"Nothing was deleted. {found.person} has {found.items} items of {found.files} files; "
            f"{found.people_left} people would be left, and {found.backups} backups of the catalog "
            "would be deleted."
        )
