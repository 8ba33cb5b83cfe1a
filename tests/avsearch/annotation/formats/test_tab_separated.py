"""Tables of turns: CSV of any program, ELAN's exports, Audacity's labels."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.formats.tab_separated import read_labels, read_table, write_elan
from avsearch.annotation.turns import Diarization, Turn
from indexer.errors import BadRequest

EXPECTED = (Turn(0.5, 1.5, "Ann"), Turn(2, 3.25, "Bob"))


def table(text: str, recording: str | None = None) -> Diarization:
    return read_table(text, RecordingChoice(recording))


def rows(names: list[str], *values: list[object], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([names, *values])
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "names",
    [
        ["start", "end", "speaker"],
        ["Start", "End", "Speaker"],
        ["start_time", "end_time", "speaker_id"],
        ["Start Time", "Stop Time", "Speaker Label"],
        ["begin", "end", "label"],
        ["onset", "offset", "name"],
        ["startTime", "endTime", "speakerLabel"],
        ["start (s)", "end (s)", "who"],
        ["start_s", "end_s", "speaker"],
        ["start_sec", "end_sec", "speaker"],
        ["startsecs", "endsecs", "spk"],
        ["tmin", "tmax", "tier"],
        [" start ", " end ", " speaker "],
    ],
)
def test_a_table_is_told_by_its_header_whatever_it_calls_its_columns(names, delimiter) -> None:
    text = rows(names, [0.5, 1.5, "Ann"], [2, 3.25, "Bob"], delimiter=delimiter)
    assert table(text).turns == EXPECTED


@pytest.mark.parametrize(
    ("start", "end", "values"),
    [
        ("start_ms", "end_ms", [[500, 1500], [2000, 3250]]),
        ("Start (msec)", "End (msec)", [[500, 1500], [2000, 3250]]),
        ("startMs", "endMs", [[500, 1500], [2000, 3250]]),
        ("start [milliseconds]", "end [milliseconds]", [["500", "1500"], ["2000.0", "3250.0"]]),
        ("start", "end", [["00:00:00.500", "00:00:01.500"], ["0:02", "00:03.25"]]),
        ("start (hh:mm:ss)", "duration_ms", [["00:00:00.5", "1000"], ["00:00:02", "1250"]]),
        ("start", "duration", [[0.5, 1], [2, 1.25]]),
        ("offset", "duration", [[0.5, 1], [2, 1.25]]),
        ("start", "end", [["0,5", "1,5"], ["2,0", "3,25"]]),
        ("start", "end", [["0 days 00:00:00.500000", "0 days 00:00:01.500000"], ["2", "3.25"]]),
        ("start_frame (25 fps)", "end_frame (25 fps)", None),
        ("start_us", "end_us", [["500000", "1500000"], ["2e6", "3250000"]]),
        ("start_min", "end_min", [["0.00833333333", "0.025"], ["0.0333333333333", "0.0541666667"]]),
    ],
)
def test_times_are_in_the_unit_that_the_header_names(start, end, values) -> None:
    if values is None:
        values = [[12.5, 37.5], [50, 81.25]]
        start, end = start.replace("_frame ", " "), end.replace("_frame ", " ")
    text = rows([start, end, "speaker"], [*values[0], "Ann"], [*values[1], "Bob"], delimiter=";")
    assert table(text).turns == EXPECTED


@pytest.mark.parametrize("unit", ["samples", "frames", "ns", "ticks", "beats"])
def test_an_unknown_unit_is_refused_with_those_that_are_known(unit: str) -> None:
    for name in (f"start ({unit})", f"Begin Time - {unit}"):
        with pytest.raises(BadRequest, match=rf"{unit}|frames") as raised:
            table(rows([name, "end", "speaker"], [1, 2, "Ann"]))
        assert "known are seconds (s, ss.msec), milliseconds" in str(raised.value).lower()


def test_the_table_of_whisperx_and_pandas_is_taken() -> None:
    text = (
        ",segment,label,speaker,start,end\n"
        "0,[ 00:00:00.500 -->  00:00:01.500],A,SPEAKER_00,0.5,1.5\n"
        "1,[ 00:00:02.000 -->  00:00:03.250],B,SPEAKER_01,2.0,3.25\n"
        "2,[ 00:00:04.000 -->  00:00:05.000],C,,4.0,5.0\n"
        "3,[ 00:00:05.000 -->  00:00:06.000],D,nan,5.0,6.0\n"
    )
    said = table(text)
    assert said.turns == (Turn(0.5, 1.5, "SPEAKER_00"), Turn(2, 3.25, "SPEAKER_01"))
    assert said.notes == ("turns that name no speaker, left out: 2.",)


def test_what_was_said_is_kept_with_its_quotes_commas_and_lines() -> None:
    said = 'a, "b"\nand c'
    text = rows(["speaker", "start", "end", "text"], ["Ann", 0.5, 1.5, said], ["Bob", 2, 3, "d"])
    assert table(text).turns == (Turn(0.5, 1.5, "Ann", said), Turn(2, 3, "Bob", "d"))


def test_oddities_of_excel_are_taken(tmp_path: Path) -> None:
    text = "sep=;\r\nStart;End;Speaker;\r\n0,5;1,5;Zo\u00eb;\r\n;;;\r\n2;3,25;Bob;\r\n\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file = tmp_path / "turns.csv"
        file.write_bytes(text.encode(encoding))
        assert read_diarization(file).turns == (Turn(0.5, 1.5, "Zo\u00eb"), Turn(2, 3.25, "Bob"))


def test_of_a_table_of_several_recordings_one_is_taken() -> None:
    names = ["file", "start", "end", "speaker"]
    text = rows(
        names, ["a.wav", 0, 9, "Zed"], ["x/talk.wav", 0.5, 1.5, "Ann"], ["a.wav", 9, "", "Z"]
    )
    said = table(text, "talk")
    assert said.turns == (Turn(0.5, 1.5, "Ann"),)
    assert said.recording == "x/talk.wav"
    with pytest.raises(BadRequest, match=r"it is of a.wav, x/talk.wav and not of mine"):
        table(text, "mine")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("start,end,speaker\n0,1,Ann\n1,x,Bob\n", "line 3: the end is 'x', which is no number"),
        ("start,end,speaker\n2,1,Ann\n", "line 2: 2 s to 1 s is no range of time"),
        ("start,end,speaker\n-1,1,Ann\n", "line 2: -1 s to 1 s is no range of time"),
        ("start,end,speaker\n0,1\n", "line 2: it has 2 cells where the header has 3"),
        ("start,end,speaker\n0,1,Ann,b\n", "line 2: it has 4 cells where the header has 3; put"),
        ("start,end,text\n0,1,hello\n", "no column is called speaker; there are 'start', 'end'"),
        ("start,speaker\n0,Ann\n", "no column is called end or duration; there are 'start'"),
        ("start,end,speaker\n0,1,\n", "no turn says its speaker"),
        ("start,end,speaker\n", "no turn of speech"),
        ("start,end,speaker\n0,nan,Ann\n", "line 2: the end is 'nan', which must be finite"),
        ("start,end,speaker\n0,00:00:01:12,Ann\n", "line 2: .*counts frames"),
        ("Tier\tBegin Time - ss.msec\nann\t1\n", "no column is called end or duration"),
        ("Tier\tBegin\tEnd\nann\t1\n", "line 2: it has 2 cells where the header has 3"),
    ],
)
def test_a_faulty_table_is_refused_by_line(text: str, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        table(text)


def elan(start: str, end: str, unit: str, what: str = "End Time", head: str = "") -> str:
    names = ["Tier", f"Begin Time - {unit}", f"{what} - {unit}", "Annotation"]
    return head + "\t".join(names) + "\n" + "\t".join(["Ann", start, end, "hello"]) + "\n"


MEDIA = '"#file:///D:/x/talk.mp4 -- offset: 0, duration: 00:05:00.000, ms per sample: {}"\n'


@pytest.mark.parametrize(
    "text",
    [
        elan("1500", "2250", "msec"),
        elan("1.5", "2.25", "ss.msec"),
        elan("00:00:01.500", "00:00:02.250", "hh:mm:ss.ms"),
        elan("00:00:01:10", "00:00:02:05", "PAL").replace(":10", ":12").replace(":05", ":06"),
        elan("00:00:01:25", "00:00:02:12", "PAL-50fps"),
        elan("00:00:01:25", "00:00:02:12", "hh:mm:ss:ff PAL-50fps"),
        elan("00:00:01:12", "00:00:02:06", "hh:mm:ss:ff (PAL)"),
        elan("00:00:01:15", "00:00:02:07", "hh:mm:ss:ff (30 fps)"),
        elan("00:00:01:12", "00:00:02:06", "hh:mm:ss:ff", head=MEDIA.format("40.0")),
        elan("1500", "750", "msec", "Duration"),
        elan("00:00:01.500", "00:00:00.750", "hh:mm:ss.ms", "Duration"),
        elan("1.5", "2.25", "ss.msec", head=MEDIA.format("40.0") + "\n"),
    ],
)
def test_elan_says_in_its_header_what_its_times_count(text: str) -> None:
    ((start_s, end_s, speaker, said),) = table(text).turns
    assert (start_s, end_s) == (pytest.approx(1.5, abs=0.03), pytest.approx(2.25, abs=0.03))
    assert (speaker, said) == ("Ann", "hello")


def test_frames_of_ntsc_leave_out_numbers_but_every_tenth_minute() -> None:
    turns = table(elan("00:10:00:00", "00:11:00:02", "NTSC")).turns
    assert turns[0].start_s == pytest.approx(600, abs=0.01)
    assert turns[0].end_s == pytest.approx(660, abs=0.1)


@pytest.mark.parametrize("unit", ["hh:mm:ss:ff", "SMPTE", "frames"])
def test_frames_of_an_unknown_rate_are_refused(unit: str) -> None:
    with pytest.raises(BadRequest, match="counts frames, and nothing says how many are a second"):
        table(elan("00:00:01:12", "00:00:02:00", unit))
    with pytest.raises(BadRequest, match="is no frame of 25 a second"):
        table(elan("00:00:01:12", "00:00:02:40", "PAL"))


def test_of_several_columns_of_a_time_one_in_seconds_is_taken() -> None:
    units = ("PAL", "hh:mm:ss.ms", "ss.msec", "msec", "furlongs")
    names = [f"{what} - {unit}" for what in ("Begin Time", "End Time") for unit in units]
    values = ["00:00:01:12", "00:00:01.500", "1.5", "1500", "7"]
    values += ["00:00:02:06", "00:00:02.250", "2.25", "2250", "8"]
    text = rows([*names, "Tier"], [*values, "Ann"], delimiter="\t")
    assert table(text).turns == (Turn(1.5, 2.25, "Ann"),)


def test_elan_takes_clocks_and_columns_in_any_order() -> None:
    text = (
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tTier\tAnnotation\n"
        "01:00:01.500\t01:00:02.000\tann\thello\n"
    )
    assert table(text).turns == (Turn(3601.5, 3602, "ann", "hello"),)


def test_a_participant_of_elan_goes_before_the_tier() -> None:
    names = ["Tier", "Participant", "Begin Time - msec", "End Time - msec", "Annotation"]
    text = rows(
        names, ["tx@A", "Ann", 500, 1500, "hi"], ["Bob", "", 2000, 3250, ""], delimiter="\t"
    )
    assert table(text).turns == (Turn(0.5, 1.5, "Ann", "hi"), Turn(2, 3.25, "Bob"))


def test_a_column_for_each_tier_is_a_speaker_each() -> None:
    names = ["Begin Time - ss.msec", "End Time - ss.msec", "Duration - ss.msec", "Ann", "Bob"]
    text = MEDIA.format("40.0") + rows(
        names, [0.5, 1.5, 1, "hi, you", ""], [2, 3.25, 1.25, "", "ho"]
    )
    assert table(text).turns == (Turn(0.5, 1.5, "Ann", "hi, you"), Turn(2, 3.25, "Bob", "ho"))


def test_a_tier_of_speakers_holds_their_names() -> None:
    names = ["Tier", "Begin Time - msec", "End Time - msec", "Annotation"]
    text = rows(
        names, ["speaker", 500, 1500, "Ann"], ["speaker", 2000, 3250, "Bob"], delimiter="\t"
    )
    assert table(text).turns == EXPECTED


def test_quotes_in_tab_delimited_text_of_elan_are_text() -> None:
    turns = (Turn(0, 1, "Ann", '"hello'), Turn(1, 2, 'the "boss', "x"))
    assert table(write_elan(turns)).turns == turns


@pytest.mark.parametrize(
    "text",
    [
        "0.5\t1.5\tAnn\n2\t3.25\tBob\n",
        "0,5\t1,5\tAnn\r\n2,0\t3,25\tBob\r\n",
        "0.5 1.5 Ann\n2.0  3.25  Bob\n",
        "0.5\t1.5\tAnn\n\\\t100.0\t2000.0\n2\t3.25\tBob\n",
        "\\\t100.0\t2000.0\n0.5\t1.5\tAnn\n2\t3.25\tBob\n",
    ],
)
def test_labels_are_apart_by_tabs_or_blanks(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text, newline="")
    assert read_diarization(tmp_path / "labels.txt").turns == EXPECTED


def test_labels_may_hold_blanks_and_those_of_whisperx_hold_the_text() -> None:
    assert read_labels("0.5 1.5 Ann Blue\n").turns == (Turn(0.5, 1.5, "Ann Blue"),)
    said = read_labels("0.5\t1.5\t[[SPEAKER_00]]hello: you\n2\t3\t\n")
    assert said.turns == (Turn(0.5, 1.5, "SPEAKER_00", "hello: you"),)
    assert said.notes == ("turns that name no speaker, left out: 1.",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0\t1\n", "line 1: a label has a start, an end and a name"),
        ("0\tx\tann\n", "line 1: the time is 'x'"),
        ("2\t1\tann\n", "line 1: 2 s to 1 s is no range of time"),
        ("-2\t1\tann\n", "line 1: -2 s to 1 s is no range of time"),
        ("-2 1 ann\n", "line 1: -2 s to 1 s is no range of time"),
        ("00:00:01:12\t00:00:02:00\tann\n", "line 1: .*counts frames"),
    ],
)
def test_a_faulty_label_is_refused_by_line(text: str, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        read_labels(text)
