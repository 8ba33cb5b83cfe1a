"""Asking an index: media or a person in, hits out; then, if wanted, a re-ranker's order.

Needs no torch: whoever embeds and re-ranks is handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from indexer.errors import BadRequest, RefusedFile
from indexer.index import Index
from indexer.records import Item
from indexer.types import MODALITIES, Box, Embedder, Media, Modality, Reranker, Vectors
from indexer.vectors import Plan

Want = Literal["face", "voice", "any"]
By = Literal["person", "item"]


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """One answer. ``score`` is the embedding score, larger is nearer; ``rank`` counts from 1."""

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
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        shortlist: int = 100,
    ) -> None:
        if embedder is not None:
            index.check_space(embedder.space)
        self.index = index
        self.embedder = embedder
        self.reranker = reranker
        self.shortlist = shortlist

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
        media = [question] if isinstance(question, Media) else question
        if not media and not isinstance(media, str):
            raise BadRequest("Nothing was asked with; give media or the ID of a person.")
        if self.reranker is not None and isinstance(media, str):
            raise BadRequest(
                "A re-ranker compares with a face or a voice; ask with media, not with a person."
            )
        if isinstance(media, str):
            asked, vector = self._person(media, want)
        else:
            asked, vector = _asked(media), self._embed(media)
        want = want or _other(asked.modality)
        found = self.index.search(
            vector,
            max(top, self.shortlist) if self.reranker else top,
            modality=None if want == "any" else want,
            where=where,
            by=by,
        )
        hits = [_hit(rank, item, score) for rank, (item, score) in enumerate(found.hits[0], 1)]
        if self.reranker is not None and hits and not isinstance(media, str):
            hits = self._reranked(self.reranker, max(media, key=_size), hits)
        return Answer(asked, want, hits[:top], found.plan)

    def _embed(self, media: Sequence[Media]) -> Vectors:
        """The mean vector of media of one person, (1, dim)."""
        if self.embedder is None:
            raise BadRequest("Asking with media needs a model: Searcher(index, load_model()).")
        embedded = self.embedder.embed(media)
        taken = [place for place in range(len(media)) if place not in embedded.refusals]
        if not taken:
            raise RefusedFile(media[0].path, embedded.refusals[0])
        return _mean(embedded.vectors[taken])

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
