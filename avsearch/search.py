"""Search an index: retrieve by embedding, then, if wanted, re-order with a re-ranker.

This module needs no torch: the caller brings the embedder and the re-ranker.
"""

from __future__ import annotations

import dataclasses
import logging
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, overload

import numpy as np

from avsearch.calibration import Calibration, Evidence, direction
from indexer.arguments import filter_texts, require_one_of
from indexer.errors import BadRequest, RefusedFile, printable
from indexer.index import Index
from indexer.runtime import optional_libraries
from indexer.runtime.timing import timed
from indexer.search.vector_index import SearchPlan
from indexer.types import MODALITIES, Box, Embedder, Media, Modality, Reranker, Vectors

logger = logging.getLogger(__name__)

Want = Literal["face", "voice", "any"]
By = Literal["person", "item"]

NOTEBOOK_HITS = 50  # hits of an answer that a notebook shows


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """One answer to a query.

    Attributes:
        rank: 1 for the best.
        person, name: The person's key and, where the index has one, their name.
        modality, path, start_s, end_s, box: The face or the speech segment that was found, as in
            :class:`indexer.types.Media`.
        score: Similarity of the embeddings; larger is nearer.
        rerank_score: The re-ranker's score; None without a re-ranker, or if it could not read the
            file.
        attributes: The person's gender, nationality and further columns of ``people.csv``.
        evidence: The score as evidence, if the model has a calibration for it.
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

    @property
    def media(self) -> Media:
        """The face or the speech segment, to be read from its file."""
        return Media(self.path, self.modality, self.start_s, self.end_s, self.box)

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as in the JSON of ``avsearch query``."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {"path": printable(self.path), "attributes": dict(self.attributes)}
        fields["box"] = None if self.box is None else list(self.box)
        evidence = fields.pop("evidence")
        return fields if evidence is None else {**fields, "evidence": dataclasses.asdict(evidence)}

    def __repr__(self) -> str:
        where = f"{printable(self.path)}{time_range(self.start_s, self.end_s)}"
        return f"<Hit {self.rank}: {self.person}, {self.modality}, score {self.score:.3f}, {where}>"

    def _repr_html_(self) -> str:
        return _hits_html([self])


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """The face or voice that an index is searched with.

    Attributes:
        modality: "face" or "voice".
        path, start_s, end_s: The file and the range of its time that is used, in seconds.
        person: The key of a person of the index, for a query without a file.
        notes: Sentences about parts of the file that were left out or chosen between.
        media: The speech segments of one person, or a face; the search uses their mean vector.
        vectors: (n, dim) float32 in place of ``media``; the search uses their mean.
    """

    modality: Modality
    path: Path | None = None
    start_s: float = 0.0
    end_s: float | None = None
    person: str | None = None
    notes: tuple[str, ...] = ()
    media: tuple[Media, ...] = dataclasses.field(default=(), repr=False, compare=False)
    vectors: Vectors | None = dataclasses.field(default=None, repr=False, compare=False)

    @classmethod
    def of_media(
        cls, media: Sequence[Media], notes: Sequence[str] = (), path: Path | None = None
    ) -> Query:
        """Return the query of one or more media of one file, modality and person.

        ``path`` replaces the media's own path in what users see.
        """
        ends = [item.end_s for item in media]
        return cls(
            modality=media[0].modality,
            path=path or media[0].path,
            start_s=min(item.start_s for item in media),
            end_s=None if None in ends else max(end for end in ends if end is not None),
            notes=tuple(notes),
            media=tuple(media),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the query as in the JSON of ``avsearch query``."""
        fields: dict[str, Any] = {
            "path": None if self.path is None else printable(self.path),
            "modality": self.modality,
            "start_s": self.start_s,
            "end_s": self.end_s,
        }
        return fields if self.person is None else {**fields, "person": self.person}

    def __str__(self) -> str:
        if self.person is not None:
            return f"the {self.modality}s of {self.person}"
        if self.path is None:
            return f"the vectors of a {self.modality}"
        return f"the {self.modality} in {printable(self.path)}"


class HitKeywords(TypedDict, total=False):
    """The fields of :class:`HitOptions` as keyword arguments."""

    top: int
    want: Want | None
    by: By
    where: Mapping[str, Any] | None
    approximate: bool


@dataclasses.dataclass(frozen=True, slots=True)
class HitOptions:
    """The selection of hits that a search returns.

    Attributes:
        top: The largest number of hits; 1 or more.
        want: The modality of the hits, or "any"; None is the one that the query does not have.
        by: "person" returns the best item of each person, "item" every item.
        where: Values that columns of the person must have, such as ``{"gender": "f"}``.
        approximate: Search the approximate index, which finds most of the nearest.

    Raises:
        BadRequest: A value is not one of those above.
    """

    top: int = 10
    want: Want | None = None
    by: By = "person"
    where: Mapping[str, Any] | None = None
    approximate: bool = False

    def __post_init__(self) -> None:
        """Check the values, which come from users."""
        try:
            top = operator.index(self.top)
        except TypeError as error:
            raise BadRequest(f"top is {self.top!r}; it must be a whole number.") from error
        if isinstance(self.top, bool) or top < 1:
            raise BadRequest(f"top is {self.top!r}; ask for 1 or more.")
        if self.want is not None:
            require_one_of("want", self.want, ("face", "voice", "any"))
        require_one_of("by", self.by, ("person", "item"))
        object.__setattr__(self, "top", top)
        object.__setattr__(self, "where", filter_texts(self.where))


