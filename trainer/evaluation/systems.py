"""Who can be evaluated: a model, ready vectors, ready scores, or an index.

A contender makes of what is asked a subject: scores, and what is known of where they come from.
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
from indexer.index import Index
from indexer.open import FOLDER, open_index
from indexer.types import Media, Reranker, Vectors
from trainer.evaluation.batch_audit import Audit, audit_embedder
from trainer.evaluation.build_trials import Task
from trainer.evaluation.items import EvalItems, by_file, embedded, material_of, material_of_features
from trainer.evaluation.rerank_scorers import SHORTLIST, HeadScorer, PairScorer
from trainer.evaluation.scorers import ReadyScores, VectorScorer
from trainer.evaluation.section import Column, ScoredSystem
from trainer.protocols.score_files import read_scores, shape_of
from trainer.protocols.trials import Items, Retrieval, Verification
from trainer.protocols.trials import Protocol as Trials
from trainer.protocols.voxceleb_people import People

MATCHING_HEAD, RE_RANKING = "matching head", "re-ranking"
RE_RANKED = 50_000  # pairs of one protocol; more would take hours
NO_MEDIA = "A model needs media to embed; name them with --media or --features."
_NOT_AUDITED = "Scores alone cannot be audited: whether one depends on its batch is not known."
_FEATURES = (".npz", ".parquet")
_SCORES = (".npy", ".csv", ".txt")


@dataclasses.dataclass(frozen=True, slots=True)
class RunOptions:
    """What models run with, and how much of their work is asked again."""

    device: str = "auto"
    sample: int = 40  # media that are embedded again
    reranker: Reranker | None = None


class System(Protocol):
    """Somebody who is evaluated."""

    name: str

    @property
    def trained_on(self) -> Sequence[str]:
        """The people of the training, as far as it is recorded."""

    def material(self) -> EvalItems | None:
        """Labelled media of its own, of which protocols can be made; None where it has none."""

    def subject(self, asked: Task) -> ScoredSystem:
        """Its scores of what is asked; BadRequest where it has none."""


class ReadyVectors:
    """A feature file; how its vectors were computed cannot be audited, only how they compare."""

    trained_on: Sequence[str] = ()

    def __init__(self, path: Path, means: RunOptions) -> None:
        self.name = path.name
        self._means = means
        self._material = material_of_features(path)

    def material(self) -> EvalItems:
        """All of its rows."""
        return self._material

    def subject(self, asked: Task) -> ScoredSystem:
        """The comparison of its vectors."""
        scorer = self._material.scorer
        columns, notes = _re_ranked(self._means.reranker, asked, scorer)
        return ScoredSystem(
            scorer,
            asked.attributes,
            columns=columns,
            contents=asked.contents,
            notes=notes,
        )


class ListedScores:
    """Files of ready scores, one for each list; scores alone cannot be audited."""

    trained_on: Sequence[str] = ()

    def __init__(self, paths: Sequence[Path], lists: Sequence[Path]) -> None:
        if len(paths) != len(lists):
            raise BadRequest(
                f"Ready scores are of a list's trials, and each list needs its own: there are "
                f"{len(paths)} files of scores and {len(lists)} lists; name lists by --list."
            )
        self.name = ", ".join(path.name for path in paths)
        self._paths = dict(zip(lists, paths, strict=True))
        self._answered: dict[Path, str] = {}

    def material(self) -> None:
        """None: scores are of a list."""

    def subject(self, asked: Task) -> ScoredSystem:
        """The scores of a list's trials, in their order."""
        if asked.list is None or asked.published is None:
            raise BadRequest(
                "Ready scores are of a list's trials by identity, and of nothing else."
            )
        name = self._answered.setdefault(asked.list, asked.protocol.name)
        if name != asked.protocol.name:
            raise BadRequest(
                f"{printable(asked.list)} asks {name} and {asked.protocol.name}; its scores would "
                "be of one of them, and it cannot be said which."
            )
        scores = read_scores(self._paths[asked.list], asked.published)
        return ScoredSystem(
            ReadyScores(scores if asked.kept is None else scores[asked.kept]),
            asked.attributes,
            contents=asked.contents,
            notes=[_NOT_AUDITED],
        )


class Model:
    """A checkpoint, which embeds the media of what is asked."""

    def __init__(self, address: str | None, means: RunOptions) -> None:
        self.name = Path(address).name if address else "the default model"
        self._means = means
        self._embedder = load_model(address, means.device)
        self._audits: dict[int, tuple[Mapping[str, Media], Audit]] = {}
        self._known: dict[str, Vectors] = {}

    @property
    def trained_on(self) -> list[str]:
        """The people of its training side."""
        return people_of(self._embedder.record, "train")

    def material(self) -> None:
        """None: a model has no media."""

    def subject(self, asked: Task) -> ScoredSystem:
        """Its embeddings of the media, audited."""
        if not asked.media:
            raise BadRequest(NO_MEDIA)
        scorer = self._scorer(asked)
        return _audited_subject(asked, scorer, self._embedder, self._audit(asked), self._means)

    def _scorer(self, asked: Task) -> VectorScorer:
        """Vectors of a protocol's items; an item of several lists is embedded once."""
        items = asked.protocol.items
        new = [at for at, path in enumerate(items.paths) if path not in self._known]
        paths = [items.paths[at] for at in new]
        found = embedded(paths, asked.media, self._embedder)
        self._known |= dict(zip(paths, found.vectors, strict=True))
        return VectorScorer(items.paths, np.array([self._known[path] for path in items.paths]))

    def _audit(self, asked: Task) -> Audit:
        """What embedding these media again found; asked once of a set of media."""
        known = self._audits.get(id(asked.media))
        if known is None:
            media = list(asked.media.values())
            known = asked.media, audit_embedder(self._embedder, media, sample=self._means.sample)
            self._audits[id(asked.media)] = known
        return known[1]


