"""Speakers in the text of captions: ``[SPEAKER_00]: text``, ``Ann: text``.

A word before a colon may be a speaker or a part of the text. It is a speaker

- in square brackets, or if it is a label of diarizers (``Speaker 1``);
- in a file in which at least half of the captions begin with such a word, as those of Zoom do;
- elsewhere if it looks like a name (a few words with capitals) and begins two lines or more.

``[Ann] text`` without a colon is taken by the same rule. Words that begin remarks, such as ``Note``
and ``Step 2``, are never speakers. A further line of a caption begins another speaker if its word
is a speaker elsewhere, or if every line of the caption begins with a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, NamedTuple

SpeakerText = tuple[str | None, str]  # the speaker, if known, and the text
Kind = Literal["certain", "bracket", "colon"]

_LEAD: Final = re.compile(r"^[\s>\-\u2010-\u2015\u2022]+")  # dashes and arrows before a change
_COLON: Final = r"(?::(?=\s|$)|\uff1a)"  # not that of a time or an address
_BRACKETED: Final = re.compile(
    rf"\[\s*([^\[\]]*[^\W\d_][^\[\]]*?)\s*\]\s*({_COLON}?)\s*(.*)", re.DOTALL
)
_NAMED: Final = re.compile(rf"([^:\uff1a!?;\"]{{1,60}}?)\s*{_COLON}\s*(.*)", re.DOTALL)
_MACHINE: Final = re.compile(
    r"(?:unknown[ _-]*)?(?:speaker|spk|sprecher|locuteur|hablante|falante|orador)[ _-]*"
    r"(?:\d+|[a-z])?|s\d+",
    re.IGNORECASE,
)
_REMARKS: Final = re.compile(  # maybe with a number behind
    r"(?:notes?|nb|p\.?s\.?|warning|caution|attention|important|reminder|tip|hint|examples?|e\.g\.|"
    r"i\.e\.|question|answer|step|part|chapter|section|lesson|slide|figure|table|track|scene|title|"
    r"subject|summary|topic|agenda|update|source|subtitle[sd]?|caption(?:s|ed)|translat(?:ed|ion)|"
    r"music|song|sound|noise|applause|laughter|silence|inaudible|crosstalk|https?|url|www|re|fw|"
    r"from|to|date|time)(?:\s+(?:\d+|[ivx]+|[a-d]|one|two|three|four|five|by))?",
    re.IGNORECASE,
)
_PARTICLE: Final = re.compile(r"v[ao]n|de[nrl]?|del?la|d[iao]s?|l[ae]|b?in|ibn|[ae]l|of|the")
_MAX_WORDS: Final = 6  # of a name
_MIN_SHARE: Final = 0.5  # of captions that begin with a name, where that is the rule


class _Mark(NamedTuple):
    """A word at the beginning of a line that may be the speaker, and the text behind it."""

    name: str
    text: str
    kind: Kind


def find_speakers(captions: Sequence[Sequence[str]]) -> tuple[list[list[SpeakerText]], list[str]]:
    """Return the speakers of captions, which are lines of text, with their texts; and notes.

    A speaker is None if the caption names none. The notes list the words that were taken for
    speakers, and those that were not.
    """
    marks = [[_mark(line) for line in lines] for lines in captions]
    counts = Counter(mark.name for each in marks for mark in each if mark is not None)
    speakers = _speakers(marks, counts)
    texts = [_split(lines, own, speakers) for lines, own in zip(captions, marks, strict=True)]
    doubtful = {mark.name for each in marks for mark in each if mark and mark.kind != "certain"}
    notes = []
    for kind, names in (("speakers", doubtful & speakers), ("text", doubtful - speakers)):
        if names:
            listed = ", ".join(f"{name} ({counts[name]})" for name in sorted(names))
            notes.append(f"words at the beginnings of lines, taken for {kind}: {listed}.")
    return texts, notes


def _mark(line: str) -> _Mark | None:
    """Return the mark that a line begins with; None without one."""
    line = _LEAD.sub("", line)
    found = _BRACKETED.fullmatch(line)
    if found:
        name, colon, text = found.groups()
        if colon or _MACHINE.fullmatch(name):
            kind: Kind = "certain"
        elif text and _looks_like_name(name):
            kind = "bracket"
        else:
            return None
        return None if _REMARKS.fullmatch(name) else _Mark(name, text, kind)
    found = _NAMED.fullmatch(line)
    if not found or not re.search(r"[^\W\d_]", found[1]):
        return None
    name = re.sub(r"^\((.*)\)$", r"\1", found[1].strip())
    if len(name.split()) > _MAX_WORDS or _REMARKS.fullmatch(name):
        return None
    return _Mark(name, found[2], "certain" if _MACHINE.fullmatch(name) else "colon")


def _speakers(marks: Sequence[Sequence[_Mark | None]], counts: Mapping[str, int]) -> set[str]:
    """Return the names that are speakers, by the rules above."""
    first = Counter(each[0].kind for each in marks if each and each[0])
    usual = {kind for kind, count in first.items() if count >= _MIN_SHARE * len(marks)}
    answers = {"Q", "A"} if {"Q", "A"} <= set(counts) else set()
    speakers = set()
    for each in marks:
        all_named = all(mark and _looks_like_name(mark.name) for mark in each)
        for at, mark in enumerate(each):
            if mark is None or mark.name in answers:
                continue
            often = counts[mark.name] > 1 and _looks_like_name(mark.name)
            if mark.kind == "certain" or often or (mark.kind in usual and (at == 0 or all_named)):
                speakers.add(mark.name)
    return speakers


def _split(
    lines: Sequence[str], marks: Sequence[_Mark | None], speakers: Collection[str]
) -> list[SpeakerText]:
    """Return the speakers of the lines of a caption, with their texts."""
    texts: list[SpeakerText] = []
    for line, mark in zip(lines, marks, strict=True):
        if mark is not None and mark.name in speakers:
            texts.append((mark.name, mark.text.strip()))
        elif texts:
            texts[-1] = (texts[-1][0], f"{texts[-1][1]} {line.strip()}".strip())
        else:
            texts.append((None, line.strip()))
    return texts


def _looks_like_name(name: str) -> bool:
    """Return True for a few words with capitals, maybe with pronouns in brackets behind them."""
    words = re.sub(r"\s*\(.*\)$", "", name).split()
    return 0 < len(words) <= _MAX_WORDS and all(
        _PARTICLE.fullmatch(word)
        or (re.fullmatch(r"[\w.'\u2019&-]+", word) and not word[0].islower())
        for word in words
    )
