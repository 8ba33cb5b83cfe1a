"""Text lists, plain or compressed with gzip, line by line, with faults named by file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from indexer.errors import BadRequest, printable


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends, blank ones left out.

    Raises BadRequest for a file that is not there, is no text or whose compression is damaged.
    """
    try:
        text = _text(path)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadRequest(
            f"{printable(path)} cannot be read as a list ({_reason(error)}); take it anew from "
            "where it was published."
        ) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            yield number, line.rstrip("\r")


def fault(path: Path, number: int, reason: str) -> NoReturn:
    """Raises BadRequest for a line that is not as the format says."""
    raise BadRequest(f"{printable(path)}, line {number}: {reason}")


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        raw = gzip.decompress(raw)
    return raw.decode("utf-8-sig")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "its compression is damaged"
