"""Files that are joined in one file, and headers with a wrong length."""

from __future__ import annotations

import io
import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from avsearch.media.containers import ogg
from indexer.types import OnNote, ignore_note

_SEARCHED: Final = 1 << 20  # bytes in which a header is searched
_HEADERS: Final = re.compile(  # the first bytes of audio and videos
    rb"RIFF(?=....(?:WAVE|AVI ))|RF64(?=....WAVE)|FORM(?=....AIF[FC])|fLaC[\x00\x80]\x00\x00\x22"
    rb"|OggS\x00\x02|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|....ftyp|caff\x00\x01\x00"
    rb"|\.snd\x00\x00\x00|FLV\x01.\x00\x00\x00\x09",
    re.DOTALL,
)
_HEAD: Final = 26  # bytes up to the length of a FLAC file
_EBML: Final = b"\x1aE\xdf\xa3"
_FLAC: Final = b"fLaC"
_STREAMINFO: Final = (b"\0\0\0\x22", b"\x80\0\0\x22")  # the head of its first block
_UNKNOWN: Final = b"\xff" * 4  # a length that means "unknown"
_LEAST_UNKNOWN: Final = 0x7FFF0000  # programs that write to a pipe put such lengths too
_OVERHANG: Final = 16  # stray bytes at the end of a file
_PADDING: Final = 1 << 16  # zeros at the end of a file


class FileSlice(io.RawIOBase):
    """A part of an open file as a file of its own, with some bytes replaced."""

    def __init__(
        self,
        file: BinaryIO,
        start: int = 0,
        end: int | None = None,
        replaced: Mapping[int, bytes] | None = None,
    ) -> None:
        super().__init__()
        self._file = file.fileno()
        self._start, self._end = start, _size(file) if end is None else end
        self._replaced = replaced or {}  # by offset in the whole file
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, as of any file."""
        length = self._end - self._start
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: length}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return the number of bytes."""
        target, at = memoryview(buffer).cast("B"), self._start + self._at
        content = bytearray(os.pread(self._file, max(0, min(len(target), self._end - at)), at))
        for place, new in self._replaced.items():
            for where, byte in enumerate(new, place - at):
                if 0 <= where < len(content):
                    content[where] = byte
        target[: len(content)] = content
        self._at += len(content)
        return len(content)


def header_behind_junk(file: BinaryIO) -> int | None:
    """Return the offset of the first header of a media file; None for 0 and where there is none."""
    found = _HEADERS.search(os.pread(file.fileno(), _SEARCHED, 0))
    return found.start() or None if found is not None else None


def split_audio(file: BinaryIO, on_note: OnNote = ignore_note) -> list[FileSlice] | None:
    """Return the audio files that are joined in a file, with the true lengths in their headers.

    None for a single file with a valid header, as most are.
    """
    head = os.pread(file.fileno(), 12, 0)
    if head.startswith(ogg.FIRST_PAGE):
        starts, beside = ogg.starts(file)
        return None if beside else _apart(file, starts)
    if head.startswith(_FLAC):
        return _apart(file, _flac_starts(file))
    if head[:4] in (b".snd", b"dns."):
        return _au(file, head, on_note)
    return _chunked(file, on_note)


def split_video(file: BinaryIO) -> list[FileSlice] | None:
    """Return the Matroska, MP4 or Ogg files that are joined in a file; None for one file.

    FFmpeg itself reads only the first one or two of them.
    """
    beginning, size = os.pread(file.fileno(), 8, 0), _size(file)
    if beginning.startswith(_EBML):
        return _apart(file, list(_matroskas(file, size)))
    if beginning[4:] == b"ftyp":
        return _apart(file, list(_mp4s(file)))
    if beginning.startswith(ogg.FIRST_PAGE):
        return _apart(file, ogg.starts(file)[0])
    return None


def _matroskas(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the offsets of joined Matroska files, each of which is a header and a segment."""
    at = 0
    while os.pread(file.fileno(), 4, at) == _EBML:
        yield at
        for _ in range(2):
            length = os.pread(file.fileno(), 8, at + 4)
            count = 9 - length[0].bit_length() if length and length[0] else 9  # of its own bytes
            value = int.from_bytes(length[:count], "big") & ((1 << 7 * count) - 1)
            at += 4 + count + value
            if count > 8 or value == (1 << 7 * count) - 1 or at >= size:  # of unknown length
                return


def _mp4s(file: BinaryIO) -> Iterator[int]:
    """Yield the offsets of joined MP4 files."""
    at = 0
    while len(box := os.pread(file.fileno(), 16, at)) >= 8:
        length, name, large = struct.unpack(">I4sQ", box.ljust(16, b"\0"))
        if name == b"ftyp":
            yield at
        if length == 1:
            length = large
        if length < 8:
            return
        at += length


def read_head(file: BinaryIO | FileSlice) -> bytes:
    """Return the first bytes of a file or of a part of one; its position is 0 afterwards."""
    source = file if isinstance(file, FileSlice) else FileSlice(file)
    source.seek(0)
    found = source.read(_HEAD) or b""
    source.seek(0)
    return found


def flac_length(beginning: bytes) -> int | None:
    """Return the samples in the header of a FLAC file: 0 for unknown, None for no FLAC."""
    if not beginning.startswith(_FLAC):
        return None
    return int.from_bytes(beginning[18:26], "big") & ((1 << 36) - 1)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _apart(file: BinaryIO, starts: list[int]) -> list[FileSlice] | None:
    """Return the parts of a file that start at these offsets, of which 0 is the first."""
    if len(starts) == 1:
        return None
    ends = [*starts[1:], _size(file)]
    return [FileSlice(file, *limits) for limits in zip(starts, ends, strict=True)]


def _flac_starts(file: BinaryIO) -> list[int]:
    """Return the offsets of joined FLAC files."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = (
            at for at in ogg.find_all(content, _FLAC) if content[at + 4 : at + 8] in _STREAMINFO
        )
        return [0, *(at for at in found if at)]


