"""``avsearch info``: say what an index holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from avsearch.cli.common import index_option, json_option, print_json
from avsearch.cli.say import one_line
from indexer.errors import printable


@click.command("info")
@index_option
@json_option
def command(index_path: Path | None, *, as_json: bool) -> None:
    """Say what an index holds: people, faces, voices, the model, the size on disk."""
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
            "forgotten": index.forgettings(),
            "bytes": size,
        }
    if as_json:
        print_json(facts)
        return
    click.echo(f"index     {printable(facts['index'])}, revision {facts['revision']}")
    click.echo(f"model     {index.space.describe()}")
    click.echo(f"people    {counts.people}")
    click.echo(f"faces     {counts.faces}")
    click.echo(f"voices    {counts.voices}")
    click.echo(f"files     {counts.files}, and {counts.refused} refused")
    click.echo(f"on disk   {size / 1e6:.1f} MB")
    if facts["forgotten"]:
        last = facts["forgotten"][-1]
        click.echo(f"forgotten {len(facts['forgotten'])}, the last on {last.at[:10]}")
    for path, reason in refused:
        click.echo(one_line(f"refused   {printable(path)}: {reason}"))
