"""Scores of a protocol's trials, and their metrics with intervals over people.

Chance and the oracles, which know the gender or also the nationality of everybody, are baselines:
a model that does not beat them has learned nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import compress

import numpy as np

from trainer.evaluation.bootstrap import PersonBootstrap, Samples, interval
from trainer.evaluation.metrics import (
    Bools,
    Floats,
    equal_error_rate,
    matching_hits,
    roc_auc,
    true_match_rate,
)
from trainer.evaluation.retrieval import Ranking, rank
from trainer.evaluation.scorers import AllPairsScorer, ReadyScores, Scorer, VectorScorer
from trainer.protocols.trials import Ints, Items, Matching, Protocol, Retrieval, Verification

ACCURACY = "accuracy"
FALSE_MATCHES = (0.1, 0.01, 0.001)  # false match rates at which true match rates are given
CMC_RANKS = (1, 5, 10)


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its 95 % interval over people; NaN where there is no interval."""

    value: float
    lower: float = float("nan")
    upper: float = float("nan")

    def __str__(self) -> str:
        if np.isnan(self.lower):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.lower:.4f}, {self.upper:.4f}]"


@dataclasses.dataclass(frozen=True, slots=True)
class BootstrapMetric:
    """A metric, and its value in each bootstrap sample of people, (samples,)."""

    value: float
    samples: Samples

    def with_interval(self) -> Metric:
        """Return the metric with its interval."""
        return Metric(self.value, *interval(self.samples))


@dataclasses.dataclass(frozen=True, slots=True)
class BootstrapMetricSet:
    """The metrics of a scorer on some trials, as bootstrap samples."""

    protocol: str
    trials: int
    people: int  # people who ask
    figures: dict[str, BootstrapMetric]


@dataclasses.dataclass(frozen=True, slots=True)
class MetricSet:
    """The metrics of a scorer on a protocol, or on the trials of one group."""

    protocol: str
    trials: int
    people: int  # people who ask
    figures: dict[str, Metric]


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """A protocol with the scores of its trials, so that groups need no second scoring.

    A verification with a ``threshold``, which must come from other people, has an accuracy: pairs
    that score the threshold or more are called the same person.
    """

    protocol: Protocol
    values: Floats | Ranking
    threshold: float | None = None

    def metrics(self, mask: Bools | None = None) -> MetricSet:
        """Return the metrics with intervals, over all trials or those of a mask (n,)."""
        found = self.bootstrap(mask)
        figures = {name: each.with_interval() for name, each in found.figures.items()}
        return MetricSet(found.protocol, found.trials, found.people, figures)

    def bootstrap(self, mask: Bools | None = None) -> BootstrapMetricSet:
        """Return the metrics as bootstrap samples, over all trials or those of a mask (n,)."""
        if isinstance(self.protocol, Retrieval):
            assert isinstance(self.values, Ranking)
            return _retrieval_metrics(self.protocol, self.values, mask)
        assert isinstance(self.values, np.ndarray)
        if isinstance(self.protocol, Verification):
            return _verification_metrics(self.protocol, self.values[:, 0], mask, self.threshold)
        return _matching_metrics(self.protocol, self.values, mask)

    def probe_people(self) -> Ints:
        """Return the person (n,) of each trial's probe."""
        return self.protocol.items.people[_probes(self.protocol)]


def score(protocol: Protocol, scorer: Scorer | ReadyScores) -> Scores:
    """Score every trial of a protocol once."""
    if isinstance(scorer, ReadyScores):
        ready = scorer.scores
        if isinstance(protocol, Retrieval):
            return Scores(protocol, _rank(protocol, lambda rows: ready[rows]))
        return Scores(protocol, ready)
    paths = np.array(protocol.items.paths, object)
    if isinstance(protocol, Retrieval):
        gallery = paths[protocol.gallery].tolist()

        def block(rows: slice) -> Floats:
            probes = paths[protocol.queries[rows]].tolist()
            if isinstance(scorer, AllPairsScorer):
                return scorer.matrix(probes, gallery)
            return np.asarray(scorer.score(probes, [gallery] * len(probes)))

        return Scores(protocol, _rank(protocol, block))
    probes = _probes(protocol)
    candidates = (
        protocol.second[:, None] if isinstance(protocol, Verification) else protocol.candidates
    )
    if isinstance(scorer, VectorScorer):
        rows = _vector_rows(protocol.items, scorer, probes, candidates)
        return Scores(protocol, scorer.products(rows[probes], rows[candidates]))
    scores = scorer.score(paths[probes].tolist(), paths[candidates].tolist())
    return Scores(protocol, np.asarray(scores))


def _vector_rows(items: Items, scorer: VectorScorer, *used: Ints) -> Ints:
    """The row (items,) of each item's vector; -1 for items that no trial uses."""
    mask = np.zeros(len(items), bool)
    for each in used:
        mask[each] = True
    rows = np.full(len(items), -1)
    rows[mask] = scorer.places(list(compress(items.paths, mask)))
    return rows


def _probes(protocol: Protocol) -> Ints:
    if isinstance(protocol, Verification):
        return protocol.first
    return protocol.probes if isinstance(protocol, Matching) else protocol.queries


def _rank(protocol: Retrieval, scores: Callable[[slice], Floats]) -> Ranking:
    def itself(rows: slice) -> Bools:
        own: Bools = protocol.queries[rows, None] == protocol.gallery[None]
        return own

    labels = protocol.shared[protocol.queries], protocol.shared[protocol.gallery]
    overlap = len(np.intersect1d(protocol.queries, protocol.gallery)) > 0
    return rank(scores, *labels, excluded=itself if overlap else None)


