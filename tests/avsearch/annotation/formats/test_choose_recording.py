"""The choice of one recording among several."""

from __future__ import annotations

import pytest

from avsearch.annotation.formats.choose_recording import RecordingChoice
from indexer.errors import BadRequest

IDS = ["talk", "other"]


def test_the_recording_is_found_by_the_name_of_its_file() -> None:
    assert RecordingChoice("other").select(IDS) == ("other", [])


@pytest.mark.parametrize(
    "found",
    [
        "my meeting.wav",
        "/data/upload/1/3f2a1b0c-my_meeting.wav",
        "s3://bucket/My%20Meeting.mp4?X-Amz-Date=1",
        "/data/local-files/?d=calls/my%20meeting.flac",
        r"C:\calls\my meeting.wav",
        "MY MEETING",
        "my_meeting",
        "https://host/audio/my meeting.ogg",
    ],
)
def test_paths_and_addresses_of_a_file_are_called_as_it_is(found: str) -> None:
    assert RecordingChoice("my meeting").select(["other", found, "third"]) == (found, [])


def test_names_are_compared_in_one_normal_form() -> None:
    assert RecordingChoice("Zoe\u0308").select(["Zo\u00eb", "x"]) == ("Zo\u00eb", [])


def test_the_exact_name_goes_before_those_that_are_alike() -> None:
    assert RecordingChoice("a.b").select(["a.b", "a.b.wav"]) == ("a.b", [])


def test_one_recording_is_taken_whatever_it_is_called_and_a_note_says_so() -> None:
    chosen, notes = RecordingChoice("mine").select(["talk", "talk"])
    assert chosen == "talk"
    assert notes == ["The turns say that they are of 'talk'; they were taken for 'mine'."]
    assert RecordingChoice().select(["talk"]) == ("talk", [])


def test_the_id_that_the_user_gives_counts() -> None:
    assert RecordingChoice("talk", "other").select(IDS) == ("other", [])
    with pytest.raises(BadRequest, match="has no recording 'third'; it is of talk, other"):
        RecordingChoice("talk", "third").select(IDS)
    with pytest.raises(BadRequest, match="has no recording 'third'"):
        RecordingChoice("talk", "third").select(["talk"])


def test_several_others_are_named_and_refused() -> None:
    with pytest.raises(
        BadRequest, match=r"is of talk, other and not of mine; choose .*--recording"
    ):
        RecordingChoice("mine").select(IDS)
    with pytest.raises(BadRequest, match="is of 2 recordings; say which with --recording"):
        RecordingChoice().select(IDS)
    with pytest.raises(BadRequest, match="id9 and 15 more"):
        RecordingChoice("mine").select([f"id{n}" for n in range(25)])


def test_two_that_could_be_the_recording_are_refused() -> None:
    with pytest.raises(BadRequest, match=r"a/talk.wav, b/talk.wav are all called 'talk'"):
        RecordingChoice("talk").select(["a/talk.wav", "b/talk.wav"])
    assert (
        RecordingChoice("talk", "b/talk.wav").select(["a/talk.wav", "b/talk.wav"])[0]
        == "b/talk.wav"
    )
