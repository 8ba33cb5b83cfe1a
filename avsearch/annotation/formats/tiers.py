"""Annotation tiers of ELAN and Praat to turns. The only importer of pympi."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pympi import Eaf, TextGrid

from avsearch.annotation.formats.lines import decoded
from avsearch.annotation.turns import Diarization, Turn, build_diarization
from indexer.errors import BadRequest

Annotations = Sequence[tuple[float, float, str]]  # start and end in seconds, and the text

# Tiers whose labels are the speakers, instead of one tier per speaker.
_OF_SPEAKERS: Final = re.compile(
    r"(?:speakers?|talkers?|spk|diari[sz]ation|turns|who)(?:[ _-]*(?:ids?|labels?|names?))?",
    re.IGNORECASE,
)
_ROOT: Final = b"<ANNOTATION_DOCUMENT"
_SCHEMA: Final = b"noNamespaceSchemaLocation"  # which pympi needs, and not every program writes
_WITH_SCHEMA: Final = (
    _ROOT + b' xmlns:schema="http://www.w3.org/2001/XMLSchema-instance" schema:' + _SCHEMA + b'=""'
)
_BINARY: Final = b"ooBinaryFile"
_EXPONENT: Final = re.compile(r'(?m)^([^"\n]*?)(\d+(?:\.\d*)?[eE][-+]?\d+)(\s*)$')
_NEGATIVE: Final = re.compile(r'(?m)^(?:[^"\n]*=)?[ \t]*-\d[\d.]*[ \t]*$')


def turns_of_tiers(tiers: Mapping[str, Annotations]) -> list[Turn]:
    """Return the turns of tiers, one per speaker, which hold the transcripts.

    If a tier is called ``speaker``, ``diarization`` or the like, its labels are the speakers, and
    the other tiers are ignored.
    """
    labelled = [name for name in tiers if _OF_SPEAKERS.fullmatch(name.strip())]
    turns = []
    for name in labelled or tiers:
        for start_s, end_s, label in tiers[name]:
            text = label.strip()
            if not labelled:
                turns.append(Turn(start_s, end_s, name, None if text == name.strip() else text))
            elif text:
                turns.append(Turn(start_s, end_s, text))
    return turns


def is_eaf(content: bytes) -> bool:
    """Return True if a file begins as those of ELAN do."""
    return _ROOT in _ascii(content)


def read_eaf(content: bytes) -> Diarization:
    """Return the turns of an ELAN file.

    A tier is a speaker, by the name of its participant if it has one. Tiers below another one, such
    as translations, are ignored.

    Raises:
        BadRequest: pympi cannot read the file.
    """
    with tempfile.TemporaryDirectory() as folder:  # pympi reads only paths
        path = Path(folder) / "turns.eaf"
        path.write_bytes(content if _SCHEMA in content else content.replace(_ROOT, _WITH_SCHEMA, 1))
        try:
            eaf = Eaf(path, suppress_version_warning=True)
        except Exception as error:  # pympi raises anything, Exception itself included
            raise _unreadable("ELAN file", error) from error

    def attribute(tier: str, name: str) -> str:
        return str(eaf.get_parameters_for_tier(tier).get(name) or "").strip()

    tiers: dict[str, list[tuple[float, float, str]]] = {}
    untimed = 0
    aligned = [each for each in eaf.get_tier_names() if eaf.tiers[each][0]]
    independent = [each for each in aligned if not attribute(each, "PARENT_REF")]
    for name in independent or aligned:
        speaker = attribute(name, "PARTICIPANT") or name
        for start_ms, end_ms, text in eaf.get_annotation_data_for_tier(name):
            if start_ms is None or end_ms is None:
                untimed += 1
                continue
            tiers.setdefault(speaker, []).append((start_ms / 1000, end_ms / 1000, text))
    notes = [f"annotations without a time, left out: {untimed}."] if untimed else []
    return build_diarization(turns_of_tiers(tiers), notes=notes)


def is_textgrid(content: bytes) -> bool:
    """Return True if a file begins as those of Praat do, text or binary."""
    return re.match(rb"\W*(?:File type = \W*)?oo(?:Text|Binary)File", _ascii(content)) is not None


def read_textgrid(content: bytes) -> Diarization:
    """Return the turns of a Praat TextGrid: an interval with a text is a turn of its tier.

    Points are left out, with a note.

    Raises:
        BadRequest: pympi cannot read the file.
    """
    grid = TextGrid(xmax=0)
    plain = content if content.startswith(_BINARY) else _corrected(decoded(content)).encode()
    try:
        grid.from_file(io.BytesIO(plain), "utf-8")
    except Exception as error:  # pympi raises anything, StopIteration included
        raise _unreadable("TextGrid", error) from error
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for tier in grid.tiers:
        if tier.tier_type == "IntervalTier":
            spoken = [each for each in tier.intervals if each[2].strip()]
            tiers.setdefault(tier.name, []).extend(spoken)
    points = sum(tier.tier_type != "IntervalTier" for tier in grid.tiers)
    notes = [f"tiers of points, left out: {points}."] if points else []
    return build_diarization(turns_of_tiers(tiers), notes=notes)


def _corrected(text: str) -> str:
    """Return a text of Praat in a form that pympi reads correctly.

    It ignores three lines whatever they are, and reads 2e-05 as 5 and -1 as 1.
    """
    if _NEGATIVE.search(text):
        raise BadRequest("it has a time before 0; shift it to the beginning of the recording.")
    lines = re.sub(r"\r\n?", "\n", text.lstrip()).split("\n", 2)
    text = "\n".join([*lines[:2], "", *(each.lstrip() for each in lines[2:])])
    return _EXPONENT.sub(lambda it: f"{it[1]}{float(it[2]):.12f}{it[3]}", text)


def _unreadable(what: str, error: Exception) -> BadRequest:
    detail = str(error) or type(error).__name__
    return BadRequest(f"it is no {what} that can be read ({detail}); export it again.")


def _ascii(content: bytes) -> bytes:
    """Return the beginning of a file as ASCII, if its characters have one byte or two."""
    return content[:4096].replace(b"\0", b"")
