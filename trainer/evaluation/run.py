"""From a request to a report: what ``avsearch evaluate`` does, as one call."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsearch.models import load_model, load_reranker
from indexer.errors import BadRequest, LibraryUnusable, printable
from indexer.open import open_index
from indexer.runtime.atomic import replacing
from indexer.runtime.load_failures import load_failure
from indexer.runtime.timing import timed
from trainer.evaluation.batch_audit import Audit, audit_embedder
from trainer.evaluation.build_trials import (
    EVERYBODY,
    ProtocolSpec,
    Task,
    TrialLists,
    made_of,
    parts_of,
    require_known,
    restricted,
    without_answers,
)
from trainer.evaluation.compare import Difference, differences
from trainer.evaluation.items import (
    EvalItems,
    embedded,
    material_of,
    material_of_features,
    media_under,
)
from trainer.evaluation.metrics import best_threshold
from trainer.evaluation.score import Scores, score
from trainer.evaluation.scorers import VectorScorer
from trainer.evaluation.section import ScoredSystem, Section, examine
from trainer.evaluation.systems import (
    NO_MEDIA,
    IndexOnDisk,
    ListedScores,
    Model,
    ReadyVectors,
    RunOptions,
    System,
    system_of,
)
from trainer.protocols.fame import write_submission
from trainer.protocols.trials import Verification

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class EvalRequest:
    """What is to be evaluated on what."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of two contenders on a protocol, by figure."""

    protocol: str
    valid: bool  # whether both passed their audits
    differences: dict[str, Difference]


@dataclasses.dataclass(frozen=True, slots=True)
class SystemResult:
    """What a contender reached: a section a protocol, and vectors to draw, by what they are of."""

    name: str
    sections: list[Section]
    materials: dict[str, EvalItems]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was found of one contender or of two, and everything needed to find it again."""

    request: EvalRequest
    command: list[str]
    reached: list[SystemResult]
    compared: list[Comparison] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)  # protocols that cannot be asked

    @property
    def model(self) -> str:
        """Who was evaluated."""
        return " and ".join(each.name for each in self.reached)

    @property
    def sections(self) -> list[Section]:
        """Those of every contender, one contender after the other."""
        return [section for each in self.reached for section in each.sections]

    def as_json(self) -> dict[str, Any]:
        """The report as plain values, None for what is no number; sections say if they are valid.

        ``sections`` are those of the first contender, ``others`` those of the second.
        """
        first, *others = self.reached
        found = {
            "command": self.command,
            "model": self.model,
            "request": dataclasses.asdict(self.request),
            "notes": self.notes,
            "sections": [section.as_json() for section in first.sections],
        }
        if others:
            found["compared"] = [dataclasses.asdict(each) for each in self.compared]
            found["contenders"] = [each.name for each in self.reached]
            found["others"] = [section.as_json() for section in others[0].sections]
        plain: dict[str, Any] = _plain(found)
        return plain

    def write(self, folder: Path) -> None:
        """Write ``report.json`` and ``report.html``, each to a temporary name first.

        Raises LibraryUnusable where what draws the page is not installed, or does not load.
        """
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            self.as_json(), ensure_ascii=False, indent=1, default=str, allow_nan=False
        )
        with replacing(folder / "report.json") as partial:
            partial.write_text(text, encoding="utf-8")
        try:
            from trainer.evaluation.report.html import write_report
        except Exception as error:
            if (failure := load_failure(error)) is None:
                raise
            raise LibraryUnusable(f"report.json is written, but no page: {failure}") from error
        write_report(folder / "report.html", self)


def run(
    request: EvalRequest,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Evaluate; raises BadRequest for what cannot be evaluated.

    ``say`` is told, before anything is embedded, of protocols that the people do not suffice for;
    they are left out.
    """
    require_known(_wanted(request), request.trained)
    notes: list[str] = []
    contenders = _contenders(request)
    questions = _asked(request, contenders, notes)
    for note in notes:
        say(note)
    thresholds = _thresholds(request, contenders, questions)
    reached = [SystemResult(each.name, [], {}) for each in contenders]
    compared = []
    for done, asked in enumerate(questions, 1):
        with timed(logger, f"evaluated {asked.protocol.name}"):
            scored = [
                _reach(*each, asked) for each in zip(reached, contenders, thresholds, strict=True)
            ]
        if len(scored) == 2:
            valid = all(each.sections[-1].valid for each in reached)
            compared.append(Comparison(asked.protocol.name, valid, differences(*scored)))
        if progress is not None:
            progress(done, len(questions))
    return Report(request, ["avsearch", *sys.argv[1:]], reached, compared, notes)


def _wanted(request: EvalRequest) -> ProtocolSpec:
    """The protocols that a request would have made, of everybody."""
    return ProtocolSpec(
        request.kinds, request.directions, request.strata, request.answers, seed=request.seed
    )


def submit(request: EvalRequest, path: Path) -> tuple[int, Audit]:
    """Score trials whose answers others keep, and write the file they ask for.

    Returns how many, and what embedding again found. Raises BadRequest for anything but one such
    list with its media or vectors.
    """
    if len(request.lists) != 1 or request.scores or request.compare:
        raise BadRequest("A submission is of one list, scored by a model or by vectors.")
    trials = without_answers(request.lists[0], request.tables)
    scorer, checked = _vectors_of(request, trials.items)
    names = trials.items.paths
    voices, faces = ([names[at] for at in side] for side in (trials.voices, trials.faces))
    write_submission(path, trials, scorer.score(voices, [[face] for face in faces])[:, 0])
    return len(trials.ids), checked


