from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avsearch.media.audio import cut_audio, read_audio, stream_audio
from avsearch.media.samples import SAMPLE_RATE
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest, RefusedFile
from tests.helpers.making import encode, tone, write_wav

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 44_099, 48_000, 96_000, 192_000]
INNER = slice(800, -800)  # away from the filter's run-in


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE / len(samples)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_what_and_where_it_is_at_any_rate(tmp_path: Path, rate: int) -> None:
    samples = read_audio(write_wav(tmp_path / "a.wav", tone(1000, rate), rate))
    assert samples.dtype == np.float32
    assert abs(len(samples) - SAMPLE_RATE) <= 1
    np.testing.assert_allclose(
        samples[INNER], tone(1000, SAMPLE_RATE)[: len(samples)][INNER], atol=1e-4
    )


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate > 20_000])
def test_nothing_aliases(tmp_path: Path, rate: int) -> None:
    """Frequencies above 8 kHz are removed, and do not return as other tones."""
    too_high = tone(0.48 * min(rate, 44_100), rate)
    samples = read_audio(write_wav(tmp_path / "a.wav", too_high, rate))
    assert np.abs(samples[INNER]).max() < 0.5e-4


@pytest.mark.parametrize("rate", RATES)
def test_the_cuts_of_the_blocks_are_not_heard(
    tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, rate), rate)
    whole = read_audio(path)
    monkeypatch.setattr("avsearch.media.audio._BLOCK_S", 0.0701)
    blocks = list(stream_audio(path))
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    samples = np.zeros((SAMPLE_RATE, channels), np.float32)
    samples[:, 0] = tone(300, SAMPLE_RATE)
    mono = read_audio(write_wav(tmp_path / "a.wav", samples))
    np.testing.assert_allclose(mono, samples[:, 0] / channels, atol=1e-6)


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"]
)
def test_sample_formats_are_scaled_to_one(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300, SAMPLE_RATE, level=0.9), SAMPLE_RATE, subtype)
    assert np.abs(read_audio(tmp_path / "a.wav")).max() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_reads_what_libsndfile_reads(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", tone(440, 44_100), 44_100)
    samples = read_audio(tmp_path / f"a.{suffix}")
    assert len(samples) == pytest.approx(SAMPLE_RATE, rel=0.1)
    assert loudest_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "wav", "aiff", "au", "w64"])
def test_of_a_file_cut_short_only_what_is_there_is_heard(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 25 * SAMPLE_RATE).astype(np.float32)
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    soundfile.write(whole, noise, SAMPLE_RATE)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    samples = read_audio(cut)
    assert len(samples) == pytest.approx(12.5 * SAMPLE_RATE, rel=0.1)
    sure = len(samples) - 2 * 1152  # the last frames may want what follows them
    np.testing.assert_allclose(samples[:sure], read_audio(whole)[:sure], atol=1e-4)


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_streams_joined_are_heard_to_the_end(tmp_path: Path, suffix: str) -> None:
    parts = [tmp_path / f"{name}.{suffix}" for name in ("a", "b")]
    for part, hz in zip(parts, (440, 880), strict=True):
        soundfile.write(part, tone(hz, SAMPLE_RATE, 3), SAMPLE_RATE)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    samples = read_audio(joined)
    assert len(samples) == pytest.approx(6 * SAMPLE_RATE, rel=0.05)
    assert loudest_hz(samples[: 2 * SAMPLE_RATE]) == pytest.approx(440, abs=3)
    assert loudest_hz(samples[-2 * SAMPLE_RATE :]) == pytest.approx(880, abs=3)


