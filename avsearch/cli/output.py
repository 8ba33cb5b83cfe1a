"""Output of the command line: sentences, tables, JSON, and progress."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from indexer.errors import printable

QUIET = "avsearch.quiet"  # in the meta data of a context
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}"
_COUNT = "{n_fmt} {unit} [{elapsed}]"
_LEAST_DONE, _LEAST_S = 5, 5.0  # after the first item, before the time left is shown


def one_line(text: str) -> str:
    """Return the text with line breaks and other control characters escaped.

    So a name neither breaks a table nor sends commands to a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(sentence: str) -> None:
    """Print a line on standard output."""
    click.echo(one_line(sentence))


def warn(sentence: str) -> None:
    """Print a warning on standard error, except under ``--quiet``."""
    if not is_quiet():
        complain(sentence)


def complain(sentence: str) -> None:
    """Print an error on standard error."""
    click.echo(f"avsearch: {one_line(sentence)}", err=True)


def is_quiet() -> bool:
    """Return True if ``--quiet`` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


def on_terminal() -> bool:
    """Return True if standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, paths as text, tuples as lists."""
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
    """Print one JSON object on standard output, always in UTF-8."""
    click.echo(json.dumps(plain(value), ensure_ascii=False).encode())


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: by rich on a terminal, else in columns of plain text."""
    lines = [[one_line(cell) for cell in row] for row in [header, *rows]]
    if on_terminal():
        from rich import box  # only a terminal needs rich, which takes long to import
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_header=any(header), pad_edge=False)
        for name in lines[0]:
            table.add_column(Text(name), overflow="fold")
        for row in lines[1:]:
            table.add_row(*(Text(cell) for cell in row))
        Console(highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


class Pace:
    """Estimates the time left from the pace after the first item is done.

    Work beside the first item, such as loading a model, is not repeated; so there is no estimate
    before several more items are done.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None  # the count done at the start, and its time
        self._begun = 0

    def left_s(self, done: int, total: int) -> float | None:
        """Return the seconds left; None while there is no estimate."""
        now = self._clock()
        if self._first is None and not self._begun:
            self._begun = done + 1  # earlier runs did the items before
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
    """A bar on standard error if that is a terminal and ``--quiet`` was not given."""

    def __init__(self, unit: str) -> None:
        from tqdm import tqdm  # a query has no bar

        tqdm.monitor_interval = 0  # no monitor thread: updates are frequent enough
        silent = sys.stderr is None or is_quiet()  # a service may have no standard error
        self._pace = Pace()
        self._bar = tqdm(unit=unit, disable=silent or None, leave=False)
        self._bar.bar_format = _COUNT

    def __enter__(self) -> Callable[[int, int], None]:
        return self.show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; a total of 0 is unknown."""
        left_s = self._pace.left_s(done, total)
        rest = "" if left_s is None else f", {self._bar.format_interval(left_s)} left"
        self._bar.bar_format = f"{_BAR}{rest}]" if total else _COUNT
        self._bar.total = total
        self._bar.update(done - self._bar.n)
