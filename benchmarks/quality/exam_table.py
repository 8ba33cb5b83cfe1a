"""The Markdown table of a model's results, beside its goals and other encoders."""

from __future__ import annotations

from benchmarks.quality import other_encoders
from benchmarks.quality.exam import Reaches, RowResult
from benchmarks.tables import table
from trainer.evaluation.score import Metric

MOST_LOST = 0.05  # of the equal error rate, by what is done to a voice
KNOWING = "knows gender"
_HEAD = (
    "what",
    "figure",
    "people",
    "trials",
    "reached [95 %]",
    "women",
    "men",
    "women less men, points",
    KNOWING,
    "lost, points",
    "goal",
    "audit",
)
_THEIRS = ("beside", "reached [95 %]", "ours less theirs, points", "lost, points")


def shown(ours: Reaches, theirs: Reaches) -> str:
    """Return all figures as a table, with columns for other encoders where there are results.

    A goal is met by the figure itself, wherever its interval ends. *Lost* is the increase of the
    error over the same voices without degradation.
    """
    rows = [
        [*_own_cells(found, ours, theirs), *(_their_cells(found, theirs) if theirs else ())]
        for found in ours.values()
    ]
    return table([*_HEAD, *(_THEIRS if theirs else ())], rows)


def _own_cells(found: RowResult, ours: Reaches, theirs: Reaches) -> list[str]:
    section = found.section
    knowing = section.rows[KNOWING].figures.get(found.row.figure)
    return [
        found.row.title,
        found.row.figure,
        str(section.people),
        str(section.trials),
        _text(found.figure),
        f"{found.women.value:.3f}",
        f"{found.men.value:.3f}",
        _points(found.gap),
        "" if knowing is None else f"{knowing.value:.3f}",
        _lost(found, ours),
        _goal(found, ours, theirs),
        section.audit.verdict if section.valid else "INVALID",
    ]


def _their_cells(found: RowResult, theirs: Reaches) -> list[str]:
    other = theirs.get(found.row.title)
    if other is None or found.row.within is None:
        return [""] * len(_THEIRS)
    name = other_encoders.OF[found.row.within]
    return [name, _text(other.figure), _points(found.less(other)), _lost(other, theirs)]


def _goal(found: RowResult, ours: Reaches, theirs: Reaches) -> str:
    """The row's goal and whether it is met; empty where there is none."""
    row = found.row
    if row.least is not None:
        return f"{row.least}: {_verdict(kept=found.figure.value >= row.least)}"
    if row.clean is not None:
        lost = found.less(ours[row.clean])
        return f"lost {100 * MOST_LOST:g}: {_verdict(kept=lost.value <= MOST_LOST)}"
    other = theirs.get(row.title)
    if other is None or row.within != "voice":
        return ""
    return f"{other_encoders.OF['voice']}: {_verdict(kept=found.less(other).value <= 0)}"


def _verdict(*, kept: bool) -> str:
    return "kept" if kept else "missed"


def _lost(found: RowResult, all_found: Reaches) -> str:
    return "" if found.row.clean is None else _points(found.less(all_found[found.row.clean]))


def _text(figure: Metric) -> str:
    return f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]"


def _points(figure: Metric) -> str:
    values = (f"{100 * value:+.1f}" for value in (figure.value, figure.lower, figure.upper))
    return "{} [{}, {}]".format(*values)
