from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from indexer.errors import BadRequest
from trainer.evaluation.bootstrap import PersonBootstrap, interval
from trainer.evaluation.metrics import equal_error_rate, true_match_rate
from trainer.evaluation.score import Oracle, by_group, largest_gap, score
from trainer.evaluation.scorers import VectorScorer
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Matching, Register, Retrieval, Verification
from trainer.protocols.voxceleb_people import read_people

PEOPLE, EACH = 20, 3
GENDERS = {f"p{number}": "fm"[number % 2] for number in range(PEOPLE)}


def world_items(*, videos=False):
    register = Register()
    for person in range(PEOPLE):
        for take in range(EACH):
            video = f"p{person}v{take}" if videos else ""
            register.add(f"p{person}/{take}.wav", "voice", f"p{person}", video)
            register.add(f"p{person}/{take}.jpg", "face", f"p{person}", video)
    return register.items()


@pytest.fixture
def items():
    return world_items()


@pytest.fixture
def voices(items):
    return np.flatnonzero([each == "voice" for each in items.modalities])


@pytest.fixture
def faces(items):
    return np.flatnonzero([each == "face" for each in items.modalities])


@pytest.fixture
def verification(items, voices, faces):
    first, second = np.repeat(voices, len(faces)), np.tile(faces, len(voices))
    return Verification("pairs", items, first, second, items.same_person(first, second))


@pytest.fixture
def matching(items, voices, faces):
    others = np.roll(faces, EACH)  # faces of the person before
    candidates = np.stack([others, faces], 1)
    return Matching("matching", items, voices, candidates, np.ones(len(voices), np.int64))


@pytest.fixture
def retrieval(items, voices, faces):
    return Retrieval("retrieval", items, voices, faces)


@pytest.fixture(params=["verification", "matching", "retrieval"])
def protocol(request):
    return request.getfixturevalue(request.param)


def perfect(items):
    return VectorScorer(items.paths, np.eye(len(items.names), dtype=np.float32)[items.people])


def blind(items, seed=0):
    rng = np.random.default_rng(seed)
    return VectorScorer(items.paths, rng.standard_normal((len(items), 32)).astype(np.float32))


def main_figure(judged):
    return next(iter(judged.figures.values()))


# Known answers.


def test_a_perfect_scorer_is_right_about_everything(protocol):
    judged = score(protocol, perfect(protocol.items)).metrics()
    figure = main_figure(judged)
    assert (figure.value, figure.lower, figure.upper) == pytest.approx((1, 1, 1))
    assert (judged.people, judged.protocol) == (PEOPLE, protocol.name)


def test_the_figures_are_those_of_scikit_learn(verification, retrieval):
    scorer = blind(verification.items)
    scored = score(verification, scorer)
    auc = scored.metrics().figures["AUC"].value
    assert auc == pytest.approx(roc_auc_score(verification.same, scored.values[:, 0]), abs=1e-9)
    items = retrieval.items
    values = [
        average_precision_score(
            items.people[retrieval.gallery] == items.people[query],
            scorer.vectors[retrieval.gallery] @ scorer.vectors[query],
        )
        for query in retrieval.queries
    ]
    assert score(retrieval, scorer).metrics().figures["mAP"].value == pytest.approx(np.mean(values))


def test_who_knows_the_gender_is_right_where_it_differs(items, voices, faces):
    oracle = Oracle(items, GENDERS)
    others = {"another gender": np.roll(faces, EACH), "the same gender": np.roll(faces, 2 * EACH)}
    reached = {}
    for name, other in others.items():
        trials = Matching(name, items, voices, np.stack([faces, other], 1), np.zeros(60, np.int64))
        reached[name] = score(trials, oracle).metrics().figures["accuracy"].value
    assert reached == {"another gender": 1.0, "the same gender": 0.5}


def test_an_oracle_calls_even_what_it_does_not_know(items):
    oracle = Oracle(items, {"p0": "f", "p1": "m", "p2": "f"})
    scores = oracle.score(["p0/0.wav"], [["p2/0.jpg", "p1/0.jpg", "p3/0.jpg"]])
    assert scores.tolist() == [[1.0, 0.0, 0.5]]


def test_an_oracle_of_two_attributes_goes_by_the_one_it_knows(items):
    genders, nations = {"p0": "f", "p1": "m", "p2": "f"}, {"p0": "Peru", "p1": "Peru"}
    scores = Oracle(items, genders, nations).score(
        ["p0/0.wav"], [["p0/0.jpg", "p2/0.jpg", "p1/0.jpg"]]
    )
    assert scores.tolist() == [[2.0, 1.5, 1.0]]


