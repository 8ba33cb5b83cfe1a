"""``avsearch info``: say what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import index_option, json_option, print_json
from avsearch.cli.output import say
from indexer.errors import printable

if TYPE_CHECKING:
    from indexer.approximate import Recall


@click.command("info")
@index_option
@click.option("--recall", is_flag=True, help="Measure what the approximate index finds.")
@json_option
def command(index_path: Path | None, *, recall: bool, as_json: bool) -> None:
    """Say what an index holds: people, faces, voices, the model, the size on disk."""
    import avsearch

    with avsearch.open(index_path) as index:
        facts = index.info(recall=recall)
    if as_json:
        print_json(facts)
        return
    say(f"index     {printable(facts['index'])}, revision {facts['revision']}")
    say(f"model     {facts['space'].describe()}")
    for name in ("people", "faces", "voices"):
        say(f"{name:<9} {facts[name]}")
    refused = {file["path"] for file in facts["refused"]}
    say(f"files     {facts['files']}, and {len(refused)} refused in whole or in part")
    say(f"on disk   {facts['bytes'] / 1e6:.1f} MB")
    if facts["approximate"] != "none":
        say(f"besides   an approximate index, {facts['approximate']}")
    if recall:
        say(_found(facts["recall"]))
    if facts["forgotten"]:
        last = facts["forgotten"][-1]
        say(f"forgotten {len(facts['forgotten'])}, the last on {last.at[:10]}")
    for file in facts["refused"]:
        say(f"refused   {printable(file['path'])}: {file['reason']}")
    for note in facts["notes"]:
        say(f"note      {printable(note['path'])}: {note['note']}")


def _found(recall: Recall) -> str:
    return (
        f"recall    {recall.recall:.3f} of the {recall.k} nearest by {recall.kind}, over "
        f"{recall.asked} items; {recall.approximate_ms:.2f} ms a query, exact {recall.exact_ms:.2f}"
    )
