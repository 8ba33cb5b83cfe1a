"""Diarization files: detection of the format by its content, and round trips."""

from __future__ import annotations

import io
import json
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.formats import FORMATS
from avsearch.annotation.formats.captions import read_captions, write_webvtt
from avsearch.annotation.formats.choose_recording import RecordingChoice
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.formats.json_segments import read_json
from avsearch.annotation.formats.label_studio import write_label_studio
from avsearch.annotation.formats.pyannote import from_annotation, to_annotation
from avsearch.annotation.formats.rttm import read_rttm, write_rttm
from avsearch.annotation.formats.tab_separated import (
    read_labels,
    read_table,
    write_audacity,
    write_elan,
)
from avsearch.annotation.formats.tiers import _OF_SPEAKERS
from avsearch.annotation.turns import Diarization, Turn, build_diarization, speaker_text
from indexer.errors import BadRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pandas, which it imports
    from pyannote.core import Annotation, Segment

NAMES = st.text(min_size=1, max_size=8).filter(
    lambda text: bool(speaker_text(text)) and (text < "\ud800" or text.isprintable())
)
WORDS = st.lists(st.text("aä<&>'\"é", min_size=1, max_size=5), min_size=1, max_size=3).map(" ".join)
ANY = RecordingChoice()


def diarizations(names: st.SearchStrategy[str], unit_s: float) -> st.SearchStrategy[Diarization]:
    ends = st.tuples(st.integers(0, 10**8), st.integers(1, 10**6))
    one = st.tuples(ends, names).map(
        lambda it: Turn(it[0][0] * unit_s, (it[0][0] + it[0][1]) * unit_s, it[1])
    )
    return st.lists(one, min_size=1, max_size=6).map(build_diarization)


@given(diarizations(NAMES, 1e-6), st.text("a b%;", min_size=1))
def test_rttm_gives_back_any_name_and_every_microsecond(said: Diarization, name: str) -> None:
    read = read_rttm(write_rttm(said.turns, name), ANY)
    assert read.turns == said.turns
    assert read.recording == name


@given(diarizations(NAMES, 1e-6))
def test_audacity_gives_back_any_name_and_every_microsecond(said: Diarization) -> None:
    assert read_labels(write_audacity(said.turns)).turns == said.turns


# The labels of a tier that is called "speaker" are the speakers.
@given(diarizations(NAMES.filter(lambda it: not _OF_SPEAKERS.fullmatch(it.strip())), 1e-6), WORDS)
def test_elan_gives_back_any_name_and_text(said: Diarization, words: str) -> None:
    turns = (said.turns[0]._replace(text=words), *said.turns[1:])
    found = read_table(write_elan(turns), ANY).turns
    assert [turn[:3] for turn in found] == [turn[:3] for turn in turns]
    assert {turn.text for turn in found} <= {None, words}


@given(diarizations(WORDS, 1e-3), WORDS)
def test_webvtt_gives_back_names_texts_and_milliseconds(said: Diarization, words: str) -> None:
    turns = build_diarization(turn._replace(text=words + "!") for turn in said.turns).turns
    assert read_captions(write_webvtt(turns)).turns == turns
    assert read_captions(write_webvtt(said.turns)).turns == said.turns


@given(diarizations(NAMES, 1e-4))  # to pyannote a microsecond is no length
def test_annotations_of_pyannote_give_back_what_they_were_made_of(said: Diarization) -> None:
    annotation = to_annotation(said.turns, "talk")
    assert annotation.uri == "talk"
    assert from_annotation(annotation).turns == said.turns


@given(diarizations(NAMES, 1e-6))
def test_label_studio_gives_back_its_predictions(said: Diarization) -> None:
    text = write_label_studio(said.turns, "a.wav", "adsm", 200.0)
    assert read_json(text, RecordingChoice("a")) == Diarization(said.turns, "a.wav")


def test_pyannote_reads_our_rttm(tmp_path: Path) -> None:
    """As its database does: fields apart by spaces, the second, fourth, fifth and eighth."""
    said = build_diarization([Turn(0.25, 1.5, "ann b"), Turn(1.0, 2.0, "bob")])
    annotation = Annotation(uri="talk")
    for number, line in enumerate(write_rttm(said.turns, "talk").splitlines()):
        fields = line.split()
        assert len(fields) == 10
        start_s, length_s = float(fields[3]), float(fields[4])
        annotation[Segment(start_s, start_s + length_s), number] = fields[7]
    assert annotation.labels() == ["ann%20b", "bob"]
    for name, write in (("rttm", annotation.write_rttm), ("lab", annotation.write_lab)):
        with (tmp_path / name).open("w") as out:
            write(out)
        assert read_diarization(tmp_path / name).turns == said.turns


def test_what_a_pipeline_of_pyannote_gives_is_taken() -> None:
    said = (Turn(0, 1, "A"), Turn(0.5, 2, "B"))
    annotation = to_annotation(said, "talk")

    class Output:
        speaker_diarization = annotation

    assert read_diarization(annotation).turns == said
    assert read_diarization(Output()).turns == said
    assert read_diarization(Output()).recording == "talk"


