"""WebVTT, SRT and YouTube's SBV: one turn per caption. The only importer of webvtt.

The speaker is the voice of a caption, or stands in its text. WebVTT is also written; its times are
in milliseconds. W3C, WebVTT: The Web Video Text Tracks Format.
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
from avsearch.annotation.formats.speaker_marks import SpeakerText, find_speakers
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


def write_webvtt(turns: Iterable[Turn], display_name: Callable[[str], str] = str) -> str:
    """Return turns as captions: the transcript where there is one, else the name alone.

    ``display_name`` returns the name that viewers read for a speaker.
    """

    def escaped(text: str) -> str:
        return html.escape(" ".join(text.split()), quote=False)

    captions = []
    for turn in turns:
        start, end = (str(Timestamp.from_seconds(each)) for each in (turn.start_s, turn.end_s))
        name = display_name(turn.speaker)
        captions.append(Caption(start, end, f"<v {escaped(name)}>{escaped(turn.text or name)}"))
    long_enough = [each for each in captions if each.start_time < each.end_time]
    content: str = WebVTT(captions=long_enough).content
    return content


def is_captions(text: str) -> bool:
    """Return True if a text is WebVTT, or one of its first lines holds the times of a caption."""
    first = [line.text for line in itertools.islice(numbered_lines(text), 5)]
    return text.lstrip().startswith(_HEAD) or any(
        _ARROW.fullmatch(line) or _COMMA.fullmatch(line) for line in first
    )


def read_captions(text: str) -> Diarization:
    """Return the turns of WebVTT, SRT or SBV captions, each as long as its caption.

    The speaker is the voice, ``<v NAME>``, or stands in the text, by the rules of
    :mod:`avsearch.annotation.formats.speaker_marks`. Further lines of a caption belong to the same
    speaker. A caption with several speakers is a turn of each. Text without a speaker is left out,
    with a note.

    Raises:
        BadRequest: No caption names a speaker.
    """
    captions, lost = _parse(text.lstrip())
    voices = [_voices(each) for each in captions]
    in_text, notes = find_speakers(
        [
            [] if voice is not None else _plain_lines(each.raw_text)
            for each, voice in zip(captions, voices, strict=True)
        ]
    )
    turns: list[Turn] = []
    nameless = 0
    for caption, voice, marked in zip(captions, voices, in_text, strict=True):
        parts = marked if voice is None else voice
        nameless += any(name is None and re.search(r"\w", words) for name, words in parts)
        turns += _turns(caption, parts)
    if not turns:
        raise BadRequest(_NAMELESS)
    if nameless:
        notes.append(f"captions, or parts of them, that name no speaker, left out: {nameless}.")
    if lost:
        notes.append(f"captions without text or readable times, left out: {lost}.")
    return build_diarization(turns, notes=notes)


def _parse(text: str) -> tuple[Sequence[Caption], int]:
    """Return the captions of a text, and how many more it seems to have."""
    lines = re.split(r"\r\n|\r|\n", text)
    arrows = sum("-->" in line for line in lines)
    if lines[0].startswith(_HEAD):
        plain = [_plain_times(line, _ARROW) or line for line in lines]
        captions = WebVTT.from_string("\n".join(plain)).captions
        return captions, arrows - len(captions)
    is_srt = any(_ARROW.fullmatch(line) for line in lines)
    plain, count = [], 0
    for line, before in zip(lines, ["", *lines], strict=False):
        times = _plain_times(line, _ARROW if is_srt else _COMMA)
        if times is None:
            plain += [line] if plain else []  # what precedes the first caption is left out
            continue
        count += 1
        if plain and before.strip().isdecimal():
            plain.pop()
        plain += [*([""] if plain else []), str(count), times]
    captions = WebVTT.from_buffer(io.StringIO("\n".join([*plain, ""])), format="srt").captions
    return captions, (arrows if is_srt else count) - len(captions)


def _plain_times(line: str, pattern: re.Pattern[str]) -> str | None:
    """Return the line of a caption's times with all their digits; None for another line.

    webvtt reads the 5 of 00:00:01,5 as milliseconds, and ignores times without hours.
    """
    found = pattern.fullmatch(line)
    if found is None:
        return None
    times, fields = [], found.groups()
    for hours, minutes, seconds, fraction in (fields[:4], fields[4:8]):
        whole = 60 * (60 * int(hours or 0) + int(minutes)) + int(seconds)
        times.append(str(Timestamp.from_seconds(whole + float(f"0.{fraction or 0}"))))
    return f"{' --> '.join(times)}{found['settings'] or ''}"


def _voices(caption: Caption) -> list[SpeakerText] | None:
    """Return the voices of a caption, or its title, with their texts; None without any."""
    text = caption.raw_text
    title = _WEBEX.fullmatch(caption.identifier or "")
    if title:
        return [(title[1], _plain(_TAG.sub("", text)))]
    parts: list[tuple[str | None, str]] = [(None, "")]
    at, voiced = 0, False
    for tag in _TAG.finditer(text):
        closing, kind, _, name = tag.groups()
        parts[-1] = (parts[-1][0], parts[-1][1] + text[at : tag.start()])
        at = tag.end()
        if kind.lower() == "v":
            voiced = True
            parts.append((None if closing else _plain(name), ""))
    parts[-1] = (parts[-1][0], parts[-1][1] + text[at:])
    return [(name or None, _plain(words)) for name, words in parts] if voiced else None


def _plain_lines(text: str) -> list[str]:
    """Return the lines of a caption without tags."""
    return [line for each in _TAG.sub("", text).split("\n") if (line := _plain(each))]


def _turns(caption: Caption, parts: Sequence[SpeakerText]) -> Iterator[Turn]:
    """Yield a turn of each speaker of a caption, as long as all of it."""
    start_s, end_s = (
        time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time)
    )
    if end_s < start_s:
        raise BadRequest(f"the caption at {caption.start} ends before it begins.")
    for speaker in dict.fromkeys(name for name, _ in parts if name is not None):
        words = " ".join(words for name, words in parts if name == speaker and words)
        yield Turn(start_s, end_s, speaker, None if words == speaker else words)


def _plain(text: str) -> str:
    return " ".join(html.unescape(_STYLE.sub("", text)).split())
