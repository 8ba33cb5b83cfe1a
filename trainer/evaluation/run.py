"""From an evaluation request to a report: ``avsearch evaluate`` as one call."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

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
    Task,
    TrialLists,
    generate_tasks,
    people_groups,
    read_unlabelled,
    require_known,
)
from trainer.evaluation.compare import differences
from trainer.evaluation.items import EvalItems, embed_items, feature_items, index_items, media_under
from trainer.evaluation.metrics import best_threshold
from trainer.evaluation.results import Comparison, EvalRequest, Report, SystemResult
from trainer.evaluation.score import Scores, score
from trainer.evaluation.scorers import VectorScorer
from trainer.evaluation.section import evaluate_protocol
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


def run(
    request: EvalRequest,
    on_progress: Callable[[int, int], None] | None = None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Report:
    """Evaluate one system, or compare two.

    Args:
        request: The systems and the trials.
        on_progress: Called after every protocol with the number of protocols done, and of all.
        on_warning: Called before anything is embedded, for each protocol that is left out because
            the items have too few people.

    Raises:
        BadRequest: The request cannot be evaluated.
    """
    require_known(request.protocols, request.trained)
    notes: list[str] = []
    systems = _systems(request)
    tasks = _tasks(request, systems, notes)
    for note in notes:
        on_warning(note)
    thresholds = _thresholds(request, systems, tasks)
    results = [SystemResult(each.name, [], {}) for each in systems]
    comparisons = []
    for done, task in enumerate(tasks, 1):
        with timed(logger, f"evaluated {task.protocol.name}"):
            scores = [
                _add_result(*each, task) for each in zip(results, systems, thresholds, strict=True)
            ]
        if len(scores) == 2:
            valid = all(each.sections[-1].valid for each in results)
            comparisons.append(Comparison(task.protocol.name, valid, differences(*scores)))
        if on_progress is not None:
            on_progress(done, len(tasks))
    return Report(request, ["avsearch", *sys.argv[1:]], results, comparisons, notes)


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into a folder.

    Raises:
        LibraryUnusable: A library that draws the page is missing or does not load; then only
            ``report.json`` is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = report.as_json()
    text = json.dumps(values, ensure_ascii=False, indent=1, default=str, allow_nan=False)
    with replacing(folder / "report.json") as partial:
        partial.write_text(text, encoding="utf-8")
    try:
        from trainer.evaluation.report.html import write_page_of
    except Exception as error:
        if (failure := load_failure(error)) is None:
            raise
        raise LibraryUnusable(f"report.json is written, but no page: {failure}") from error
    write_page_of(report, folder / "report.html")


def submit(request: EvalRequest, path: Path) -> tuple[int, Audit]:
    """Score the trials of a FAME list, and write the submission file.

    Returns:
        The number of trials, and the audit of the embedder.

    Raises:
        BadRequest: The request is anything but one such list with its media or vectors.
    """
    if len(request.lists) != 1 or request.scores or request.compare:
        raise BadRequest("A submission needs one list, scored by a model or by vectors.")
    trials = read_unlabelled(request.lists[0], request.tables)
    if request.features is not None:
        scorer, audit = feature_items(request.features).scorer, Audit([])
    elif request.media is None:
        raise BadRequest(NO_MEDIA)
    else:
        media = media_under(request.media, trials.items)
        embedder = load_model(request.model, request.device)
        scorer = embed_items(trials.items.paths, media, embedder)
        audit = audit_embedder(embedder, list(media.values()), sample=request.sample)
    names = trials.items.paths
    voices, faces = ([names[at] for at in side] for side in (trials.voices, trials.faces))
    write_submission(path, trials, scorer.score(voices, [[face] for face in faces])[:, 0])
    return len(trials.ids), audit


def _systems(request: EvalRequest) -> list[System]:
    reranker = load_reranker(request.rerank, request.device) if request.rerank else None
    options = RunOptions(request.device, request.sample, reranker)
    if request.compare:
        if request.features or request.scores or len(set(request.compare)) != 2:
            raise BadRequest("--compare names both systems; give it two names, and no others.")
        found = [system_of(each, request.lists, request.model, options) for each in request.compare]
        if found[0].name == found[1].name:
            for each, name in zip(found, request.compare, strict=True):
                each.name = name
        return found
    if request.features is not None and (request.model or request.index):
        raise BadRequest("Ready features need no model or index; leave those out.")
    if request.scores and (request.features or request.model or request.index):
        raise BadRequest("Ready scores need no features, model or index; leave those out.")
    if request.scores:
        return [ListedScores(request.scores, request.lists)]
    if request.features is not None:
        return [ReadyVectors(request.features, options)]
    if request.lists and request.index is None:
        return [Model(request.model, options)]
    return [IndexOnDisk(request.index, request.model, options)]


def _tasks(request: EvalRequest, systems: Sequence[System], notes: list[str]) -> list[Task]:
    """Read the lists, or generate protocols from the items that all systems have.

    Add to ``notes`` each protocol that cannot be generated.
    """
    if request.lists:
        if request.trained != (EVERYBODY,):
            raise BadRequest("--trained selects people of generated protocols; leave it out.")
        return TrialLists(
            request.lists,
            request.tables,
            request.media,
            request.answers,
            request.without_same_recording,
        ).tasks()
    items = _common_items(request, systems)
    names = [items.items.names[who] for who in set(items.items.people.tolist())]
    trained_on = [name for each in systems for name in each.trained_on]
    groups = people_groups(request.trained, names, trained_on)
    return generate_tasks(
        items, dataclasses.replace(request.protocols, groups=groups), notes.append
    )


def _common_items(request: EvalRequest, systems: Sequence[System]) -> EvalItems:
    """The labelled items that every system has; a model can embed any."""
    own = [items for each in systems if (items := each.items()) is not None]
    if not own:
        with open_index(request.index) as index:
            return index_items(index)
    paths = frozenset.intersection(*(frozenset(each.items.paths) for each in own))
    if not paths:
        raise BadRequest(
            "The two systems have no item in common: indexes must be of the same gallery, and "
            "vectors must have the same names."
        )
    return own[0] if len(paths) == len(own[0].items) else own[0].restrict(paths)


def _thresholds(
    request: EvalRequest, systems: Sequence[System], tasks: Sequence[Task]
) -> list[float | None]:
    """Each system's threshold, from the list of pairs of other people; None without a list."""
    if request.threshold_list is None:
        return [None] * len(systems)
    (pairs,) = TrialLists((request.threshold_list,), request.tables, request.media).tasks()
    return [choose_threshold(system, pairs, tasks) for system in systems]


