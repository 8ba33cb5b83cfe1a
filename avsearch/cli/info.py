"""``avsearch info``: show what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from avsearch.cli.options import index_option, json_option
from avsearch.cli.output import on_terminal, print_json, print_table, say
from indexer.errors import printable


@click.command("info")
@index_option
@click.option("--recall", is_flag=True, help="Measure what the approximate index finds.")
@json_option
def command(index_path: Path | None, *, recall: bool, as_json: bool) -> None:
    """Show what an index holds: people, faces, voices, the model, the size on disk."""
    import avsearch

    with avsearch.open(index_path) as index:
        facts = index.info(recall=recall)
    if as_json:
        print_json(facts)
    elif on_terminal():
        print_table(("", ""), _rows(facts))
    else:
        for label, text in _rows(facts):
            say(f"{label:<9} {text}")


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a label and a text for each fact."""
    rejected = {file["path"] for file in facts["refused"]}
    rows = [
        ("index", f"{printable(facts['index'])}, revision {facts['revision']}"),
        ("model", facts["space"].describe()),
        *((name, str(facts[name])) for name in ("people", "faces", "voices")),
        ("files", f"{facts['files']}, and {len(rejected)} refused in whole or in part"),
        ("on disk", f"{facts['bytes'] / 1e6:.1f} MB"),
    ]
    if facts["approximate"] != "none":
        rows.append(("besides", f"an approximate index, {facts['approximate']}"))
    if "recall" in facts:
        found = facts["recall"]
        rows.append(
            (
                "recall",
                f"{found.recall:.3f} of the {found.k} nearest by {found.kind}, over "
                f"{found.asked} items; {found.approximate_ms:.2f} ms a query, "
                f"exact {found.exact_ms:.2f}",
            )
        )
    if facts["forgotten"]:
        last = facts["forgotten"][-1]
        rows.append(("forgotten", f"{len(facts['forgotten'])}, the last on {last.at[:10]}"))
    rows += [
        ("refused", f"{printable(each['path'])}: {each['reason']}") for each in facts["refused"]
    ]
    rows += [("note", f"{printable(each['path'])}: {each['note']}") for each in facts["notes"]]
    return rows
