"""Asking an index: media or a person in, hits out; then, if wanted, a re-ranker's order.

Needs no torch: whoever embeds and re-ranks is handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avsearch.evidence import Calibration, Evidence, direction
from indexer.errors import BadRequest, RefusedFile
from indexer.index import Found, Index
from indexer.records import Item
from indexer.types import MODALITIES, Box, Embedder, Media, Modality, Reranker, Vectors
from indexer.vectors import Plan

Want = Literal["face", "voice", "any"]
By = Literal["person", "item"]


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """One answer. ``score`` is the embedding score, larger is nearer; ``rank`` counts from 1.

    ``evidence`` is what the score is worth, where the searcher has a calibration for it.
    """

    rank: int
    person: str
    name: str | None
    modality: Modality
    path: Path
    start_s: float
    end_s: float | None
    box: Box | None
    score: float
    rerank_score: float | None
    attributes: Mapping[str, str | None]
    evidence: Evidence | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What an index was asked with: a stretch of a file, or a person of the index."""

    path: Path | None
    person: str | None
    modality: Modality
    start_s: float
    end_s: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """The hits, what was asked, and how the search went about it."""

    asked: Asked
    want: Want
    hits: list[Hit]
    plan: Plan


class Searcher:
    """Retrieves by embedding, then re-ranks a short list.

    ``index`` and ``embedder`` must be of one space; ForeignSpace otherwise. Without an embedder
    only people of the index can be asked with. ``shortlist`` is how many hits the re-ranker sees;
    it compares them with the longest stretch of speech or the largest face asked with.
    ``approximate`` asks the index's approximate one, as :meth:`indexer.index.Index.search`.
    ``calibrations`` say by direction what a score is worth (:mod:`avsearch.evidence`).
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        shortlist: int = 100,
        *,
        approximate: bool = False,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        if embedder is not None:
            index.check_space(embedder.space)
        self.index = index
        self.embedder = embedder
        self.reranker = reranker
        self.shortlist = shortlist
        self.approximate = approximate
        self.calibrations = calibrations or {}

    def search(
        self,
        question: Media | Sequence[Media] | str,
        top: int = 10,
        want: Want | None = None,
        where: Mapping[str, str] | None = None,
        by: By = "person",
    ) -> list[Hit]:
        """The ``top`` hits for media, for several media of one person, or for a person's ID.

        ``want`` is the modality of the hits, by default the one that was not asked with;
        ``where`` filters by attributes, such as ``{"gender": "f"}``; ``by`` person gives the
        best item of each person. Raises RefusedFile for media that cannot be read and
        BadRequest for a person, attribute or number that cannot be.
        """
        return self.answer(question, top, want, where, by).hits

    def answer(
        self,
        question: Media | Sequence[Media] | str,
        top: int = 10,
        want: Want | None = None,
        where: Mapping[str, str] | None = None,
        by: By = "person",
    ) -> Answer:
        """As :meth:`search`, with what was asked and the plan of the search."""
        if isinstance(question, str):
            if self.reranker is not None:
                raise BadRequest(
                    "A re-ranker compares with a face or a voice; ask with media, not with a "
                    "person."
                )
            asked, vector = self._person(question, want)
            return self._answers([asked], [[]], [vector], top, want, where, by)[0]
        (answer,) = self.answer_many([question], top, want, where, by)
        if isinstance(answer, RefusedFile):
            raise answer
        return answer

    def search_many(
        self,
        questions: Sequence[Media | Sequence[Media]],
        top: int = 10,
        want: Want | None = None,
        where: Mapping[str, str] | None = None,
        by: By = "person",
    ) -> list[list[Hit]]:
        """As :meth:`search` for each of many questions, embedded and sought together.

        Raises RefusedFile for the first that cannot be read; :meth:`answer_many` goes on.
        """
        answers = self.answer_many(questions, top, want, where, by)
        for answer in answers:
            if isinstance(answer, RefusedFile):
                raise answer
        return [answer.hits for answer in answers if isinstance(answer, Answer)]

    def answer_many(
        self,
        questions: Sequence[Media | Sequence[Media]],
        top: int = 10,
        want: Want | None = None,
        where: Mapping[str, str] | None = None,
        by: By = "person",
    ) -> list[Answer | RefusedFile]:
        """As :meth:`answer` for each of many questions, in their order.

        In place of the answer to a question that cannot be read stands why.
        """
        asked_with = [[each] if isinstance(each, Media) else list(each) for each in questions]
        for media in asked_with:
            if not media:
                raise BadRequest("Nothing was asked with; give media or the ID of a person.")
        means = self._embed(asked_with)
        taken = [at for at, mean in enumerate(means) if not isinstance(mean, RefusedFile)]
        found = iter(
            self._answers(
                [_asked(asked_with[at]) for at in taken],
                [asked_with[at] for at in taken],
                [mean for mean in means if not isinstance(mean, RefusedFile)],
                top,
                want,
                where,
                by,
            )
        )
        return [mean if isinstance(mean, RefusedFile) else next(found) for mean in means]

    def search_vectors(
        self,
        vectors: Vectors,
        top: int = 10,
        want: Want = "any",
        where: Mapping[str, str] | None = None,
        by: By = "person",
    ) -> list[list[Hit]]:
        """The ``top`` hits for each of (q, dim) vectors of the index's space, or one (dim,).

        No model is needed and no re-ranker asked. Raises BadRequest for vectors of another size
        or not finite.
        """
        queries = np.atleast_2d(np.asarray(vectors, np.float32))
        return [_hits(found) for found in self._find(queries, top, want, where, by).hits]

    def _answers(
        self,
        asked: Sequence[Asked],
        media: Sequence[Sequence[Media]],
        queries: Sequence[Vectors],
        top: int,
        want: Want | None,
        where: Mapping[str, str] | None,
        by: By,
    ) -> list[Answer]:
        """The answers to vectors (1, dim) each; those that want the same are sought together."""
        wanted = [want or _other(each.modality) for each in asked]
        answers: dict[int, Answer] = {}
        for one in dict.fromkeys(wanted):
            places = [at for at, other in enumerate(wanted) if other == one]
            depth = max(top, self.shortlist) if self.reranker else top
            together = np.concatenate([queries[at] for at in places])
            found = self._find(together, depth, one, where, by)
            for at, pairs in zip(places, found.hits, strict=True):
                hits = _hits(pairs)
                if self.reranker is not None and hits:
                    hits = self._reranked(self.reranker, max(media[at], key=_size), hits)
                hits = self._weighed(hits[:top], asked[at].modality, one, where)
                answers[at] = Answer(asked[at], one, hits, found.plan)
        return [answers[at] for at in range(len(asked))]

    def _weighed(
        self, hits: list[Hit], asked: Modality, want: Want, where: Mapping[str, str] | None
    ) -> list[Hit]:
        """Hits with what their scores are worth among the people who could have answered."""
        if not self.calibrations or not hits:
            return hits
        modality = None if want == "any" else want
        people = self.index.count_people(modality=modality, where=where)
        return [_with_evidence(hit, asked, people, self.calibrations) for hit in hits]

    def _find(
        self, queries: Vectors, top: int, want: Want, where: Mapping[str, str] | None, by: By
    ) -> Found:
        modality = None if want == "any" else want
        return self.index.search(
            queries, top, modality=modality, where=where, by=by, approximate=self.approximate
        )

    def _embed(self, questions: Sequence[Sequence[Media]]) -> list[Vectors | RefusedFile]:
        """The mean vector of the media of each question, (1, dim), or why there is none."""
        if self.embedder is None:
            raise BadRequest("Asking with media needs a model: Searcher(index, load_model()).")
        embedded = self.embedder.embed([media for asked in questions for media in asked])
        means: list[Vectors | RefusedFile] = []
        first = 0
        for asked in questions:
            places = range(first, first + len(asked))
            taken = [place for place in places if place not in embedded.refusals]
            if taken:
                means.append(_mean(embedded.vectors[taken]))
            else:
                means.append(RefusedFile(asked[0].path, embedded.refusals[first]))
            first += len(asked)
        return means

    def _person(self, key: str, want: Want | None) -> tuple[Asked, Vectors]:
        """A person's mean vector, of the modality that was not asked for where they have it."""
        first: Modality = "face" if want == "voice" else "voice"
        for modality in (first, _other(first)):
            _, vectors = self.index.vectors_of(key, modality)
            if len(vectors):
                return Asked(None, key, modality, 0.0, None), _mean(vectors)
        raise BadRequest(f"{key} has no faces and no voices in this index.")

    def _reranked(self, reranker: Reranker, query: Media, hits: list[Hit]) -> list[Hit]:
        """The short list in the re-ranker's order, then the hits behind it as they were.

        Those of the short list that have no score, being unreadable by now, come last in it.
        """
        short, rest = hits[: self.shortlist], hits[self.shortlist :]
        candidates = [Media(h.path, h.modality, h.start_s, h.end_s, h.box) for h in short]
        scores = reranker.score(query, candidates)
        order = np.argsort(-scores, kind="stable")  # NaN goes last
        ordered = [
            dataclasses.replace(short[place], rerank_score=_finite(scores[place]))
            for place in order
        ]
        return [
            dataclasses.replace(hit, rank=rank) for rank, hit in enumerate([*ordered, *rest], 1)
        ]


