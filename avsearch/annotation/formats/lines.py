"""The text of a file of turns, and its lines with their numbers for messages."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Iterator
from typing import Final

from avsearch.annotation.formats import FORMAT_LIST
from avsearch.annotation.formats.times import SECONDS, Unit
from indexer.errors import BadRequest

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, and its number counted from 1."""

    number: int
    text: str

    def error(self, message: str) -> BadRequest:
        """Return an error that names the line."""
        return BadRequest(f"line {self.number}: {message}")

    def time(self, text: str, what: str, unit: Unit = SECONDS) -> float:
        """Return the seconds of a time of this line; BadRequest for another text."""
        try:
            return unit.seconds(text)
        except ValueError as error:
            raise self.error(f"{what} is {text.strip()!r}, which {error}.") from error


def numbered_lines(text: str) -> Iterator[Line]:
    """Yield the lines of a text that are not blank."""
    for number, line in enumerate(_BREAK.split(text), 1):
        if line.strip():
            yield Line(number, line)


def decoded(content: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 with a byte order mark; BadRequest for others."""
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"it is not text in UTF-8 or UTF-16 (byte {error.start}); save it as UTF-8. "
            f"Turns are taken as {FORMAT_LIST}."
        ) from error
