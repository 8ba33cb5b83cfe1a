"""What several verbs share: options, progress, printing."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from avsearch.cli.output import is_quiet, one_line
from indexer.errors import ADDRESS, BadRequest, is_address, printable
from indexer.unicode_names import DiskNames

_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}"
_COUNT = "{n_fmt} {unit} [{elapsed}]"
_LEAST_DONE, _LEAST_S = 5, 5.0  # after the first, before a time is told


class FileType(click.Path):
    """A path to a file or folder that need not be there; an address is refused in a sentence."""

    def __init__(self) -> None:
        super().__init__(readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does, but for an address, and for a name in another Unicode form."""
        if isinstance(value, str) and is_address(value) and not os.path.lexists(value):
            raise BadRequest(f"{value} {ADDRESS}")
        path: Any = super().convert(value, param, ctx)
        return DiskNames().find(path)


FILE = FileType()

index_option = click.option(
    "--index",
    "index_path",
    type=FILE,
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


class Pace:
    """How long the rest will take, by how fast things are done once the first one is.

    What begins beside the first, such as loading a model, is not repeated; so no time is told
    before some things have been done after it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None  # what was done, and when, at the start
        self._begun = 0

    def left_s(self, done: int, total: int) -> float | None:
        """Return the seconds left; None while they cannot be told."""
        now = self._clock()
        if self._first is None and not self._begun:
            self._begun = done + 1  # what was done before is no work of this run
            return None
        if self._first is None:
            if done >= self._begun:
                self._first = done, now
            return None
        before, start = self._first
        if done - before < _LEAST_DONE or now - start < _LEAST_S or not total:
            return None
        return (total - done) * (now - start) / (done - before)


class ProgressBar:
    """A bar on standard error while it is a terminal; nothing otherwise, or where quiet is wanted.

    How long the rest takes is shown once it can be told.
    """

    def __init__(self, unit: str) -> None:
        from tqdm import tqdm  # no verb that only asks has a bar

        tqdm.monitor_interval = 0  # no thread beside it: we tell it often enough
        silent = sys.stderr is None or is_quiet()  # it is None as services are started at times
        self._pace = Pace()
        self._bar = tqdm(unit=unit, disable=silent or None, leave=False)
        self._bar.bar_format = _COUNT

    def __enter__(self) -> Callable[[int, int], None]:
        return self.show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; 0 of an unknown total."""
        left_s = self._pace.left_s(done, total)
        rest = "" if left_s is None else f", {self._bar.format_interval(left_s)} left"
        self._bar.bar_format = f"{_BAR}{rest}]" if total else _COUNT
        self._bar.total = total
        self._bar.update(done - self._bar.n)
