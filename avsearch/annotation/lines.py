"""The lines of a text file that a user gave, each knowing its number for messages."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import BadRequest, os_reason, printable

_LARGEST = 256 * 2**20  # bytes: no diarization is so long, a film given by mistake is


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, its number counted from 1, and the file it is of."""

    path: Path
    at: int
    text: str

    def wrong(self, what: str) -> BadRequest:
        """An error that names the file and the line."""
        return BadRequest(f"{printable(self.path)}, line {self.at}: {what}")

    def number(self, text: str, what: str) -> float:
        """A finite number."""
        try:
            value = float(text)
        except ValueError as error:
            raise self.wrong(f"{what} is {text!r}, which is no number of seconds.") from error
        if not math.isfinite(value):
            raise self.wrong(f"{what} is {text!r}; it must be finite.")
        return value


def numbered_lines(path: Path) -> Iterator[Line]:
    """The lines of a file that are not blank."""
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if text.strip():
            yield Line(path, number, text)


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark; BadRequest where it is none."""
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise BadRequest(f"{printable(path)} is no diarization: it has over 256 MB.")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{printable(path)} is not text in UTF-8 (byte {error.start}).") from error
