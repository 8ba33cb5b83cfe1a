"""RTTM as programs and people write it."""

from __future__ import annotations

import pytest

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.rttm import read_rttm
from avsearch.annotation.turns import Turn
from indexer.errors import BadRequest

LINE = "SPEAKER {id} 1 {start} {length} <NA> <NA> {name} <NA> <NA>\n"


def line(name: str, start: float = 0.5, length: float = 1.0, file: str = "talk") -> str:
    return LINE.format(id=file, start=start, length=length, name=name)


def turns(text: str, recording: str | None = None) -> tuple[Turn, ...]:
    return read_rttm(text, RecordingChoice(recording)).turns


def speakers(text: str) -> list[str]:
    return [turn.speaker for turn in turns(text)]


@pytest.mark.parametrize("gap", [" ", "\t", "   ", " \t "])
@pytest.mark.parametrize(
    "file", ["my meeting", "my meeting 2", "a 1 2", "2024 01 01 call 3", "talk"]
)
def test_a_file_id_may_hold_spaces_whatever_is_between_fields(gap: str, file: str) -> None:
    fields = ["SPEAKER", file, "1", "12.250", "4.000", "<NA>", "<NA>", "speaker_1", "<NA>", "<NA>"]
    said = read_rttm(gap.join(fields) + "\n", RecordingChoice())
    assert said.turns == (Turn(12.25, 16.25, "speaker_1"),)
    assert said.recording == file


@pytest.mark.parametrize("gap", [" ", "\t"])
@pytest.mark.parametrize("channel", ["1", "0", "A", "<NA>", "ch1"])
@pytest.mark.parametrize("behind", [[], ["<NA>"], ["<NA>", "<NA>"], ["0.93", "<NA>"], ["0.93"]])
def test_lines_of_eight_to_ten_fields_keep_names_with_spaces(
    gap: str, channel: str, behind: list[str]
) -> None:
    said = "\n".join(
        gap.join(["SPEAKER", "talk", channel, str(at), "1.5", "<NA>", "<NA>", name, *behind])
        for at, name in enumerate(["Ann Blue", "Ann Green", "Ann", "Ann van der Berg"])
    )
    assert speakers(said) == ["Ann Blue", "Ann Green", "Ann", "Ann van der Berg"]


def test_numbers_that_tell_speakers_apart_are_a_part_of_their_names() -> None:
    bare = "SPEAKER m 1 {} 1 <NA> <NA> {}\n"
    said = [bare.format(at, f"Speaker {at}") for at in range(3)]
    assert speakers("".join(said)) == ["Speaker 0", "Speaker 1", "Speaker 2"]
    said = [bare.format(at, f"Room {at} <NA>") for at in (2, 3)]
    assert speakers("".join(said)) == ["Room 2", "Room 3"]
    assert speakers(line("Room 2") + line("Room 3", 5)) == ["Room 2", "Room 3"]
    assert speakers(bare.format(0, "Speaker 1") + bare.format(2, "Ann")) == ["Speaker 1", "Ann"]
    assert speakers(bare.format(0, "Speaker 1")) == ["Speaker 1"]


def test_a_confidence_is_no_part_of_a_name() -> None:
    bare = "SPEAKER m 1 {} 1 <NA> <NA> {}\n"
    said = "ann 0.5", "bob 1 <NA>", "cyn 1.0 <NA>", "dan 0,9 0.1", "eve 1"
    text = "".join(bare.format(at, name) for at, name in enumerate(said))
    assert speakers(text) == ["ann", "bob", "cyn", "dan", "eve"]
    text = "".join(bare.format(at, f"{name} 1 <NA>") for at, name in enumerate(("ann", "bob")))
    assert speakers(text) == ["ann", "bob"]


