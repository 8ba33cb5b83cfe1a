"""The pickles of vfal-eva beyond pairs: matching of N, and retrieval."""

from __future__ import annotations

import pickle

import pytest

from indexer.errors import BadRequest
from trainer.protocols.trials import Retrieval
from trainer.protocols.vfal_pickle import read_trials
from trainer.protocols.voxceleb_people import People, VoxPerson

PEOPLE = People([VoxPerson("id1", "Ann_A", "f", "Peru")])


@pytest.fixture
def pickled(tmp_path):
    def write(content: object, protocol: int = pickle.HIGHEST_PROTOCOL):
        (tmp_path / "test.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
        return tmp_path / "test.pkl"

    return write


def paths(found, places):
    return [found.items.paths[place] for place in places]


def test_the_first_of_n_voices_and_faces_belong_together(pickled):
    rows = [[["a/1.wav", "b/1.wav", "c/1.wav"], ["a/1.jpg", "b/1.jpg", "c/1.jpg"]]]
    voices, faces = read_trials(pickled({"match_list": rows}))
    assert paths(voices, voices.probes) == ["a/1.wav"]
    assert paths(voices, voices.candidates[0]) == ["a/1.jpg", "b/1.jpg", "c/1.jpg"]
    assert paths(faces, faces.probes) == ["a/1.jpg"]
    assert paths(faces, faces.candidates[0]) == ["a/1.wav", "b/1.wav", "c/1.wav"]
    for found in (voices, faces):
        assert found.truth.tolist() == [0]
        assert found.items.same_person(found.probes[0], found.candidates[0]).tolist() == [
            True,
            False,
            False,
        ]


def test_each_group_of_a_retrieval_asks_both_ways(pickled):
    groups = [
        [("x/1.wav", "y/1.jpg", "a"), ("x/2.wav", "y/2.jpg", "b")],
        [("x/1.wav", "y/1.jpg", "a")],
    ]
    found = read_trials(pickled({"retrieval_lists": groups}))
    assert [each.name for each in found] == ["test V-F 1", "test F-V 1", "test V-F 2", "test F-V 2"]
    assert all(isinstance(each, Retrieval) for each in found)
    assert paths(found[0], found[0].queries) == ["x/1.wav", "x/2.wav"]
    assert paths(found[1], found[1].gallery) == ["x/1.wav", "x/2.wav"]
    assert found[0].items.names == ("a", "b")


def test_two_names_of_one_person_are_brought_together(pickled):
    (found,) = read_trials(pickled({"list": [["id1/1.wav", "Ann_A/1.jpg", 1]]}), PEOPLE)
    assert found.items.names == ("Ann_A",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_sets_of_media_that_stand_beside_a_list_are_read_over(pickled, protocol):
    content = {"wav_set": {"a/1.wav"}, "jpg_set": {"a/1.jpg"}, "list": [["a/1.wav", "a/1.jpg", 1]]}
    (found,) = read_trials(pickled(content, protocol))
    assert found.same.tolist() == [True]


@pytest.mark.parametrize(
    "content",
    [
        {"match_list": [[["a/1.wav", "b/1.wav"], ["a/1.jpg"]], [["a/1.wav"], ["a/1.jpg"]]]},
        {"match_list": [["a/1.wav", "a/1.jpg", "b/1.jpg"]]},
        {"retrieval_lists": [[("a/1.wav", "a/1.jpg")]]},
        {"retrieval_lists": [[("a/1.txt", "a/1.jpg", "a")]]},
        {"wav_set": set()},
        ["a/1.wav"],
    ],
)
def test_what_is_none_of_the_lists_is_refused_by_name(pickled, content):
    with pytest.raises(BadRequest, match=r"test\.pkl"):
        read_trials(pickled(content))
