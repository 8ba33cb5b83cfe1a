"""Options and arguments that several verbs have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from avsearch.cli.output import one_line
from indexer.errors import ADDRESS, BadRequest, is_address
from indexer.unicode_names import DiskNames


class FileType(click.Path):
    """A path to a file or folder, which may not exist; an address is rejected in a sentence."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path as the disk spells it; its name may have another Unicode form."""
        if isinstance(value, str) and is_address(value) and not os.path.lexists(value):
            raise BadRequest(f"{value} {ADDRESS}")
        path: Any = super().convert(value, param, ctx)
        return DiskNames().find(path)


FILE = FileType(readable=False, path_type=Path)

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
    help="The device that the model runs on.",
)
model_option = click.option(
    "--model", metavar="NAME|FILE", help="The model of the index, if it has moved."
)
recording_option = click.option(
    "--recording",
    "recording_id",
    metavar="ID",
    help="The recording to take from a file with the turns of several; by default the one with "
    "RECORDING's name.",
)
faces_option = click.option(
    "--faces",
    type=click.Choice(["detect", "whole"]),
    default="detect",
    show_default=True,
    help="Find and crop faces, or take pictures that are crops already.",
)


def confirmation(*, yes: bool) -> Callable[[str], bool] | None:
    """Return a function that asks the user a question; None without a terminal.

    With ``yes`` the function answers every question with True.
    """
    if yes:
        return lambda _: True
    here = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    return _ask if here else None


def _ask(question: str) -> bool:
    from tqdm import tqdm  # hides the progress bar while the question is shown

    with tqdm.external_write_mode(file=sys.stderr):
        return click.confirm(one_line(question), err=True)
