"""Sound tracks, video frames and resampling by FFmpeg. The only importer of PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from avsearch.media.files import opened
from indexer.errors import RefusedFile

Samples = NDArray[np.float32]

# A file may be a play list in disguise; whatever it names is not followed.
_NO_NETWORK: Final = {"protocol_whitelist": "file"}
_SEEK_MARGIN_S: Final = 10.0  # a seek may land late in MPEG streams; start well before
_PIXEL_ASPECTS: Final = (0.2, 5.0)  # beyond, the header is wrong


class Resampler:
    """Mono sound of one rate to another, block by block, band-limited.

    The output does not depend on where the blocks are cut, and stays aligned with the input.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz = from_hz
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)

    def push(self, samples: Samples) -> Samples:
        """What is ready after ``samples`` (n,) went in; some is held back for the next."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[None]), format="flt", layout="mono"
        )
        frame.sample_rate = self._from_hz
        return _joined(self._resampler.resample(frame))

    def finish(self) -> Samples:
        """What was held back."""
        return _joined(self._resampler.resample(None))


def sound_track(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """The first sound track in small pieces: (samples a second, (n, channels) floats).

    Integers are scaled to [-1, 1]. Raises RefusedFile where there is
    no track or most of it cannot be decoded.
    """
    with _container(path) as container:
        if not container.streams.audio:
            raise RefusedFile(path, "it has no sound track; name another file.")
        stream = container.streams.audio[0]
        for frame in _decoded(path, container, stream):
            yield frame.sample_rate, _channels(frame)


def duration_s(path: Path) -> float | None:
    """How long a video says it lasts; None where it does not say."""
    with _container(path) as container:
        return None if container.duration is None else container.duration / av.time_base


def pictures(path: Path, from_s: float, step_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Frames of a video as (seconds from its start, uint8 (height, width, 3) RGB), upright.

    The first frame at or after ``from_s``, then the first at or after each further
    ``step_s``. Only these are turned into arrays. Raises RefusedFile where there is no video
    track or most of it cannot be decoded.
    """
    with _container(path) as container:
        stream = _video_stream(path, container)
        origin_s = float((stream.start_time or 0) * stream.time_base)
        sought = from_s > _SEEK_MARGIN_S
        if sought:
            container.seek(int((origin_s + from_s - _SEEK_MARGIN_S) * av.time_base))
        aspect = _pixel_aspect(stream)
        next_s = from_s
        for frame in _decoded(path, container, stream, maybe_none=sought):
            time_s = 0.0 if frame.time is None else max(0.0, frame.time - origin_s)
            if time_s >= next_s:
                yield time_s, _upright(frame, aspect)
                next_s = _next_target(from_s, step_s, time_s)


def _next_target(from_s: float, step_s: float, time_s: float) -> float:
    """The first of from_s, from_s + step_s, ... that lies behind ``time_s``."""
    if math.isinf(step_s):
        return math.inf
    return from_s + step_s * (math.floor((time_s - from_s) / step_s) + 1)


@contextmanager
def _container(path: Path) -> Iterator[InputContainer]:
    """A file open in FFmpeg; its errors in here become refusals."""
    with opened(path):  # says in our words why a file cannot be opened
        address = f"file:{path}"  # so that no name, like "http:a.mp4", is taken for another one
        try:
            with av.open(address, options=_NO_NETWORK, metadata_errors="replace") as container:
                yield container
        except av.error.FFmpegError as error:
            raise RefusedFile(
                path,
                "it is not a sound or video that can be decoded, or it is cut short "
                f"({error.strerror}); check that it plays, or convert it.",
            ) from error


def _video_stream(path: Path, container: InputContainer) -> Any:
    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & cover]
    if not streams:
        raise RefusedFile(path, "it has no video track; name another file.")
    stream = streams[0]
    if stream.codec_context is not None:
        stream.thread_type = "AUTO"
        # Frames that no other frame needs are left undecoded: half of the work at times.
        stream.codec_context.skip_frame = "NONREF"
    return stream


def _decoded(
    path: Path, container: InputContainer, stream: Any, *, maybe_none: bool = False
) -> Iterator[Any]:
    """Frames of one stream. A packet that cannot be decoded is passed over, as broadcasts
    begin and break anywhere; where these are the most, the file is refused. ``maybe_none``
    says that there need not be any, as after a seek.
    """
    if stream.codec_context is None:
        raise RefusedFile(path, "it is coded in a way that is not known here; convert it.")
    good = bad = 0
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            continue
        good += len(frames)
        yield from frames
    if good <= bad and (bad or not maybe_none):
        raise RefusedFile(
            path,
            f"most of its {stream.type} cannot be decoded; check that it plays, or convert it.",
        )


def _packets(container: InputContainer, stream: Any) -> Iterator[Any]:
    """The packets of one stream, the last of which is empty and has the decoder finish."""
    # Streams that turned up on the way PyAV has no names for, and looks them up after the last.
    with suppress(IndexError):
        yield from container.demux(stream)


def _channels(frame: Any) -> NDArray[Any]:
    """(n, channels) of an audio frame, planar (channels, n) or packed (1, n * channels)."""
    samples = _scaled(frame.to_ndarray())
    if frame.format.is_planar:
        return samples.T
    return samples.reshape(-1, frame.layout.nb_channels)


def _scaled(samples: NDArray[Any]) -> NDArray[Any]:
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return samples


def _joined(frames: list[Any]) -> Samples:
    if not frames:
        return np.empty(0, np.float32)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _upright(frame: Any, aspect: float) -> NDArray[np.uint8]:
    """The frame as it is meant to be seen: square pixels, turned as its side data says."""
    picture = frame.to_ndarray(format="rgb24", width=round(frame.width * aspect))
    quarter_turns = round(frame.rotation / 90) % 4  # counterclockwise, as np.rot90
    return np.ascontiguousarray(np.rot90(picture, quarter_turns))


def _pixel_aspect(stream: Any) -> float:
    """How much wider than high a pixel is meant to be shown."""
    aspect = float(stream.sample_aspect_ratio or 1)
    low, high = _PIXEL_ASPECTS
    return aspect if low <= aspect <= high else 1.0
