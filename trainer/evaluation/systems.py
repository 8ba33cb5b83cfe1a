"""Systems that can be evaluated: a model, ready vectors, ready scores, or an index.

A system gives for each task a :class:`ScoredSystem`: a scorer, and what is known about it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from avsearch.calibration import calibrations_of
from avsearch.models import TrainedEmbedder, load_model
from avsearch.models.torch_embedder import TorchEmbedder
from avsearch.runtime.weights import people_of
from indexer.errors import BadRequest, printable
from indexer.open import FOLDER, open_index
from indexer.types import Media, Reranker, Vectors
from trainer.evaluation.batch_audit import Audit, audit_embedder
from trainer.evaluation.build_trials import Task
from trainer.evaluation.items import (
    EvalItems,
    embed_items,
    feature_items,
    file_vectors,
    index_items,
)
from trainer.evaluation.rerank_scorers import SHORTLIST, HeadScorer, PairScorer
from trainer.evaluation.scorers import ReadyScores, VectorScorer
from trainer.evaluation.section import Column, ScoredSystem
from trainer.protocols.score_files import read_scores, shape_of
from trainer.protocols.trials import Protocol as Trials
from trainer.protocols.trials import Retrieval, Verification

MATCHING_HEAD, RE_RANKING = "matching head", "re-ranking"
RE_RANKED = 50_000  # pairs of one protocol; more would take hours
NO_MEDIA = "A model needs media to embed; name them with --media or --features."
_NOT_AUDITED = "Ready scores cannot be audited: whether one depends on its batch is not known."
_FEATURES = (".npz", ".parquet")
_SCORES = (".npy", ".csv", ".txt")


@dataclasses.dataclass(frozen=True, slots=True)
class RunOptions:
    """The device, the number of media that the audit embeds again, and the re-ranker."""

    device: str = "auto"
    sample: int = 40
    reranker: Reranker | None = None


class System(Protocol):
    """A system under evaluation."""

    name: str

    @property
    def trained_on(self) -> Sequence[str]:
        """The people of the training split, as far as they are recorded."""

    def items(self) -> EvalItems | None:
        """Return the system's own labelled items; None where it has none."""

    def score(self, task: Task) -> ScoredSystem:
        """Return the system's scorer for a task; raise BadRequest where it has none."""


class ReadyVectors:
    """A feature file; only the comparison of its vectors can be audited."""

    trained_on: Sequence[str] = ()

    def __init__(self, path: Path, options: RunOptions) -> None:
        self.name = path.name
        self._options = options
        self._items = feature_items(path)

    def items(self) -> EvalItems:
        """Return all rows of the file."""
        return self._items

    def score(self, task: Task) -> ScoredSystem:
        """Return the scorer that compares the vectors."""
        scorer = self._items.scorer
        columns, notes = _reranked(self._options.reranker, task, scorer)
        return ScoredSystem(
            scorer, task.attributes, columns=columns, contents=task.contents, notes=notes
        )


class ListedScores:
    """Files of ready scores, one for each list; they cannot be audited."""

    trained_on: Sequence[str] = ()

    def __init__(self, paths: Sequence[Path], lists: Sequence[Path]) -> None:
        if len(paths) != len(lists):
            raise BadRequest(
                f"Ready scores are of a list's trials, and each list needs its own: there are "
                f"{len(paths)} files of scores and {len(lists)} lists; name lists by --list."
            )
        self.name = ", ".join(path.name for path in paths)
        self._paths = dict(zip(lists, paths, strict=True))
        self._protocols: dict[Path, str] = {}

    def items(self) -> None:
        """Return None: scores belong to a list."""

    def score(self, task: Task) -> ScoredSystem:
        """Return the scores of a list's trials, in the list's order."""
        if task.list is None or task.published is None:
            raise BadRequest("Ready scores are for the trials of a list, by identity.")
        name = self._protocols.setdefault(task.list, task.protocol.name)
        if name != task.protocol.name:
            raise BadRequest(
                f"{printable(task.list)} holds the protocols {name} and {task.protocol.name}; "
                "ready scores need a list of one protocol."
            )
        scores = read_scores(self._paths[task.list], task.published)
        return ScoredSystem(
            ReadyScores(scores if task.selected is None else scores[task.selected]),
            task.attributes,
            contents=task.contents,
            notes=[_NOT_AUDITED],
        )


class Model:
    """A checkpoint, which embeds the media of a task."""

    def __init__(self, address: str | None, options: RunOptions) -> None:
        self.name = Path(address).name if address else "the default model"
        self._options = options
        self._embedder = load_model(address, options.device)
        self._audits: dict[int, tuple[Mapping[str, Media], Audit]] = {}
        self._vectors: dict[str, Vectors] = {}  # by item name

    @property
    def trained_on(self) -> list[str]:
        """The people of its training split."""
        return people_of(self._embedder.record, "train")

    def items(self) -> None:
        """Return None: a model has no items of its own."""

    def score(self, task: Task) -> ScoredSystem:
        """Embed the media of a task and audit the embedder.

        An item of several lists is embedded once, and a set of media is audited once.
        """
        if not task.media:
            raise BadRequest(NO_MEDIA)
        paths = task.protocol.items.paths
        new = [path for path in paths if path not in self._vectors]
        embedded = embed_items(new, task.media, self._embedder)
        self._vectors |= dict(zip(new, embedded.vectors, strict=True))
        scorer = VectorScorer(paths, np.array([self._vectors[path] for path in paths]))
        audited = self._audits.get(id(task.media))
        if audited is None:
            media = list(task.media.values())
            audited = task.media, audit_embedder(self._embedder, media, sample=self._options.sample)
            self._audits[id(task.media)] = audited  # holds the media, so that the id stays theirs
        return _scored_by_model(task, scorer, self._embedder, audited[1], self._options)


