"""The request of an evaluation, and the report it gives."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from trainer.evaluation.build_trials import EVERYBODY, ProtocolSpec
from trainer.evaluation.compare import Difference
from trainer.evaluation.items import EvalItems
from trainer.evaluation.section import Section


@dataclasses.dataclass(frozen=True, slots=True)
class EvalRequest:
    """The system or systems to evaluate, and the trials to evaluate them on."""

    index: Path | None = None
    lists: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    media: Path | None = None
    model: str | None = None
    features: Path | None = None
    scores: tuple[Path, ...] = ()
    compare: tuple[str, ...] = ()  # none, or two
    rerank: str | None = None
    kinds: tuple[str, ...] = ("verification", "1:2", "1:10", "retrieval")
    directions: tuple[str, ...] = ("V-F", "F-V")
    strata: tuple[str, ...] = ("U", "G")
    answers: tuple[str, ...] = ("identity",)
    trained: tuple[str, ...] = (EVERYBODY,)
    without_same_recording: bool = False
    threshold_list: Path | None = None
    sample: int = 40
    seed: int = 0
    device: str = "auto"

    @property
    def protocols(self) -> ProtocolSpec:
        """The protocols to generate, on all people."""
        return ProtocolSpec(self.kinds, self.directions, self.strata, self.answers, seed=self.seed)


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two systems on a protocol, by metric."""

    protocol: str
    valid: bool  # both systems passed their audits
    differences: dict[str, Difference]


@dataclasses.dataclass(frozen=True, slots=True)
class SystemResult:
    """The results of one system: a section per protocol, and vectors to plot by list name."""

    name: str
    sections: list[Section]
    items: dict[str, EvalItems]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The results of one system or of two, and what is needed to reproduce them."""

    request: EvalRequest
    command: list[str]
    results: list[SystemResult]
    comparisons: list[Comparison] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)  # protocols that were left out

    @property
    def model(self) -> str:
        """The name of the system, or of both."""
        return " and ".join(each.name for each in self.results)

    @property
    def sections(self) -> list[Section]:
        """The sections of all systems, one system after the other."""
        return [section for each in self.results for section in each.sections]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values, with None for NaN and infinity.

        ``sections`` belong to the first system, ``others`` to the second.
        """
        first, *others = self.results
        values = {
            "command": self.command,
            "model": self.model,
            "request": dataclasses.asdict(self.request),
            "notes": self.notes,
            "sections": [section.as_json() for section in first.sections],
        }
        if others:
            values["compared"] = [dataclasses.asdict(each) for each in self.comparisons]
            values["contenders"] = [each.name for each in self.results]
            values["others"] = [section.as_json() for section in others[0].sections]
        plain: dict[str, Any] = _finite(values)
        return plain


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
