"""An evaluation: protocols, one scorer, and what must stand beside every figure of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from avsearch.calibration import Calibration
from trainer.evaluation.batch_audit import Audit, audit
from trainer.evaluation.calibration import costs, direction_of
from trainer.evaluation.leakage import Contents, Copies, own_recordings, shared_people
from trainer.evaluation.roc_curves import Curves, curves_of
from trainer.evaluation.score import Metric, MetricSet, Oracle, Scores, by_group, largest_gap, score
from trainer.evaluation.scorers import Floats, ReadyScores, Scorer
from trainer.protocols.generate import STRATA, Attributes, known_values
from trainer.protocols.trials import Protocol, Retrieval, Verification

MODEL = "model"  # the row of what is evaluated
ORACLES = {"knows gender": ("gender",), "knows gender and nationality": ("gender", "nationality")}
SEEN, UNSEEN = "seen-heard", "unseen-unheard"  # people of the training, and others
_GROUPINGS = {
    "gender": ("gender",),
    "nationality": ("nationality",),
    "both": STRATA["GN"],
    "age": ("age",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """Everything about one protocol.

    ``rows`` are figures by scorer: the model first, then its re-ranking and matching head where
    it has them, chance and the oracles. ``audits`` are of those that are the model's; figures of
    one that did not pass must not be used. ``groups`` are the model's figures of those who ask,
    by grouping and group, and ``gaps`` the largest difference between the groups of a grouping in
    the main figure.
    """

    protocol: str
    kind: str
    trials: int
    people: int
    column: str  # what the model's row rests on: embedding distance, or ready scores
    rows: dict[str, MetricSet]
    audits: dict[str, Audit]
    groups: dict[str, dict[str, MetricSet]]
    gaps: dict[str, float]
    seen: list[str]  # people whom the model was trained on
    chosen_on: list[str]  # people whose validation decided which step of the training was kept
    same_recording: int  # right answers that were cut from the asker's own recording
    copies: Copies
    notes: list[str]  # what was left out, and why
    curves: Curves

    @property
    def main(self) -> str:
        """The name of the figure that stands for the protocol."""
        return next(iter(self.rows[MODEL].figures))

    @property
    def audit(self) -> Audit:
        """The audit of the model's own row."""
        return self.audits[MODEL]

    @property
    def valid(self) -> bool:
        """Whether no audit found a fault."""
        return all(each.passed for each in self.audits.values())

    @property
    def faults(self) -> list[str]:
        """What the audits found, with the row where it is not the model's own."""
        return [
            fault if row == MODEL else f"{row}: {fault}"
            for row, each in self.audits.items()
            for fault in each.faults
        ]

    def as_json(self) -> dict[str, Any]:
        """The section as plain values."""
        told = {"main": self.main, "valid": self.valid, "faults": self.faults}
        verdicts = {row: each.verdict for row, each in self.audits.items()}
        return {**dataclasses.asdict(self), **told, "verdicts": verdicts}


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A further way in which a model scores the same trials, and stands beside itself.

    ``alone`` is false of a scorer that sees all candidates of a trial at once.
    """

    name: str
    scorer: Scorer
    alone: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class ScoredSystem:
    """Who is evaluated: a scorer, who is asked about, and whom it was trained and chosen on.

    ``embedder`` is what the audit of the embedder found; None where vectors came ready, of which
    only the comparison can be audited. ``contents`` tells which media are copies, where media are
    at hand. From ``threshold`` on, which other people's pairs gave, two are called the same.
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


def evaluate(
    protocols: Iterable[Protocol],
    subject: ScoredSystem,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Section]:
    """Every protocol audited, scored and judged, in their order."""
    sections = []
    for done, protocol in enumerate(protocols, 1):
        sections.append(examine(protocol, subject)[0])
        progress(done)
    return sections


