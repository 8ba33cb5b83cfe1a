"""An index asked with its own items, beside plain loops over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsearch.calibration import direction
from avsearch.report.leave_one_out import DIRECTIONS, EACH, by_person, query_own_items, summarize
from indexer.index import Index
from indexer.ingest.ingest import ingest
from indexer.search.vector_index import exact_scores, prepared
from tests.helpers.fakes import SPACE, FakeEmbedder, FakeExtractor

# Of each person the files, and of each file how many faces and voices are in it.
PEOPLE = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any), min_size=1, max_size=3),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.fixture
def make(tmp_path_factory):
    """An index of people with such files, whose genders are given by letter."""

    def made(people, genders="fm"):
        folder = tmp_path_factory.mktemp("place")
        rows = ["person,gender"]
        for who, files in enumerate(people):
            rows.append(f"p{who},{genders[who % len(genders)].strip()}")
            (folder / "gallery" / f"p{who}").mkdir(parents=True)
            for at, (faces, voices) in enumerate(files):
                lines = [f"face: {who} {at} {n}" for n in range(faces)]
                lines += [f"voice: {who} {at} {n}" for n in range(voices)]
                path = folder / "gallery" / f"p{who}" / f"{at}.mp4"
                path.write_text("\n".join(lines))
        (folder / "gallery" / "people.csv").write_text("\n".join(rows))
        with Index.create(folder / "index", SPACE) as index:
            ingest(index, folder / "gallery", FakeExtractor(), FakeEmbedder())
        return Index.open(folder / "index")

    return made


def plain(index, asked, wanted, known):
    """Every question of a kind that has a right answer: the item's number to its ranking."""
    with index.catalog.read() as read:
        ids = read.owners()[0]
        items, vectors = read.items(ids), prepared(read.vectors(ids), "cosine")
    rankings = {}
    for at, number in enumerate(ids.tolist()):
        item = items[number]
        if item.modality != asked or item.person.key in known:
            continue
        best = {}
        for other, candidate in enumerate(items[n] for n in ids.tolist()):
            if candidate.modality == wanted and candidate.path != item.path:
                score = float(exact_scores(vectors[at], vectors[other : other + 1], "cosine")[0])
                who = candidate.person.key
                best[who] = max(best.get(who, -np.inf), score)
        if item.person.key in best:
            rankings[number] = sorted(best.items(), key=lambda pair: -pair[1])
    return rankings


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=PEOPLE, known=st.sets(st.sampled_from(["p0", "p1"])))
def test_questions_and_rankings_are_those_of_plain_loops(make, people, known):
    with make(people) as index:
        found = query_own_items(index, known)
        for kind in DIRECTIONS:
            expected = plain(index, *kind, known)
            questions = found[direction(*kind)]
            got = {
                each.item.id: [(hit.item.person.key, pytest.approx(hit.score)) for hit in each.hits]
                for each in questions
            }
            assert got == expected
            for each in questions:
                rights = [hit.item.person.key == each.item.person.key for hit in each.hits]
                assert rights == [hit.right for hit in each.hits]
                assert rights.index(True) + 1 == each.place


def test_shares_are_means_over_people_of_their_own_means(make):
    with make([[(0, 2), (0, 1)], [(0, 1), (0, 1)], [(0, 1), (0, 3)]]) as index:
        questions = query_own_items(index, set())["V-V"]
    kind = summarize("V-V", questions)
    own = by_person(questions)
    assert sorted(map(len, own)) == [2, 3, 4]
    assert (kind.people, kind.questions) == (3, 9)
    firsts = [np.mean([each.hits[0].right for each in some]) for some in own]
    assert kind.right == pytest.approx(np.mean(firsts))
    assert kind.right_by_chance == pytest.approx(1 / 3)
    alike = [
        np.mean([each.hits[0].item.person.gender == each.item.person.gender for each in some])
        for some in own
    ]
    assert kind.gender == pytest.approx(np.mean(alike))
    assert kind.gender_by_chance == pytest.approx((2 / 3 + 1 / 3 + 2 / 3) / 3)


def test_where_a_gender_is_unknown_none_is_counted(make):
    with make([[(1, 0), (1, 0)], [(1, 0)]], genders="f ") as index:
        kind = summarize("F-F", query_own_items(index, set())["F-F"])
    assert (kind.gender, kind.gender_by_chance) == (None, None)


def test_somebody_with_much_is_asked_about_a_bounded_number_of_times(make):
    with make([[(0, EACH), (1, 5)], [(1, 0)]]) as index:
        found = query_own_items(index, set())
        assert len(found["V-F"]) == len({each.item.id for each in found["V-F"]}) <= EACH
        assert found == query_own_items(index, set())


def test_nobody_can_be_asked_about_where_all_is_in_one_file(make):
    with make([[(2, 2)], [(1, 1)]]) as index:
        assert not any(query_own_items(index, set()).values())