class IndexOnDisk:
    """An index: its stored vectors, and its model to audit them by."""

    def __init__(self, location: Path | None, model: str | None, options: RunOptions) -> None:
        self.name = "the index's own"
        if location is not None:
            folder = location.resolve()
            own = folder.parent.name if folder.name == FOLDER else folder.name
            self.name = printable(Path(own))
        self._options = options
        with open_index(location) as index:
            self._items = index_items(index)
            address = model or index.notes().get("model") or None
            self._embedder = load_model(address, options.device)
            if self._embedder.space != index.space:
                raise BadRequest("This is not the model of the index; name that with --model.")

    @functools.cached_property
    def _audit(self) -> Audit:
        """The audit of the model on the index's media; made only when a task needs it."""
        media = list(self._items.media.values())
        return audit_embedder(self._embedder, media, sample=self._options.sample)

    @property
    def trained_on(self) -> list[str]:
        """The people of the model's training split."""
        return people_of(self._embedder.record, "train")

    def items(self) -> EvalItems:
        """Return all items of the index."""
        return self._items

    def score(self, task: Task) -> ScoredSystem:
        """Return the scorer that compares the stored vectors.

        For a list, the vector of a file is the mean of the vectors of its items.
        """
        scorer = self._items.scorer
        if task.list is not None:
            scorer = file_vectors(self._items, task.protocol.items, task.media)
        return _scored_by_model(task, scorer, self._embedder, self._audit, self._options)


def system_of(text: str, lists: Sequence[Path], model: str | None, options: RunOptions) -> System:
    """Return the system of a name: an index folder, a file of vectors or scores, or a model.

    Args:
        text: A path, or the name of a model.
        lists: The lists of the evaluation; empty where protocols are generated.
        model: The model of an index whose own has moved.
        options: How the system runs.

    Raises:
        BadRequest: The system cannot be read.
    """
    path = Path(text)
    if path.is_dir():
        return IndexOnDisk(path, model, options)
    if path.suffix in _FEATURES or (path.suffix == ".safetensors" and _holds_vectors(path)):
        return ReadyVectors(path, options)
    if path.suffix in _SCORES:
        return ListedScores([path], lists)
    return Model(text, options)


def _scored_by_model(
    task: Task, scorer: VectorScorer, embedder: TrainedEmbedder, audit: Audit, options: RunOptions
) -> ScoredSystem:
    columns, notes = _reranked(options.reranker, task, scorer)
    # Lists may call one person by two names.
    trained_on, chosen_on = (
        [task.people.name(name) for name in people_of(embedder.record, split)]
        for split in ("train", "validation")
    )
    return ScoredSystem(
        scorer,
        task.attributes,
        trained_on,
        chosen_on,
        audit,
        columns=[*_matching_head(embedder, task, scorer), *columns],
        contents=task.contents,
        notes=notes,
        calibrations=calibrations_of(embedder.record),
    )


def _matching_head(embedder: TrainedEmbedder, task: Task, scorer: VectorScorer) -> list[Column]:
    """The column of the model's matching head, for trials of several candidates."""
    if isinstance(task.protocol, Verification | Retrieval):
        return []
    if not isinstance(embedder, TorchEmbedder) or not hasattr(embedder.network, "match"):
        return []  # a model with a matching head runs in torch
    head = HeadScorer(embedder.network, embedder.device, scorer)
    return [Column(MATCHING_HEAD, head, alone=False)]


def _reranked(
    reranker: Reranker | None, task: Task, scorer: VectorScorer
) -> tuple[list[Column], list[str]]:
    """The column of a re-ranker, or a note that says why there is none."""
    if reranker is None:
        return [], []
    trials, candidates = shape_of(task.protocol)
    if isinstance(task.protocol, Retrieval):
        candidates = min(candidates, SHORTLIST)
    pairs = trials * candidates
    if not task.media:
        return [], ["Re-ranking is left out: it needs the media themselves, by --media."]
    if _within_one_modality(task.protocol):
        return [], ["Re-ranking is left out: it compares faces with voices."]
    if pairs > RE_RANKED:
        return [], [f"Re-ranking is left out: {pairs} pairs are more than {RE_RANKED}."]
    return [Column(RE_RANKING, PairScorer(reranker, task.media, scorer))], []


def _within_one_modality(protocol: Trials) -> bool:
    """Return True where a probe and one of its candidates are both faces or both voices."""
    faces = np.array([each == "face" for each in protocol.items.modalities])
    if isinstance(protocol, Retrieval):
        return bool(np.isin(faces[protocol.queries], faces[protocol.gallery]).any())
    if isinstance(protocol, Verification):
        return bool((faces[protocol.first] == faces[protocol.second]).any())
    return bool((faces[protocol.probes, None] == faces[protocol.candidates]).any())


def _holds_vectors(path: Path) -> bool:
    """Return True where a safetensors file holds features, not a checkpoint."""
    try:
        with safe_open(path, framework="numpy") as file:
            return bool({"faces", "voices"} & set(file.keys()))
    except (SafetensorError, OSError):
        return False  # the model's reader says what is wrong with it