class IndexOnDisk:
    """An index: its vectors as they are, and its model to audit them by."""

    def __init__(self, location: Path | None, model: str | None, means: RunOptions) -> None:
        self.name = "the index's own" if location is None else _called_after(location)
        self._means = means
        with open_index(location) as index:
            self._material = material_of(index)
            self._embedder = _own_model(index, model, means.device)

    @functools.cached_property
    def _audit(self) -> Audit:
        """What embedding its media again found; made once it is known what is asked."""
        media = list(self._material.media.values())
        return audit_embedder(self._embedder, media, sample=self._means.sample)

    @property
    def trained_on(self) -> list[str]:
        """The people of the model's training side."""
        return people_of(self._embedder.record, "train")

    def material(self) -> EvalItems:
        """All of its items."""
        return self._material

    def subject(self, asked: Task) -> ScoredSystem:
        """The comparison of its vectors; of a list, each file's are those of its items."""
        scorer = self._material.scorer
        if asked.list is not None:
            scorer = by_file(self._material, asked.protocol.items, asked.media)
        return _audited_subject(asked, scorer, self._embedder, self._audit, self._means)


def system_of(text: str, lists: Sequence[Path], model: str | None, means: RunOptions) -> System:
    """Who is meant by a name: the folder of an index, a file of vectors or scores, or a model.

    ``lists`` are what is asked, if lists are, and ``model`` is for an index whose own has moved.
    Raises BadRequest as each of them does.
    """
    path = Path(text)
    if path.is_dir():
        return IndexOnDisk(path, model, means)
    if path.suffix in _FEATURES or (path.suffix == ".safetensors" and _holds_vectors(path)):
        return ReadyVectors(path, means)
    if path.suffix in _SCORES:
        return ListedScores([path], lists)
    return Model(text, means)


def _called_after(location: Path) -> str:
    """An index by the name of its folder, or of the folder it lies in."""
    folder = location.resolve()
    return printable(Path(folder.parent.name if folder.name == FOLDER else folder.name))


def _own_model(index: Index, address: str | None, device: str) -> TrainedEmbedder:
    embedder = load_model(address or index.notes().get("model") or None, device)
    if embedder.space != index.space:
        raise BadRequest("The model at hand is not the index's own; name that with --model.")
    return embedder


def _audited_subject(
    asked: Task, scorer: VectorScorer, embedder: TrainedEmbedder, found: Audit, means: RunOptions
) -> ScoredSystem:
    """Vectors of a model whose record and whose further ways to score are at hand."""
    columns, notes = _re_ranked(means.reranker, asked, scorer)
    return ScoredSystem(
        scorer,
        asked.attributes,
        _called(people_of(embedder.record, "train"), asked.people),
        _called(people_of(embedder.record, "validation"), asked.people),
        found,
        columns=[*_head(embedder, asked, scorer), *columns],
        contents=asked.contents,
        notes=notes,
        calibrations=calibrations_of(embedder.record),
    )


def _called(names: Sequence[str], people: People) -> list[str]:
    """People as the lists have them, who call one person by two names."""
    return [people.name(name) for name in names]


def _head(embedder: TrainedEmbedder, asked: Task, scorer: VectorScorer) -> list[Column]:
    """The model's matching head, for trials of several candidates."""
    matched = not isinstance(asked.protocol, Verification | Retrieval)
    if not matched or not isinstance(embedder, TorchEmbedder):
        return []  # a model that has one is run by torch
    if not hasattr(embedder.network, "match"):
        return []
    head = HeadScorer(embedder.network, embedder.device, scorer)
    return [Column(MATCHING_HEAD, head, alone=False)]


def _re_ranked(
    reranker: Reranker | None, asked: Task, scorer: VectorScorer
) -> tuple[list[Column], list[str]]:
    """The column of a re-ranker, or why there is none."""
    if reranker is None:
        return [], []
    pairs = _pairs(asked.protocol)
    if not asked.media:
        return [], ["Re-ranking is left out: it needs the media themselves, by --media."]
    if _within_one_modality(asked.protocol):
        return [], ["Re-ranking is left out: it compares faces with voices."]
    if pairs > RE_RANKED:
        return [], [f"Re-ranking is left out: {pairs} pairs are more than {RE_RANKED}."]
    return [Column(RE_RANKING, PairScorer(reranker, asked.media, scorer))], []


def _pairs(protocol: Trials) -> int:
    trials, candidates = shape_of(protocol)
    return trials * (min(candidates, SHORTLIST) if isinstance(protocol, Retrieval) else candidates)


def _within_one_modality(protocol: Trials) -> bool:
    """Whether some question and its first answer are both faces or both voices."""
    items: Items = protocol.items
    faces = np.array([each == "face" for each in items.modalities])
    if isinstance(protocol, Retrieval):
        return bool(np.isin(faces[protocol.queries], faces[protocol.gallery]).any())
    if isinstance(protocol, Verification):
        return bool((faces[protocol.first] == faces[protocol.second]).any())
    return bool((faces[protocol.probes, None] == faces[protocol.candidates]).any())


def _holds_vectors(path: Path) -> bool:
    """Whether a safetensors file is one of features and no checkpoint."""
    try:
        with safe_open(path, framework="numpy") as file:
            return bool({"faces", "voices"} & set(file.keys()))
    except (SafetensorError, OSError):
        return False  # the model's reader says what is wrong with it
