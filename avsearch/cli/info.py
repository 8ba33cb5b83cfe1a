"""``avsearch info``: say what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.common import index_option, json_option, print_json
from avsearch.cli.say import say
from indexer.errors import printable

if TYPE_CHECKING:
    from indexer.recall import Recall


@click.command("info")
@index_option
@click.option("--recall", is_flag=True, help="Measure what the approximate index finds.")
@json_option
def command(index_path: Path | None, *, recall: bool, as_json: bool) -> None:
    """Say what an index holds: people, faces, voices, the model, the size on disk."""
    from indexer.approximate import NOTE
    from indexer.locate import open_index

    with open_index(index_path) as index:
        counts, refused = index.counts(), index.refused()
        size = sum(file.stat().st_size for file in index.folder.rglob("*") if file.is_file())
        facts: dict[str, Any] = {
            "index": index.folder,
            "revision": index.revision,
            "model": index.space.model,
            "space": index.space,
            "people": counts.people,
            "faces": counts.faces,
            "voices": counts.voices,
            "files": counts.files,
            "refused": [{"path": path, "reason": reason} for path, reason in refused],
            "notes": [{"path": path, "note": note} for path, note in index.file_notes()],
            "forgotten": index.forgettings(),
            "bytes": size,
            "approximate": index.notes().get(NOTE, "none"),
        }
        if recall:
            facts["recall"] = index.recall()
    if as_json:
        print_json(facts)
        return
    say(f"index     {printable(facts['index'])}, revision {facts['revision']}")
    say(f"model     {index.space.describe()}")
    say(f"people    {counts.people}")
    say(f"faces     {counts.faces}")
    say(f"voices    {counts.voices}")
    say(f"files     {counts.files}, and {counts.refused} refused")
    say(f"on disk   {size / 1e6:.1f} MB")
    if facts["approximate"] != "none":
        say(f"besides   an approximate index, {facts['approximate']}")
    if recall:
        say(_found(facts["recall"]))
    if facts["forgotten"]:
        last = facts["forgotten"][-1]
        say(f"forgotten {len(facts['forgotten'])}, the last on {last.at[:10]}")
    for path, reason in refused:
        say(f"refused   {printable(path)}: {reason}")
    for note in facts["notes"]:
        say(f"note      {printable(note['path'])}: {note['note']}")


def _found(recall: Recall) -> str:
    return (
        f"recall    {recall.recall:.3f} of the {recall.k} nearest by {recall.kind}, over "
        f"{recall.asked} items; {recall.approximate_ms:.2f} ms a query, exact {recall.exact_ms:.2f}"
    )