TURNS = (Turn(0, 1, "ann"), Turn(1, 2, "bob"))
CONTENTS = {
    "audacity": write_audacity(TURNS),
    "elan": write_elan(TURNS),
    "webvtt": write_webvtt(TURNS),
    "srt": write_webvtt(TURNS).removeprefix("WEBVTT\n\n").replace(".", ","),
    "rttm": write_rttm(TURNS, "talk"),
    "rttm with tabs": write_rttm(TURNS, "talk").replace(" ", "\t"),
    "rttm after others": "SPKR-INFO\ttalk\t1\t<NA>\n;; x\n" + write_rttm(TURNS, "talk"),
    "json": json.dumps([[0, 1, "ann"], [1, 2, "bob"]]),
    "json in lines": json.dumps({"segments": [turn._asdict() for turn in TURNS]}, indent=1)
    .replace("start_s", "start")
    .replace("end_s", "end"),
    "csv": "start,end,speaker\n0,1,ann\n1,2,bob\n",
    "csv of capitals": "SPEAKER\tSTART\tEND\tTEXT\nann\t0\t1\t\nbob\t1\t2\t\n",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("suffix", [".txt", ".json", ".rttm", ".csv", ""])
def test_files_are_told_by_what_is_in_them(tmp_path: Path, suffix: str, content: str) -> None:
    file = tmp_path / f"turns{suffix}"
    for text in (content, f"\ufeff{content}", content.replace("\n", "\r\n"), f"\n\n{content}"):
        file.write_text(text, "utf-8", newline="")
        assert read_diarization(file).turns == TURNS


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_open_files_and_standard_input_are_read(
    content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_diarization(io.StringIO(content)).turns == TURNS
    assert read_diarization(io.BytesIO(content.encode())).turns == TURNS
    for dash in ("-", Path("-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        assert read_diarization(dash).turns == TURNS
    with pytest.raises(BadRequest, match=r"^standard input: it is empty"):
        read_diarization(io.BytesIO())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n \n",
        "hello\n",
        "[SPEAKER_00]: hello\n",
        "Ann: hello\nBob: ho\n",
        "00:01 Ann: hi\n",
        "a,b\n1,2\n",
    ],
)
@pytest.mark.parametrize("name", ["a.rttm", "a.txt", "a.vtt", "a.csv"])
def test_what_nothing_can_read_is_told_every_format_that_is_taken(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadRequest) as raised:
        read_diarization(tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert all(each in str(raised.value) for each in FORMATS)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.rttm", "SPEAKER talk 1 -0.5 1 <NA> <NA> A <NA> <NA>\n", "line 1: .*is negative"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "[1]", r"a.json: segment 1 is 1"),
        ("a.json", "[[2, 1, 7]]", r"the turn of '7' from 2 s to 1 s is no range of time"),
        ("a.txt", "0\t1\n", "line 1: a label has a start, an end and a name"),
        ("a.txt", "Tier\tBegin Time - ss.msec\nann\t1\n", "no column is called end or duration"),
        ("a.vtt", "WEBVTT\n\n00:02.000 --> 00:01.000\n<v a>b\n", "ends before it begins"),
        ("a.csv", "start,end,speaker\n0,1,\n", "no turn says its speaker"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str, content: str, match: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadRequest, match=match) as raised:
        read_diarization(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path / name}: ")


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        read_diarization(tmp_path / "none.rttm")
    with pytest.raises(BadRequest, match="cannot be read: Is a directory"):
        read_diarization(tmp_path)
    for content in (b"\xff\xfe\x00", b"\xff\x00\x01"):
        (tmp_path / "a.rttm").write_bytes(content)
        with pytest.raises(BadRequest, match="is not text in UTF-8"):
            read_diarization(tmp_path / "a.rttm")


def test_a_file_of_several_recordings_is_asked_for_one(tmp_path: Path) -> None:
    other = (Turn(0, 5, "zed"),)
    for name, content in (
        ("a.rttm", write_rttm(TURNS, "talk") + write_rttm(other, "other")),
        ("a.csv", "file,start,end,speaker\ntalk,0,1,ann\ntalk,1,2,bob\nother,0,5,zed\n"),
        ("a.json", json.dumps({"talk": [turn[:3] for turn in TURNS], "other": [other[0][:3]]})),
    ):
        file = tmp_path / name
        file.write_text(content)
        assert read_diarization(file, "talk").turns == TURNS
        assert read_diarization(file, "talk", "other").turns == other
        for arguments in (("mine",), (None,), ("talk", "mine")):
            with pytest.raises(BadRequest, match=rf"{name}: .*talk, other"):
                read_diarization(file, *arguments)


def test_to_choose_among_turns_that_name_no_recording_is_refused() -> None:
    with pytest.raises(BadRequest, match="do not say which recording they are of"):
        read_diarization([(0, 1, "ann")], "talk", "other")


def test_turns_in_memory_are_of_the_recording_that_is_chosen() -> None:
    annotation = to_annotation(TURNS, "talk")
    assert read_diarization(annotation, "mine", "talk").turns == TURNS
    with pytest.raises(BadRequest, match="has no recording 'other'; it is of talk"):
        read_diarization(annotation, "mine", "other")
