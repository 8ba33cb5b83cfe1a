"""Sounds and videos made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray


def tone(hz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> NDArray[np.float32]:
    """A sine, float32 (n,)."""
    times = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def write_wav(path: Path, samples: NDArray[np.float32], rate: int = 16_000) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT", format="WAV")
    return path


def encode(
    path: Path,
    *,
    sound: NDArray[np.float32] | None = None,
    frames: list[NDArray[np.uint8]] | None = None,
    codecs: tuple[str, str] = ("mpeg4", "aac"),
    rate: int = 48_000,
    fps: int = 10,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write a video (frames), a sound, or both, by FFmpeg; sound is mono (n,) at ``rate``."""
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        picture_stream = sound_stream = None
        if frames:
            picture_stream = out.add_stream(codecs[0], rate=fps)
            picture_stream.height, picture_stream.width = frames[0].shape[:2]
            picture_stream.pix_fmt = "yuvj420p" if codecs[0] == "mjpeg" else "yuv420p"
            picture_stream.bit_rate = 2_000_000
            if rotation:
                picture_stream.set_display_rotation(rotation)
        if sound is not None:
            sound_stream = out.add_stream(codecs[1], rate=rate, layout="mono", bit_rate=96_000)
        for rgb in frames or []:
            out.mux(picture_stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            out.mux(sound_stream.encode(frame))
        for stream in (picture_stream, sound_stream):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def record(
    path: Path,
    *,
    pictures: Sequence[Sequence[NDArray[np.uint8]]] = (),
    sounds: Sequence[NDArray[np.float32]] = (),
    codecs: tuple[str, str] = ("mpeg4", "aac"),
    rate: int = 48_000,
    fps: int = 25,
    stamp: Callable[[str, float], float | None] = lambda _, time_s: time_s,
    marks: Mapping[int, int] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Write tracks of frames and then of mono sounds (n,) at ``rate``, with any time stamps.

    ``stamp`` is given "video" or "audio" and the time of a packet, and returns the time that is
    written; None leaves the packet out. ``marks`` are dispositions by the place of a track.
    """
    with av.open(str(path), "w") as out:
        tracks = [_video_track(out, codecs[0], fps, each, aspect) for each in pictures]
        tracks += [_sound_track(out, codecs[1], rate, each) for each in sounds]
        for place, mark in (marks or {}).items():
            tracks[place][0].disposition = getattr(mark, "value", mark)
        packets = [packet for stream, frames in tracks for packet in _packets(stream, frames)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            before = float(packet.dts * packet.time_base)
            time_s = stamp(packet.stream.type, before)
            if time_s is not None:
                moved = round((time_s - before) / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                out.mux(packet)
    return path


def _packets(stream: Any, frames: Iterable[Any]) -> list[Any]:
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]


def _video_track(
    out: Any, codec: str, fps: int, frames: Sequence[NDArray[np.uint8]], aspect: Fraction | None
) -> tuple[Any, Iterable[Any]]:
    stream = out.add_stream(codec, rate=fps)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
    if aspect is not None:
        stream.codec_context.sample_aspect_ratio = aspect
    return stream, (av.VideoFrame.from_ndarray(rgb, format="rgb24") for rgb in frames)


def _sound_track(
    out: Any, codec: str, rate: int, sound: NDArray[np.float32]
) -> tuple[Any, Iterable[Any]]:
    stream = out.add_stream(codec, rate=rate, layout="mono", bit_rate=96_000)
    frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    return stream, [frame]


def garble(path: Path, kind: str, place: int | None = None) -> Path:
    """Replace what is in the packets of a kind, or of one stream, by noise; to be found in MKV."""
    random = np.random.default_rng(0)
    whole = path.rename(path.with_stem("whole"))
    with av.open(str(whole)) as before, av.open(str(path), "w") as out:
        streams = {each.index: out.add_stream_from_template(each) for each in before.streams}
        for packet in before.demux():
            if packet.size == 0:
                continue
            stream = packet.stream
            bad = stream.type == kind and place in (None, stream.index)
            copy = av.Packet(random.bytes(packet.size) if bad else bytes(packet))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, streams[stream.index]
            out.mux(copy)
    return path
