"""Sounds to arrays: float32 (samples,) mono at 16 kHz. The only importer of soundfile."""

from __future__ import annotations

import functools
import itertools
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from avsearch.media.channels import one_channel
from avsearch.media.containers import ogg
from avsearch.media.containers.joined_files import View, flac_length, head, parts
from avsearch.media.open_file import opened
from avsearch.media.speech_segments import Span
from indexer.errors import BadRequest, NotInFile, RefusedFile, printable
from indexer.types import OnNote, ignore_note

if TYPE_CHECKING:
    from avsearch.media.containers.decoding import OnGap
    from avsearch.media.containers.ffmpeg import Choose, Resampler, Track

Samples = NDArray[np.float32]

SAMPLE_RATE: Final = 16_000  # Hz, of everything that leaves this file
SHORTEST_S: Final = 0.1  # less holds no syllable
_BLOCK_S: Final = 10.0
_BLOCK_VALUES: Final = 8_000_000  # over all channels: 32 MB
_RATES_HZ: Final = (4_000, 1_000_000)  # below, no speech is left; above, the header is wrong
_END_TOLERANCE_S: Final = 0.5  # ends are often rounded up to what a clock shows
# MPEG audio, with tags before it or without: it may be cut or joined, and say nothing true of its
# length, on which libsndfile relies.
_MPEG: Final = (b"ID3", b"\xff")
_TAGS: Final = 1 << 13  # bytes that may follow the sound of a FLAC file


def read_sound(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Samples:
    """A sound, or the sound of a video, as float32 (samples,) mono at 16 kHz in [-1, 1].

    Channels are averaged, unless that would hide a voice. Other rates are resampled, band-limited.
    The sound of a video starts at the start of the file, with silence in its gaps. ``start_s`` and
    ``end_s`` cut out a part; the file is decoded from its beginning all the same, so that a part
    is exactly what the whole has there. Raises RefusedFile for what cannot be decoded, holds NaN,
    or is shorter than 0.1 s; NotInFile for a part that is not in the sound, BadRequest for one
    that is no range of time.
    """
    if start_s == 0 and end_s is None:
        return np.concatenate(list(stream_sound(path)))
    span = Span(start_s, float("inf") if end_s is None else end_s)
    if not 0 <= start_s < span.end_s:
        raise BadRequest(
            f"{printable(path)}: {start_s:g} s to {span.end_s:g} s is no range of time; "
            "the start must lie before the end."
        )
    samples = next(cut_sound(path, [span]))
    _require_covered(path, span, len(samples) / SAMPLE_RATE)
    return samples


def cut_sound(path: Path, spans: Sequence[Span]) -> Iterator[Samples]:
    """Float32 (samples,) at 16 kHz of each span of a sound, in one pass over the file.

    The spans are in order of their starts. What reaches beyond the end of the sound comes
    short, or empty. Memory holds one span, not the sound. Raises RefusedFile as read_sound.
    """
    return cut_blocks(stream_sound(path), spans)


def cut_blocks(blocks: Iterator[Samples], spans: Iterable[Span]) -> Iterator[Samples]:
    """As cut_sound, of a sound that comes in blocks; no more of them are taken than it needs."""
    held, held_to = np.empty(0, np.float32), 0  # the last samples read, and where they end
    for span in spans:
        start, end = round(span.start_s * SAMPLE_RATE), span.end_s * SAMPLE_RATE
        parts = [_from(start, held, held_to)]
        while held_to < end and (block := next(blocks, None)) is not None:
            held_to += len(block)
            parts.append(_from(start, block, held_to))
        held = np.concatenate(parts)
        held_from = held_to - len(held)
        yield held[: max(0, round(min(end, held_to)) - held_from)].copy()


def _from(start: int, samples: Samples, samples_end: int) -> Samples:
    """What of the samples that end at ``samples_end`` lies at or after ``start``."""
    return samples[max(0, len(samples) - max(0, samples_end - start)) :]


def stream_sound(
    path: Path, *, on_note: OnNote = ignore_note, on_gap: OnGap | None = None
) -> Iterator[Samples]:
    """Return the blocks of a sound as read_sound has it, some seconds each, for any length.

    ``on_note`` receives what of it was lost, left out or chosen between. Gaps in the file are
    filled with silence, or reported to ``on_gap`` where it is given, by the seconds of sound before
    them and their length. Raises RefusedFile as read_sound; what is wrong further on is raised
    when it is reached.
    """
    choose = functools.partial(_choose, path, on_note)
    return stream_track(path, choose, on_note=on_note, on_gap=on_gap)


def _choose(path: Path, on_note: OnNote, tracks: Sequence[Track]) -> Track:
    from avsearch.media.containers.track_choice import choose_sound  # it imports this module

    return choose_sound(path, tracks, on_note)


def sound_has_gaps(path: Path) -> bool:
    """Return True if a file may have gaps in its sound, by its time stamps alone.

    Raises RefusedFile for a file that cannot be read.
    """
    with opened(path) as file:
        sound = _soundfile(file)
        if sound is not None:
            sound.close()
            return False
    from avsearch.media.containers.decoding import has_gaps

    return has_gaps(path, functools.partial(_choose, path, ignore_note))


def stream_track(
    path: Path, choose: Choose, *, on_note: OnNote = ignore_note, on_gap: OnGap | None = None
) -> Iterator[Samples]:
    """As stream_sound, with the track that ``choose`` returns of several."""
    blocks = _native_blocks(_Asked(path, choose, on_note, on_gap))
    return _checked(path, one_channel(blocks, on_note), on_note)


def stream_waveform(name: Path, waveform: NDArray[Any], sample_rate: int) -> Iterator[Samples]:
    """As stream_sound, of (samples,) or (channels, samples) floats in memory of any rate.

    ``name`` is what messages call it.
    """
    channels = np.atleast_2d(waveform)
    step = round(sample_rate * _BLOCK_S) or 1
    parts = (channels[:, at : at + step].T for at in range(0, channels.shape[1], step))
    return _checked(name, one_channel((sample_rate, part) for part in parts))


def _checked(
    path: Path, blocks: Iterable[tuple[int, Samples]], on_note: OnNote = ignore_note
) -> Iterator[Samples]:
    total = 0
    for block in _resampled(_of_sane_rates(path, blocks, on_note)):
        _require_numbers(path, block, total)
        total += len(block)
        yield block
    if total < SHORTEST_S * SAMPLE_RATE:
        raise RefusedFile(
            path,
            f"the sound lasts {total / SAMPLE_RATE:.3f} s, too short for a voice; "
            f"at least {SHORTEST_S} s are needed.",
        )


def _of_sane_rates(
    path: Path, blocks: Iterable[tuple[int, Samples]], on_note: OnNote
) -> Iterator[tuple[int, Samples]]:
    """Yield the blocks with a rate that speech may have; refuse a sound without any."""
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
            f"it has {odd_rate} samples a second; speech needs {low} to {high}; record it anew.",
        )
    if odd_rate:
        on_note(f"{odd_s:.1f} s of its sound have {odd_rate} samples a second; they were left out.")


