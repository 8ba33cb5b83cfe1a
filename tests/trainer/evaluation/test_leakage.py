from __future__ import annotations

import numpy as np
import pytest

from indexer.types import Media
from trainer.evaluation.leakage import Contents, Copies, own_recordings
from trainer.protocols.trials import Matching, Register, Retrieval, Verification

BYTES = {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/1.jpg": b"one", "b/2.jpg": b"longer"}


@pytest.fixture
def items():
    register = Register()
    for path in BYTES:
        register.add(path, "face", path[0], f"{path[0]}-video")
    return register.items()


@pytest.fixture
def media(tmp_path):
    for path, content in BYTES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return {path: Media(tmp_path / path, "face") for path in BYTES}


def test_a_file_that_asks_for_its_own_copy_is_found_with_whose_they_are(items, media, tmp_path):
    made = Retrieval("r", items, np.array([0, 1]), np.array([2, 3]))
    found = Contents(media).copies(made)
    assert (found.pairs, found.of_two_people) == (1, 1)
    assert found.example == (str(tmp_path / "a/1.jpg"), str(tmp_path / "b/1.jpg"))


def test_copies_on_one_side_alone_give_nothing_away(items, media):
    made = Retrieval("r", items, np.array([0, 2]), np.array([1, 3]))
    assert Contents(media).copies(made) == Copies()


def test_copies_of_one_person_are_counted_apart_from_those_of_two(items, media, tmp_path):
    (tmp_path / "a/2.jpg").write_bytes(b"one")
    pairs = Verification("v", items, np.array([0, 0]), np.array([1, 2]), np.array([True, False]))
    found = Contents(media).copies(pairs)
    assert (found.pairs, found.of_two_people) == (2, 1)


def test_an_item_is_no_copy_of_itself_and_a_missing_file_of_nothing(items, media, tmp_path):
    (tmp_path / "b/1.jpg").unlink()
    everything = np.arange(len(items))
    assert Contents(media).copies(Retrieval("r", items, everything, everything)) == Copies()


def test_media_that_are_not_at_hand_have_no_copies(items):
    made = Retrieval("r", items, np.array([0]), np.array([2]))
    assert Contents({}).copies(made) == Copies()


def test_right_answers_of_the_askers_own_recording_are_counted(items):
    trials = Matching("m", items, np.array([0, 1]), np.array([[1, 2], [0, 3]]), np.array([0, 0]))
    assert own_recordings(trials) == 2
