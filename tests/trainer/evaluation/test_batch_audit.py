from __future__ import annotations

import numpy as np
import pytest

from indexer.errors import BadRequest
from trainer.evaluation.batch_audit import audit
from trainer.evaluation.leakage import shared_people
from trainer.evaluation.scorers import VectorScorer
from trainer.protocols.trials import Matching, Register, Retrieval, Verification

PEOPLE, EACH = 12, 6


@pytest.fixture
def register():
    register = Register()
    for person in range(PEOPLE):
        for take in range(EACH):
            register.add(f"p{person}/{take}.wav", "voice", f"p{person}")
            register.add(f"p{person}/{take}.jpg", "face", f"p{person}")
    return register


@pytest.fixture
def scorer(register):
    rng = np.random.default_rng(0)
    items = register.items()
    vectors = rng.standard_normal((len(items), 16)).astype(np.float32)
    return VectorScorer(items.paths, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture
def matching(register):
    """Trials in the order of the released lists: one person's follow each other."""
    rng = np.random.default_rng(1)
    items = register.items()
    faces = np.array([each == "face" for each in items.modalities])
    probes, candidates = [], []
    for person in range(PEOPLE):
        own = items.people == person
        for voice in np.flatnonzero(own & ~faces):
            probes.append(voice)
            candidates.append([rng.choice(np.flatnonzero(faces & each)) for each in (own, ~own)])
    truth = np.zeros(len(probes), np.int64)
    return Matching("matching", items, np.array(probes), np.array(candidates), truth)


@pytest.fixture
def verification(matching):
    same = matching.items.same_person(matching.probes, matching.candidates[:, 0])
    return Verification("pairs", matching.items, matching.probes, matching.candidates[:, 0], same)


@pytest.fixture
def retrieval(matching):
    gallery = np.unique(matching.candidates)
    return Retrieval("retrieval", matching.items, matching.probes, gallery)


@pytest.fixture(params=["matching", "verification", "retrieval"])
def protocol(request):
    return request.getfixturevalue(request.param)


class Leak:
    """A scorer that changes honest scores by what else is in the batch."""

    def __init__(self, honest, change):
        self.honest, self.change = honest, change

    def score(self, probes, candidates):
        return self.change(self.honest.score(probes, candidates), candidates)


def batch_statistics(scores, candidates):
    """Batch normalisation that was left in training mode."""
    return (scores - scores.mean(0)) / (scores.std(0) + 1e-5)


def batch_axis_norm(scores, candidates):
    """L2 normalisation over the batch instead of the features."""
    return scores / np.linalg.norm(scores, axis=0, keepdims=True)


def repeated_in_the_batch(scores, candidates):
    """The candidate whose person is the most frequent in the batch, without a look at the probe."""
    people = [[path.split("/")[0] for path in row] for row in candidates]
    names, counts = np.unique(np.array(people), return_counts=True)
    often = dict(zip(names, counts, strict=True))
    return np.array([[float(often[name]) for name in row] for row in people])


def first_candidate(scores, candidates):
    """Knows that the lists have the right candidate first."""
    return scores + 5.0 * (np.arange(scores.shape[1]) == 0)


def softmax_over_candidates(scores, candidates):
    powers = np.exp(scores)
    return powers / powers.sum(1, keepdims=True)


def test_an_independent_scorer_passes(scorer, protocol):
    found = audit(scorer, protocol)
    assert found.passed
    assert found.faults == []
    assert {check.trials for check in found.checks} == {PEOPLE * EACH}


@pytest.mark.parametrize("leak", [batch_statistics, batch_axis_norm, repeated_in_the_batch])
def test_a_scorer_that_looks_at_its_batch_is_caught(scorer, protocol, leak):
    found = audit(Leak(scorer, leak), protocol)
    assert not found.passed
    assert any("batches of 1" in fault for fault in found.faults)


@pytest.mark.parametrize(
    ("leak", "fault"),
    [
        (first_candidate, "candidates shuffled"),
        (softmax_over_candidates, "candidates added"),
    ],
)
def test_a_scorer_that_looks_at_the_other_candidates_is_caught(scorer, matching, leak, fault):
    found = audit(Leak(scorer, leak), matching)
    assert [each.split(":")[0] for each in found.faults] == [fault]


def test_identity_repeated_in_the_batch_wins_where_the_audit_is_not_asked(scorer, matching):
    leak = Leak(scorer, repeated_in_the_batch)
    paths = np.array(matching.items.paths, object)
    start = slice(0, EACH)  # one person's trials, as in the released lists
    scores = leak.score(paths[matching.probes[start]], paths[matching.candidates[start]])
    assert (scores.argmax(1) == matching.truth[start]).all()


def test_a_score_that_stops_being_finite_has_moved(scorer, matching):
    def undefined_alone(scores, candidates):
        return scores if len(scores) > 1 else scores * np.nan

    assert "inf" in str(audit(Leak(scorer, undefined_alone), matching).faults)


def test_rounding_of_nearly_equal_scores_is_no_leak_and_a_leak_among_them_is(scorer, matching):
    rng = np.random.default_rng(0)

    def rounded(scores, candidates):
        noise = rng.integers(-1, 2, scores.shape) * np.finfo(np.float32).eps
        return 1 + 1e-6 * scores + noise

    def leaking(scores, candidates):
        return 1 + 1e-3 * (scores - scores.mean(0))

    assert audit(Leak(scorer, rounded), matching).passed
    assert not audit(Leak(scorer, leaking), matching).passed


def test_equal_scores_do_not_move(matching):
    class Constant:
        def score(self, probes, candidates):
            return np.zeros((len(probes), len(candidates[0])))

    assert audit(Constant(), matching).passed


def test_people_of_the_training_are_named(matching):
    assert shared_people(["p3", "somebody", "p11"], matching.items) == ["p11", "p3"]


# Scorers.


def test_a_medium_without_a_vector_is_named(scorer):
    with pytest.raises(BadRequest, match=r"1 of 2 media of the list have no vector, 'x.jpg'"):
        scorer.score(["p0/0.wav"], [["p0/0.jpg", "x.jpg"]])
