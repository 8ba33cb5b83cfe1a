"""Evaluation figures compared with scikit-learn's, their cost, and the oracles of published lists.

``python -m benchmarks.quality.evaluation LISTS``, with LISTS a folder of the published lists of
CMPC and of Wen et al., prints four tables: how far AUC, average precision and EER are from those of
scikit-learn over random and tied scores; how long 20,000 queries in a gallery of 20,000 take; how
long all lists take with ready vectors; and what the oracles reach that know gender, or gender and
nationality. Compared times are taken in turns: the median and [least, most] of the rounds.
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

from benchmarks.machine import Machine, Memory
from benchmarks.tables import Spread, table
from indexer.types import Vectors
from trainer.evaluation.items import attributes_of
from trainer.evaluation.metrics import Bools, Floats, average_precision, equal_error_rate, roc_auc
from trainer.evaluation.retrieval import rank_vectors
from trainer.evaluation.score import Oracle, score
from trainer.evaluation.scorers import VectorScorer
from trainer.evaluation.section import ORACLES
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Ints, Matching, Protocol, Retrieval
from trainer.protocols.voxceleb_people import People, read_people

DIM = 128
PEOPLE, EACH = 250, 80
NOT_LISTS = ("README", "vox1_", "identity_splits")
_ROWS = 800  # queries multiplied at a time

Result = TypeVar("Result")
Metric = Callable[[Floats, Bools], float]


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
@click.option("--draws", default=300, show_default=True, help="Sets of scores to compare.")
@click.option("--sample", default=200, show_default=True, help="Queries given to scikit-learn.")
def main(folder: Path, rounds: int, draws: int, sample: int) -> None:
    """Print the tables."""
    click.echo(Machine.here(["numpy", "scikit-learn", "scipy"]).described())
    _echo(("figure", "sets of scores", "largest difference"), _agreement(draws))
    _echo(
        ("way", "seconds", "a query, ms", "scikit-learn, ms", "times faster", "AP differs by"),
        _retrieval(rounds, sample),
    )
    people = read_people([folder / "cmpc" / "vox1_meta.csv.gz"])
    files = [
        path
        for path in sorted(folder.glob("*/**/*.gz"))
        if not any(word in path.name for word in NOT_LISTS)
    ]
    _echo(
        ("lists", "read and bare products, s", "evaluated, s", "ratio"),
        _cost_of_lists(files, people, rounds),
    )
    _echo(("list", "trials", "figure", *ORACLES), [_oracles(path, people) for path in files])
    click.echo(f"\nPeak of resident memory: {Memory.now().peak / 2**30:.2f} GiB.")


def _echo(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    click.echo("\n" + table(head, rows))


def _agreement(draws: int) -> list[tuple[str, str, str]]:
    """Each figure beside an independent one; every other set of scores has ties."""
    pairs: dict[str, tuple[Metric, Metric]] = {
        "AUC, scikit-learn": (roc_auc, lambda s, same: roc_auc_score(same, s)),
        "average precision, scikit-learn": (
            average_precision,
            lambda s, same: average_precision_score(same, s),
        ),
        "EER, a root on scikit-learn's ROC": (equal_error_rate, _root_of_roc),
    }
    rng = np.random.default_rng(0)
    drawn = []
    for number in range(draws):
        same = np.r_[True, False, rng.random(rng.integers(2, 3000)) < rng.uniform(0.02, 0.98)]
        scores = rng.standard_normal(len(same)) + rng.uniform(0, 2) * same
        drawn.append((np.round(scores * rng.uniform(0.5, 5)) if number % 2 else scores, same))
    return [
        (name, str(draws), f"{max(abs(own(*one) - other(*one)) for one in drawn):.1e}")
        for name, (own, other) in pairs.items()
    ]


def _root_of_roc(scores: Floats, same: Bools) -> float:
    """The point where the straight lines of the ROC meet the falling diagonal."""
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
    for way, queries, gallery in (("V-F", voices, faces), ("F-V", faces, voices)):
        own, theirs, difference = [], [], 0.0
        for _ in range(rounds):
            chosen = rng.permutation(len(labels))[:sample]
            seconds, expected = _timed(_one_by_one, queries, gallery, labels, chosen)
            theirs.append(1e3 * seconds / sample)
            seconds, ranking = _timed(rank_vectors, queries, gallery, labels, labels)
            own.append(seconds)
            apart = np.abs(ranking.average_precision[chosen] - expected)
            difference = max(difference, float(apart.max()))
        each = [1e3 * seconds / len(labels) for seconds in own]
        ratios = [other / mine for other, mine in zip(theirs, each, strict=True)]
        figures = (own, each, theirs, ratios)
        rows.append((way, *(_shown(values) for values in figures), f"{difference:.1e}"))
    return rows


def _noisy(vectors: Floats, rng: np.random.Generator) -> Vectors:
    drawn = (vectors + 6 * rng.standard_normal(vectors.shape)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _one_by_one(queries: Vectors, gallery: Vectors, labels: Ints, chosen: Ints) -> Floats:
    """Average precision of some queries by scikit-learn, which is given their scores."""
    scores = queries[chosen] @ gallery.T
    return np.array(
        [
            average_precision_score(labels == label, row)
            for label, row in zip(labels[chosen], scores, strict=True)
        ]
    )


def _cost_of_lists(files: Sequence[Path], people: People, rounds: int) -> list[tuple[str, ...]]:
    """Seconds of evaluating the lists, beside what any program must do."""
    protocols = [read_list(path, people) for path in files]
    scorer, rows = _random_vectors(protocols)
    spent = np.array(
        [
            [
                (
                    _timed(_bare, path, known, rows, scorer.vectors)[0],
                    _timed(lambda path=path: score(read_list(path, people), scorer).metrics())[0],
                )
                for path, known in zip(files, protocols, strict=True)
            ]
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


def _bare(path: Path, known: Protocol, rows: Mapping[str, int], vectors: Vectors) -> None:
    """Unpack the text, find the rows of vectors it names, multiply, and check nothing."""
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


def _random_vectors(protocols: Sequence[Protocol]) -> tuple[VectorScorer, dict[str, int]]:
    """Random vectors for every item of the lists, and the row of each item."""
    paths = list(dict.fromkeys(path for each in protocols for path in each.items.paths))
    drawn = np.random.default_rng(0).standard_normal((len(paths), DIM), np.float32)
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return VectorScorer(paths, unit), {path: row for row, path in enumerate(paths)}


def _oracles(path: Path, people: People) -> tuple[str, ...]:
    """Return a list's main figure for each oracle, with 95 % intervals over people."""
    protocol, attributes = read_list(path, people), attributes_of(people)
    known = {
        key: {name: own[key] for name, own in attributes.items()}
        for key in ("gender", "nationality")
    }
    judged = [
        score(protocol, Oracle(protocol.items, *(known[key] for key in keys))).metrics()
        for keys in ORACLES.values()
    ]
    figure = next(iter(judged[0].figures))
    reached = [each.figures[figure] for each in judged]
    cells = [f"{each.value:.3f} [{each.lower:.3f}, {each.upper:.3f}]" for each in reached]
    return protocol.name, str(judged[0].trials), figure, *cells


def _timed(work: Callable[..., Result], *arguments: Any) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result


def _shown(values: Sequence[float]) -> str:
    return f"{Spread.of(list(values)):.3g}"


if __name__ == "__main__":
    main()