def choose_threshold(system: System, pairs: Task, tasks: Sequence[Task]) -> float:
    """Return a system's best threshold on verification pairs of people who are not tested.

    Raises:
        BadRequest: ``pairs`` are not verification pairs, lack one of the two kinds, or share a
            person with ``tasks``.
    """
    name = "The threshold list" if pairs.list is None else printable(pairs.list)
    if not isinstance(pairs.protocol, Verification):
        raise BadRequest(f"{name} must hold pairs, each of one person or of two.")
    tested = {who for task in tasks for who in task.protocol.items.names}
    both = sorted(tested & set(pairs.protocol.items.names))
    if both:
        raise BadRequest(
            f"{name} has {both[0]} and {len(both) - 1} others who are evaluated too; a threshold "
            "is chosen on other people."
        )
    scores = score(pairs.protocol, system.score(pairs).scorer).values
    assert isinstance(scores, np.ndarray)
    threshold = best_threshold(scores[:, 0], pairs.protocol.same)
    if math.isnan(threshold):
        raise BadRequest(f"{name} needs pairs of one person and pairs of two.")
    return threshold


def _add_result(
    result: SystemResult, system: System, threshold: float | None, task: Task
) -> Scores:
    """Add a system's section on a task, and its vectors to plot; return its scores."""
    scored = dataclasses.replace(system.score(task), threshold=threshold)
    section, scores = evaluate_protocol(task.protocol, scored)
    result.sections.append(section)
    title = "" if task.list is None else task.list.name
    if title not in result.items and isinstance(scored.scorer, VectorScorer):
        items, scorer = task.protocol.items, scored.scorer
        own = VectorScorer(items.paths, scorer.vectors[scorer.places(items.paths)])
        result.items[title] = EvalItems(items, own, scored.attributes, dict(task.media))
    return scores