@dataclasses.dataclass(frozen=True, slots=True)
class Answer(Sequence[Hit]):
    """The hits of a query, best first: a sequence of :class:`Hit`.

    Attributes:
        query: The query.
        model: The name of the model that made the vectors.
        want: The modality of the hits, or "any".
        hits: The hits.
        plan: How the search applied its filter.
    """

    query: Query
    model: str
    want: Want
    hits: tuple[Hit, ...]
    plan: SearchPlan

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about parts of the query's file that were left out or chosen between."""
        return self.query.notes

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Hit]: ...
    def __getitem__(self, at: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[at]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as in the JSON of ``avsearch query``."""
        query = self.query.to_dict()
        return {
            "query": query,
            "model": self.model,
            "hits": [hit.to_dict() for hit in self.hits],
            "plan": dataclasses.asdict(self.plan),
            "notes": [{"path": query["path"], "note": note} for note in self.notes],
        }

    def to_pandas(self) -> Any:
        """Return the hits as a ``pandas.DataFrame``, a row each; attributes are columns.

        Raises:
            LibraryUnusable: pandas is not installed, or does not load.
        """
        pandas = optional_libraries.load("pandas", "to_pandas")
        rows = []
        for hit in self.hits:
            fields = hit.to_dict()
            attributes, evidence = fields.pop("attributes"), fields.pop("evidence", None) or {}
            rows.append({**fields, **attributes, **evidence})
        names = [field.name for field in dataclasses.fields(Hit)]
        fixed = [name for name in names if name not in ("attributes", "evidence")]
        columns = list(dict.fromkeys([*fixed, *(key for row in rows for key in row)]))
        return pandas.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        """Show the query and a line for each hit."""
        lines = [f"<Answer to {self.query}: {len(self.hits)} hits>"]
        return "\n".join([*lines, *(f"  {hit!r}" for hit in self.hits)])

    def _repr_html_(self) -> str:
        """Show a table of the first hits, with images of faces and players for voices."""
        import html  # takes longer to import than the rest of this module

        lines = [f"Answer to {self.query}: {len(self.hits)} hits", *self.notes]
        if len(self.hits) > NOTEBOOK_HITS:
            lines.append(f"The first {NOTEBOOK_HITS} are shown.")
        head = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        return head + _hits_html(self.hits[:NOTEBOOK_HITS])


class Searcher:
    """Retrieve by embedding, then re-rank a short list.

    Args:
        index: The index to search.
        embedder: Embeds the media of queries; not needed for queries by person or by vectors.
        reranker: Re-orders the best ``shortlist`` hits; it compares them with the longest speech
            segment or the largest face of the query.
        shortlist: How many hits the re-ranker receives.
        calibrations: A calibration of scores for each direction, such as V-F
            (:mod:`avsearch.calibration`).

    Raises:
        ForeignSpace: The embedder's space is not the index's.
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        shortlist: int = 100,
        *,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        if embedder is not None:
            index.check_space(embedder.space)
        self._index = index
        self._embedder = embedder
        self._reranker = reranker
        self._shortlist = shortlist
        self._calibrations = calibrations or {}

    def answer(self, query: Query, options: HitOptions | None = None) -> Answer:
        """Return the answer to one query.

        Raises:
            RefusedFile: The query's media cannot be read.
            BadRequest: The filter names an unknown column, the vectors do not fit, or the
                re-ranker has no media to compare with.
        """
        (answer,) = self.answer_many([query], options)
        if isinstance(answer, RefusedFile):
            raise answer
        return answer

    def answer_many(
        self, queries: Sequence[Query], options: HitOptions | None = None
    ) -> list[Answer | RefusedFile]:
        """Return the answers to many queries in their order, embedded and searched together.

        A query whose media cannot be read has its refusal in place of an answer.
        """
        options = options or HitOptions()
        if self._reranker is not None and not all(query.media for query in queries):
            raise BadRequest(
                "A re-ranker compares with a face or a voice; ask with a file, not with a person "
                "or vectors."
            )
        means = self._embed(queries)
        wants = [options.want or other(query.modality) for query in queries]
        answers: dict[int, Answer | RefusedFile] = {
            at: mean for at, mean in enumerate(means) if isinstance(mean, RefusedFile)
        }
        for want in dict.fromkeys(wants):  # queries that want the same modality share one search
            places = [at for at, one in enumerate(wants) if one == want and at not in answers]
            if places:
                vectors = np.concatenate([np.asarray(means[at]) for at in places])
                found = self._search([queries[at] for at in places], vectors, want, options)
                answers |= dict(zip(places, found, strict=True))
        return [answers[at] for at in range(len(queries))]

    def _embed(self, queries: Sequence[Query]) -> list[Vectors | RefusedFile]:
        """Return the mean vector of each query, (1, dim), or the refusal of its media."""
        media = [item for query in queries for item in query.media]
        if media and self._embedder is None:
            raise BadRequest("Searching with media needs a model that embeds them.")
        embedded = self._embedder.embed(media) if self._embedder is not None and media else None
        means: list[Vectors | RefusedFile] = []
        first = 0
        for query in queries:
            if query.vectors is not None:
                vectors = query.vectors
            elif embedded is not None and query.media:
                places = range(first, first + len(query.media))
                first += len(query.media)
                readable = [place for place in places if place not in embedded.refusals]
                if not readable:
                    reason = embedded.refusals[places[0]]
                    means.append(RefusedFile(query.media[0].path, reason))
                    continue
                vectors = embedded.vectors[readable]
            else:
                raise BadRequest("The query has no media and no vectors.")
            means.append(np.asarray(vectors.mean(0, keepdims=True), np.float32))
        return means

    def _search(
        self, queries: Sequence[Query], vectors: Vectors, want: Want, options: HitOptions
    ) -> list[Answer]:
        """Return the answers to queries with vectors (q, dim) that want the same modality."""
        modality = None if want == "any" else want
        with timed(logger, f"searched with {len(vectors)} vectors"):
            found = self._index.search(
                vectors,
                max(options.top, self._shortlist) if self._reranker else options.top,
                modality=modality,
                where=options.where,
                by=options.by,
                approximate=options.approximate,
            )
        people = 0
        if self._calibrations and any(found.hits):
            people = self._index.count_people(modality=modality, where=options.where)
        answers = []
        for query, pairs in zip(queries, found.hits, strict=True):
            hits = []
            for rank, (item, score) in enumerate(pairs, 1):
                who, evidence = item.person, None
                calibration = self._calibrations.get(direction(query.modality, item.modality))
                if calibration is not None:
                    evidence = Evidence.of(float(calibration(np.array(score))), people)
                attributes = {"gender": who.gender, "nationality": who.nationality}
                place = (item.modality, item.path, item.start_s, item.end_s, item.box)
                attributes |= who.attributes
                hits.append(Hit(rank, who.key, who.name, *place, score, None, attributes, evidence))
            if self._reranker is not None and hits:
                hits = self._reranked(self._reranker, query, hits)
            model = self._index.space.model
            answers.append(Answer(query, model, want, tuple(hits[: options.top]), found.plan))
        return answers

    def _reranked(self, reranker: Reranker, query: Query, hits: list[Hit]) -> list[Hit]:
        """Return the hits with the short list in the re-ranker's order.

        Hits without a score, whose files cannot be read any more, come last in the short list.
        """

        def size(item: Media) -> float:
            if item.modality == "face":
                return face_area(item)
            if item.data is not None:
                return float(item.data.size)
            return np.inf if item.end_s is None else item.end_s - item.start_s

        short, rest = hits[: self._shortlist], hits[self._shortlist :]
        scores = reranker.score(max(query.media, key=size), [hit.media for hit in short])
        order = np.argsort(-scores, kind="stable")  # NaN goes last
        ordered = [
            dataclasses.replace(
                short[at], rerank_score=float(scores[at]) if np.isfinite(scores[at]) else None
            )
            for at in order
        ]
        return [
            dataclasses.replace(hit, rank=rank) for rank, hit in enumerate([*ordered, *rest], 1)
        ]


def person_query(index: Index, person: str, want: Want | None = None) -> Query:
    """Return the query with a person's items: of the modality that is not wanted, if they have it.

    Raises:
        BadRequest: Nobody in the index has this key, or they have no items.
    """
    first: Modality = "face" if want == "voice" else "voice"
    for modality in (first, other(first)):
        _, vectors = index.vectors_of(person, modality)
        if len(vectors):
            return Query(modality, person=person, vectors=vectors)
    raise BadRequest(f"{person} has no faces and no voices in this index.")


def other(modality: Modality) -> Modality:
    """Return the other modality."""
    return MODALITIES[1 - MODALITIES.index(modality)]


def face_area(face: Media) -> float:
    """Return the area of a face's box in pixels; infinite for a face that is the whole picture."""
    box = face.box
    return np.inf if box is None else (box.right - box.left) * (box.bottom - box.top)


def time_range(start_s: float, end_s: float | None) -> str:
    """Return a range of time in words, to follow a file's name; empty for a whole file."""
    if end_s is not None:
        return f" {start_s:.1f}-{end_s:.1f} s"
    return f" at {start_s:.1f} s" if start_s else ""


def _hits_html(hits: Sequence[Hit]) -> str:
    from avsearch.report.html import media_table  # Pillow takes long to import

    rows = []
    for hit in hits:
        where = printable(hit.path) + time_range(hit.start_s, hit.end_s)
        cells = (str(hit.rank), hit.person, hit.name or "", f"{hit.score:.3f}", where)
        rows.append((hit.media, cells))
    return media_table(("rank", "person", "name", "score", "file"), rows)
