from __future__ import annotations

import numpy as np
import pytest

from indexer.errors import BadRequest
from tests.trainer.evaluation.test_score import perfect, world_items
from trainer.evaluation.build_trials import ProtocolSpec, generate_tasks, people_groups
from trainer.evaluation.items import EvalItems
from trainer.evaluation.section import SEEN, UNSEEN

NAMES = ["p0", "p1", "p2", "p3"]


@pytest.fixture
def evaluated():
    items = world_items()
    return EvalItems(items, perfect(items), {}, {})


def test_people_of_the_training_and_others_take_part_apart():
    groups = people_groups(("all", "seen", "unseen"), NAMES, ["p1", "p3", "stranger"])
    assert groups == {
        "": None,
        SEEN: frozenset({"p1", "p3"}),
        UNSEEN: frozenset({"p0", "p2"}),
    }


@pytest.mark.parametrize(
    ("trained", "trained_on", "message"),
    [
        ("seen", [], "are not recorded"),
        ("seen", ["stranger"], "None of the people is seen"),
        ("unseen", NAMES, "None of the people is unseen"),
    ],
)
def test_a_part_that_is_nobody_is_refused(trained, trained_on, message):
    with pytest.raises(BadRequest, match=message):
        people_groups((trained,), NAMES, trained_on)


def test_protocols_of_seen_and_unseen_people_share_nobody(evaluated):
    groups = people_groups(("seen", "unseen"), evaluated.items.names, [f"p{at}" for at in range(8)])
    wanted = ProtocolSpec(("1:2",), ("V-F",), ("U",), groups=groups)
    seen, unseen = (asked.protocol for asked in generate_tasks(evaluated, wanted))
    assert (seen.name, unseen.name) == ("1:2 V-F U seen-heard", "1:2 V-F U unseen-unheard")
    who = [
        {evaluated.items.names[at] for at in evaluated.items.people[each.candidates].ravel()}
        for each in (seen, unseen)
    ]
    assert who[0] == {f"p{at}" for at in range(8)}
    assert not who[0] & who[1]


def test_what_the_people_do_not_suffice_for_is_left_out_and_said(evaluated):
    said: list[str] = []
    wanted = ProtocolSpec(("1:2", "1:100", "retrieval"), ("V-F",), ("U", "G"))
    made = generate_tasks(evaluated, wanted, said.append)
    assert [asked.protocol.name for asked in made] == ["1:2 V-F U", "retrieval V-F U"]
    assert [each.split(" needs ")[0] for each in said] == [
        "Left out: 1:100 matching V-F within U",
        "Left out: 1:2 matching V-F within G",
        "Left out: 1:100 matching V-F within G",
    ]


def test_where_nothing_can_be_asked_the_reasons_are_said(evaluated):
    wanted = ProtocolSpec(("1:100", "verification"), ("V-F", "F-V"), ("N",))
    with pytest.raises(
        BadRequest, match=r"No protocol can be made.* 1:100 .*V-F.*verification F-V within"
    ):
        generate_tasks(evaluated, wanted)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"kinds": ("1:0",)},
            "no protocol '1:0'; there are verification, retrieval, and 1:N with N",
        ),
        ({"kinds": ("1:101",)}, "no protocol '1:101'"),
        ({"kinds": ("1:2", "Verification")}, "no protocol 'Verification'"),
        ({"directions": ("F-X",)}, "no direction 'F-X'; there are V-F, F-V, V-V, F-F"),
        ({"strata": ("Q",)}, "no stratum 'Q'; there are U, G, N, A, GN, GNA"),
        ({"answers": ("age",)}, "no right answer 'age'; there are identity, gender"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_those_that_do(evaluated, words, message):
    wanted = {"kinds": ("1:2",), "directions": ("V-F",), "strata": ("U",), **words}
    with pytest.raises(BadRequest, match=message):
        generate_tasks(evaluated, ProtocolSpec(**wanted))


def test_the_restricted_have_the_people_and_vectors_they_had(evaluated):
    kept = frozenset(path for path in evaluated.items.paths if path.startswith(("p2/", "p5/")))
    fewer = evaluated.restrict(kept)
    assert set(fewer.items.paths) == kept
    assert {fewer.items.names[who] for who in fewer.items.people} == {"p2", "p5"}
    rows = fewer.scorer.places(fewer.items.paths)
    own = evaluated.scorer.vectors[
        [evaluated.items.paths.index(path) for path in fewer.items.paths]
    ]
    assert np.array_equal(fewer.scorer.vectors[rows], own)
