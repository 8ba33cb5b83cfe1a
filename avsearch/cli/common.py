"""What several verbs share: options, progress, printing."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from avsearch.cli.say import one_line
from indexer.errors import printable

index_option = click.option(
    "--index",
    "index_path",
    type=click.Path(readable=False, path_type=Path),
    help="The index; by default .avsearch in the working folder or above it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would change, and write nothing."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the model runs.",
)
recording_option = click.option(
    "--recording",
    "recording_id",
    metavar="ID",
    help="Which recording to take of a file with the turns of several; by default the one that is "
    "called as RECORDING is.",
)
faces_option = click.option(
    "--faces",
    type=click.Choice(["detect", "whole"]),
    default="detect",
    show_default=True,
    help="Find and crop faces, or take pictures that are crops already.",
)


def asked_here(*, yes: bool) -> Callable[[str], bool] | None:
    """What asks the user a question, or says yes to all; None where nobody sits at a terminal."""
    if yes:
        return lambda _: True
    here = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    return _ask if here else None


def _ask(question: str) -> bool:
    from tqdm import tqdm  # the bar that may be shown gives way

    with tqdm.external_write_mode(file=sys.stderr):
        return click.confirm(one_line(question), err=True)


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, paths as text, tuples as lists."""
    if isinstance(value, Path):
        return printable(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Print one JSON object on standard output, UTF-8 whatever the terminal speaks."""
    click.echo(json.dumps(plain(value), ensure_ascii=False).encode())


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns as wide as they need, the last one ragged."""
    lines = [tuple(one_line(cell) for cell in row) for row in [header, *rows]]
    widths = [max(len(row[column]) for row in lines) for column in range(len(header))]
    for row in lines:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


class ProgressBar:
    """A bar on standard error while it is a terminal; nothing otherwise."""

    def __init__(self, unit: str) -> None:
        from tqdm import tqdm  # no verb that only asks has a bar

        tqdm.monitor_interval = 0  # no thread beside it: we tell it often enough
        closed = sys.stderr is None  # as services are started at times
        self._bar = tqdm(unit=unit, disable=closed or None, leave=False)

    def __enter__(self) -> Callable[[int, int], None]:
        return self.show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)
