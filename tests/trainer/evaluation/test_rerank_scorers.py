from __future__ import annotations

import numpy as np
import pytest
import torch

from avsearch.models.layers.blocks import MatchingHead
from indexer.types import Media
from tests.trainer.evaluation.test_score import blind, perfect, world_items
from trainer.evaluation import rerank_scorers
from trainer.evaluation.batch_audit import audit
from trainer.evaluation.rerank_scorers import HeadScorer, PairScorer
from trainer.evaluation.score import score
from trainer.protocols.generate import Generator


@pytest.fixture
def items():
    return world_items()


@pytest.fixture
def media(items):
    return {
        path: Media(joint_path, kind)
        for path, joint_path, kind in zip(items.paths, items.paths, items.modalities, strict=True)
    }


class KnowsEverybody:
    """A re-ranker that is always right, and can read no file whose name says so."""

    def __init__(self, unreadable=()):
        self.unreadable = unreadable
        self.asked = []

    def score(self, query, candidates):
        self.asked.append(len(candidates))
        same = [each.path.parent == query.path.parent for each in candidates]
        unread = np.isin(["/".join(each.path.parts[-2:]) for each in candidates], self.unreadable)
        return np.where(unread, np.nan, np.array(same, np.float32))


def test_pairs_are_scored_by_the_re_ranker_alone(items, media):
    trials = Generator(items, "voice", "face").matching(4)
    scorer = PairScorer(KnowsEverybody(), media, blind(items))
    assert score(trials, scorer).metrics().figures["accuracy"].value == 1
    assert audit(scorer, trials).passed


def test_a_candidate_that_cannot_be_read_scores_lowest(items, media):
    scorer = PairScorer(KnowsEverybody(["p0/0.jpg"]), media, blind(items))
    scores = scorer.score(["p0/0.wav"], [["p0/0.jpg", "p1/0.jpg"]])
    assert scores[0].tolist() == [-np.inf, 0]


def test_what_cannot_be_read_changes_nothing_about_the_audit_or_the_figures(items, media):
    scorer = PairScorer(KnowsEverybody(["p0/0.jpg"]), media, blind(items))
    trials = Generator(items, "voice", "face").verification()
    found = audit(scorer, trials)
    assert found.passed, found.faults
    figures = score(trials, scorer).metrics().figures
    assert 0.8 < figures["AUC"].lower <= figures["AUC"].value


def test_of_a_gallery_the_nearest_are_ordered_anew_and_stay_ahead(items, media, monkeypatch):
    monkeypatch.setattr(rerank_scorers, "SHORTLIST", 10)
    first, again = blind(items), KnowsEverybody()
    gallery = [path for path in items.paths if path.endswith(".jpg")]
    before = first.matrix(["p3/0.wav"], gallery)[0]
    after = PairScorer(again, media, first).matrix(["p3/0.wav"], gallery)[0]
    assert again.asked == [10]
    nearest, others = np.split(np.argsort(-before), [10])
    assert after[nearest].min() > after[others].max()
    assert (np.argsort(-after[others]) == np.arange(len(others))).all()
    right = np.array([gallery[at].startswith("p3/") for at in nearest])
    assert (after[nearest[right]] > after[nearest[~right]].max(initial=0)).all()


def test_a_whole_gallery_that_fits_the_shortlist_is_ordered_by_the_re_ranker(items, media):
    scorer = PairScorer(KnowsEverybody(), media, blind(items))
    made = Generator(items, "voice", "face").retrieval()
    assert score(made, scorer).metrics().figures["mAP"].value == 1


class Head:
    """A network that is nothing but a matching head."""

    def __init__(self, dim):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.match = MatchingHead(dim)
            for weights in self.match.parameters():  # a fresh one looks at no other candidate
                torch.nn.init.normal_(weights)


def test_a_matching_head_sees_all_candidates_but_no_other_trial(items):
    vectors = perfect(items)
    head = HeadScorer(Head(vectors.vectors.shape[1]), torch.device("cpu"), vectors)
    trials = Generator(items, "voice", "face").matching(4)
    assert audit(head, trials, add_candidates=False).passed
    found = audit(head, trials)
    assert [fault.split(":")[0] for fault in found.faults] == ["candidates added"]
    assert score(trials, head).values.shape == trials.candidates.shape
