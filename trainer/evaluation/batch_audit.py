"""Whether a scorer can be believed: the same trials asked again in other company.

A trial's score must follow from its own media. Released evaluations of this field break that
with statistics of the test batch, with norms over the batch axis, and with lists whose batches
give the answer away; each of these moves a score when the company changes, and is found here
whatever its cause.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from indexer.types import Embedder, Media
from trainer.evaluation.scorers import Floats, Scorer
from trainer.protocols.trials import Ints, Items, Matching, Protocol, Verification

SAMPLE = 200  # trials that are asked again
BATCHES = (1, 3, 50)
_ADDED = 3  # candidates that join a trial
_TOLERANCE = 1e-3  # of the scores' deviation: far above rounding, far below any leak
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # of the largest score: what sums round off

Ask = Callable[[Ints, Ints], Floats]  # (n,) probes and (n, k) candidates to (n, k) scores


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One way of asking again. ``moved`` is the largest change, in deviations of the scores."""

    name: str
    moved: float
    trials: int

    @property
    def passed(self) -> bool:
        """Whether no score moved by more than rounding explains."""
        return self.moved <= _TOLERANCE

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: no score moved ({self.trials} trials)"
        return f"{self.name}: a score moved by {self.moved:.2g} deviations ({self.trials} trials)"


@dataclasses.dataclass(frozen=True, slots=True)
class Audit:
    """What was found; a figure of a scorer that did not pass is invalid.

    Without checks nothing could be asked again, and nothing is known.
    """

    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """The outcome in a word or two."""
        if not self.checks:
            return "not audited"
        return "passed" if self.passed else "INVALID"

    @property
    def faults(self) -> list[str]:
        """What did not pass, in words."""
        return [str(check) for check in self.checks if not check.passed]


def audit(
    scorer: Scorer,
    protocol: Protocol,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    candidates_may_join: bool = True,
) -> Audit:
    """Ask a sample of a protocol's trials again, in other orders, numbers and company.

    A scorer of whole sets of candidates, whose scores move with the set by what it is, is not
    asked with more of them where ``candidates_may_join`` is false.

    The first asking is as the list has it: the first ``sample`` trials in their order, in one
    batch, where a leak that lives from the list's order is at its best.
    """
    rng = np.random.default_rng(seed)
    probes, candidates = _trials(protocol, sample, rng)
    ask = _asker(scorer, protocol.items)
    first = ask(probes, candidates)
    spread = _spread(first)
    return Audit(
        [
            Check(name, _moved(first, again, spread), len(probes))
            for name, again in _again(ask, probes, candidates, rng, added=candidates_may_join)
        ]
    )


def audit_embedder(
    embedder: Embedder, media: Sequence[Media], *, sample: int = 40, seed: int = 0
) -> Audit:
    """Embed a sample of media again, in other orders, numbers and company.

    Moves are in deviations of the vectors' values. Media that are refused are left out.
    """
    rng = np.random.default_rng(seed)
    chosen = [media[at] for at in rng.permutation(len(media))[:sample]]
    refused = embedder.embed(chosen).refusals
    chosen = [each for at, each in enumerate(chosen) if at not in refused]

    def ask(probes: Ints, _: Ints) -> Floats:
        return embedder.embed([chosen[at] for at in probes]).vectors

    numbers = np.arange(len(chosen))
    first = ask(numbers, numbers)
    spread = _spread(first)
    return Audit(
        [
            Check(f"vectors, {name}", _moved(first, again, spread), len(chosen))
            for name, again in _other_company(ask, numbers, numbers[:, None], rng)
        ]
    )


def _trials(protocol: Protocol, sample: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Probes (n,) and candidates (n, k); of a retrieval, some of the gallery."""
    if isinstance(protocol, Verification):
        return protocol.first[:sample], protocol.second[:sample, None]
    if isinstance(protocol, Matching):
        return protocol.probes[:sample], protocol.candidates[:sample]
    probes = protocol.queries[:sample]
    return probes, rng.choice(protocol.gallery, (len(probes), 2))


def _asker(scorer: Scorer, items: Items) -> Ask:
    paths = np.array(items.paths, object)

    def ask(probes: Ints, candidates: Ints) -> Floats:
        return np.asarray(scorer.score(paths[probes].tolist(), paths[candidates].tolist()))

    return ask


def _again(
    ask: Ask, probes: Ints, candidates: Ints, rng: np.random.Generator, *, added: bool
) -> Iterator[tuple[str, Floats]]:
    """The same scores by other ways, by name; each is (n, k) in the order of the first."""
    yield from _other_company(ask, probes, candidates, rng)
    columns = rng.permuted(np.tile(np.arange(candidates.shape[1]), (len(probes), 1)), axis=1)
    shuffled = ask(probes, np.take_along_axis(candidates, columns, 1))
    yield "candidates shuffled", np.take_along_axis(shuffled, np.argsort(columns, 1), 1)
    if not added:
        return
    others = rng.choice(np.unique(candidates), (len(probes), _ADDED))
    longer = ask(probes, np.concatenate([candidates, others], 1))
    yield "candidates added", longer[:, : candidates.shape[1]]


def _other_company(
    ask: Ask, probes: Ints, candidates: Ints, rng: np.random.Generator
) -> Iterator[tuple[str, Floats]]:
    """The same rows in another order, in other batches, and without half of the others."""
    rows = rng.permutation(len(probes))
    yield "rows shuffled", ask(probes[rows], candidates[rows])[np.argsort(rows)]
    for size in BATCHES:
        starts = range(0, len(probes), size)
        parts = [ask(probes[at : at + size], candidates[at : at + size]) for at in starts]
        yield f"batches of {size}", np.concatenate(parts)
    half = rows[: max(1, len(rows) // 2)]
    yield "half of the company gone", _spliced(ask, probes, candidates, half)


def _spliced(ask: Ask, probes: Ints, candidates: Ints, part: Ints) -> Floats:
    """Scores of all trials, those of a part asked without the rest and the rest without it."""
    rest = np.setdiff1d(np.arange(len(probes)), part)
    halves = [rows for rows in (part, rest) if len(rows)]
    scores = np.concatenate([ask(probes[rows], candidates[rows]) for rows in halves])
    return np.asarray(scores[np.argsort(np.concatenate(halves))])


def _spread(scores: Floats) -> float:
    """The deviation of scores; of nearly equal ones, so much that rounding is within tolerance."""
    known = scores[np.isfinite(scores)]
    largest = float(np.abs(known).max(initial=0.0))
    deviation = float(np.std(known)) if len(known) else 0.0
    return max(deviation, largest * _ROUNDING / _TOLERANCE) or 1.0


def _moved(first: Floats, again: Floats, spread: float) -> float:
    """The largest change in deviations; a score that stops being finite moved infinitely."""
    if not np.array_equal(np.isfinite(first), np.isfinite(again)):
        return float("inf")
    apart = np.abs(again[np.isfinite(first)] - first[np.isfinite(first)])
    return float(apart.max(initial=0.0)) / spread