def test_a_retrieval_by_any_scorer_is_that_by_its_vectors(retrieval):
    vectors = blind(retrieval.items)

    class Hidden:
        def score(self, probes, candidates):
            return vectors.score(probes, candidates)

    by_pairs, whole = (score(retrieval, each).metrics() for each in (Hidden(), vectors))
    for name, figure in whole.figures.items():
        assert by_pairs.figures[name].value == pytest.approx(figure.value), name


def test_trials_by_vectors_are_scored_as_by_their_paths(verification, matching):
    vectors = blind(verification.items)

    class Hidden:
        def score(self, probes, candidates):
            return vectors.score(probes, candidates)

    for protocol in (verification, matching):
        by_paths, by_rows = (score(protocol, each).values for each in (Hidden(), vectors))
        np.testing.assert_array_equal(by_rows, by_paths)


def test_only_what_a_trial_names_needs_a_vector(verification):
    items, known = verification.items, blind(verification.items)
    asked = np.isin(items.people[verification.first], [0, 1]) & (
        items.people[verification.second] == 2
    )
    few = [at for at, who in enumerate(items.people) if who <= 2]
    scorer = VectorScorer([items.paths[at] for at in few], known.vectors[few])
    scores = score(verification.take(asked), scorer).values
    np.testing.assert_array_equal(scores, score(verification.take(asked), known).values)
    with pytest.raises(BadRequest, match=r"'p3/0\.\w+' the first"):
        score(verification, scorer)


def test_a_query_is_no_answer_to_itself(items, voices):
    within = Retrieval("voices", items, voices, voices)
    register = score(within, perfect(items)).values
    assert register.relevant.tolist() == [EACH - 1] * len(voices)


def test_a_query_to_which_nothing_answers_does_not_count(items, voices, faces):
    without = faces[items.people[faces] != 0]
    judged = score(Retrieval("part", items, voices, without), perfect(items)).metrics()
    assert (judged.trials, judged.people) == ((PEOPLE - 1) * EACH, PEOPLE - 1)
    assert judged.figures["mAP"].value == 1.0


# Groups.


def test_groups_are_of_those_who_ask_and_need_no_second_scoring(protocol):
    scored = score(protocol, blind(protocol.items))
    groups = {name: gender for name, gender in GENDERS.items() if name != "p0"}
    judged = by_group(scored, groups)
    assert {group: each.people for group, each in judged.items()} == {"f": 9, "m": 10}
    asked = np.array([GENDERS[protocol.items.names[who]] == "m" for who in scored.probe_people()])
    assert main_figure(judged["m"]) == main_figure(scored.metrics(asked))
    name = next(iter(judged["m"].figures))
    values = [each.figures[name].value for each in judged.values()]
    assert largest_gap(judged, name) == pytest.approx(max(values) - min(values))


def test_a_group_nobody_belongs_to_has_no_figures(protocol):
    scored = score(protocol, blind(protocol.items))
    judged = scored.metrics(np.zeros(len(scored.probe_people()), bool))
    assert (judged.trials, judged.people) == (0, 0)
    assert all(np.isnan(figure.value) for figure in judged.figures.values())


# Intervals.


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([3, 1000]))
def test_intervals_of_pairs_are_those_of_drawn_people_counted_out(seed, values):
    """Against a plain loop that repeats every trial as often as its people were drawn."""
    rng = np.random.default_rng(seed)
    people, count = 6, 80
    first, second = rng.integers(0, people, (2, count))
    same = first == second
    if same.all() or not same.any():
        return
    scores = rng.integers(0, values, count).astype(float)
    draws = PersonBootstrap(people, resamples=40)
    areas, rates, matched = [], [], []
    for drawn in draws.counts:
        times = np.where(same, drawn[first], drawn[first] * drawn[second])
        every, kinds = np.repeat(scores, times), np.repeat(same, times)
        if kinds.any() and not kinds.all():
            areas.append(roc_auc_score(kinds, every))
            rates.append(equal_error_rate(every, kinds))
            matched.append(true_match_rate(every, kinds, 0.1))
    drawn = draws.pairs(scores, same, first, second)
    for found, expected in (
        (drawn.auc(), areas),
        (drawn.eer(), rates),
        (drawn.true_match_rate(0.1), matched),
    ):
        assert found[np.isfinite(found)] == pytest.approx(expected)


