"""The curves of a training, plotted from its log."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.runtime.atomic import replacing
from trainer.training.logging import read_log

_DRAWN = 400  # points of a curve: as many as a plot shows


def matplotlib_is_there() -> bool:
    """Return True where matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot_curves(log: Path, path: Path, title: str) -> None:
    """Plot loss terms and validation scores over the steps, as PNG or SVG by the path's suffix.

    A loss is shown as means over intervals of steps.
    """
    from matplotlib.figure import Figure

    rows = read_log(log)
    figure = Figure(figsize=(9, 7), layout="constrained")
    figure.suptitle(title)
    losses, scores = figure.subplots(2, 1, sharex=True)
    _draw_terms(losses, [row for row in rows if "terms" in row])
    _draw_scores(scores, [row for row in rows if "scores" in row])
    scores.set_xlabel("step")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, format=path.suffix.removeprefix("."))


def _draw_terms(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Plot a curve for each term, and the step of the plateau."""
    for name in dict.fromkeys(name for row in rows for name in row["terms"]):
        own = [row for row in rows if name in row["terms"]]
        steps, values = (
            interval_means(np.array(column, float), _DRAWN)
            for column in zip(*((row["step"], row["terms"][name]) for row in own), strict=True)
        )
        axes.plot(steps, values, label=name, linewidth=1.2)
    settled = next((row["step"] for row in rows if row["settled"]), None)
    if settled is not None:
        axes.axvline(settled, color="grey", linestyle=":", label="settled")
    axes.set_ylabel("loss, weighted")
    _finish(axes)


def _draw_scores(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Plot a curve for each score, and mark the best step."""
    steps = [row["step"] for row in rows]
    for name in rows[0]["scores"] if rows else ():
        wide = {"linewidth": 2.2, "color": "black"} if name == "score" else {"linewidth": 1.2}
        axes.plot(
            steps,
            np.array([row["scores"][name] for row in rows], float),
            label=name,
            marker=".",
            **wide,
        )
    best = next((row for row in reversed(rows) if row["best"]), None)
    if best is not None:
        axes.plot(best["step"], best["scores"]["score"], "o", markersize=10, fillstyle="none",
                  color="black", label=f"kept: step {best['step']}")  # fmt: skip
    axes.set_ylabel("validation people")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def interval_means(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return the means of at most ``most`` intervals of equal length; the last may be shorter."""
    length = -(-len(values) // most)
    firsts = np.arange(0, len(values), length)
    sums = np.add.reduceat(values, firsts)
    return sums / np.diff(np.append(firsts, len(values)))