def _vectors_of(request: EvalRequest, items: Any) -> tuple[VectorScorer, Audit]:
    """Vectors of a list's items, ready or made of its media, and whether they can be believed."""
    if request.features is not None:
        return material_of_features(request.features).scorer, Audit([])
    if request.media is None:
        raise BadRequest(NO_MEDIA)
    media = media_under(request.media, items)
    embedder = load_model(request.model, request.device)
    scorer = embedded(items.paths, media, embedder)
    return scorer, audit_embedder(embedder, list(media.values()), sample=request.sample)


def _contenders(request: EvalRequest) -> list[System]:
    """Who is evaluated; BadRequest where that is said twice."""
    reranker = load_reranker(request.rerank, request.device) if request.rerank else None
    means = RunOptions(request.device, request.sample, reranker)
    if request.compare:
        if request.features or request.scores or len(set(request.compare)) != 2:
            raise BadRequest("--compare names both who are evaluated; name two, and no others.")
        lists, model = request.lists, request.model
        found = [system_of(each, lists, model, means) for each in request.compare]
        if found[0].name == found[1].name:
            for each, name in zip(found, request.compare, strict=True):
                each.name = name
        return found
    _require_one(request)
    return [_contender(request, means)]


def _require_one(request: EvalRequest) -> None:
    if request.features is not None and (request.model or request.index):
        raise BadRequest("Ready features need no model or index; leave those out.")
    if request.scores and (request.features or request.model or request.index):
        raise BadRequest("Ready scores need no features, model or index; leave those out.")


def _contender(request: EvalRequest, means: RunOptions) -> System:
    if request.scores:
        return ListedScores(request.scores, request.lists)
    if request.features is not None:
        return ReadyVectors(request.features, means)
    if request.lists and request.index is None:
        return Model(request.model, means)
    return IndexOnDisk(request.index, request.model, means)


def _asked(request: EvalRequest, contenders: Sequence[System], notes: list[str]) -> list[Task]:
    """What is asked: the lists, or protocols made of what all contenders have.

    What cannot be asked is added to ``notes``.
    """
    if request.lists:
        if request.trained != (EVERYBODY,):
            raise BadRequest("A list asks whom it names; --trained is for protocols that are made.")
        return TrialLists(
            request.lists,
            request.tables,
            request.media,
            request.answers,
            request.without_same_recording,
        ).ask()
    material = _common(request, contenders)
    names = [material.items.names[who] for who in set(material.items.people.tolist())]
    trained_on = [name for each in contenders for name in each.trained_on]
    parts = parts_of(request.trained, names, trained_on)
    return made_of(material, dataclasses.replace(_wanted(request), parts=parts), notes.append)


def _common(request: EvalRequest, contenders: Sequence[System]) -> EvalItems:
    """Labelled media that every contender knows; a model knows all."""
    own = [found for each in contenders if (found := each.material()) is not None]
    if not own:
        with open_index(request.index) as index:
            return material_of(index)
    paths = frozenset.intersection(*(frozenset(each.items.paths) for each in own))
    if not paths:
        raise BadRequest(
            "The two have no item in common: indexes must be of the same gallery, and vectors "
            "must be named alike."
        )
    return own[0] if len(paths) == len(own[0].items) else restricted(own[0], paths)


def _thresholds(
    request: EvalRequest, contenders: Sequence[System], questions: Sequence[Task]
) -> list[float | None]:
    """Each contender's threshold, by a list of pairs of other people; None where none is named."""
    if request.threshold_list is None:
        return [None] * len(contenders)
    path, tables = request.threshold_list, request.tables
    (chosen,) = TrialLists((path,), tables, request.media).ask()
    return [threshold_of(contender, chosen, questions) for contender in contenders]


def threshold_of(contender: System, chosen: Task, questions: Sequence[Task]) -> float:
    """The threshold that is best for a contender on pairs of people of whom nothing else is asked.

    Raises BadRequest where ``chosen`` asks no such pairs, or somebody of ``questions`` is in them.
    """
    name = "The threshold" if chosen.list is None else printable(chosen.list)
    if not isinstance(chosen.protocol, Verification):
        raise BadRequest(f"{name} must ask of pairs whether they are one person.")
    tested = {who for asked in questions for who in asked.protocol.items.names}
    both = sorted(tested & set(chosen.protocol.items.names))
    if both:
        raise BadRequest(
            f"{name} has {both[0]} and {len(both) - 1} others who are evaluated too; a threshold "
            "is chosen on other people."
        )
    scores = score(chosen.protocol, contender.subject(chosen).scorer).scores
    assert isinstance(scores, np.ndarray)
    found = best_threshold(scores[:, 0], chosen.protocol.same)
    if math.isnan(found):
        raise BadRequest(f"{name} needs pairs of one person and pairs of two.")
    return found


def _reach(
    reached: SystemResult, contender: System, threshold: float | None, asked: Task
) -> Scores:
    """A contender's section on what is asked, and its vectors to be drawn; its scores."""
    subject = dataclasses.replace(contender.subject(asked), threshold=threshold)
    section, scored = examine(asked.protocol, subject)
    reached.sections.append(section)
    title = "" if asked.list is None else asked.list.name
    if title not in reached.materials and isinstance(subject.scorer, VectorScorer):
        reached.materials[title] = _drawn(asked, subject.scorer, subject)
    return scored


def _drawn(asked: Task, scorer: VectorScorer, subject: ScoredSystem) -> EvalItems:
    """The items of a protocol with their vectors, in the order of the items."""
    items = asked.protocol.items
    own = VectorScorer(items.paths, scorer.vectors[scorer.places(items.paths)])
    return EvalItems(items, own, subject.attributes, dict(asked.media))


def _plain(value: Any) -> Any:
    """A value without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
