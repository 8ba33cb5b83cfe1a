"""The plots of a report, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from indexer.types import Vectors

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # (x, y) by name

_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)  # error rates of a DET curve
_LABELLED = 12  # groups of a map that get a colour and a name


def roc_and_det(lines: Lines) -> bytes:
    """Plot ROC curves, and detection error trade-offs on normal-deviate axes."""
    figure, (roc, det) = _canvas(1, 2, (11, 4.6))
    for name, (false_match, true_match) in lines.items():
        roc.plot(false_match, true_match, label=name)
        wrong, missed = np.clip(false_match, 1e-4, 1 - 1e-4), 1 - np.asarray(true_match)
        det.plot(ndtri(wrong), ndtri(np.clip(missed, 1e-4, 1 - 1e-4)), label=name)
    roc.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")
    roc.set(xlabel="false match rate", ylabel="true match rate", title="ROC")
    det.set(xlabel="false match rate", ylabel="false non-match rate", title="DET")
    det.set(xlim=ndtri((5e-4, 0.97)), ylim=ndtri((5e-4, 0.97)))
    for axis in (det.xaxis, det.yaxis):
        axis.set_ticks(ndtri(_TICKS), [f"{tick:g}" for tick in _TICKS])
    roc.legend(frameon=False, fontsize=8)
    return _png(figure)


def histograms(lines: Mapping[str, Lines]) -> bytes:
    """Plot the scores of pairs of one person and of two, for each protocol."""
    figure, axes = _canvas(1, max(len(lines), 1), (11, 3.2))
    for one, (name, shares) in zip(axes, lines.items(), strict=False):
        for kind, (scores, share) in shares.items():
            one.fill_between(scores, share, step="mid", alpha=0.5, label=kind)
        one.set(xlabel="score", title=name)
        one.legend(frameon=False, fontsize=8)
    return _png(figure)


def ranks_and_precision(cmc: Lines, precision: Lines) -> bytes:
    """Plot cumulative matches over the rank, and precision over recall."""
    figure, (left, right) = _canvas(1, 2, (11, 4.2))
    for name, (ranks, shares) in cmc.items():
        left.plot(ranks, shares, label=name)
    for name, (recall, share) in precision.items():
        right.plot(recall, share, marker=".", label=name)
    left.set(xlabel="rank", ylabel="share of queries answered", title="CMC")
    right.set(xlabel="recall", ylabel="precision", title="Precision and recall at k")
    left.legend(frameon=False, fontsize=8)
    return _png(figure)


def choices(lines: Lines) -> bytes:
    """Plot the accuracy of 1:N matching over N."""
    figure, (axes,) = _canvas(1, 1, (11, 4))
    for name, (numbers, accuracy) in lines.items():
        dotted = {"linestyle": ":", "color": "grey"} if name == "chance" else {"marker": "o"}
        axes.plot(numbers, accuracy, label=name, **dotted)
    axes.set(xlabel="N, candidates", ylabel="accuracy", title="1:N matching", ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def space_map(vectors: Vectors, groupings: Mapping[str, Sequence[str]], *, seed: int = 0) -> bytes:
    """Plot a t-SNE map of vectors (n, dim) by cosine distance, coloured by each grouping.

    Only the largest groups get a colour.
    """
    from sklearn.manifold import TSNE

    near = min(30.0, max(2.0, (len(vectors) - 1) / 4))
    places = TSNE(perplexity=near, metric="cosine", init="random", random_state=seed).fit_transform(
        vectors
    )
    figure, axes = _canvas(1, len(groupings), (11, 3.6))
    for one, (name, groups) in zip(axes, groupings.items(), strict=True):
        _paint(one, places, np.array(groups))
        one.set(title=name, xticks=[], yticks=[])
    return _png(figure)


def _paint(axes: Any, places: Vectors, groups: NDArray[np.str_]) -> None:
    names, counts = np.unique(groups, return_counts=True)
    labelled = names[np.argsort(-counts, kind="stable")][:_LABELLED]
    others = ~np.isin(groups, labelled)
    axes.scatter(*places[others].T, s=4, color="lightgrey")
    for place, name in enumerate(sorted(labelled)):
        own = places[groups == name]
        axes.scatter(*own.T, s=8, color=f"C{place % 10}", label=name or "unknown")
    if len(labelled) <= _LABELLED // 2:
        axes.legend(frameon=False, fontsize=7, markerscale=2)


def _canvas(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns))
    for one in axes:
        one.grid(alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()
