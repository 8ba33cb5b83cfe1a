"""Captions of Zoom, WhisperX, YouTube, Teams and people."""

from __future__ import annotations

import pytest

from avsearch.annotation.formats.captions import is_captions, read_captions, write_webvtt
from avsearch.annotation.turns import Diarization, Turn
from indexer.errors import BadRequest


def vtt(*cues: str, head: str = "WEBVTT\n") -> str:
    times = "00:00:{:02d}.000 --> 00:00:{:02d}.500"
    blocks = [f"{times.format(at, at)}\n{cue}\n" for at, cue in enumerate(cues)]
    return "\n".join([head, *blocks])


def srt(*cues: str) -> str:
    times = "00:00:{:02d},000 --> 00:00:{:02d},500"
    return "\n".join(f"{at + 1}\n{times.format(at, at)}\n{cue}\n" for at, cue in enumerate(cues))


def sbv(*cues: str) -> str:
    return "\n".join(f"0:00:{at:02d}.000,0:00:{at:02d}.500\n{cue}\n" for at, cue in enumerate(cues))


def said(text: str) -> list[tuple[float, str, str | None]]:
    return [(turn.start_s, turn.speaker, turn.text) for turn in read_captions(text).turns]


@pytest.mark.parametrize(
    "cue",
    [
        "<v Ann>one two</v>",
        "<v Ann>one\ntwo</v>",
        "<v Ann>one\ntwo",
        "<v Ann>\none\ntwo",
        "<v Ann>\none\ntwo\n</v>",
        "- <v Ann>one two</v>",
        "<i><v Ann>one two</v></i>",
        "<v Ann><i>one</i> <c.yellow>two</c></v>",
        "<v.loud Ann>one two</v>",
        "<v.first.loud Ann>one two</v>",
        "<v\tAnn >one <00:00:00.200>two</v>",
        "<v Ann>one</v>\n<v Ann>two</v>",
        "<lang en><v Ann>one two</v></lang>",
    ],
)
@pytest.mark.parametrize("write", [vtt, srt, sbv])
def test_a_voice_speaks_all_lines_of_its_caption(cue: str, write) -> None:
    assert said(write(cue)) == [(0, "Ann", "one two")]
    assert read_captions(write(cue)).notes == ()


@pytest.mark.parametrize(
    "cue",
    [
        "<v Ann>one</v>\n<v Bob>two</v>",
        "<v Ann>one\n<v Bob>two",
        "- <v Ann>one</v>\n- <v Bob>two</v>",
        "<v Ann>one</v> <v Bob>two</v>",
        "[Ann]: one\n[Bob]: two",
        "Ann: one\nBob: two",
        "- Ann: one\n- Bob: two",
        "<i>Ann: one</i>\n<i>Bob: two</i>",
    ],
)
@pytest.mark.parametrize("write", [vtt, srt, sbv])
def test_a_caption_of_two_speakers_is_a_turn_of_each(cue: str, write) -> None:
    assert said(write(cue)) == [(0, "Ann", "one"), (0, "Bob", "two")]


@pytest.mark.parametrize(
    ("written", "speaker"),
    [
        ("[SPEAKER_00]: one", "SPEAKER_00"),
        ("[SPEAKER_00] one", "SPEAKER_00"),
        ("[Ann Blue]: one", "Ann Blue"),
        ("SPEAKER_00: one", "SPEAKER_00"),
        ("Speaker 1: one", "Speaker 1"),
        ("Ann Blue: one", "Ann Blue"),
        ("ann blue: one", "ann blue"),
        ("Dr. Ann O'Neil-Blue: one", "Dr. Ann O'Neil-Blue"),
        ("Ann Blue, PhD: one", "Ann Blue, PhD"),
        ("Ann (she/her): one", "Ann (she/her)"),
        ("iPhone 12 von Ann: one", "iPhone 12 von Ann"),
        ("ANN: one", "ANN"),
        ("&gt;&gt; ANN: one", "ANN"),
        (">> ANN: one", "ANN"),
        ("- Ann: one", "Ann"),
        ("\u738b\u4f1f\uff1aone", "\u738b\u4f1f"),
        ("Ann:\none", "Ann"),
        ("[SPEAKER_00]: <u>one</u>", "SPEAKER_00"),
        ("{\\an8}ANN: {\\i1}one{\\i0}", "ANN"),
        ("(Ann): one", "Ann"),
    ],
)
@pytest.mark.parametrize("write", [vtt, srt, sbv])
def test_a_speaker_in_the_text_is_told_by_brackets_or_a_colon(written, speaker, write) -> None:
    assert said(write(written)) == [(0, speaker, "one")]


