"""Files in FFmpeg: tracks, frames on one clock, resampling. The only importer of PyAV."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from avsearch.media.containers.clock import MAX_GAP_S, NEAR_S, Clock
from avsearch.media.containers.joined_files import FileSlice, header_behind_junk, split_video
from avsearch.media.open_file import opened
from indexer.errors import RefusedFile
from indexer.types import OnNote, ignore_note

Samples = NDArray[np.float32]
Kind = Literal["audio", "video"]

KINDS: Final[dict[Kind, str]] = {"audio": "audio", "video": "video"}
# A file may be a play list; the files and addresses in it are not opened.
_NO_NETWORK: Final = {"protocol_whitelist": "file"}
_SEEK_MARGIN_S: Final = 10.0  # a seek may land late in MPEG streams; start well before
_HELD_BYTES: Final = 1 << 26  # of packets since the last keyframe that are kept
_TIMES_JUMP: Final = 0x200  # AVFMT_TS_DISCONT: formats in which recordings can be joined
_COUNTED: Final = 0x100  # AVFMT_GENERIC_INDEX: formats of one stream that has no time stamps
_FRAME_S: Final = 0.04  # of a video that has no time stamps and no rate
_MAX_AUDIO_PACKET_S: Final = 0.5  # no codec puts more audio into a packet
_MAX_PACKET_S: Final = 1.0  # a longer duration is often wrong
_EARLY: Final = (1.0, 0.05)  # a file that lacks more seconds, and a larger share, ends early
_ORDINARY_LOSS: Final = 5  # packets that a broadcast may have before the first keyframe

_Disposition: Final = av.stream.Disposition
_NO_VIDEO: Final = _Disposition.attached_pic | _Disposition.timed_thumbnails
# Tracks that accompany the recording, such as comments on it.
_ASIDE: Final = (
    _Disposition.comment
    | _Disposition.lyrics
    | _Disposition.karaoke
    | _Disposition.hearing_impaired
    | _Disposition.visual_impaired
    | _Disposition.clean_effects
    | _Disposition.descriptions
    | _Disposition.dependent
    | _Disposition.still_image
)
_ASIDE_TITLE: Final = re.compile(r"[ck]omm?ent|des[ck]ri[bp]|karaoke", re.IGNORECASE)


class Track(NamedTuple):
    """A track of a file.

    Attributes:
        stream: Its index among all streams.
        number: Its number among those of its kind, from 1.
        marks: Its dispositions, such as default or comment.
        decodable: True if there is a decoder.
    """

    stream: int
    number: int
    marks: tuple[str, ...]
    decodable: bool


Choose = Callable[[Sequence[Track]], Track]


class Resampler:
    """Resamples mono audio, block by block, band-limited.

    The output does not depend on where the blocks are cut, and stays aligned with the input.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz = from_hz
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)

    def push(self, samples: Samples) -> Samples:
        """Return the samples that are ready after ``samples`` (n,); some are held back."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[None]), format="flt", layout="mono"
        )
        frame.sample_rate = self._from_hz
        return _joined(self._resampler.resample(frame))

    def finish(self) -> Samples:
        """Return the samples that were held back."""
        return _joined(self._resampler.resample(None))


def duration_s(path: Path) -> float | None:
    """Return the length in the header of a video in seconds; None without one."""
    with _container(path) as container:
        return None if container.duration is None else container.duration / av.time_base


def open_tracks(
    path: Path, kind: Kind, choose: Choose, part: FileSlice | None, on_note: OnNote
) -> Iterator[TrackReader]:
    """Yield the chosen track of a file, or of each of the files that are joined in it."""
    with opened(path) as file:
        slices = None if part is not None else split_video(file)
    for each in [part] if slices is None else slices:
        with _container(path, each, on_note) as container:
            stream = _choose_stream(path, container, kind, choose)
            reader = TrackReader(path, container, stream, on_note)
            reader.goes_on = slices is not None and each is not slices[-1]
            yield reader


@contextmanager
def _container(
    path: Path, part: FileSlice | None = None, on_note: OnNote = ignore_note
) -> Iterator[InputContainer]:
    """Open a file in FFmpeg, and turn its errors inside the block into refusals."""
    with opened(path) as file:  # says in our words why a file cannot be opened
        try:
            with _opened(path, file, part, on_note) as container:
                yield container
        except av.error.FFmpegError as error:
            raise RefusedFile(
                path,
                "it is not audio or video that can be decoded, or it is cut short "
                f"({error.strerror}); check that it plays, or convert it.",
            ) from error


def _opened(path: Path, file: BinaryIO, part: FileSlice | None, on_note: OnNote) -> InputContainer:
    """Return a file, or a part of it, open in FFmpeg from its header on."""
    if part is not None:
        return _open(part)
    try:
        # The prefix keeps a name like "http:a.mp4" from being taken for another one.
        container = _open(f"file:{path}")
    except av.error.FFmpegError:
        behind = _open_behind_junk(file, on_note)
        if behind is None:
            raise
        return behind
    if container.format.name != "flac" or os.pread(file.fileno(), 3, 0) == b"ID3":
        return container
    # FFmpeg finds FLAC frames behind anything, but needs the header to number them.
    return _open_behind_junk(file, on_note) or container


def _open_behind_junk(file: BinaryIO, on_note: OnNote) -> InputContainer | None:
    """Return a file open from its header on; None if no header follows the beginning."""
    begins = header_behind_junk(file)
    if begins is None:
        return None
    with suppress(av.error.FFmpegError):
        container = _open(FileSlice(file, begins))
        on_note(f"{begins} bytes before its header were left out.")
        return container
    return None


def _open(source: Any) -> InputContainer:
    container: InputContainer = av.open(
        source, "r", container_options=_NO_NETWORK, metadata_errors="replace"
    )
    return container


def _choose_stream(path: Path, container: InputContainer, kind: Kind, choose: Choose) -> Any:
    """Return the stream of a kind to read."""
    streams = _streams(container, kind)
    if not streams:
        raise RefusedFile(path, f"it has no {KINDS[kind]} track; name another file.")
    if all(stream.codec_context is None for stream in streams):
        raise RefusedFile(path, "it is coded in a way that is not known here; convert it.")
    if len(streams) == 1:
        return streams[0]
    tracks = [
        Track(
            stream.index,
            streams.index(stream) + 1,
            tuple(mark.name for mark in _Disposition if stream.disposition & mark and mark.name),
            stream.codec_context is not None,
        )
        for stream in sorted(streams, key=_preference)
    ]
    chosen = choose(tracks).stream
    return next((stream for stream in streams if stream.index == chosen), streams[0])


def _streams(container: InputContainer, kind: Kind) -> list[Any]:
    """Return the streams of a kind, without covers and thumbnails."""
    found = container.streams.audio if kind == "audio" else container.streams.video
    return [stream for stream in found if kind == "audio" or not stream.disposition & _NO_VIDEO]


def _preference(stream: Any) -> tuple[Any, ...]:
    """Return a sort key that puts the preferred track of a kind first.

    That one can be decoded, is the recording itself, belongs to the first program of a broadcast,
    and is no dub, which has another voice.
    """
    title = " ".join(stream.metadata.get(key, "") for key in ("title", "handler_name"))
    return (
        stream.codec_context is None,
        bool(stream.disposition & _ASIDE or _ASIDE_TITLE.search(title)),
        _program(stream),
        bool(stream.disposition & _Disposition.dub),
        not stream.disposition & (_Disposition.default | _Disposition.original),
        stream.index,
    )


def _program(stream: Any) -> int:
    """Return a number that is the same for all streams of a program, or of a file without any."""
    beside = stream.container.streams.best("video", related=stream)
    return -1 if beside is None else int(beside.index)


class TrackReader:
    """Reads the frames of one stream, in order, on the clock of the file.

    Attributes:
        stream: The stream of PyAV.
        begins_s: The start of the file on that clock; None for audio without video, which starts
            at its first frame.
        is_timed: False for formats without time stamps.
        goes_on: True if another file is joined to this one.
    """

    def __init__(self, path: Path, container: InputContainer, stream: Any, on_note: OnNote) -> None:
        self._path, self._container, self.stream = path, container, stream
        self._on_note = on_note
        self._good = 0
        self._clock = Clock(0.0)
        self.goes_on = False
        audio, videos = _streams(container, "audio"), _streams(container, "video")
        program = _program(stream)
        # The time stamps of all streams of a program jump together, so all are followed.
        self._followed = [each for each in (*videos, *audio) if _program(each) == program]
        self._tick_s = {each.index: float(each.time_base) for each in self._followed}
        starts = {
            each.index: each.start_time * self._tick_s[each.index]
            for each in self._followed
            if each.start_time is not None
        }
        self._start_s = min(starts.values(), default=0.0)
        # Streams that start within a frame of the file start with it, so that small offsets move
        # nothing.
        own = starts if stream.type == "audio" else [stream.index]
        begins = [starts.get(index, self._start_s) for index in own]
        near = [start_s for start_s in begins if start_s - self._start_s <= NEAR_S]
        self.begins_s = max(near, default=self._start_s) if videos else None
        flags, codec = container.format.flags, stream.codec_context.name
        # In these formats FFmpeg only counts packets; those of FLAC have numbers.
        self.is_timed = codec == "flac" or not flags & _COUNTED or bool(flags & _TIMES_JUMP)
        if codec == "flac":  # damaged frames would become noise
            stream.codec_context.options = {"err_detect": "crccheck+explode"}

    @property
    def ends_s(self) -> float:
        """The end of the file on its clock, as far as it was read."""
        return self._clock.end_s

    def frames(self, from_s: float = 0.0) -> Iterator[Any]:
        """Yield the frames from some time before ``from_s`` on, in seconds from the file's start.

        Packets that cannot be decoded are left out, as broadcasts start and break off anywhere.
        """
        packets = lost = waiting = 0
        for packet in self._packets(from_s):
            packets += 1
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                lost += packet.size > 0
                waiting += packet.size > 0 and not self._good
                continue
            if frames and waiting and not self._good and self.is_timed and self.begins_s is None:
                self.begins_s = self._start_s  # the lost packets were its start
            self._good += len(frames)
            yield from frames
        kind = KINDS[self.stream.type]
        if not self._good and (lost or from_s == 0):
            raise RefusedFile(
                self._path, f"its {kind} cannot be decoded; check that it plays, or convert it."
            )
        if lost > waiting or waiting > _ORDINARY_LOSS:
            self._on_note(f"{lost} of {packets} packets of its {kind} cannot be decoded.")
        self._note_early_end(from_s)

    def has_gaps(self, least_s: float) -> bool:
        """Return True if more time than this lacks packets. Nothing is decoded."""
        self._clock, end_s = Clock(self._start_s), self.begins_s
        tick_s = self._tick_s[self.stream.index]
        with suppress(av.error.FFmpegError):  # as far as it can be read
            for packet in self._shifted():
                if packet.pts is None:
                    continue
                start_s = packet.pts * tick_s
                if self.is_timed and start_s - (start_s if end_s is None else end_s) > least_s:
                    return True
                # In MP4 the packet before a gap has a duration that spans it.
                length_s = min((packet.duration or 0) * tick_s, _MAX_AUDIO_PACKET_S)
                end_s = max(end_s or start_s, start_s + length_s)
        return False

    def _note_early_end(self, from_s: float) -> None:
        """Note that a file is shorter than its header says."""
        flags = self._container.format.flags
        if from_s > 0 or flags & (_TIMES_JUMP | _COUNTED) or self._clock.jumps:
            return
        lengths = [
            each.duration * self._tick_s[each.index] for each in self._followed if each.duration
        ]
        says_s = max(lengths, default=0.0)
        if len(lengths) < len(self._followed) == len(self._container.streams):
            says_s = (self._container.duration or 0) / av.time_base
        found_s = self.ends_s - min(0.0, self._start_s)  # some formats count from 0
        least_s, share = _EARLY
        if says_s - found_s > max(least_s, share * says_s):
            self._on_note(f"it ends after {self.ends_s - self._start_s:.1f} s of {says_s:.1f} s.")

    def _packets(self, from_s: float) -> Iterator[Any]:
        """Return the packets to decode, on the clock of the file; the last one is empty."""
        begins_s = (self.begins_s or 0.0) + from_s
        self._clock = Clock(self._start_s)
        if from_s <= _SEEK_MARGIN_S:
            return self._shifted()
        if self._seek(begins_s - _SEEK_MARGIN_S):
            self._clock = Clock(begins_s - _SEEK_MARGIN_S)
            return self._shifted()
        return self._from_keyframe(self._shifted(), begins_s - 1)

    def _seek(self, to_s: float) -> bool:
        """Seek to a time; False where the stamps do not tell where it is."""
        container = self._container
        if container.format.flags & _TIMES_JUMP or container.duration is None:
            return False
        if to_s > self._start_s + container.duration / av.time_base:
            return False
        with suppress(av.error.FFmpegError):
            container.seek(int(to_s * av.time_base))
            if not self._leaps_before(to_s):
                return True
            container.seek(int(self._start_s * av.time_base))
        return False

    def _leaps_before(self, to_s: float) -> bool:
        """Return True if the index has a gap before a time that the clock leaves out."""
        index: Any = getattr(self.stream, "index_entries", ())
        step, ticks = MAX_GAP_S / 2, self._tick_s[self.stream.index]
        times = np.arange(self._start_s, to_s, step) if len(index) else ()
        entries = [index.search_timestamp(int(time_s / ticks)) for time_s in times]
        return any(0 <= one == other for one, other in itertools.pairwise(entries))

    def _shifted(self) -> Iterator[Any]:
        """Yield the packets of the stream on the clock, each once the next one is known."""
        own, waiting = self.stream.index, dict[int, Any]()
        for packet in self._demuxed():
            index, is_empty = packet.stream.index, packet.size == 0
            if is_empty and packet.dts is not None:  # a decoder would finish there
                continue
            before = waiting.pop(index, None)
            if before is not None:
                self._place(before, packet.dts)
                if index == own:
                    yield before
            if not is_empty:
                waiting[index] = packet
        if own in waiting:
            self._place(waiting[own], None)
            yield waiting[own]
        if jumps := self._clock.jumps:
            times = f"{len(jumps)} times, first " if len(jumps) > 1 else ""
            at_s = jumps[0] - self._start_s
            self._on_note(f"its time stamps jump {times}at {at_s:.1f} s; times continue there.")
        last = av.Packet()  # an empty one, at which the decoder finishes
        last.stream, last.time_base = self.stream, self.stream.time_base
        yield last

    def _place(self, packet: Any, next_dts: int | None) -> None:
        """Shift the time stamps of a packet, or add them to a frame without any."""
        index, clock = packet.stream.index, self._clock
        tick_s = self._tick_s[index]
        length_s = (packet.duration or 0) * tick_s
        if length_s > _MAX_PACKET_S:
            length_s = 0.0
        if packet.dts is not None:
            next_s = None if next_dts is None else next_dts * tick_s
            shift_s = clock.shift(index, packet.dts * tick_s, length_s, next_s)
        elif packet.pts is not None:
            shift_s = clock.shift_of(index)
        elif packet.stream.type == "video":
            rate = packet.stream.average_rate
            length_s = length_s or float(1 / rate if rate else _FRAME_S)
            packet.pts = packet.dts = round(clock.next_time(index, length_s) / tick_s)
            return
        else:  # the samples of audio tell its time
            return
        if packet.pts is not None and packet.dts is not None:
            # A frame may be shown behind a jump that the next packets make.
            if (packet.pts - packet.dts) * tick_s > MAX_GAP_S:
                packet.pts = packet.dts
            packet.dts += round(shift_s / tick_s)
        if packet.pts is not None:
            packet.pts += round(shift_s / tick_s)

    def _demuxed(self) -> Iterator[Any]:
        """Yield the packets of all streams that are followed, as far as the file can be read."""
        try:
            # Streams that turned up on the way PyAV has no names for, and looks them up at the end.
            with suppress(IndexError):
                for packet in self._container.demux(self._followed):
                    if packet.size or packet.dts is not None:
                        yield packet
        except av.error.FFmpegError as error:
            if not self._good:
                raise
            self._on_note(f"it cannot be read to its end ({error.strerror}); the rest is lost.")

    def _from_keyframe(self, packets: Iterator[Any], time_s: float) -> Iterator[Any]:
        """Leave out the packets before the last keyframe before a time."""
        held, size, tick_s = list[Any](), 0, self._tick_s[self.stream.index]
        for packet in packets:
            if packet.is_keyframe:
                held, size = [], 0
            held.append(packet)
            size += packet.size
            if packet.pts is None or packet.pts * tick_s >= time_s or size > _HELD_BYTES:
                break
        yield from held
        yield from packets


def _joined(frames: list[Any]) -> Samples:
    if not frames:
        return np.empty(0, np.float32)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])
