"""Audio files to arrays: float32 (samples,) mono at 16 kHz. The only importer of soundfile."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from avsearch.media.channels import mix_channels
from avsearch.media.containers import ogg
from avsearch.media.containers.joined_files import FileSlice, flac_length, read_head, split_audio
from avsearch.media.open_file import opened
from avsearch.media.samples import SAMPLE_RATE, Samples, resampled
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest, NotInFile, RefusedFile, printable
from indexer.types import OnNote, ignore_note

if TYPE_CHECKING:
    from avsearch.media.containers.decoding import OnGap
    from avsearch.media.containers.ffmpeg import Choose, Track

RawBlock = tuple[int, NDArray[Any]]  # samples a second, (n, channels) floats

MIN_AUDIO_S: Final = 0.1  # less holds no syllable
_BLOCK_S: Final = 10.0
_BLOCK_VALUES: Final = 8_000_000  # over all channels: 32 MB
_RATES_HZ: Final = (4_000, 1_000_000)  # below, no speech is left; above, the header is wrong
_END_TOLERANCE_S: Final = 0.5  # ends are often rounded up to what a clock shows
# MPEG audio, with or without tags: it may be cut or joined, and libsndfile relies on its stated
# length.
_MPEG: Final = (b"ID3", b"\xff")
_TAG_BYTES: Final = 1 << 13  # that may follow the audio of a FLAC file


def read_audio(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Samples:
    """Return audio, or the audio of a video, as float32 (samples,) mono at 16 kHz in [-1, 1].

    Channels are averaged, unless that would hide a voice. Other rates are resampled, band-limited.
    The audio of a video starts at the start of the file, with silence in its gaps. For a range of
    time the file is decoded from its start too, so that a part is exactly that of the whole.

    Args:
        path: The file.
        start_s: The start of the range in seconds.
        end_s: The end of the range; None for the end of the file.

    Raises:
        RefusedFile: The file cannot be decoded, holds NaN, or is shorter than 0.1 s.
        NotInFile: The range is not in the file.
        BadRequest: The range does not start before its end.
    """
    if start_s == 0 and end_s is None:
        return np.concatenate(list(stream_audio(path)))
    span = Span(start_s, float("inf") if end_s is None else end_s)
    if not 0 <= start_s < span.end_s:
        raise BadRequest(
            f"{printable(path)}: {start_s:g} s to {span.end_s:g} s is no range of time; "
            "the start must lie before the end."
        )
    samples = next(cut_audio(path, [span]))
    _require_covered(path, span, len(samples) / SAMPLE_RATE)
    return samples


def cut_audio(path: Path, spans: Sequence[Span]) -> Iterator[Samples]:
    """Yield float32 (samples,) at 16 kHz of each span of a file, in one pass over the file.

    The spans are in order of their starts. A span beyond the end comes shorter, or empty. Memory
    holds one span. Raises as :func:`read_audio`.
    """
    return cut_blocks(stream_audio(path), spans)


def cut_blocks(blocks: Iterator[Samples], spans: Iterable[Span]) -> Iterator[Samples]:
    """Yield the spans of audio that comes in blocks, of which no more than needed are taken."""
    held, held_to = np.empty(0, np.float32), 0  # the last samples read, and their end
    for span in spans:
        start, end = round(span.start_s * SAMPLE_RATE), span.end_s * SAMPLE_RATE
        parts = [held[max(0, len(held) - max(0, held_to - start)) :]]
        while held_to < end and (block := next(blocks, None)) is not None:
            held_to += len(block)
            parts.append(block[max(0, len(block) - max(0, held_to - start)) :])
        held = np.concatenate(parts)
        held_from = held_to - len(held)
        yield held[: max(0, round(min(end, held_to)) - held_from)].copy()


def stream_audio(
    path: Path, *, on_note: OnNote = ignore_note, on_gap: OnGap | None = None
) -> Iterator[Samples]:
    """Return the blocks of audio of any length, some seconds each, as :func:`read_audio`.

    Args:
        path: The file.
        on_note: Receives what of the file was lost, left out or chosen between.
        on_gap: Receives the gaps of the file, by the seconds of audio before them and their
            length. None fills them with silence.

    Raises:
        RefusedFile: As :func:`read_audio`; what is wrong further on is raised when it is reached.
    """
    choose = functools.partial(_choose, path, on_note)
    return stream_track(path, choose, on_note=on_note, on_gap=on_gap)


def _choose(path: Path, on_note: OnNote, tracks: Sequence[Track]) -> Track:
    from avsearch.media.containers.track_choice import choose_audio  # PyAV takes long to import

    return choose_audio(path, tracks, on_note, stream_track)


def audio_has_gaps(path: Path) -> bool:
    """Return True if a file may have gaps in its audio, by its time stamps alone.

    Raises:
        RefusedFile: The file cannot be read.
    """
    with opened(path) as file:
        sound = _open_soundfile(file)
        if sound is not None:
            sound.close()
            return False
    from avsearch.media.containers.decoding import has_gaps

    return has_gaps(path, functools.partial(_choose, path, ignore_note))


def stream_track(
    path: Path, choose: Choose, *, on_note: OnNote = ignore_note, on_gap: OnGap | None = None
) -> Iterator[Samples]:
    """Return the blocks of the track that ``choose`` returns, as :func:`stream_audio`."""
    blocks = _raw_blocks(_TrackRequest(path, choose, on_note, on_gap))
    return _checked(path, mix_channels(blocks, on_note), on_note)


def stream_waveform(name: Path, waveform: NDArray[Any], sample_rate: int) -> Iterator[Samples]:
    """Return the blocks of (samples,) or (channels, samples) floats, as :func:`stream_audio`.

    ``name`` is for messages.
    """
    channels = np.atleast_2d(waveform)
    step = round(sample_rate * _BLOCK_S) or 1
    parts = (channels[:, at : at + step].T for at in range(0, channels.shape[1], step))
    return _checked(name, mix_channels((sample_rate, part) for part in parts))


def _checked(
    path: Path, blocks: Iterable[tuple[int, Samples]], on_note: OnNote = ignore_note
) -> Iterator[Samples]:
    """Yield blocks at 16 kHz; refuse NaN and audio that is too short."""
    total = 0
    for block in resampled(_with_speech_rate(path, blocks, on_note)):
        finite = np.isfinite(block)
        if not finite.all():
            at_s = (total + int(np.argmin(finite))) / SAMPLE_RATE
            raise RefusedFile(
                path, f"it has NaN or infinite samples, the first at {at_s:.2f} s; export it again."
            )
        total += len(block)
        yield block
    if total < MIN_AUDIO_S * SAMPLE_RATE:
        raise RefusedFile(
            path,
            f"the audio lasts {total / SAMPLE_RATE:.3f} s, too short for a voice; "
            f"at least {MIN_AUDIO_S} s are needed.",
        )


def _with_speech_rate(
    path: Path, blocks: Iterable[tuple[int, Samples]], on_note: OnNote
) -> Iterator[tuple[int, Samples]]:
    """Yield the blocks whose rate speech may have; refuse a file without any."""
    low, high = _RATES_HZ
    taken, odd_rate, odd_s = False, 0, 0.0
    for rate, block in blocks:
        if low <= rate <= high:
            taken = True
            yield rate, block
        else:
            odd_rate, odd_s = rate, odd_s + len(block) / max(1, rate)
    if odd_rate and not taken:
        raise RefusedFile(
            path,
            f"it has {odd_rate} samples a second; speech needs {low} to {high}; record it again.",
        )
    if odd_rate:
        on_note(f"{odd_s:.1f} s of its audio have {odd_rate} samples a second; they were left out.")


class _TrackRequest(NamedTuple):
    """The arguments of stream_track."""

    path: Path
    choose: Choose
    on_note: OnNote
    on_gap: OnGap | None


def _raw_blocks(request: _TrackRequest) -> Iterator[RawBlock]:
    """Yield the blocks of all audio files that are joined in a file.

    libsndfile reads them, exactly and fast, and FFmpeg what it cannot, or not to the end.
    """
    with opened(request.path) as file:
        slices = split_audio(file, request.on_note)
        if slices is None:
            yield from _read_blocks(request, file, None)
            return
        refusals, read_s = list[RefusedFile](), 0.0
        for part in slices:
            try:
                for rate, block in _read_blocks(_shifted(request, read_s), part, part):
                    read_s += len(block) / rate
                    yield rate, block
            except RefusedFile as refusal:
                refusals.append(refusal)
    if len(refusals) == len(slices):
        raise refusals[0]
    for each in refusals:
        request.on_note(f"audio that is joined in it was left out: {each.reason}")


def _shifted(request: _TrackRequest, by_s: float) -> _TrackRequest:
    """Return the request for a part of a file that follows so much audio."""
    on_gap = request.on_gap
    if on_gap is None:
        return request
    return request._replace(on_gap=lambda at_s, length_s: on_gap(by_s + at_s, length_s))


def _read_blocks(
    request: _TrackRequest, source: BinaryIO | FileSlice, part: FileSlice | None
) -> Iterator[RawBlock]:
    """Yield the blocks of one audio file, which is a whole file or a part of it."""
    sound = _open_soundfile(source)
    if sound is None:
        yield from _read_by_ffmpeg(request, part)
        return
    rate, stated, read, fault = int(sound.samplerate), int(sound.frames), 0, ""
    frames = int(min(rate * _BLOCK_S, _BLOCK_VALUES // sound.channels)) or 1
    with sound:
        try:
            # Not `blocks`, which relies on the stated length, and needs to seek.
            while len(block := sound.read(frames, dtype="float32", always_2d=True)):
                yield rate, block
                read += len(block)
        except soundfile.LibsndfileError as error:
            fault = error.error_string
        ends_early = bool(fault)
        if sound.format == "FLAC" and not fault:
            at = source.tell()
            ends_early = source.seek(0, os.SEEK_END) - at > _TAG_BYTES
    found_s = read / rate
    for rest_rate, block in _read_rest(request, part, found_s, fault) if ends_early else ():
        yield rest_rate, block
        found_s += len(block) / rest_rate
    if found_s < stated / rate - MIN_AUDIO_S:
        request.on_note(f"its audio ends after {found_s:.1f} s of {stated / rate:.1f} s.")


def _open_soundfile(source: BinaryIO | FileSlice) -> soundfile.SoundFile | None:
    """Return audio open in libsndfile; None if it cannot read it, or not all of it."""
    head = read_head(source)
    if head.startswith(_MPEG) or flac_length(head) == 0:
        return None
    if isinstance(source, FileSlice):
        place: Any = source
    elif head.startswith(ogg.FIRST_PAGE) and not ogg.is_plain(source):
        return None
    else:
        place = source.fileno()
    try:
        return soundfile.SoundFile(place, closefd=False)
    except soundfile.LibsndfileError:
        return None


def _read_rest(
    request: _TrackRequest, part: FileSlice | None, from_s: float, fault: str
) -> Iterator[RawBlock]:
    """Yield what FFmpeg reads after the point where libsndfile stopped."""
    passed_s = 0.0
    try:
        for rate, block in _read_by_ffmpeg(request, part):
            begin = max(0, round((from_s - passed_s) * rate))
            passed_s += len(block) / rate
            if begin < len(block):
                yield rate, block[begin:]
    except RefusedFile as refusal:
        if not from_s and fault:
            raise RefusedFile(
                request.path, f"the audio is damaged or cut short ({fault}); copy it again."
            ) from refusal


def _read_by_ffmpeg(request: _TrackRequest, part: FileSlice | None) -> Iterator[RawBlock]:
    """Yield what FFmpeg reads, in blocks of some seconds."""
    from avsearch.media.containers.decoding import read_audio_track

    path, choose, on_note, on_gap = request
    held, length = list[NDArray[Any]](), 0
    kind = (0, 0)
    pieces = read_audio_track(path, part=part, choose=choose, on_gap=on_gap, on_note=on_note)
    for rate, piece in pieces:
        full = min(rate * _BLOCK_S, _BLOCK_VALUES // piece.shape[1])
        if held and ((rate, piece.shape[1]) != kind or length >= full):
            yield kind[0], np.concatenate(held)
            held, length = [], 0
        kind = rate, piece.shape[1]
        held.append(piece)
        length += len(piece)
    if held:
        yield kind[0], np.concatenate(held)


def _require_covered(path: Path, span: Span, found_s: float) -> None:
    """Refuse a range of which the file has nothing, or that ends well before it."""
    wanted_s = 0.0 if np.isinf(span.end_s) else span.duration_s
    if found_s >= max(MIN_AUDIO_S, wanted_s - _END_TOLERANCE_S):
        return
    if 0 < wanted_s < MIN_AUDIO_S:
        why = "which is too short for a voice"
    elif found_s:
        why = f"but the audio ends after {span.start_s + found_s:.2f} s"
    else:
        why = "but the audio ends before"
    raise NotInFile(
        path,
        f"{span.start_s:g} s to {span.end_s:g} s was asked for, {why}; "
        f"name a part of at least {MIN_AUDIO_S} s inside it.",
    )