def test_a_wrapped_line_belongs_to_who_spoke_before_it() -> None:
    text = vtt("Ann Blue: this is a long line\nthat goes on: here", "Bob: and so\non")
    assert said(text) == [
        (0, "Ann Blue", "this is a long line that goes on: here"),
        (1, "Bob", "and so on"),
    ]


def test_zoom_names_who_speaks_once_too() -> None:
    cues = ["Ann: hello", "Ann: it is 12:30 now", "Bob: see https://a.b/c: it is there"]
    assert [who for _, who, _ in said(vtt(*cues))] == ["Ann", "Ann", "Bob"]


@pytest.mark.parametrize(
    "remark",
    [
        "Note: this is read aloud",
        "Remember: buy milk",
        "Step 2: open the lid",
        "it began at 12:30",
        "https://example.com/a",
        "12:30: lunch",
        "so he said: go",
        "What? I mean: yes",
        "[Music]",
        "[laughs] well",
        "(laughter): ha",
        "[Music]: la",
    ],
)
def test_a_word_before_a_colon_is_text_where_the_file_is_not_written_so(remark: str) -> None:
    cues = ["<v Ann>one</v>", "two", "<v Ann>three</v>", remark]
    read = read_captions(vtt(*cues))
    assert {turn.speaker for turn in read.turns} == {"Ann"}
    assert read.notes[-1] == "captions, or parts of them, that name no speaker, left out: 2."
    cues = ["[SPEAKER_00]: one", "[SPEAKER_00]: two", remark]
    assert [who for _, who, _ in said(srt(*cues))] == ["SPEAKER_00", "SPEAKER_00"]


@pytest.mark.parametrize("remark", ["Note: it rains", "Warning: hot", "Translated by: nobody"])
def test_a_remark_is_no_speaker_even_where_names_stand_before_colons(remark: str) -> None:
    assert [who for _, who, _ in said(vtt("Ann: one", "Bob: two", remark))] == ["Ann", "Bob"]
    assert said(vtt(f"Ann: one\n{remark}")) == [(0, "Ann", f"one {remark}")]


def test_questions_and_answers_are_no_speakers_and_a_and_b_are() -> None:
    with pytest.raises(BadRequest, match="no caption names its speaker"):
        read_captions(vtt("Q: who?", "A: me.", "Q: where?", "A: here."))
    assert [who for _, who, _ in said(vtt("A: hi", "B: ho", "A: bye"))] == ["A", "B", "A"]


def test_a_name_that_begins_two_lines_is_a_speaker_in_any_file() -> None:
    plain = ["one", "two", "three", "four"]
    read = read_captions(vtt(*plain, "Ann: five", "six", "Ann: seven", "Remember: eight"))
    assert [(turn.speaker, turn.text) for turn in read.turns] == [("Ann", "five"), ("Ann", "seven")]
    assert read.notes == (
        "words at the beginnings of lines, taken for speakers: Ann (2).",
        "words at the beginnings of lines, taken for text: Remember (1).",
        "captions, or parts of them, that name no speaker, left out: 6.",
    )


