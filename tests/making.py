"""Sounds and videos made on the spot."""

from __future__ import annotations

from pathlib import Path

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