def choose_question(media: Sequence[Media]) -> list[Media]:
    """What of a file to ask with: all of its speech where there is some, else its largest face.

    A file is taken to show one person: its stretches of speech are asked with together.
    """
    voices = [item for item in media if item.modality == "voice"]
    return voices or [max(media, key=_area)]


def _area(face: Media) -> float:
    box = face.box
    return np.inf if box is None else (box.right - box.left) * (box.bottom - box.top)


def _size(item: Media) -> float:
    """How much of a person one medium of a question shows: its length, or the face's area."""
    if item.modality == "face":
        return _area(item)
    if item.data is not None:
        return float(item.data.size)
    return np.inf if item.end_s is None else item.end_s - item.start_s


def _with_evidence(
    hit: Hit, asked: Modality, people: int, calibrations: Mapping[str, Calibration]
) -> Hit:
    calibration = calibrations.get(direction(asked, hit.modality))
    if calibration is None:
        return hit
    ratio = float(calibration(np.array(hit.score)))
    return dataclasses.replace(hit, evidence=Evidence.of(ratio, people))


def _finite(score: np.float32) -> float | None:
    return float(score) if np.isfinite(score) else None


def _asked(media: Sequence[Media]) -> Asked:
    ends = [item.end_s for item in media]
    return Asked(
        path=media[0].path,
        person=None,
        modality=media[0].modality,
        start_s=min(item.start_s for item in media),
        end_s=None if None in ends else max(end for end in ends if end is not None),
    )


def _mean(vectors: Vectors) -> Vectors:
    return np.asarray(vectors.mean(0, keepdims=True), np.float32)


def _other(modality: Modality) -> Modality:
    return MODALITIES[1 - MODALITIES.index(modality)]


def _hits(found: Sequence[tuple[Item, float]]) -> list[Hit]:
    return [_hit(rank, item, score) for rank, (item, score) in enumerate(found, 1)]


def _hit(rank: int, item: Item, score: float) -> Hit:
    person = item.person
    attributes: dict[str, Any] = {
        "gender": person.gender,
        "nationality": person.nationality,
        **person.attributes,
    }
    return Hit(
        rank=rank,
        person=person.key,
        name=person.name,
        modality=item.modality,
        path=item.path,
        start_s=item.start_s,
        end_s=item.end_s,
        box=item.box,
        score=score,
        rerank_score=None,
        attributes=attributes,
    )
