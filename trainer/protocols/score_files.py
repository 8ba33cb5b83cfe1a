"""Ready scores of a list: one for each candidate, in the list's order; larger is nearer.

Text has a line for each trial with a number for each candidate, separated by comma, semicolon or
blank, or a line for each candidate; a header line, such as ``score``, is skipped. ``.npy`` has an
array of the same shape.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from indexer.errors import BadRequest, os_reason, printable
from trainer.protocols.text_file import Lines, read_lines
from trainer.protocols.trials import Matching, Protocol, Retrieval

Scores = NDArray[np.float64]
_NAMES = re.compile(r'"?[a-z_][a-z_0-9]*"?([,;\s]+"?[a-z_][a-z_0-9]*"?)*', re.IGNORECASE)


def read_scores(path: Path, protocol: Protocol) -> Scores:
    """Return the scores (n, k) of a protocol's n trials of k candidates; (q, g) for a retrieval.

    Raises:
        BadRequest: There are too few or too many numbers, or one is not finite.
    """
    trials, candidates = shape_of(protocol)
    values = _array(path) if path.suffix == ".npy" else _text(path)
    if values.size != trials * candidates or values.shape[0] not in (trials, values.size):
        rows, columns = values.shape
        raise BadRequest(
            f"{printable(path)} ends at line {rows} of {columns} scores; {protocol.name} has "
            f"{trials} trials of {candidates}, each of which needs one, in the list's order."
        )
    return values.reshape(trials, candidates)


def shape_of(protocol: Protocol) -> tuple[int, int]:
    """Return the number of trials of a protocol, and of candidates of each."""
    if isinstance(protocol, Retrieval):
        return len(protocol.queries), len(protocol.gallery)
    if isinstance(protocol, Matching):
        trials, candidates = protocol.candidates.shape
        return trials, candidates
    return len(protocol.same), 1


def _text(path: Path) -> Scores:
    lines = read_lines(path)
    if lines.texts and _NAMES.fullmatch(lines.texts[0].strip()):
        lines = lines.after(1)
    rows = [re.split(r"[,;\s]+", line.strip().strip(",;")) for line in lines.texts]
    width = len(rows[0]) if rows else 1
    values = np.empty((len(rows), width))
    for at, words in enumerate(rows):
        if len(words) != width:
            lines.fault(at, f"{width} scores are expected, {len(words)} are there.")
        values[at] = [_finite(lines, at, word) for word in words]
    return values


def _finite(lines: Lines, at: int, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        lines.fault(at, f"{word!r} is no score; a trial needs a finite number.")
    return value


def _array(path: Path) -> Scores:
    try:
        # Mapped, so that a wrong size in the header allocates no memory.
        values: NDArray[Any] = npy.open_memmap(path, "r")
    except OSError as error:
        raise BadRequest(f"{printable(path)} cannot be read: {os_reason(error)}.") from error
    except (ValueError, EOFError) as error:
        raise BadRequest(
            f"{printable(path)} is no array of scores; save one with numpy.save."
        ) from error
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind not in "fiu"
        or values.ndim not in (1, 2)
    ):
        raise BadRequest(f"{printable(path)} holds no one or two-dimensional array of numbers.")
    values = values.reshape(len(values), -1)
    wrong = np.flatnonzero(~np.isfinite(values).all(1))
    if len(wrong):
        raise BadRequest(f"{printable(path)}, row {wrong[0] + 1}: a score is not finite.")
    return values
