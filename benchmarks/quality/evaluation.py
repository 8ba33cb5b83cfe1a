"""The cost of evaluating published lists, and the figures of their oracles.

``python -m benchmarks.quality.evaluation LISTS``, with LISTS a folder of the published lists of
CMPC and of Wen et al., prints how long all lists take with ready vectors, beside the least work of
any program, and the figures of the oracles that know gender, or gender and nationality. The times
are taken in turns: the median and [least, most] of the rounds.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from benchmarks.machine import Machine, Memory
from benchmarks.tables import Spread, table
from indexer.types import Vectors
from trainer.evaluation.items import attributes_of
from trainer.evaluation.score import Oracle, score
from trainer.evaluation.scorers import VectorScorer
from trainer.evaluation.section import ORACLES
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Matching, Protocol, Retrieval
from trainer.protocols.voxceleb_people import People, read_people

DIM = 128
NOT_LISTS = ("README", "vox1_", "identity_splits")
_ROWS = 800  # queries multiplied at a time

Result = TypeVar("Result")


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
def main(folder: Path, rounds: int) -> None:
    """Print both tables."""
    click.echo(Machine.here(["numpy"]).described())
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
