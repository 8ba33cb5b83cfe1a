"""The figures of a scorer on a protocol, each with its interval over people.

Beside every scorer stand two that know no identity: chance, and oracles that know the gender,
or gender and nationality, of everybody. A model that does not beat them has learnt no more.
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
FALSE_MATCHES = (0.1, 0.01, 0.001)  # rates at which true matches are given
CMC_RANKS = (1, 5, 10)


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A figure with its 95 % interval over people; NaN ends where none is computed."""

    value: float
    lower: float = float("nan")
    upper: float = float("nan")

    def __str__(self) -> str:
        if np.isnan(self.lower):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.lower:.4f}, {self.upper:.4f}]"


@dataclasses.dataclass(frozen=True, slots=True)
class BootstrapMetric:
    """A figure, and its value in each draw of people, (draws,)."""

    value: float
    drawn: Samples

    def figure(self) -> Metric:
        """The figure with its interval; without one where there was nothing to measure."""
        return Metric(self.value, *interval(self.drawn))


@dataclasses.dataclass(frozen=True, slots=True)
class BootstrapMetricSet:
    """The figures of a scorer on trials of so many people, before intervals are made of them."""

    protocol: str
    trials: int
    people: int  # who asks
    figures: dict[str, BootstrapMetric]

    def judged(self) -> MetricSet:
        """The same with intervals."""
        figures = {name: each.figure() for name, each in self.figures.items()}
        return MetricSet(self.protocol, self.trials, self.people, figures)


@dataclasses.dataclass(frozen=True, slots=True)
class MetricSet:
    """What a scorer reached on a protocol, or on those of its trials that a group asks."""

    protocol: str
    trials: int
    people: int  # who asks
    figures: dict[str, Metric]


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """A protocol with the scores of its trials, so that groups need no second scoring.

    Where there is a ``threshold``, which must come from other people, verification has an
    accuracy: pairs are called the same from it on.
    """

    protocol: Protocol
    scores: Floats | Ranking
    threshold: float | None = None

    def judge(self, asked: Bools | None = None) -> MetricSet:
        """Figures with intervals over all trials, or those (n,) that are ``asked``."""
        return self.measure(asked).judged()

    def measure(self, asked: Bools | None = None) -> BootstrapMetricSet:
        """Figures over all trials, or those (n,) that are ``asked``, draw by draw."""
        if isinstance(self.protocol, Retrieval):
            assert isinstance(self.scores, Ranking)
            return _measure_retrieval(self.protocol, self.scores, asked)
        assert isinstance(self.scores, np.ndarray)
        if isinstance(self.protocol, Verification):
            return _measure_verification(self.protocol, self.scores[:, 0], asked, self.threshold)
        return _measure_matching(self.protocol, self.scores, asked)

    def askers(self) -> Ints:
        """The person (n,) who asks in each trial."""
        return self.protocol.items.people[_probes(self.protocol)]


def score(protocol: Protocol, scorer: Scorer | ReadyScores) -> Scores:
    """Every trial of a protocol scored once."""
    if isinstance(scorer, ReadyScores):
        return _ready(protocol, scorer.scores)
    if isinstance(protocol, Retrieval):
        return Scores(protocol, _rank(protocol, scorer))
    probes, candidates = _probes(protocol), _candidates(protocol)
    if isinstance(scorer, VectorScorer):
        places = _places(protocol.items, scorer, probes, candidates)
        return Scores(protocol, scorer.products(places[probes], places[candidates]))
    paths = np.array(protocol.items.paths, object)
    scores = np.asarray(scorer.score(paths[probes].tolist(), paths[candidates].tolist()))
    return Scores(protocol, scores)


def _places(items: Items, scorer: VectorScorer, *asked: Ints) -> Ints:
    """The row of vectors (items,) of each item that is asked for; -1 for others."""
    named = np.zeros(len(items), bool)
    for each in asked:
        named[each] = True
    rows = np.full(len(items), -1)
    rows[named] = scorer.places(list(compress(items.paths, named)))
    return rows


def _ready(protocol: Protocol, scores: Floats) -> Scores:
    if isinstance(protocol, Retrieval):
        return Scores(protocol, _ranked(protocol, lambda rows: scores[rows]))
    return Scores(protocol, scores)


class Oracle:
    """Knows some attributes of everybody and nothing else; what is unknown it calls even.

    Each mapping gives one attribute's values of people by name.
    """

    def __init__(self, items: Items, *attributes: Mapping[str, str]) -> None:
        columns = [
            _numbered([values.get(name, "") for name in items.names]) for values in attributes
        ]
        self._values = np.stack(columns, 1)[items.people]  # (n, attributes)
        self._places = {path: place for place, path in enumerate(items.paths)}

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """For each attribute 1 where it is the same, 0 where not, 1/2 where one is not known."""
        answers = self._of([path for row in candidates for path in row])
        shaped = answers.reshape(len(probes), -1, answers.shape[1])
        return _alike(self._of(probes)[:, None], shaped)

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """The same for all with all."""
        return _alike(self._of(probes)[:, None], self._of(gallery)[None])

    def _of(self, paths: Sequence[str]) -> Ints:
        return self._values[[self._places[path] for path in paths]]


def _numbered(values: Sequence[str]) -> Ints:
    """Values (n,) as numbers, -1 where there is none."""
    _, numbers = np.unique(values, return_inverse=True)
    return np.where(np.array(values) == "", -1, numbers)