def test_the_interval_of_a_mean_is_that_of_drawn_people_counted_out():
    rng = np.random.default_rng(0)
    values, people = rng.random(50), rng.integers(0, 7, 50)
    draws = PersonBootstrap(7, resamples=100)
    means = [np.average(values, weights=drawn[people]) for drawn in draws.counts]
    assert draws.mean(values, people) == pytest.approx(means)
    assert interval(np.array(means)) == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_many_different_scores_are_binned_without_moving_the_interval():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 30, (2, 20_000))
    same = first == second
    scores = rng.standard_normal(20_000) + same
    draws = PersonBootstrap(30, resamples=20)
    exact = [
        roc_auc_score(same, scores, sample_weight=np.where(same, d[first], d[first] * d[second]))
        for d in draws.counts
    ]
    found = interval(draws.pairs(scores, same, first, second).auc())
    assert found == pytest.approx(np.quantile(exact, [0.025, 0.975]), abs=1e-3)


def test_many_scores_of_which_some_are_minus_infinity_are_binned_too():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 30, (2, 20_000))
    same = first == second
    scores = rng.standard_normal(20_000) + same
    scores[::50] = -np.inf
    low, high = interval(PersonBootstrap(30, resamples=20).pairs(scores, same, first, second).auc())
    assert low <= roc_auc_score(same, np.maximum(scores, -99)) <= high


# Stand-in scorers on the published lists.


@pytest.fixture(scope="module")
def lists(test_data):
    return test_data / "lists"


@pytest.fixture(scope="module")
def people(lists):
    return read_people([lists / "cmpc" / "vox1_meta.csv.gz"])


# Whoever knows the gender of everybody and nothing else reaches this on the published lists.
BY_GENDER = {
    "cmpc/matching/matching_f2v_G": 0.5,
    "cmpc/matching/matching_f2v_GN": 0.5,
    "cmpc/matching/matching_f2v_N": 0.741,
    "cmpc/matching/matching_f2v_U": 0.738,
    "cmpc/matching/matching_v2f_G": 0.5,
    "cmpc/matching/matching_v2f_GN": 0.5,
    "cmpc/matching/matching_v2f_N": 0.739,
    "cmpc/matching/matching_v2f_U": 0.746,
    "cmpc/retrieval/jpg_20k": 0.011,
    "cmpc/retrieval/wav_20k": 0.011,
    "cmpc/veriflist/veriflist_test_A_seenheard": 0.748,
    "cmpc/veriflist/veriflist_test_A_unseenunheard": 0.709,
    "cmpc/veriflist/veriflist_test_GNA_seenheard": 0.502,
    "cmpc/veriflist/veriflist_test_GNA_unseenunheard": 0.510,
    "cmpc/veriflist/veriflist_test_G_seenheard": 0.502,
    "cmpc/veriflist/veriflist_test_G_unseenunheard": 0.509,
    "cmpc/veriflist/veriflist_test_N_seenheard": 0.747,
    "cmpc/veriflist/veriflist_test_N_unseenunheard": 0.738,
    "cmpc/veriflist/veriflist_test_random_seenheard": 0.753,
    "cmpc/veriflist/veriflist_test_random_unseenunheard": 0.731,
    "wen/match_g_v2f_2_val": 0.5,
    "wen/match_v2f_2_val": 0.722,
    "wen/reterival_f2v_test": 0.011,
    "wen/reterival_v2f_test": 0.010,
    "wen/verify_f2v_test": 0.739,
    "wen/verify_g_f2v_test": 0.5,
    "wen/verify_g_v2f_test": 0.5,
    "wen/verify_v2f_test": 0.729,
}
SOME = 97  # of so many questions of a retrieval one is asked


@pytest.mark.parametrize("name", BY_GENDER)
def test_scorers_of_known_worth_get_it_on_every_published_list(lists, people, name):
    protocol = read_list(next(lists.glob(f"{name}.*.gz")), people)
    chance = 0.5
    if isinstance(protocol, Retrieval):
        protocol = dataclasses.replace(protocol, queries=protocol.queries[::SOME])
        asked, shown = (
            protocol.items.people[side] for side in (protocol.queries, protocol.gallery)
        )
        chance = float(np.mean([np.mean(shown == who) for who in asked]))
    genders = {who.name: who.gender for who in people}
    worth = [
        (perfect(protocol.items), 1.0, 1e-9),
        (blind(protocol.items), chance, 0.02),
        (Oracle(protocol.items, genders), BY_GENDER[name], 0.001),
    ]
    for scorer, expected, tolerance in worth:
        figure = main_figure(score(protocol, scorer).metrics())
        assert figure.value == pytest.approx(expected, abs=tolerance)
        assert figure.lower <= figure.value <= figure.upper


def test_a_threshold_gives_verification_an_accuracy_and_without_one_there_is_none(
    verification, items
):
    scored = score(verification, blind(items))
    assert "accuracy" not in scored.metrics().figures
    told = dataclasses.replace(scored, threshold=0.0).metrics().figures["accuracy"]
    right = (scored.values[:, 0] >= 0) == verification.same
    assert told.value == pytest.approx(right.mean())
    assert told.lower < told.value < told.upper
