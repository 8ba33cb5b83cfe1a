"""The answers a model is most sure of and wrong about, with the faces and voices themselves."""

from __future__ import annotations

import numpy as np

from avsearch.report.html import Answer, Question
from indexer.types import Media
from trainer.evaluation.items import EvalItems
from trainer.protocols.trials import Retrieval

SHOWN = 6  # questions
ANSWERS = 4  # of each
_ASKED = 2000  # queries looked through: enough to find bad ones


def hardest(material: EvalItems, protocol: Retrieval, *, seed: int = 0) -> list[Question]:
    """Questions, one a person, whose first answer is wrong by the widest margin."""
    rng = np.random.default_rng(seed)
    asked = rng.permutation(protocol.queries)[:_ASKED]
    people, vectors = material.items.people, material.scorer.vectors
    scores = vectors[asked] @ vectors[protocol.gallery].T
    scores[asked[:, None] == protocol.gallery] = -np.inf
    right = people[asked][:, None] == people[protocol.gallery]
    best_right = np.where(right, scores, -np.inf).max(1)
    best_wrong = np.where(right, -np.inf, scores).max(1)
    margin = np.where(np.isfinite(best_right), best_wrong - best_right, -np.inf)
    chosen: dict[int, int] = {}
    for row in np.argsort(-margin, kind="stable"):
        if margin[row] > 0 and len(chosen) < SHOWN:
            chosen.setdefault(int(people[asked[row]]), int(row))
    return [_question(material, protocol, int(asked[row]), scores[row]) for row in chosen.values()]


def _question(material: EvalItems, protocol: Retrieval, asked: int, scores: np.ndarray) -> Question:
    items = material.items
    order = np.argsort(-scores, kind="stable")[:ANSWERS]
    person = items.names[items.people[asked]]
    answers = [
        Answer(
            rank=rank,
            person=(who := items.names[items.people[place]]),
            name=material.attributes[who].get("name", who),
            score=float(scores[at]),
            media=_media(material, int(place)),
            attributes=_told(material, who),
            correct=who == person,
        )
        for rank, (at, place) in enumerate(zip(order, protocol.gallery[order], strict=True), 1)
    ]
    said = ", ".join(_told(material, person).values())
    return Question(f"Hard: {person}", _media(material, asked), said or person, answers)


def _told(material: EvalItems, person: str) -> dict[str, str]:
    known = material.attributes[person]
    return {key: known[key] for key in ("gender", "nationality") if known.get(key)}


def _media(material: EvalItems, place: int) -> Media:
    return material.media[material.items.paths[place]]