def test_captions_without_a_speaker_are_left_out_with_a_note() -> None:
    text = "WEBVTT\n\n1\n00:01.000 --> 00:02.000\n<v Ann>Hi\n\n00:03.000 --> 00:04.000\nMusic\n"
    read = read_captions(text)
    assert read.turns == (Turn(1, 2, "Ann", "Hi"),)
    assert read.notes == ("captions, or parts of them, that name no speaker, left out: 1.",)
    assert read_captions(vtt("<v Ann>one</v>\nand two")).notes == read.notes
    assert read_captions(vtt("<v Ann>one</v>", "<v>two</v>")).notes == read.notes


@pytest.mark.parametrize("text", [vtt("one", "two"), vtt(), srt("Ann", "Bob")])
def test_captions_of_nobody_are_refused_with_how_to_name_somebody(text: str) -> None:
    with pytest.raises(BadRequest, match=r"no caption names its speaker, as <v NAME>text"):
        read_captions(text)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("00:00:01,5 --> 00:00:02,25", (1.5, 2.25)),
        ("0:00:01.250000 --> 0:00:02.500000", (1.25, 2.5)),
        ("00:01.000 --> 00:02.000", (1, 2)),
        ("00:00:01 --> 00:00:02", (1, 2)),
        ("01:00:01,000-->01:00:02,000", (3601, 3602)),
        ("00:00:01,000 --> 00:00:02,000 X1:40 Y1:30", (1, 2)),
        ("00:00:01.000 --> 00:00:02.000 align:start position:0%", (1, 2)),
        ("0:00:01.000,0:00:02.000", (1, 2)),
    ],
)
def test_times_are_read_in_every_form_and_with_or_without_numbers(times, expected) -> None:
    cue = f"{times}\nAnn: one\n"
    texts = [f"1\n{cue}", cue, f"\n\n{cue}", f"1\r\n{cue}".replace("\n", "\r\n")]
    if "-->" in times:
        texts.append(f"WEBVTT\nKind: captions\nLanguage: en\n\n{cue}")
    for text in texts:
        assert is_captions(text)
        assert read_captions(text).turns == (Turn(*expected, "Ann", "one"),)


def test_what_is_no_caption_of_webvtt_is_passed_over() -> None:
    text = vtt("<v Ann>one").replace(
        "WEBVTT\n", "WEBVTT - a title\n\nNOTE\nBob: a comment\n\nSTYLE\n::cue { color: red }\n"
    )
    assert said(text) == [(0, "Ann", "one")]


def test_an_empty_line_in_a_caption_of_srt_ends_nothing() -> None:
    text = srt("Ann: one\n\ntwo", "Bob: 1984\n7")
    assert said(text) == [(0, "Ann", "one two"), (1, "Bob", "1984 7")]


def test_captions_that_cannot_be_read_are_counted() -> None:
    text = vtt("<v Ann>one", "<v Bob>two").replace("00:00:01.000 -->", "00:0x:01.000 -->")
    text += "\n99999999999:00:00.000 --> 99999999999:00:01.000\n<v Cyn>three\n"
    read = read_captions(text)
    assert [turn.speaker for turn in read.turns] == ["Ann"]
    assert read.notes == ("captions without text or readable times, left out: 2.",)


def test_a_caption_that_ends_before_it_begins_is_refused_by_its_time() -> None:
    with pytest.raises(BadRequest, match=r"caption at 00:00:02.000 ends before it begins"):
        read_captions("WEBVTT\n\n00:02.000 --> 00:01.000\n<v a>b\n")


def test_entities_are_read_and_written() -> None:
    read = read_captions(vtt("<v Ann &amp; Bob>1 &lt; 2 &#39;and&#39;&nbsp;so</v>"))
    assert read.turns == (Turn(0, 0.5, "Ann & Bob", "1 < 2 'and' so"),)
    assert read_captions(write_webvtt(read.turns)) == Diarization(read.turns)


def test_webex_names_the_speaker_above_the_times() -> None:
    text = vtt("one").replace("00:00:00.000", '1 "Ann Blue" (2147483)\n00:00:00.000')
    assert said(text) == [(0, "Ann Blue", "one")]
