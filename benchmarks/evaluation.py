"""The figures of an evaluation against independent ones, and what they cost.

``python -m benchmarks.evaluation LISTS`` compares AUC, average precision and EER with scikit-learn
and SciPy over random and tied scores, ranks 20,000 queries of 250 people in a gallery as large,
and asks all published lists of a folder with ready features. Times that are compared are taken in
turns in this process: the median and [least, most] of the rounds.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks.machine import Machine
from benchmarks.measure import Figure
from benchmarks.memory import Memory
from indexer.types import Vectors
from trainer.evaluation.metrics import Bools, Floats, average_precision, equal_error_rate, roc_auc
from trainer.evaluation.retrieval import rank_vectors
from trainer.evaluation.score import MetricSet, score
from trainer.evaluation.scorers import VectorScorer
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Ints, Matching, Protocol, Retrieval
from trainer.protocols.voxceleb_people import People, read_people

DIM = 128
PEOPLE, EACH = 250, 80
Result = TypeVar("Result")
Measure = Callable[[Floats, Bools], float]

_ROWS = 800  # queries multiplied at a time
NO_LISTS = ("README", "vox1_", "identity_splits")


@click.command()
@click.argument("lists", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
@click.option("--draws", default=300, show_default=True, help="Sets of scores that are compared.")
@click.option("--sample", default=200, show_default=True, help="Queries asked of scikit-learn.")
def main(lists: Path, rounds: int, draws: int, sample: int) -> None:
    """Print the tables."""
    click.echo(Machine.here(["numpy", "scikit-learn", "scipy"]).described())
    print_table(("figure", "sets of scores", "largest difference"), _agreement(draws))
    print_table(
        ("way", "seconds", "a query, ms", "scikit-learn, ms", "times faster", "AP differs by"),
        _retrieval(rounds, sample),
    )
    print_table(
        ("lists", "read and bare products, s", "evaluated, s", "ratio"), _published(lists, rounds)
    )
    click.echo(f"\nPeak of resident memory: {Memory.now().peak / 2**30:.2f} GiB.")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    click.echo()
    for row in (header, ["---"] * len(header), *rows):
        click.echo(f"| {' | '.join(row)} |")


def _agreement(draws: int) -> list[tuple[str, str, str]]:
    """Each figure beside an independent one, over scores of which every other set is tied."""
    pairs: dict[str, tuple[Measure, Measure]] = {
        "AUC, scikit-learn": (roc_auc, lambda s, same: roc_auc_score(same, s)),
        "average precision, scikit-learn": (
            average_precision,
            lambda s, same: average_precision_score(same, s),
        ),
        "EER, a root on scikit-learn's ROC": (equal_error_rate, _root_of_roc),
    }
    rng = np.random.default_rng(0)
    drawn = [_drawn(rng, tied=at % 2 == 1) for at in range(draws)]
    return [
        (name, str(draws), f"{max(abs(own(*one) - other(*one)) for one in drawn):.1e}")
        for name, (own, other) in pairs.items()
    ]


def _drawn(rng: np.random.Generator, *, tied: bool) -> tuple[Floats, Bools]:
    """Scores (n,) of pairs of one person and of two; of few values where ``tied``."""
    same = np.r_[True, False, rng.random(rng.integers(2, 3000)) < rng.uniform(0.02, 0.98)]
    scores = rng.standard_normal(len(same)) + rng.uniform(0, 2) * same
    return (np.round(scores * rng.uniform(0.5, 5)) if tied else scores), same


def _root_of_roc(scores: Floats, same: Bools) -> float:
    """Where the straight lines between the points of the ROC meet the falling diagonal."""
    false_match, true_match, _ = roc_curve(same, scores, drop_intermediate=False)
    length = np.arange(len(false_match), dtype=float)  # along the curve

    def gap(at: float) -> float:
        return float(np.interp(at, length, false_match) + np.interp(at, length, true_match) - 1)

    return float(np.interp(brentq(gap, 0, length[-1], xtol=1e-14), length, false_match))


def _retrieval(rounds: int, sample: int) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), EACH)
    centres = rng.standard_normal((PEOPLE, DIM))
    voices, faces = (_noisy(centres[labels], rng) for _ in range(2))
    rows = []
    for way, asked, gallery in (("V-F", voices, faces), ("F-V", faces, voices)):
        own, theirs, apart = [], [], 0.0
        for _ in range(rounds):
            chosen = rng.permutation(len(labels))[:sample]
            seconds, expected = _timed(_one_by_one, asked, gallery, labels, chosen)
            theirs.append(1e3 * seconds / sample)
            seconds, ranking = _timed(rank_vectors, asked, gallery, labels, labels)
            own.append(seconds)
            apart = max(apart, float(np.abs(ranking.average_precision[chosen] - expected).max()))
        each = [1e3 * seconds / len(labels) for seconds in own]
        ratios = [other / mine for other, mine in zip(theirs, each, strict=True)]
        figures = (own, each, theirs, ratios)
        rows.append((way, *(_shown(values) for values in figures), f"{apart:.1e}"))
    return rows


def _noisy(vectors: Floats, rng: np.random.Generator) -> Vectors:
    drawn = (vectors + 6 * rng.standard_normal(vectors.shape)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _one_by_one(asked: Vectors, gallery: Vectors, labels: Ints, chosen: Ints) -> Floats:
    """Average precision of some queries by scikit-learn, which is handed their scores."""
    scores = asked[chosen] @ gallery.T
    return np.array(
        [
            average_precision_score(labels == label, row)
            for label, row in zip(labels[chosen], scores, strict=True)
        ]
    )


def _published(folder: Path, rounds: int) -> list[tuple[str, ...]]:
    files = list_files(folder)
    people = read_people([folder / "cmpc" / "vox1_meta.csv.gz"])
    protocols = [read_list(path, people) for path in files]
    scorer, rows = _stand_in(protocols)
    spent = np.array(
        [
            [_spent(*each, people, scorer, rows) for each in zip(files, protocols, strict=True)]
            for _ in range(rounds)
        ]
    )
    of_retrieval = np.array([isinstance(each, Retrieval) for each in protocols])
    parts = {"matching and verification": ~of_retrieval, "retrieval": of_retrieval}
    parts["all"] = np.ones(len(files), bool)
    return [
        (f"{name} ({own.sum()})", *map(_shown, (bare, whole, whole / bare)))
        for name, own in parts.items()
        for bare, whole in [spent[:, own].sum(1).T]
    ]


def list_files(folder: Path) -> list[Path]:
    """The lists of trials of a folder with CMPC's and Wen's."""
    files = sorted(folder.glob("*/**/*.gz"))
    return [path for path in files if not any(word in path.name for word in NO_LISTS)]


def _spent(
    path: Path, known: Protocol, people: People, scorer: VectorScorer, rows: Mapping[str, int]
) -> tuple[float, float]:
    """Seconds for reading a list with the bare products, and for evaluating it from its file."""
    bare, _ = _timed(_bare, path, known, rows, scorer.vectors)
    whole, _ = _timed(_evaluated, path, people, scorer)
    return bare, whole


def _evaluated(path: Path, people: People, scorer: VectorScorer) -> MetricSet:
    """Every figure of a list with its interval."""
    return score(read_list(path, people), scorer).metrics()


def _bare(path: Path, known: Protocol, rows: Mapping[str, int], vectors: Vectors) -> None:
    """What any program must do: unpack the text, find the rows of vectors it names, multiply.

    Which of them ask and which answer is known before; nothing is checked.
    """
    words = gzip.decompress(path.read_bytes()).decode().replace(",", " ").split()
    np.array([row for row in map(rows.get, words) if row is not None])
    if isinstance(known, Retrieval):
        gallery = vectors[known.gallery].T
        for start in range(0, len(known.queries), _ROWS):
            vectors[known.queries[start : start + _ROWS]] @ gallery
        return
    if isinstance(known, Matching):
        first, second = known.probes, known.candidates
    else:
        first, second = known.first, known.second[:, None]
    np.einsum("nd,nkd->nk", vectors[first], vectors[second])


def _stand_in(protocols: Sequence[Protocol]) -> tuple[VectorScorer, dict[str, int]]:
    """Random vectors for everything that any list names, and the row of each."""
    paths = list(dict.fromkeys(path for each in protocols for path in each.items.paths))
    drawn = np.random.default_rng(0).standard_normal((len(paths), DIM), np.float32)
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return VectorScorer(paths, unit), {path: row for row, path in enumerate(paths)}


def _timed(work: Callable[..., Result], *arguments: Any) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result


def _shown(values: Sequence[float]) -> str:
    return f"{Figure.of(list(values)):.3g}"


if __name__ == "__main__":
    main()
