"""An evaluation: protocols, one scorer, and what must stand beside every figure of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from avsearch.evidence import Calibration
from indexer.types import Modality
from trainer.audit import Audit, audit, shared_people
from trainer.calibration import costs, direction_of
from trainer.curves import Curves, curves_of
from trainer.judge import Figure, Judged, Oracle, Scored, by_group, largest_gap, score
from trainer.protocols.generate import STRATA, Attributes, Generator
from trainer.protocols.trials import Items, Matching, Protocol, Retrieval, Verification
from trainer.scorers import Scorer, Scores

ORACLES = {"knows gender": ("gender",), "knows gender and nationality": ("gender", "nationality")}
_SIDES: dict[str, Modality] = {"F": "face", "V": "voice"}
_GROUPINGS = {"gender": ("gender",), "nationality": ("nationality",), "both": STRATA["GN"]}


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """Everything about one protocol.

    ``valid`` is false where the scorer did not pass its audit: its figures must not be used.
    ``groups`` are the figures of those who ask, by grouping and group, and ``gaps`` the largest
    difference between the groups of a grouping in the main figure. ``seen`` are people on whom
    the model was trained.
    """

    protocol: str
    kind: str
    trials: int
    people: int
    valid: bool
    audit: Audit
    rows: dict[str, Judged]  # the model first, then chance and the oracles
    groups: dict[str, dict[str, Judged]]
    gaps: dict[str, float]
    seen: list[str]
    same_recording: int  # right answers that were cut from the asker's own recording
    curves: Curves

    @property
    def main(self) -> str:
        """The name of the figure that stands for the protocol."""
        return next(iter(self.rows["model"].figures))


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """Who is evaluated: a scorer, who is asked about, and whom it was trained on.

    ``embedder`` is what the audit of the embedder found; None where vectors came ready, of which
    only the comparison can be audited.
    """

    scorer: Scorer
    attributes: Attributes
    trained_on: Sequence[str] = ()
    embedder: Audit | None = None
    audit_sample: int = 200
    calibrations: Mapping[str, Calibration] = dataclasses.field(default_factory=dict)


def evaluate(
    protocols: Iterable[Protocol],
    subject: Subject,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Section]:
    """Every protocol audited, scored and judged, in their order."""
    sections = []
    for done, protocol in enumerate(protocols, 1):
        sections.append(_section(protocol, subject))
        progress(done)
    return sections


def protocols_of(
    items: Items,
    attributes: Attributes,
    *,
    kinds: Sequence[str],
    directions: Sequence[str],
    strata: Sequence[str],
    seed: int = 0,
) -> list[Protocol]:
    """The protocols of these kinds (``verification``, ``1:N``, ``retrieval``) that can be made.

    A stratum or number that the people do not suffice for raises BadRequest.
    """
    made: list[Protocol] = []
    for way in directions:
        probe, answer = (_SIDES[letter] for letter in way.split("-"))
        for stratum in strata:
            generator = Generator(items, probe, answer, attributes, stratum, seed)
            for kind in kinds:
                if kind == "retrieval" and stratum != "U":
                    continue
                made.append(_make(generator, kind))
    return made


def _make(generator: Generator, kind: str) -> Protocol:
    if kind == "verification":
        return generator.verification()
    if kind == "retrieval":
        return generator.retrieval()
    return generator.matching(int(kind.removeprefix("1:")))


def _section(protocol: Protocol, subject: Subject) -> Section:
    checked = audit(subject.scorer, protocol, sample=subject.audit_sample)
    if subject.embedder is not None:
        checked = Audit([*subject.embedder.checks, *checked.checks])
    scored = score(protocol, subject.scorer)
    rows = {"model": scored.judge(), "chance": score(protocol, _Chance()).judge()}
    if isinstance(protocol, Verification):
        rows["model"].figures.update(_costs(protocol, scored, subject.calibrations))
    for name, keys in ORACLES.items():
        known = [_values(subject.attributes, (key,)) for key in keys]
        rows[name] = score(protocol, Oracle(protocol.items, *known)).judge()
    main = next(iter(rows["model"].figures))
    groups = {
        name: by_group(scored, _values(subject.attributes, keys))
        for name, keys in _GROUPINGS.items()
    }
    return Section(
        protocol=protocol.name,
        kind=_kind(protocol),
        trials=rows["model"].trials,
        people=rows["model"].people,
        valid=checked.passed,
        audit=checked,
        rows=rows,
        groups=groups,
        gaps={name: largest_gap(judged, main) for name, judged in groups.items()},
        seen=shared_people(subject.trained_on, protocol.items),
        same_recording=_same_recording(protocol),
        curves=curves_of(scored),
    )


def _costs(
    protocol: Verification, scored: Scored, calibrations: Mapping[str, Calibration]
) -> dict[str, Figure]:
    """What the scores cost as evidence, in bits."""
    assert isinstance(scored.scores, np.ndarray)
    calibration = calibrations.get(direction_of(protocol)) if len(protocol.same) else None
    found = costs(scored.scores[:, 0], protocol.same, calibration)
    return {name: Figure(value) for name, value in found.items()}


class _Chance:
    """Has no opinion: all scores are equal."""

    def score(self, probes: Sequence[str], candidates: Sequence[Sequence[str]]) -> Scores:
        """Nought, (n, k)."""
        return np.zeros((len(probes), len(candidates[0]) if candidates else 0))

    def matrix(self, probes: Sequence[str], gallery: Sequence[str]) -> Scores:
        """Nought, (n, g)."""
        return np.zeros((len(probes), len(gallery)), np.float32)


def _values(attributes: Attributes, keys: Sequence[str]) -> dict[str, str]:
    """The values of people of whom all these attributes are known."""
    found = {name: [own.get(key, "") for key in keys] for name, own in attributes.items()}
    return {name: ", ".join(values) for name, values in found.items() if all(values)}


def _kind(protocol: Protocol) -> str:
    if isinstance(protocol, Verification):
        return "verification"
    if isinstance(protocol, Retrieval):
        return "retrieval"
    return f"1:{protocol.candidates.shape[1]} matching"


def _same_recording(protocol: Protocol) -> int:
    if isinstance(protocol, Retrieval):
        return 0
    if isinstance(protocol, Matching):
        return len(protocol.truth) - len(protocol.without_same_video().truth)
    return len(protocol.same) - len(protocol.without_same_video().same)
