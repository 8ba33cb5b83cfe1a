"""Text of files in any common encoding, and values of other programs as text."""

from __future__ import annotations

import codecs
import datetime
import decimal
import math
import re
from collections.abc import Sequence

_MARKS: Sequence[tuple[bytes, str]] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, since it begins with that mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 4096  # bytes examined to detect UTF-16 without a mark
_DIGITS = 15  # a float holds whole numbers of this many digits exactly

WINDOWS, MACINTOSH, DOS = "Windows-1252", "Macintosh Roman", "MS-DOS (850)"
_CODECS = {WINDOWS: "cp1252", MACINTOSH: "mac_roman", DOS: "cp850"}
# Bytes undefined in Windows-1252, and its punctuation inside a word.
_OF_DOS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]|[A-Za-z][\x82\x84\x87-\x89\x94][a-z]")


def unicode_text(raw: bytes) -> str:
    """Decode UTF-8, or UTF-16 and UTF-32 detected by a mark or by their zero bytes.

    Raises UnicodeDecodeError for anything else.
    """
    text = raw.decode(_unicode_codec(raw))
    return text.lstrip("\ufeff")  # some programs write the mark twice


def any_text(raw: bytes) -> tuple[str, str | None]:
    """Decode Unicode as :func:`unicode_text` does, or else line by line in an old encoding.

    Returns the text, and the name of the old encoding if a line needed one. Raises
    UnicodeDecodeError for UTF-16 and UTF-32 that are cut short.
    """
    if _unicode_codec(raw) != "utf-8":
        return unicode_text(raw), None
    try:
        return unicode_text(raw), None
    except UnicodeDecodeError:
        lines = raw.splitlines(keepends=True)
    strange = b"".join(line for line in lines if not _is_utf8(line))
    # Excel for Macintosh is the last program that ends lines with a carriage return alone.
    macintosh = b"\r" in raw and b"\n" not in raw
    old = MACINTOSH if macintosh else DOS if _OF_DOS.search(strange) else WINDOWS
    codec = _CODECS[old]
    return "".join(line.decode("utf-8" if _is_utf8(line) else codec) for line in lines), old


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unicode_codec(raw: bytes) -> str:
    for mark, codec in _MARKS:
        if raw.startswith(mark):
            return codec
    sample = raw[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(raw) % 2 == 0 and max(even, odd) * 4 > len(sample):  # half of the pairs, or more
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def as_text(value: object) -> str:
    """Return a value in the form of ``people.csv``: ``1985`` for 1985.0, empty if missing."""
    if value is None or value != value:  # NaN and NaT are not equal to themselves
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        whole = math.isfinite(value) and value.is_integer() and abs(value) < 10**_DIGITS
        return str(int(value)) if whole else repr(value)
    if isinstance(value, decimal.Decimal):
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
