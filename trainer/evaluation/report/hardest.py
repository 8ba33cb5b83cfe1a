"""The hardest confusions: wrong answers that score far above the right ones, with their media."""

from __future__ import annotations

import numpy as np

from avsearch.report.html import AnswerCard, QueryCard
from indexer.types import Media
from trainer.evaluation.items import EvalItems
from trainer.protocols.trials import Retrieval

SHOWN = 6  # questions
ANSWERS = 4  # of each
_QUERIES = 2000  # enough to find hard ones


def hardest(evaluated: EvalItems, protocol: Retrieval, *, seed: int = 0) -> list[QueryCard]:
    """Return the queries with the widest margin of a wrong answer, one for each person."""
    rng = np.random.default_rng(seed)
    queries = rng.permutation(protocol.queries)[:_QUERIES]
    people, vectors = evaluated.items.people, evaluated.scorer.vectors
    scores = vectors[queries] @ vectors[protocol.gallery].T
    scores[queries[:, None] == protocol.gallery] = -np.inf
    right = people[queries][:, None] == people[protocol.gallery]
    best_right = np.where(right, scores, -np.inf).max(1)
    best_wrong = np.where(right, -np.inf, scores).max(1)
    margin = np.where(np.isfinite(best_right), best_wrong - best_right, -np.inf)
    chosen: dict[int, int] = {}
    for row in np.argsort(-margin, kind="stable"):
        if margin[row] > 0 and len(chosen) < SHOWN:
            chosen.setdefault(int(people[queries[row]]), int(row))
    return [
        _question(evaluated, protocol, int(queries[row]), scores[row]) for row in chosen.values()
    ]


def _question(
    evaluated: EvalItems, protocol: Retrieval, query: int, scores: np.ndarray
) -> QueryCard:
    items = evaluated.items
    order = np.argsort(-scores, kind="stable")[:ANSWERS]
    person = items.names[items.people[query]]
    answers = [
        AnswerCard(
            rank=rank,
            person=(who := items.names[items.people[place]]),
            name=evaluated.attributes[who].get("name", who),
            score=float(scores[at]),
            media=_media(evaluated, int(place)),
            attributes=_attributes(evaluated, who),
            correct=who == person,
        )
        for rank, (at, place) in enumerate(zip(order, protocol.gallery[order], strict=True), 1)
    ]
    caption = ", ".join(_attributes(evaluated, person).values()) or person
    return QueryCard(f"Hard: {person}", _media(evaluated, query), caption, answers)


def _attributes(evaluated: EvalItems, person: str) -> dict[str, str]:
    known = evaluated.attributes[person]
    return {key: known[key] for key in ("gender", "nationality") if known.get(key)}


def _media(evaluated: EvalItems, place: int) -> Media:
    return evaluated.media[evaluated.items.paths[place]]