def test_other_kinds_of_lines_and_comments_may_stand_anywhere() -> None:
    others = (
        ";; made by hand\n",
        "# a comment\n",
        "SPKR-INFO talk 1 <NA> <NA> <NA> adult_male Ann <NA> <NA>\n",
        "SPKR-INFO\ttalk\t1\t<NA>\t<NA>\t<NA>\tunknown\tBob\t<NA>\n",
        "LEXEME talk 1 0 1 word lex Ann <NA> <NA>\n",
        "NON-SPEECH talk 1 0 1 <NA> noise <NA> <NA> <NA>\n",
        "NO_RT_METADATA talk 1 0 1 <NA> <NA> <NA> <NA>\n",
        "\n",
    )
    said = read_rttm(
        others[2] + line("Ann") + "".join(others) + line("Bob", 3) + others[0], RecordingChoice()
    )
    assert said.turns == (Turn(0.5, 1.5, "Ann"), Turn(3, 4, "Bob"))
    assert said.notes == ()


def test_a_line_of_no_kind_of_rttm_is_passed_over_with_a_note() -> None:
    said = read_rttm(line("Ann") + "SPEKER talk 1 2 1 <NA> <NA> Bob <NA> <NA>\n", RecordingChoice())
    assert said.notes == ("lines of no kind of RTTM, passed over: 1 (line 2).",)


def test_capitals_and_numbers_of_any_form_are_taken() -> None:
    text = (
        "speaker talk 1 1.5e1 .5 <NA> <NA> ann <na> <na>\r\nSPEAKER talk 1 +2. 1 <NA> <NA> bob <NA>"
    )
    assert turns(text) == (Turn(2, 3, "bob"), Turn(15, 15.5, "ann"))


def test_empty_cells_between_tabs_are_fields() -> None:
    assert turns("SPEAKER\ttalk\t1\t0.5\t1.0\t\t\tAnn Blue\t\t\n") == (Turn(0.5, 1.5, "Ann Blue"),)


def test_a_line_without_a_speaker_is_left_out_with_a_note() -> None:
    said = read_rttm(line("<NA>") + line("Ann", 2), RecordingChoice())
    assert said.turns == (Turn(2, 3, "Ann"),)
    assert said.notes == ("turns that name no speaker, left out: 1.",)


def test_other_types_of_speech_than_none_are_taken_by_their_places() -> None:
    assert turns("SPEAKER m 1 0 1.5 word read Ann <NA> <NA>\n") == (Turn(0, 1.5, "Ann"),)


@pytest.mark.parametrize(
    "text",
    [
        "SPEAKER my meeting 1 0.5 3.0 word read spk",  # would be a turn from 1 s on
        "SPEAKER my 1 1 0.5 3.0 x y spk <NA>",
        "SPEAKER my 1 1 0,5 3,0 x y spk <NA>",
        "SPEAKER my meeting 1 0.5 3.0 word read spk <NA> <NA>",
        "SPEAKER talk 1 0.5 1.0 <NA> <NA> <NA> speaker_1",
        "SPEAKER talk 1 0.5 1.0 <NA> <NA> A B C 0.5 1 1",
        "SPEAKER talk 0.5 1.0 <NA> Ann Blue <NA> <NA>",
    ],
)
def test_a_line_whose_parts_cannot_be_told_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(BadRequest, match=r"line 2: .*(?:do not stand where they should|no number)"):
        turns(line("Ann") + text + "\n")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("LEXEME talk 1 0 1 word lex A <NA> <NA>\n", "has no SPEAKER line"),
        ("SPEAKER talk 1 -0.5 1 <NA> <NA> A <NA> <NA>\n", "line 1: .*is negative"),
        ("\n" + line("A").replace("1.0", "-1"), "line 2: .*is negative"),
        (line("A").replace("0.5", "soon"), "the start is 'soon'"),
        (line("A").replace("0.5", "nan"), "must be finite"),
        ("SPEAKER talk 1 0.5\n", "has ten fields, and this one 4"),
    ],
)
def test_a_faulty_line_is_refused_by_its_number(text: str, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        turns(text)