def _au(file: BinaryIO, head: bytes, on_note: OnNote) -> list[FileSlice] | None:
    """Return an AU file without a length, where that is wrong."""
    start, length = struct.unpack(">II" if head[:1] == b"." else "<II", head[4:12])
    rest = _size(file) - start
    _note_if_short(length, rest, on_note)
    right = head[8:] == _UNKNOWN or abs(length - rest) <= _OVERHANG
    return None if right else [FileSlice(file, replaced={8: _UNKNOWN})]


class _Form(NamedTuple):
    """A format of chunks: the offset of the first, the struct of their heads, their alignment."""

    first: int
    head: str
    sound: bytes  # the name of the chunk of samples
    align: int


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its content
    length: int  # by its head
    end: int


_WAV: Final = _Form(12, "<4sI", b"data", 2)
_FILES: Final = (b"RIFF", b"RIFX", b"RF64", b"FORM")  # the start of another file


def _form(file: BinaryIO, begin: int) -> _Form | None:
    head = os.pread(file.fileno(), 12, begin)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return _WAV
    if head[:4] == b"RIFX" and head[8:] == b"WAVE":
        return _WAV._replace(head=">4sI")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _Form(12, ">4sI", b"SSND", 2)
    return _Form(8, ">4sq", b"data", 1) if head[:4] == b"caff" else None


def _chunked(file: BinaryIO, on_note: OnNote) -> list[FileSlice] | None:
    """Return the joined WAV, AIFF or CAF files with true lengths; None if all is in order."""
    slices, begin, whole, wrong = list[FileSlice](), 0, _size(file), False
    while begin < whole and (form := _form(file, begin)) is not None:
        end, replaced = _extent(file, begin, form, on_note)
        slices.append(FileSlice(file, begin, end, replaced))
        begin, wrong = end, wrong or bool(replaced)
    return slices if wrong or len(slices) > 1 else None


def _extent(
    file: BinaryIO, begin: int, form: _Form, on_note: OnNote
) -> tuple[int, dict[int, bytes]]:
    """Return the end of a file of chunks that starts here, and what to replace in its header."""
    whole = _size(file)
    chunks = {each.name: each for each in _chunks(file, begin, form)}
    sound, large = chunks.get(form.sound), chunks.get(b"ds64")
    if sound is None:
        return whole, {}
    length, place, field = sound.length, sound.start - struct.calcsize(form.head) + 4, form.head
    if large is not None:  # RF64 has its length there
        place, field = large.start + 8, "<q"
        (length,) = struct.unpack(field, os.pread(file.fileno(), 8, place))
    rest = whole - sound.start
    end = _end(file, sound.start, length, form)
    if end is not None:
        return end, {}
    _note_if_short(length, rest, on_note)
    if field[-1] == "I" and length > rest:  # libsndfile stops at the end of the file
        return whole, {}
    true = min(rest, 0xFFFFFFFF) if field[-1] == "I" else rest
    return whole, {place: struct.pack(field[0] + field[-1], true)}


def _chunks(file: BinaryIO, at: int, form: _Form) -> Iterator[_Chunk]:
    """Yield the chunks of a file that starts here, up to the samples."""
    at += form.first
    while (chunk := _chunk(file, at, form)) is not None:
        yield chunk
        if chunk.name == form.sound:
            return
        at = chunk.end


def _chunk(file: BinaryIO, at: int, form: _Form) -> _Chunk | None:
    """Return the chunk at an offset; None if no valid one is there."""
    size = struct.calcsize(form.head)
    head = os.pread(file.fileno(), size, at)
    if len(head) < size:
        return None
    name, length = struct.unpack(form.head, head)
    start = at + size
    sane = name.isascii() and name.decode().isprintable() and 0 <= length <= _size(file) - start
    if not sane and name != form.sound:
        return None
    return _Chunk(name, start, length, start + length + length % form.align)


def _end(file: BinaryIO, sound: int, length: int, form: _Form) -> int | None:
    """Return the end of a file whose samples start here; None if their length is wrong.

    It is right if the file ends there, or if chunks, another file or a few zeros follow.
    """
    at, whole = sound + length, _size(file)
    if length < 0 or at > whole:
        return None
    if at % form.align and _chunk(file, at, form) is None:  # some programs do not align chunks
        at += 1
    while whole - at > _OVERHANG:
        chunk = _chunk(file, at, form)
        if chunk is None or chunk.name == form.sound:
            padded = 0 < whole - at <= _PADDING and not any(os.pread(file.fileno(), _PADDING, at))
            return whole if length and padded else None
        if chunk.name in _FILES:
            return at
        at = chunk.end
    return whole


def _note_if_short(length: int, rest: int, on_note: OnNote) -> None:
    """Note that samples are missing, unless their length means that it is unknown."""
    known = length < _LEAST_UNKNOWN or 0xFFFFFFFF < length < 1 << 62
    if known and length > rest + _OVERHANG:
        on_note(f"it is cut short: it has {rest} of {length} bytes of audio.")