class Oracle:
    """A scorer that knows some attributes of everybody and nothing else.

    Each mapping gives the values of one attribute by the person's name. For each attribute a pair
    scores 1 where it agrees, 0 where not, and 1/2 where one of the two is unknown.
    """

    def __init__(self, items: Items, *attributes: Mapping[str, str]) -> None:
        columns = []
        for known in attributes:
            values = [known.get(name, "") for name in items.names]
            _, numbers = np.unique(values, return_inverse=True)
            columns.append(np.where(np.array(values) == "", -1, numbers))
        self._values = np.stack(columns, 1)[items.people]  # (n, attributes)
        self._places = {path: place for place, path in enumerate(items.paths)}

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Return the number of attributes that agree, (n, k)."""
        answers = self._of([path for row in candidates for path in row])
        shaped = answers.reshape(len(probes), -1, answers.shape[1])
        return _agreement(self._of(probes)[:, None], shaped)

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Return the same for all pairs, (n, g)."""
        return _agreement(self._of(probes)[:, None], self._of(gallery)[None])

    def _of(self, paths: Sequence[str]) -> Ints:
        return self._values[[self._places[path] for path in paths]]


def _agreement(probes: Ints, answers: Ints) -> Floats:
    """The number of attributes that agree, over the last axis; -1 is unknown."""
    agree = np.zeros(np.broadcast_shapes(probes.shape, answers.shape)[:-1], np.float32)
    for one in range(probes.shape[-1]):
        first, second = probes[..., one], answers[..., one]
        agree += np.where((first < 0) | (second < 0), 0.5, first == second).astype(np.float32)
    return agree


def by_group(scores: Scores, groups: Mapping[str, str]) -> dict[str, MetricSet]:
    """Return the metrics of each group of probes, by the group's name.

    ``groups`` gives the group of each person by name; people without one are left out.
    """
    names = scores.protocol.items.names
    own = np.array([groups.get(name, "") for name in names])[scores.probe_people()]
    return {group: scores.metrics(own == group) for group in sorted(set(own.tolist()) - {""})}


def largest_gap(metrics: Mapping[str, MetricSet], name: str) -> float:
    """Return the difference between the best and the worst group in a metric."""
    values = [each.figures[name].value for each in metrics.values()]
    return float(np.nanmax(values) - np.nanmin(values)) if values else float("nan")


def _verification_metrics(
    protocol: Verification, scores: Floats, mask: Bools | None, threshold: float | None
) -> BootstrapMetricSet:
    order = np.argsort(scores)  # once, because every metric needs the scores sorted
    if mask is not None:
        order = order[mask[order]]
    people = protocol.items.people
    scores, same = scores[order], protocol.same[order]
    first, second = people[protocol.first[order]], people[protocol.second[order]]
    bootstrap = PersonBootstrap(len(protocol.items.names))
    pairs = bootstrap.pairs(scores, same, first, second)
    figures = {
        "AUC": BootstrapMetric(roc_auc(scores, same), pairs.auc()),
        "EER": BootstrapMetric(equal_error_rate(scores, same), pairs.eer()),
    }
    for rate in FALSE_MATCHES:
        value = true_match_rate(scores, same, rate)
        figures[f"TMR at FMR {rate:g}"] = BootstrapMetric(value, pairs.true_match_rate(rate))
    if threshold is not None and len(scores):
        hits = ((scores.astype(float) >= threshold) == same).astype(float)
        samples = bootstrap.mean_of_pairs(hits, first, second)
        figures[ACCURACY] = BootstrapMetric(float(hits.mean()), samples)
    return BootstrapMetricSet(protocol.name, len(scores), len(np.unique(first)), figures)


def _matching_metrics(protocol: Matching, scores: Floats, mask: Bools | None) -> BootstrapMetricSet:
    chosen = np.ones(len(scores), bool) if mask is None else mask
    hits = matching_hits(scores[chosen], protocol.truth[chosen])
    people = protocol.items.people[protocol.probes[chosen]]
    figures = {ACCURACY: _mean(hits, people, PersonBootstrap(len(protocol.items.names)))}
    return BootstrapMetricSet(protocol.name, len(hits), len(np.unique(people)), figures)


def _retrieval_metrics(
    protocol: Retrieval, ranking: Ranking, mask: Bools | None
) -> BootstrapMetricSet:
    chosen = ranking.relevant > 0
    if mask is not None:
        chosen &= mask
    people = protocol.items.people[protocol.queries[chosen]]
    bootstrap = PersonBootstrap(len(protocol.items.names))
    precision, recall = ranking.precision()[chosen], ranking.recall()[chosen]
    figures = {"mAP": _mean(ranking.average_precision[chosen], people, bootstrap)}
    for column, cut in enumerate(ranking.cuts):
        figures[f"precision at {cut}"] = _mean(precision[:, column], people, bootstrap)
        figures[f"recall at {cut}"] = _mean(recall[:, column], people, bootstrap)
    for place in CMC_RANKS:
        found = (ranking.first[chosen] <= place).astype(float)
        figures[f"CMC at {place}"] = _mean(found, people, bootstrap)
    return BootstrapMetricSet(protocol.name, int(chosen.sum()), len(np.unique(people)), figures)


def _mean(values: Floats, people: Ints, bootstrap: PersonBootstrap) -> BootstrapMetric:
    value = float(values.mean()) if len(values) else float("nan")
    return BootstrapMetric(value, bootstrap.mean(values, people))
