"""The pages of an Ogg file: the starts of its streams, and gaps in them."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

FIRST_PAGE: Final = b"OggS\0\2"  # of a stream
_PAGE: Final = b"OggS\0"
_HEAD: Final = struct.Struct("<4sBBqIIIB")
_HEAD_BYTES: Final = 32  # bytes of a packet that are read
_WHOLE: Final = 255  # the size of a piece of a packet that continues
_OPUS_SAMPLES: Final = (  # of a frame at 48 kHz, by the first five bits of a packet (RFC 6716, 3.1)
    *(480, 960, 1920, 2880) * 3,
    *(480, 960) * 2,
    *(120, 240, 480, 960) * 4,
)
_SLACK: Final = 4800  # samples by which a page may exceed its packets; 0.1 s at 48 kHz


class _Page(NamedTuple):
    start: int
    end: int
    samples: int  # of the stream up to the end of the page; -1 if no packet ends there
    packets: list[bytes]  # the first bytes of those that end on the page


def starts(file: BinaryIO) -> tuple[list[int], bool]:
    """Return the offsets of joined files, and True if one of them has several streams."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        firsts = list(find_all(content, FIRST_PAGE))
        ends = {_page(content, first, b"")[0].end for first in firsts}
    behind = [first for first in firsts if first not in ends]
    return behind, len(behind) < len(firsts)


def is_plain(file: BinaryIO) -> bool:
    """Return True for a file of one stream without gaps."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(FIRST_PAGE, 1) < 0 and not _has_gap(_pages(content))


def _has_gap(pages: Iterator[_Page]) -> bool:
    """Return True if a page of Opus, Vorbis or FLAC counts more samples than its packets have."""
    first = next(pages, None)
    longest = None if first is None else _longest(first)
    before = -1
    for page in pages if longest is not None else ():
        if page.samples < 0:
            continue
        most = sum(longest or _opus_samples(packet) for packet in page.packets) + _SLACK
        if 0 <= before < page.samples - most:
            return True
        before = page.samples
    return False


def _longest(first: _Page) -> int | None:
    """Return the most samples of a packet: 0 for Opus, whose packets say it; None if unknown."""
    (head,) = first.packets[:1] or [b""]
    if head.startswith(b"OpusHead"):
        return 0
    if head.startswith(b"\x7fFLAC"):
        return int.from_bytes(head[19:21], "big")
    return 1 << (head[28] >> 4) if head.startswith(b"\1vorbis") and len(head) > 28 else None


def _opus_samples(packet: bytes) -> int:
    if not packet:
        return 0
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[packet[0] & 3]
    return _OPUS_SAMPLES[packet[0] >> 3] * frames


def _pages(content: mmap.mmap) -> Iterator[_Page]:
    at, begun = 0, b""
    while (at := content.find(_PAGE, at)) >= 0 and at + _HEAD.size <= len(content):
        page, begun = _page(content, at, begun)
        yield page
        at = page.end


def _page(content: mmap.mmap, start: int, begun: bytes) -> tuple[_Page, bytes]:
    """Return a page, and the first bytes of a packet that continues on the next page.

    ``begun`` are those from the previous page.
    """
    head = content[start : start + _HEAD.size].ljust(_HEAD.size, b"\0")
    samples, count = _HEAD.unpack(head)[3], head[-1]
    at = start + _HEAD.size
    sizes = content[at : at + count]
    at += count
    packets, packet = list[bytes](), begun
    for size in sizes:
        packet = packet or content[at : at + min(size, _HEAD_BYTES)]
        at += size
        if size < _WHOLE:
            packets.append(packet)
            packet = b""
    return _Page(start, at, samples, packets), packet


def find_all(content: mmap.mmap, pattern: bytes) -> Iterator[int]:
    """Yield the offsets of some bytes in a file."""
    at = content.find(pattern)
    while at >= 0:
        yield at
        at = content.find(pattern, at + 1)
