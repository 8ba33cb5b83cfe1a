"""Captions: a cue a turn, the speaker as its voice or in its text. The only importer of webvtt.

WebVTT, whose clock knows milliseconds and no more, is read and written; SRT and YouTube's SBV are
read. W3C, WebVTT: The Web Video Text Tracks Format.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from webvtt import Caption, WebVTT
from webvtt.models import Timestamp

from avsearch.annotation.formats.lines import numbered_lines
from avsearch.annotation.formats.speaker_marks import Said, speakers_in
from avsearch.annotation.turns import Diarization, Turn, build_diarization
from indexer.errors import BadRequest

_HEAD: Final = "WEBVTT"
_TIME: Final = r"(?:(\d{1,5}):)?(\d{1,5}):(\d{1,5})(?:[.,](\d+))?"
_ARROW: Final = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}(?P<settings>\D.*)?", re.DOTALL)
_COMMA: Final = re.compile(rf"\s*{_TIME},{_TIME}(?P<settings>\s*)")  # of SBV
_TAG: Final = re.compile(r"<(/?)([^\s.>/]*)((?:\.[^\s>.]*)*)\s*([^>]*)>")
_STYLE: Final = re.compile(r"\{\\[^}]*\}")  # of SubStation, which some SRT has
_WEBEX: Final = re.compile(r'\d+ "(.+)" \(\d+\)')  # the line above the times of a caption
_NAMELESS: Final = (
    "no caption names its speaker, as <v NAME>text, [NAME]: text or NAME: text; run a diarization "
    "first."
)


def write_webvtt(turns: Iterable[Turn], shown: Callable[[str], str] = str) -> str:
    """Return turns as captions: what was said where that is known, else the name alone.

    ``shown`` gives the name that viewers read for a speaker.
    """
    captions = [
        Caption(
            str(Timestamp.from_seconds(turn.start_s)),
            str(Timestamp.from_seconds(turn.end_s)),
            f"<v {_escaped(shown(turn.speaker))}>{_escaped(turn.text or shown(turn.speaker))}",
        )
        for turn in turns
    ]
    long_enough = [each for each in captions if each.start_time < each.end_time]
    content: str = WebVTT(captions=long_enough).content
    return content


def is_captions(text: str) -> bool:
    """Return whether a text is WebVTT, or one of its first lines holds the times of a caption."""
    first = [line.text for line in itertools.islice(numbered_lines(text), 5)]
    return text.lstrip().startswith(_HEAD) or any(
        _ARROW.fullmatch(line) or _COMMA.fullmatch(line) for line in first
    )


def read_captions(text: str) -> Diarization:
    """Return the turns of WebVTT, SRT or SBV captions, each as long as its caption.

    The speaker is the voice, ``<v NAME>``, or stands in the text, as
    :mod:`avsearch.annotation.formats.speaker_marks` tells. Further lines of a caption belong to
    the same speaker; one with several speakers is a turn of each. What names nobody is left out,
    with a note. Raises BadRequest where nothing names anybody.
    """
    captions, lost = _captions(text.lstrip())
    voices = [_voices(each) for each in captions]
    marked, notes = speakers_in(
        [
            [] if voice is not None else _lines(each.raw_text)
            for each, voice in zip(captions, voices, strict=True)
        ]
    )
    turns: list[Turn] = []
    nameless = 0
    for caption, voice, mark in zip(captions, voices, marked, strict=True):
        said = mark if voice is None else voice
        nameless += any(who is None and re.search(r"\w", words) for who, words in said)
        turns += _turns(caption, said)
    if not turns:
        raise BadRequest(_NAMELESS)
    if nameless:
        notes.append(f"captions, or parts of them, that name no speaker, left out: {nameless}.")
    if lost:
        notes.append(f"captions without text or readable times, left out: {lost}.")
    return build_diarization(turns, notes=notes)


def _captions(text: str) -> tuple[Sequence[Caption], int]:
    """Return the captions of a text, and how many more it seems to have."""
    lines = re.split(r"\r\n|\r|\n", text)
    if lines[0].startswith(_HEAD):
        plain = [_with_plain_times(line, _ARROW) or line for line in lines]
        captions = WebVTT.from_string("\n".join(plain)).captions
        return captions, sum("-->" in line for line in lines) - len(captions)
    arrows = any(_ARROW.fullmatch(line) for line in lines)
    plain, count = _numbered(lines, _ARROW if arrows else _COMMA)
    captions = WebVTT.from_buffer(io.StringIO("\n".join(plain)), format="srt").captions
    return captions, (sum("-->" in line for line in lines) if arrows else count) - len(captions)


def _numbered(lines: Sequence[str], pattern: re.Pattern[str]) -> tuple[list[str], int]:
    """Return the lines of SRT from its first caption on, with numbers, and how many it has."""
    plain: list[str] = []
    count = 0
    for line, before in zip(lines, ["", *lines], strict=False):
        times = _with_plain_times(line, pattern)
        if times is None:
            plain += [line] if plain else []
            continue
        count += 1
        if plain and before.strip().isdecimal():
            plain.pop()
        plain += ["", str(count), times] if plain else [str(count), times]
    return [*plain, ""], count


def _with_plain_times(line: str, pattern: re.Pattern[str]) -> str | None:
    """Return the line of a caption's times with all their digits; None for another line.

    The library reads the 5 of 00:00:01,5 as milliseconds, and passes over times without hours.
    """
    found = pattern.fullmatch(line)
    if found is None:
        return None
    parts = found.groups()
    start, end = (_time(*parts[at : at + 4]) for at in (0, 4))
    return f"{start} --> {end}{found['settings'] or ''}"


def _time(hours: str | None, minutes: str, seconds: str, part: str | None) -> Timestamp:
    whole = 60 * (60 * int(hours or 0) + int(minutes)) + int(seconds)
    return Timestamp.from_seconds(whole + float(f"0.{part or 0}"))


def _voices(caption: Caption) -> list[Said] | None:
    """Return who says what by the voices of a caption, or by its title; None where it has none."""
    text = caption.raw_text
    titled = _WEBEX.fullmatch(caption.identifier or "")
    if titled:
        return [(titled[1], _plain(_TAG.sub("", text)))]
    said: list[tuple[str | None, str]] = [(None, "")]
    at, voiced = 0, False
    for tag in _TAG.finditer(text):
        closing, kind, _, name = tag.groups()
        said[-1] = (said[-1][0], said[-1][1] + text[at : tag.start()])
        at = tag.end()
        if kind.lower() == "v":
            voiced = True
            said.append((None if closing else _plain(name), ""))
    said[-1] = (said[-1][0], said[-1][1] + text[at:])
    return [(who or None, _plain(words)) for who, words in said] if voiced else None


def _lines(text: str) -> list[str]:
    """Return the lines of a caption without tags."""
    return [line for each in _TAG.sub("", text).split("\n") if (line := _plain(each))]


def _turns(caption: Caption, said: Sequence[Said]) -> Iterator[Turn]:
    """Yield a turn of each speaker of a caption, as long as all of it."""
    start_s, end_s = (
        time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time)
    )
    if end_s < start_s:
        raise BadRequest(f"the caption at {caption.start} ends before it begins.")
    for speaker in dict.fromkeys(who for who, _ in said if who is not None):
        words = " ".join(words for who, words in said if who == speaker and words)
        yield Turn(start_s, end_s, speaker, None if words == speaker else words)


def _plain(text: str) -> str:
    return " ".join(html.unescape(_STYLE.sub("", text)).split())


def _escaped(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)