def _resampled(blocks: Iterable[tuple[int, Samples]]) -> Iterator[Samples]:
    """Yield blocks of any rates at 16 kHz, without empty ones."""
    for rate, alike in itertools.groupby(blocks, operator.itemgetter(0)):
        resampler = _resampler(rate)
        for _, block in alike:
            if len(ready := block if resampler is None else resampler.push(block)):
                yield ready
        if resampler is not None and len(rest := resampler.finish()):
            yield rest


def at_16_khz(rate: int, samples: Samples) -> Samples:
    """Return samples (n,) of any rate at 16 kHz."""
    return np.concatenate([np.empty(0, np.float32), *_resampled([(rate, samples)])])


def _resampler(rate: int) -> Resampler | None:
    """What makes 16 kHz of a rate; None where nothing has to be done."""
    if rate == SAMPLE_RATE:
        return None
    from avsearch.media.containers.ffmpeg import Resampler  # PyAV takes long to import

    return Resampler(rate, SAMPLE_RATE)


class _Asked(NamedTuple):
    """The arguments of stream_track."""

    path: Path
    choose: Choose
    on_note: OnNote
    on_gap: OnGap | None


def _native_blocks(asked: _Asked) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (samples a second, (n, channels) floats) of all sounds that are joined in a file.

    libsndfile reads them, exactly and fast, and FFmpeg what it cannot, or not to the end.
    """
    with opened(asked.path) as file:
        views = parts(file, asked.on_note)
        if views is None:
            yield from _blocks(asked, file, None)
            return
        refusals, heard_s = list[RefusedFile](), 0.0
        for view in views:
            try:
                for rate, block in _blocks(_later(asked, heard_s), view, view):
                    heard_s += len(block) / rate
                    yield rate, block
            except RefusedFile as refusal:
                refusals.append(refusal)
    if len(refusals) == len(views):
        raise refusals[0]
    for each in refusals:
        asked.on_note(f"a sound that is joined in it was left out: {each.reason}")


def _later(asked: _Asked, heard_s: float) -> _Asked:
    """Return the arguments for a part of a file that so much sound precedes."""
    on_gap = asked.on_gap
    if on_gap is None:
        return asked
    return asked._replace(on_gap=lambda at_s, length_s: on_gap(heard_s + at_s, length_s))


def _blocks(
    asked: _Asked, source: BinaryIO | View, part: View | None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the blocks of one sound, which is a file or a part of it."""
    sound = _soundfile(source)
    if sound is None:
        yield from _by_ffmpeg(asked, part)
        return
    rate, says, read, fault = int(sound.samplerate), int(sound.frames), 0, ""
    frames = int(min(rate * _BLOCK_S, _BLOCK_VALUES // sound.channels)) or 1
    with sound:
        try:
            # Not `blocks`, which takes files for as long as they say, and needs to seek in them.
            while len(block := sound.read(frames, dtype="float32", always_2d=True)):
                yield rate, block
                read += len(block)
        except soundfile.LibsndfileError as error:
            fault = error.error_string
        ends_early = bool(fault) or (sound.format == "FLAC" and _unread(source))
    found_s = read / rate
    for rest_rate, block in _behind(asked, part, found_s, fault) if ends_early else ():
        yield rest_rate, block
        found_s += len(block) / rest_rate
    if found_s < says / rate - SHORTEST_S:
        asked.on_note(f"its sound ends after {found_s:.1f} s of {says / rate:.1f} s.")


def _soundfile(source: BinaryIO | View) -> soundfile.SoundFile | None:
    """Return the sound open in libsndfile; None if it cannot read it, or not all of it."""
    beginning = head(source)
    if beginning.startswith(_MPEG) or flac_length(beginning) == 0:
        return None
    if isinstance(source, View):
        place: Any = source
    elif beginning.startswith(ogg.FIRST_PAGE) and not ogg.is_plain(source):
        return None
    else:
        place = source.fileno()
    try:
        return soundfile.SoundFile(place, closefd=False)
    except soundfile.LibsndfileError:
        return None


def _unread(source: BinaryIO | View) -> bool:
    """Return True if more of a file is unread than tags at its end."""
    at = source.tell()
    return source.seek(0, os.SEEK_END) - at > _TAGS


def _behind(
    asked: _Asked, part: View | None, from_s: float, fault: str
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the blocks that FFmpeg reads behind those of libsndfile."""
    passed_s = 0.0
    try:
        for rate, block in _by_ffmpeg(asked, part):
            begin = max(0, round((from_s - passed_s) * rate))
            passed_s += len(block) / rate
            if begin < len(block):
                yield rate, block[begin:]
    except RefusedFile as refusal:
        if not from_s and fault:
            raise RefusedFile(
                asked.path, f"the sound is damaged or cut short ({fault}); copy it again."
            ) from refusal


def _by_ffmpeg(asked: _Asked, part: View | None) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the pieces that FFmpeg reads, joined to blocks of some seconds."""
    from avsearch.media.containers.decoding import sound_track

    path, choose, on_note, on_gap = asked
    held, length = list[NDArray[Any]](), 0
    kind = (0, 0)
    for rate, piece in sound_track(path, part=part, choose=choose, on_gap=on_gap, on_note=on_note):
        full = min(rate * _BLOCK_S, _BLOCK_VALUES // piece.shape[1])
        if held and ((rate, piece.shape[1]) != kind or length >= full):
            yield kind[0], np.concatenate(held)
            held, length = [], 0
        kind = rate, piece.shape[1]
        held.append(piece)
        length += len(piece)
    if held:
        yield kind[0], np.concatenate(held)


def _require_numbers(path: Path, block: Samples, position: int) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        at_s = (position + int(np.argmin(finite))) / SAMPLE_RATE
        raise RefusedFile(
            path, f"it has NaN or infinite samples, the first at {at_s:.2f} s; export it again."
        )


def _require_covered(path: Path, span: Span, found_s: float) -> None:
    """Refuse a part of which the sound has nothing, or ends well before it."""
    wanted_s = 0.0 if np.isinf(span.end_s) else span.duration_s
    if found_s >= max(SHORTEST_S, wanted_s - _END_TOLERANCE_S):
        return
    if 0 < wanted_s < SHORTEST_S:
        why = "which is too short for a voice"
    elif found_s:
        why = f"but the sound ends after {span.start_s + found_s:.2f} s"
    else:
        why = "but the sound ends before"
    raise NotInFile(
        path,
        f"{span.start_s:g} s to {span.end_s:g} s was asked for, {why}; "
        f"name a part of at least {SHORTEST_S} s inside it.",
    )
