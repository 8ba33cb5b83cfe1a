from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avsearch.annotation.identification.assignment import assign
from avsearch.annotation.identification.evidence_matrix import EvidenceMatrix
from avsearch.annotation.identification.identify import decide, find_nearest
from indexer.records import Person

SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 2)).map(lambda it: (it[0], it[0] + it[1]))
GAINS = SHAPES.flatmap(lambda it: arrays(float, it, elements=st.integers(-9, 9).map(float)))
RATIOS = st.tuples(st.integers(1, 4), st.integers(0, 4)).flatmap(
    lambda it: arrays(float, it, elements=st.floats(-9, 9))
)


def evidence(ratios: object, size: int | None = None) -> EvidenceMatrix:
    matrix = np.array(ratios, float)
    speakers = [f"S{row}" for row in range(matrix.shape[0])]
    people = [Person(f"p{column}", f"P {column}") for column in range(matrix.shape[1])]
    nothing = np.full(matrix.shape, np.nan)
    scores = {(mine, theirs): nothing for mine in ("voice", "face") for theirs in ("voice", "face")}
    scores["voice", "voice"] = matrix / 10
    return EvidenceMatrix(speakers, people, matrix, scores, len(people) if size is None else size)


@given(GAINS)
def test_no_other_assignment_is_worth_more(gains: np.ndarray) -> None:
    rows, columns = gains.shape
    found = assign(gains).tolist()
    assert len(set(found)) == rows
    best = max(
        sum(gains[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )
    assert sum(gains[row, column] for row, column in enumerate(found)) == best


def test_more_rows_than_columns_cannot_be_assigned() -> None:
    with pytest.raises(ValueError, match="a column for every row"):
        assign(np.zeros((2, 1)))


@given(RATIOS | RATIOS.map(np.round), st.sampled_from([0.0, 0.3, 0.5]))
def test_nobody_gets_two_speakers_and_probabilities_are_shares(
    ratios: np.ndarray, least: float
) -> None:
    decisions = decide(evidence(ratios), least)
    named = [each.person for each in decisions.values() if each.person is not None]
    assert len(set(named)) == len(named)
    for decision in decisions.values():
        shares = [each.probability for each in decision.candidates]
        assert all(0 <= share <= 1 for share in shares)
        assert sum(shares) <= 1 + 1e-9
        if decision.person is not None:
            assert decision.candidates[0].person == decision.person
            assert decision.candidates[0].probability >= least


def test_the_assignment_is_of_all_and_not_greedy() -> None:
    """S0 is most like p0, but S1 can be nobody else."""
    decisions = decide(evidence([[9.0, 8.0], [8.5, -5.0]]))
    assert [each.person for each in decisions.values()] == ["p1", "p0"]


def test_weak_evidence_leaves_a_speaker_unknown() -> None:
    (decision,) = decide(evidence([[0.5, 0.4]])).values()
    assert decision.person is None
    assert decision.candidates[0].person == "p0"
    assert decision.margin == pytest.approx(0.1)


def test_two_who_are_equally_likely_leave_a_speaker_unknown() -> None:
    (decision,) = decide(evidence([[8.0, 8.0]])).values()
    assert decision.person is None
    assert decision.candidates[0].probability < 0.5


def test_a_probability_is_of_one_among_all_the_people_of_the_index() -> None:
    (decision,) = decide(evidence([[5.0]], size=100)).values()
    odds = math.exp(5.0) / 100
    assert decision.candidates[0].probability == pytest.approx(odds / (1 + odds))
    assert decision.margin is None


def test_nobody_is_named_without_evidence_however_few_there_are() -> None:
    for least in (0.0, 0.5):
        (decision,) = decide(evidence([[0.0]]), least).values()
        assert decision.person is None


def test_a_name_must_be_as_likely_as_is_asked() -> None:
    weak = evidence([[1.5]])
    assert decide(weak, 0.5)["S0"].person == "p0"
    assert decide(weak, 0.9)["S0"].person is None


def test_an_index_of_nobody_names_nobody() -> None:
    (decision,) = decide(evidence(np.zeros((1, 0)))).values()
    assert decision.person is None
    assert decision.candidates == ()
    assert decision.margin is None


def test_people_who_are_other_speakers_are_no_candidates() -> None:
    decisions = decide(evidence([[9.0, 0.0], [3.0, 0.0]]))
    assert decisions["S0"].person == "p0"
    assert [each.person for each in decisions["S1"].candidates] == ["p1"]
    assert decisions["S1"].elsewhere == ("p0", "S0")
    assert decisions["S0"].elsewhere is None


def test_the_nearest_is_of_all_people_whoever_has_their_name() -> None:
    decisions = decide(evidence([[9.0, 0.0], [3.0, 0.0], [-5.0, -6.0]]))
    nearest = [each.nearest for each in decisions.values()]
    assert [each and each.person for each in nearest] == ["p0", "p0", "p0"]
    assert [each and each.scores for each in nearest] == [{"V-V": 0.9}, {"V-V": 0.3}, {"V-V": -0.5}]
    (nobody,) = decide(evidence(np.zeros((1, 0)))).values()
    assert nobody.nearest is None


def test_without_evidence_the_nearest_and_the_candidates_are_by_their_scores() -> None:
    """As with a model without calibrations."""
    found = evidence([[1.0, 5.0, 3.0]])
    unknown = dataclasses.replace(found, ratios=np.zeros((1, 3)))
    (decision,) = decide(unknown).values()
    assert decision.person is None
    assert decision.nearest is not None
    assert decision.nearest.person == "p1"
    assert [each.person for each in decision.candidates] == ["p1", "p2", "p0"]


def test_those_of_whom_there_is_too_little_have_somebody_nearest_and_no_name() -> None:
    decisions = find_nearest(evidence([[9.0, 0.0], [0.0, 8.0]]))
    assert [each.person for each in decisions.values()] == [None, None]
    assert [each.candidates for each in decisions.values()] == [(), ()]
    assert [each.nearest and each.nearest.person for each in decisions.values()] == ["p0", "p1"]


def test_scores_are_reported_by_direction_where_there_are_any() -> None:
    (decision,) = decide(evidence([[5.0]])).values()
    assert decision.candidates[0].scores == {"V-V": 0.5}
    assert decision.name == "P 0"