def test_reads_what_telephones_record(tmp_path: Path) -> None:
    """GSM 6.10, in which libsndfile cannot seek."""
    soundfile.write(tmp_path / "a.wav", tone(440, 8_000, 12), 8_000, "GSM610")
    samples = read_audio(tmp_path / "a.wav")
    assert len(samples) == pytest.approx(12 * SAMPLE_RATE, rel=0.01)
    assert loudest_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        ("m4a", "aac", 44_100),
        ("m4a", "alac", 48_000),
        ("aac", "aac", 16_000),
        ("webm", "libopus", 48_000),
        ("opus", "libopus", 48_000),
        ("mka", "flac", 96_000),
        ("wma", "wmav2", 22_050),
        ("mp4", "aac", 48_000),
        ("mov", "pcm_s24le", 48_000),
        ("mkv", "pcm_u8", 8_000),
        ("mkv", "pcm_f64le", 32_000),
        ("ac3", "ac3", 32_000),
    ],
)
def test_reads_what_ffmpeg_reads(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = encode(tmp_path / f"a.{suffix}", sound=tone(440, rate), codecs=("", codec), rate=rate)
    samples = read_audio(path)
    assert len(samples) == pytest.approx(SAMPLE_RATE, rel=0.1)
    assert loudest_hz(samples) == pytest.approx(440, abs=3)
    assert np.abs(samples[4000:-4000]).max() == pytest.approx(0.5, abs=0.1)


def test_stereo_in_a_container_is_averaged_as_elsewhere(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mka"), "w", format="matroska") as out:
        stream = out.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="stereo")
        both = np.stack([np.full(8000, 8192), np.zeros(8000)], axis=1).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(both.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.mka"), np.full(8000, 0.125))


def test_a_part_is_what_the_whole_has_there(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050 * 25).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", noise, 22_050)
    whole = read_audio(path)
    for start_s, end_s in [(0, 1), (0.5, 11.5), (9.99, 10.01 + 0.1), (12, 25), (20.5, None)]:
        end = None if end_s is None else round(end_s * SAMPLE_RATE)
        expected = whole[round(start_s * SAMPLE_RATE) : end]
        np.testing.assert_array_equal(read_audio(path, start_s, end_s), expected)


def test_many_parts_in_one_pass(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE * 25).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", noise)
    spans = [Span(0, 0.5), Span(0.25, 3), Span(3, 3.5), Span(9, 21), Span(24, 26), Span(30, 31)]
    for span, samples in zip(spans, cut_audio(path, spans), strict=True):
        start, end = (round(t * SAMPLE_RATE) for t in span)
        np.testing.assert_array_equal(samples, noise[start:end])


def test_what_is_cut_out_keeps_nothing_else_alive(tmp_path: Path) -> None:
    """Memory holds one span and a block, however the spans lie across the blocks."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(SAMPLE_RATE * 300, np.int16), SAMPLE_RATE)
    spans = [Span(start, start + 0.9) for start in np.arange(0.05, 299)]
    tracemalloc.start()
    for _ in cut_audio(path, spans):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 10 * SAMPLE_RATE * 4  # some blocks of 10 s; the whole is 30 of them


def test_a_long_recording_comes_in_bounded_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(8_000 * 600, np.int16), 8_000)
    sizes = [len(block) for block in stream_audio(path)]
    assert sum(sizes) == 600 * SAMPLE_RATE
    assert max(sizes) <= 11 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ((5, 6), "the audio ends before"),
        ((0.5, 9), "the audio ends after 1.00 s"),
        ((0.2, 0.21), "too short for a voice"),
    ],
)
def test_why_a_sound_does_not_have_a_part_is_said(
    tmp_path: Path, part: tuple[float, float], why: str
) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, SAMPLE_RATE, 1))
    with pytest.raises(RefusedFile, match=why):
        read_audio(path, *part)


@pytest.mark.parametrize("part", [(5, 6), (0.5, 9), (2, 1), (-1, 1), (0.95, None)])
def test_a_part_outside_of_the_sound_is_a_bad_request(
    tmp_path: Path, part: tuple[float, float | None]
) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, SAMPLE_RATE))
    with pytest.raises(BadRequest, match=r"a\.wav: "):
        read_audio(path, *part)


def test_an_end_rounded_up_is_forgiven(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, SAMPLE_RATE))
    assert len(read_audio(path, 0.5, 1.2)) == SAMPLE_RATE // 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_a_number_and_says_where(tmp_path: Path, bad: float) -> None:
    samples = np.stack([tone(440, 48_000, 15)] * 2, axis=1)
    samples[48_000 * 12, 1] = bad
    with pytest.raises(RefusedFile, match=r"the first at 1[12]\.\d\d s"):
        read_audio(write_wav(tmp_path / "a.wav", samples, 48_000))


@pytest.mark.parametrize("count", [0, 1, 1500])
def test_refuses_a_sound_too_short(tmp_path: Path, count: int) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(count, np.float32))
    with pytest.raises(RefusedFile, match="too short for a voice"):
        read_audio(path)


def test_refuses_rates_no_speech_has(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(5000, np.float32), 100)
    with pytest.raises(RefusedFile, match="100 samples a second"):
        read_audio(path)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>404</html>" * 50,
        b"RIFF\x00\x00",
        bytes(5000),
        b"#EXTM3U\nhttp://example.com/a.ts\n",
    ],
)
def test_refuses_what_is_no_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(RefusedFile, match="not audio"):
        read_audio(tmp_path / "a.wav")


def test_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(RefusedFile, match="empty"):
        read_audio(tmp_path / "a.wav")


def test_refuses_a_video_without_sound(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", frames=[np.zeros((48, 64, 3), np.uint8)] * 5)
    with pytest.raises(RefusedFile, match="no audio track"):
        read_audio(path)


def test_refuses_a_truncated_m4a(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", sound=tone(440, 48_000, 3))
    path.write_bytes(path.read_bytes()[:-2000])  # the table of contents stands at the end
    with pytest.raises(RefusedFile, match="cut short"):
        read_audio(path)


def test_too_loud_is_fine(tmp_path: Path) -> None:
    samples = read_audio(write_wav(tmp_path / "a.wav", tone(440, SAMPLE_RATE, level=3.0)))
    assert samples.max() == pytest.approx(3.0, abs=0.01)


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    for name in ["http:a.m4a", "concat:a|b.m4a", "x%03d.m4a", "caf\udce9.m4a"]:
        encode(tmp_path / "plain.m4a", sound=tone(440, 48_000)).rename(tmp_path / name)
        assert len(read_audio(tmp_path / name)) > 0
