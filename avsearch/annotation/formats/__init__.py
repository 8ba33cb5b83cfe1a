"""Readers and writers of diarization formats."""

from __future__ import annotations

from typing import Final

FORMATS: Final = (
    "RTTM",
    "JSON of WhisperX, pyannote and Label Studio, or of plain lists",
    "captions as WebVTT, SRT and SBV",
    "tables with a header (CSV, TSV: start, end, speaker)",
    "ELAN (.eaf, or tab-delimited text)",
    "Praat TextGrid",
    "Audacity label tracks",
)
FORMAT_LIST: Final = "; ".join(FORMATS)