def _alike(asked: Ints, answers: Ints) -> Floats:
    """Over the last axis, how many attributes agree."""
    agree = np.zeros(np.broadcast_shapes(asked.shape, answers.shape)[:-1], np.float32)
    for one in range(asked.shape[-1]):
        first, second = asked[..., one], answers[..., one]
        agree += np.where((first < 0) | (second < 0), 0.5, first == second).astype(np.float32)
    return agree


def by_group(scored: Scores, groups: Mapping[str, str]) -> dict[str, MetricSet]:
    """The figures of each group of those who ask, by the group's name; people of none are left out.

    ``groups`` says of people by name to which group they belong.
    """
    names = scored.protocol.items.names
    own = np.array([groups.get(name, "") for name in names])[scored.askers()]
    return {group: scored.judge(own == group) for group in sorted(set(own.tolist()) - {""})}


def largest_gap(judged: Mapping[str, MetricSet], figure: str) -> float:
    """The difference between the best and the worst group in a figure."""
    values = [each.figures[figure].value for each in judged.values()]
    return float(np.nanmax(values) - np.nanmin(values)) if values else float("nan")


def _probes(protocol: Protocol) -> Ints:
    if isinstance(protocol, Verification):
        return protocol.first
    return protocol.probes if isinstance(protocol, Matching) else protocol.queries


def _candidates(protocol: Verification | Matching) -> Ints:
    if isinstance(protocol, Verification):
        return protocol.second[:, None]
    return protocol.candidates


def _rank(protocol: Retrieval, scorer: Scorer) -> Ranking:
    paths = np.array(protocol.items.paths, object)
    gallery = paths[protocol.gallery].tolist()

    def scores(rows: slice) -> Floats:
        probes = paths[protocol.queries[rows]].tolist()
        if isinstance(scorer, AllPairsScorer):
            return scorer.matrix(probes, gallery)
        return np.asarray(scorer.score(probes, [gallery] * len(probes)))

    return _ranked(protocol, scores)


def _ranked(protocol: Retrieval, scores: Callable[[slice], Floats]) -> Ranking:
    labels = protocol.shared[protocol.queries], protocol.shared[protocol.gallery]
    return rank(scores, *labels, excluded=_itself(protocol))


def _itself(protocol: Retrieval) -> Callable[[slice], Bools] | None:
    """A query that stands in the gallery too is no answer to itself."""
    if not len(np.intersect1d(protocol.queries, protocol.gallery)):
        return None
    return lambda rows: protocol.queries[rows, None] == protocol.gallery[None]


def _measure_verification(
    protocol: Verification, scores: Floats, asked: Bools | None, threshold: float | None
) -> BootstrapMetricSet:
    kept = np.argsort(scores)  # rising, as every figure would have to sort them
    if asked is not None:
        kept = kept[asked[kept]]
    people = protocol.items.people
    scores, same = scores[kept], protocol.same[kept]
    first, second = people[protocol.first[kept]], people[protocol.second[kept]]
    draws = PersonBootstrap(len(protocol.items.names))
    drawn = draws.pairs(scores, same, first, second)
    figures = {
        "AUC": BootstrapMetric(roc_auc(scores, same), drawn.auc()),
        "EER": BootstrapMetric(equal_error_rate(scores, same), drawn.eer()),
    }
    for rate in FALSE_MATCHES:
        value = true_match_rate(scores, same, rate)
        figures[f"TMR at FMR {rate:g}"] = BootstrapMetric(value, drawn.true_match_rate(rate))
    if threshold is not None and len(scores):
        hits = ((scores.astype(float) >= threshold) == same).astype(float)
        figures[ACCURACY] = BootstrapMetric(
            float(hits.mean()), draws.mean_of_pairs(hits, first, second)
        )
    return BootstrapMetricSet(protocol.name, len(scores), len(np.unique(first)), figures)


def _measure_matching(
    protocol: Matching, scores: Floats, asked: Bools | None
) -> BootstrapMetricSet:
    kept = np.ones(len(scores), bool) if asked is None else asked
    hits = matching_hits(scores[kept], protocol.truth[kept])
    people = protocol.items.people[protocol.probes[kept]]
    figures = {ACCURACY: _mean(hits, people, PersonBootstrap(len(protocol.items.names)))}
    return BootstrapMetricSet(protocol.name, len(hits), len(np.unique(people)), figures)


def _measure_retrieval(
    protocol: Retrieval, ranking: Ranking, asked: Bools | None
) -> BootstrapMetricSet:
    kept = ranking.relevant > 0
    if asked is not None:
        kept &= asked
    people = protocol.items.people[protocol.queries[kept]]
    draws = PersonBootstrap(len(protocol.items.names))
    precision, recall = ranking.precision()[kept], ranking.recall()[kept]
    figures = {"mAP": _mean(ranking.average_precision[kept], people, draws)}
    for column, cut in enumerate(ranking.cuts):
        figures[f"precision at {cut}"] = _mean(precision[:, column], people, draws)
        figures[f"recall at {cut}"] = _mean(recall[:, column], people, draws)
    for place in CMC_RANKS:
        found = (ranking.first[kept] <= place).astype(float)
        figures[f"CMC at {place}"] = _mean(found, people, draws)
    return BootstrapMetricSet(protocol.name, int(kept.sum()), len(np.unique(people)), figures)


def _mean(values: Floats, people: Ints, draws: PersonBootstrap) -> BootstrapMetric:
    value = float(values.mean()) if len(values) else float("nan")
    return BootstrapMetric(value, draws.mean(values, people))