def examine(protocol: Protocol, subject: ScoredSystem) -> tuple[Section, Scores]:
    """A protocol audited, scored and judged, and the scores of the subject itself."""
    audits = _audits(protocol, subject)
    scored = dataclasses.replace(score(protocol, subject.scorer), threshold=subject.threshold)
    rows = {MODEL: scored.judge()}
    if isinstance(protocol, Verification):
        rows[MODEL].figures.update(_costs(protocol, scored, subject.calibrations))
    for column in subject.columns:
        rows[column.name] = score(protocol, column.scorer).judge()
    rows |= {name: score(protocol, each).judge() for name, each in _known(protocol, subject)}
    main = next(iter(rows[MODEL].figures))
    groups = {
        name: by_group(scored, values) for name, values in _groupings(protocol, subject).items()
    }
    section = Section(
        protocol=protocol.name,
        kind=_kind(protocol),
        trials=rows[MODEL].trials,
        people=rows[MODEL].people,
        column="ready scores" if isinstance(subject.scorer, ReadyScores) else "embedding distance",
        rows=rows,
        audits=audits,
        groups=groups,
        gaps={name: largest_gap(judged, main) for name, judged in groups.items()},
        seen=shared_people(subject.trained_on, protocol.items),
        chosen_on=shared_people(subject.chosen_on, protocol.items),
        same_recording=own_recordings(protocol),
        copies=Copies() if subject.contents is None else subject.contents.copies(protocol),
        notes=list(subject.notes),
        curves=curves_of(scored),
    )
    return section, scored


def _audits(protocol: Protocol, subject: ScoredSystem) -> dict[str, Audit]:
    """What asking again finds, of the subject and of its further columns."""
    embedder = [] if subject.embedder is None else subject.embedder.checks
    own: list[Any] = []
    if not isinstance(subject.scorer, ReadyScores):
        own = audit(subject.scorer, protocol, sample=subject.audit_sample).checks
    audits = {MODEL: Audit([*embedder, *own])}
    for column in subject.columns:
        found = audit(
            column.scorer,
            protocol,
            sample=subject.audit_sample,
            candidates_may_join=column.alone,
        )
        audits[column.name] = Audit([*embedder, *found.checks])
    return audits


def _known(protocol: Protocol, subject: ScoredSystem) -> list[tuple[str, Scorer]]:
    """Those who know no identity, by name."""
    found: list[tuple[str, Scorer]] = [("chance", _Chance())]
    for name, keys in ORACLES.items():
        values = [_values(subject.attributes, (key,)) for key in keys]
        found.append((name, Oracle(protocol.items, *values)))
    return found


def _costs(
    protocol: Verification, scored: Scores, calibrations: Mapping[str, Calibration]
) -> dict[str, Metric]:
    """What the scores cost as evidence, in bits; calibrations are of who somebody is."""
    assert isinstance(scored.scores, np.ndarray)
    people = protocol.items.same_person(protocol.first, protocol.second)
    by_identity = len(people) > 0 and np.array_equal(protocol.same, people)
    calibration = calibrations.get(direction_of(protocol)) if by_identity else None
    found = costs(scored.scores[:, 0], protocol.same, calibration)
    return {name: Metric(value) for name, value in found.items()}


class _Chance:
    """Has no opinion: all scores are equal."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Floats:
        """Nought, (n, k)."""
        return np.zeros((len(probes), len(candidates[0]) if candidates else 0))

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Floats:
        """Nought, (n, g)."""
        return np.zeros((len(probes), len(gallery)), np.float32)


def _groupings(protocol: Protocol, subject: ScoredSystem) -> dict[str, dict[str, str]]:
    """The group of people by name, for every grouping of which something is known."""
    found = {name: _values(subject.attributes, keys) for name, keys in _GROUPINGS.items()}
    trained = set(subject.trained_on)
    if trained & set(protocol.items.names):
        found["training"] = {
            name: SEEN if name in trained else UNSEEN for name in protocol.items.names
        }
    return {name: values for name, values in found.items() if values}


def _values(attributes: Attributes, keys: Sequence[str]) -> dict[str, str]:
    """The values of people of whom all these attributes are known."""
    found = {name: known_values(own, keys) for name, own in attributes.items()}
    return {name: ", ".join(values) for name, values in found.items() if values is not None}


def _kind(protocol: Protocol) -> str:
    if isinstance(protocol, Verification):
        return "verification"
    if isinstance(protocol, Retrieval):
        return "retrieval"
    return f"1:{protocol.candidates.shape[1]} matching"
