"""An audit that finds scores which depend on their batch.

A trial's score must follow from its own media. Released evaluations of this field break that with
statistics of the test batch, with norms over the batch axis, and with lists whose batches give the
answer away. Each of these moves a score when the batch changes, so the same trials are scored
again in other batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from indexer.types import Embedder, Media
from trainer.evaluation.scorers import Floats, Scorer
from trainer.protocols.trials import Ints, Matching, Protocol, Verification

SAMPLE = 200  # trials that are scored again
BATCHES = (1, 3, 50)
_ADDED = 3  # candidates that are added to a trial
_TOLERANCE = 1e-3  # of the scores' deviation: far above rounding, far below any leak
_ROUNDING = 16 * float(np.finfo(np.float32).eps)  # relative rounding error of a sum

Rescore = Callable[[Ints, Ints], Floats]  # (n,) probes and (n, k) candidates to (n, k) scores


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One way of scoring again; ``moved`` is the largest change, in deviations of the scores."""

    name: str
    moved: float
    trials: int

    @property
    def passed(self) -> bool:
        """True where no score moved by more than rounding explains."""
        return self.moved <= _TOLERANCE

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: no score moved ({self.trials} trials)"
        return f"{self.name}: a score moved by {self.moved:.2g} deviations ({self.trials} trials)"


@dataclasses.dataclass(frozen=True, slots=True)
class Audit:
    """The checks of a scorer; metrics of one that fails are invalid.

    Without checks nothing could be scored again, and nothing is known.
    """

    checks: list[Check]

    @property
    def passed(self) -> bool:
        """True where every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """The outcome in a word or two."""
        if not self.checks:
            return "not audited"
        return "passed" if self.passed else "INVALID"

    @property
    def faults(self) -> list[str]:
        """The failed checks, in words."""
        return [str(check) for check in self.checks if not check.passed]


def audit(
    scorer: Scorer,
    protocol: Protocol,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    add_candidates: bool = True,
) -> Audit:
    """Score a sample of trials again, in other orders and batches.

    The reference is the first ``sample`` trials in the list's order, in one batch, where a leak
    that uses the list's order has most effect.

    Args:
        scorer: The scorer to audit.
        protocol: The trials.
        sample: The number of trials.
        seed: The seed of the orders.
        add_candidates: Whether a trial may be scored with more candidates; False for a scorer
            whose scores depend on the whole set of candidates by design.
    """
    rng = np.random.default_rng(seed)
    if isinstance(protocol, Verification):
        probes, candidates = protocol.first[:sample], protocol.second[:sample, None]
    elif isinstance(protocol, Matching):
        probes, candidates = protocol.probes[:sample], protocol.candidates[:sample]
    else:
        probes = protocol.queries[:sample]
        candidates = rng.choice(protocol.gallery, (len(probes), 2))
    paths = np.array(protocol.items.paths, object)

    def rescore(probes: Ints, candidates: Ints) -> Floats:
        return np.asarray(scorer.score(paths[probes].tolist(), paths[candidates].tolist()))

    first = rescore(probes, candidates)
    spread = _spread(first)
    return Audit(
        [
            Check(name, _moved(first, again, spread), len(probes))
            for name, again in _rescored(rescore, probes, candidates, rng, add=add_candidates)
        ]
    )


def audit_embedder(
    embedder: Embedder, media: Sequence[Media], *, sample: int = 40, seed: int = 0
) -> Audit:
    """Embed a sample of media again, in other orders and batches.

    Changes are in deviations of the vectors' values. Rejected media are left out.
    """
    rng = np.random.default_rng(seed)
    chosen = [media[at] for at in rng.permutation(len(media))[:sample]]
    rejected = embedder.embed(chosen).refusals
    chosen = [each for at, each in enumerate(chosen) if at not in rejected]

    def embed(probes: Ints, _: Ints) -> Floats:
        return embedder.embed([chosen[at] for at in probes]).vectors

    numbers = np.arange(len(chosen))
    first = embed(numbers, numbers)
    spread = _spread(first)
    return Audit(
        [
            Check(f"vectors, {name}", _moved(first, again, spread), len(chosen))
            for name, again in _in_other_batches(embed, numbers, numbers[:, None], rng)
        ]
    )


def _rescored(
    rescore: Rescore, probes: Ints, candidates: Ints, rng: np.random.Generator, *, add: bool
) -> Iterator[tuple[str, Floats]]:
    """The same scores (n, k), computed in other ways, in the order of the reference."""
    yield from _in_other_batches(rescore, probes, candidates, rng)
    columns = rng.permuted(np.tile(np.arange(candidates.shape[1]), (len(probes), 1)), axis=1)
    shuffled = rescore(probes, np.take_along_axis(candidates, columns, 1))
    yield "candidates shuffled", np.take_along_axis(shuffled, np.argsort(columns, 1), 1)
    if add:
        others = rng.choice(np.unique(candidates), (len(probes), _ADDED))
        longer = rescore(probes, np.concatenate([candidates, others], 1))
        yield "candidates added", longer[:, : candidates.shape[1]]


def _in_other_batches(
    rescore: Rescore, probes: Ints, candidates: Ints, rng: np.random.Generator
) -> Iterator[tuple[str, Floats]]:
    """The same rows in another order, in other batch sizes, and each half without the other."""
    rows = rng.permutation(len(probes))
    yield "rows shuffled", rescore(probes[rows], candidates[rows])[np.argsort(rows)]
    for size in BATCHES:
        starts = range(0, len(probes), size)
        parts = [rescore(probes[at : at + size], candidates[at : at + size]) for at in starts]
        yield f"batches of {size}", np.concatenate(parts)
    half = rows[: max(1, len(rows) // 2)]
    rest = np.setdiff1d(np.arange(len(probes)), half)
    halves = [part for part in (half, rest) if len(part)]
    scores = np.concatenate([rescore(probes[part], candidates[part]) for part in halves])
    yield "half of the batch removed", np.asarray(scores[np.argsort(np.concatenate(halves))])


def _spread(scores: Floats) -> float:
    """The deviation of scores; for nearly equal ones, enough that rounding is within tolerance."""
    known = scores[np.isfinite(scores)]
    largest = float(np.abs(known).max(initial=0.0))
    deviation = float(np.std(known)) if len(known) else 0.0
    return max(deviation, largest * _ROUNDING / _TOLERANCE) or 1.0


def _moved(first: Floats, again: Floats, spread: float) -> float:
    """The largest change in deviations; infinite where a score stops being finite."""
    if not np.array_equal(np.isfinite(first), np.isfinite(again)):
        return float("inf")
    changes = np.abs(again[np.isfinite(first)] - first[np.isfinite(first)])
    return float(changes.max(initial=0.0)) / spread
