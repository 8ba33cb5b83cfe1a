"""The evaluation of one system on one protocol: metrics, audits, groups, leakage and curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avsearch.calibration import Calibration
from trainer.evaluation.batch_audit import Audit, audit
from trainer.evaluation.calibration import costs, direction_of
from trainer.evaluation.leakage import Contents, Copies, own_recordings, shared_people
from trainer.evaluation.roc_curves import Curves, curves_of
from trainer.evaluation.score import (
    Metric,
    MetricSet,
    Oracle,
    Scores,
    by_group,
    largest_gap,
    score,
)
from trainer.evaluation.scorers import Floats, ReadyScores, Scorer
from trainer.protocols.generate import STRATA, Attributes, known_values
from trainer.protocols.trials import Protocol, Retrieval, Verification

MODEL = "model"  # the row of the system itself
ORACLES = {"knows gender": ("gender",), "knows gender and nationality": ("gender", "nationality")}
SEEN, UNSEEN = "seen-heard", "unseen-unheard"  # people of the training split, and others
_GROUPINGS = {
    "gender": ("gender",),
    "nationality": ("nationality",),
    "both": STRATA["GN"],
    "age": ("age",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """The results of a system on one protocol.

    ``rows`` are metrics by scorer: the model first, then its re-ranking and matching head where
    it has them, chance and the oracles. ``audits`` belong to the scorers that are the model's;
    metrics of a scorer that fails its audit must not be used. ``groups`` are the model's metrics
    by grouping and by group of the people who ask; ``gaps`` is the largest difference in the main
    metric between the groups of a grouping.
    """

    protocol: str
    kind: str
    trials: int
    people: int
    column: str  # what the model's row compares: embedding distance, or ready scores
    rows: dict[str, MetricSet]
    audits: dict[str, Audit]
    groups: dict[str, dict[str, MetricSet]]
    gaps: dict[str, float]
    seen: list[str]  # people of the training split
    chosen_on: list[str]  # people of the validation split, which chose the checkpoint
    same_recording: int  # right answers that were cut from the probe's own recording
    copies: Copies
    notes: list[str]  # what was left out, and why
    curves: Curves

    @property
    def main(self) -> str:
        """The name of the protocol's main metric."""
        return next(iter(self.rows[MODEL].figures))

    @property
    def audit(self) -> Audit:
        """The audit of the model's own row."""
        return self.audits[MODEL]

    @property
    def valid(self) -> bool:
        """True where every audit passed."""
        return all(each.passed for each in self.audits.values())

    @property
    def faults(self) -> list[str]:
        """The faults of all audits, with the name of the row where it is not the model's own."""
        return [
            fault if row == MODEL else f"{row}: {fault}"
            for row, each in self.audits.items()
            for fault in each.faults
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the section as plain values."""
        return {
            **dataclasses.asdict(self),
            "main": self.main,
            "valid": self.valid,
            "faults": self.faults,
            "verdicts": {row: each.verdict for row, each in self.audits.items()},
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A further way in which a model scores the same trials.

    ``alone`` is False for a scorer that sees all candidates of a trial at once.
    """

    name: str
    scorer: Scorer
    alone: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ScoredSystem:
    """A system's scorer, and what is known about the system.

    ``embedder`` is the audit of the embedder, None where vectors came ready. ``contents`` finds
    media that are copies, where media are at hand. Pairs that score ``threshold`` or more are
    accepted; it must have been chosen on other people.
    """

    scorer: Scorer | ReadyScores
    attributes: Attributes
    trained_on: Sequence[str] = ()
    chosen_on: Sequence[str] = ()
    embedder: Audit | None = None
    audit_sample: int = 200
    columns: Sequence[Column] = ()
    contents: Contents | None = None
    notes: Sequence[str] = ()
    calibrations: Mapping[str, Calibration] = dataclasses.field(default_factory=dict)
    threshold: float | None = None


def evaluate_protocol(protocol: Protocol, system: ScoredSystem) -> tuple[Section, Scores]:
    """Audit and score a system on a protocol; return the section and the system's scores."""
    ready = isinstance(system.scorer, ReadyScores)
    audits = _audits(protocol, system)
    scores = dataclasses.replace(score(protocol, system.scorer), threshold=system.threshold)
    rows = {MODEL: scores.metrics()}
    if isinstance(protocol, Verification):
        rows[MODEL].figures.update(_costs(protocol, scores, system.calibrations))
    for column in system.columns:
        rows[column.name] = score(protocol, column.scorer).metrics()
    rows["chance"] = score(protocol, _Chance()).metrics()
    for name, keys in ORACLES.items():
        values = [_values(system.attributes, (key,)) for key in keys]
        rows[name] = score(protocol, Oracle(protocol.items, *values)).metrics()
    main = next(iter(rows[MODEL].figures))
    groups = {
        name: by_group(scores, values) for name, values in _groupings(protocol, system).items()
    }
    section = Section(
        protocol=protocol.name,
        kind=_kind(protocol),
        trials=rows[MODEL].trials,
        people=rows[MODEL].people,
        column="ready scores" if ready else "embedding distance",
        rows=rows,
        audits=audits,
        groups=groups,
        gaps={name: largest_gap(metrics, main) for name, metrics in groups.items()},
        seen=shared_people(system.trained_on, protocol.items),
        chosen_on=shared_people(system.chosen_on, protocol.items),
        same_recording=own_recordings(protocol),
        copies=Copies() if system.contents is None else system.contents.copies(protocol),
        notes=list(system.notes),
        curves=curves_of(scores),
    )
    return section, scores


def _audits(protocol: Protocol, system: ScoredSystem) -> dict[str, Audit]:
    """Audit the system's own scorer and its further columns."""
    embedder = [] if system.embedder is None else system.embedder.checks
    sample = system.audit_sample
    own: list[Any] = []
    if not isinstance(system.scorer, ReadyScores):
        own = audit(system.scorer, protocol, sample=sample).checks
    audits = {MODEL: Audit([*embedder, *own])}
    for column in system.columns:
        found = audit(column.scorer, protocol, sample=sample, add_candidates=column.alone)
        audits[column.name] = Audit([*embedder, *found.checks])
    return audits


def _costs(
    protocol: Verification, scores: Scores, calibrations: Mapping[str, Calibration]
) -> dict[str, Metric]:
    """The costs of the scores as evidence, in bits.

    Calibrations are fitted on identity, so they apply only where that is what the trials ask.
    """
    assert isinstance(scores.values, np.ndarray)
    people = protocol.items.same_person(protocol.first, protocol.second)
    by_identity = len(people) > 0 and np.array_equal(protocol.same, people)
    calibration = calibrations.get(direction_of(protocol)) if by_identity else None
    found = costs(scores.values[:, 0], protocol.same, calibration)
    return {name: Metric(value) for name, value in found.items()}


class _Chance:
    """A scorer that gives every candidate the same score."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        return np.zeros((len(probes), len(candidates[0]) if candidates else 0))

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        return np.zeros((len(probes), len(gallery)), np.float32)


def _groupings(protocol: Protocol, system: ScoredSystem) -> dict[str, dict[str, str]]:
    """The group of each person by name, for every grouping with known values."""
    found = {name: _values(system.attributes, keys) for name, keys in _GROUPINGS.items()}
    trained = set(system.trained_on)
    if trained & set(protocol.items.names):
        found["training"] = {
            name: SEEN if name in trained else UNSEEN for name in protocol.items.names
        }
    return {name: values for name, values in found.items() if values}


def _values(attributes: Attributes, keys: Sequence[str]) -> dict[str, str]:
    """The values of the people with known values of all these attributes."""
    found = {name: known_values(own, keys) for name, own in attributes.items()}
    return {name: ", ".join(values) for name, values in found.items() if values is not None}


def _kind(protocol: Protocol) -> str:
    if isinstance(protocol, Verification):
        return "verification"
    if isinstance(protocol, Retrieval):
        return "retrieval"
    return f"1:{protocol.candidates.shape[1]} matching"
