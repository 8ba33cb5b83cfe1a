"""Diarizations in files: what is written is read back as it was."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsearch.annotation.pyannotes import from_annotation, to_annotation
from avsearch.annotation.reading import read_diarization
from avsearch.annotation.rttm import read_rttm, write_rttm
from avsearch.annotation.segments import from_values, label_studio, read_json
from avsearch.annotation.tables import read_audacity, read_elan, write_audacity, write_elan
from avsearch.annotation.turns import Diarization, Turn, diarization
from avsearch.annotation.webvtt import read_webvtt, write_webvtt
from indexer.errors import BadRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pandas, which it imports
    from pyannote.core import Annotation, Segment

NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text < "\ud800" or text.isprintable())
WORDS = st.lists(st.text("aä<&>'\"é", min_size=1, max_size=5), min_size=1, max_size=3).map(" ".join)


def turns_of(names: st.SearchStrategy[str], unit_s: float) -> st.SearchStrategy[Diarization]:
    ends = st.tuples(st.integers(0, 10**8), st.integers(1, 10**6))
    one = st.tuples(ends, names).map(
        lambda it: Turn(it[0][0] * unit_s, (it[0][0] + it[0][1]) * unit_s, it[1])
    )
    return st.lists(one, min_size=1, max_size=6).map(diarization)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats") / "said"


@given(
    turns_of(st.text(max_size=8).filter(lambda t: t.isascii() or max(t) < "\ud800"), 1e-6),
    st.text("a b%;", min_size=1),
)
def test_rttm_gives_back_any_name_and_every_microsecond(
    file: Path, said: Diarization, name: str
) -> None:
    file.write_text(write_rttm(said.turns, name), "utf-8")
    assert read_rttm(file).turns == said.turns
    assert read_rttm(file).recording == name


@given(turns_of(NAMES, 1e-6))
def test_audacity_gives_back_any_name_and_every_microsecond(file: Path, said: Diarization) -> None:
    file.write_text(write_audacity(said.turns), "utf-8")
    assert read_audacity(file).turns == said.turns


@given(turns_of(NAMES, 1e-6), WORDS)
def test_elan_gives_back_any_name_and_text(file: Path, said: Diarization, words: str) -> None:
    turns = (said.turns[0]._replace(text=words), *said.turns[1:])
    file.write_text(write_elan(turns), "utf-8")
    found = read_elan(file).turns
    assert [turn[:3] for turn in found] == [turn[:3] for turn in turns]
    assert {turn.text for turn in found} <= {None, words}


@given(turns_of(WORDS, 1e-3), WORDS)
def test_webvtt_gives_back_names_texts_and_milliseconds(
    file: Path, said: Diarization, words: str
) -> None:
    turns = diarization(turn._replace(text=words + "!") for turn in said.turns).turns
    file.write_text(write_webvtt(turns), "utf-8")
    assert read_webvtt(file).turns == turns
    file.write_text(write_webvtt(said.turns), "utf-8")
    assert read_webvtt(file).turns == said.turns


@given(turns_of(NAMES, 1e-4))  # to pyannote a microsecond is no length
def test_annotations_of_pyannote_give_back_what_they_were_made_of(said: Diarization) -> None:
    annotation = to_annotation(said.turns, "talk")
    assert annotation.uri == "talk"
    assert from_annotation(annotation).turns == said.turns


@given(turns_of(NAMES, 1e-6))
def test_label_studio_gives_back_its_predictions(file: Path, said: Diarization) -> None:
    file.write_text(label_studio(said.turns, "a.wav", "adsm", 200.0), "utf-8")
    assert read_json(file).turns == said.turns


def test_pyannote_reads_our_rttm(tmp_path: Path) -> None:
    """As its database does: fields apart by spaces, the second, fourth, fifth and eighth."""
    said = diarization([Turn(0.25, 1.5, "ann b"), Turn(1.0, 2.0, "bob")])
    annotation = Annotation(uri="talk")
    for number, line in enumerate(write_rttm(said.turns, "talk").splitlines()):
        fields = line.split()
        assert len(fields) == 10
        start_s, length_s = float(fields[3]), float(fields[4])
        annotation[Segment(start_s, start_s + length_s), number] = fields[7]
    assert annotation.labels() == ["ann%20b", "bob"]
    file = tmp_path / "again.rttm"
    with file.open("w") as out:
        annotation.write_rttm(out)
    assert read_rttm(file).turns == said.turns


def test_what_a_pipeline_of_pyannote_gives_is_taken() -> None:
    said = (Turn(0, 1, "A"), Turn(0.5, 2, "B"))
    annotation = to_annotation(said, "talk")

    class Output:
        speaker_diarization = annotation

    assert read_diarization(annotation).turns == said
    assert read_diarization(Output()).turns == said
    assert read_diarization(Output()).recording == "talk"


@pytest.mark.parametrize(
    "value",
    [
        [(0, 1, "A"), (1, 2.5, "B")],
        [[0, 1, "A"], ["1", "2.5", "B"]],
        [{"start": 0, "end": 1, "speaker": "A"}, {"start": 1, "end": 2.5, "label": "B"}],
        {
            "segments": [
                {"start": 1, "end": 2.5, "speaker": "B"},
                {"start": 0, "end": 1, "speaker": "A"},
            ]
        },
        {
            "diarization": [
                {"start": 0, "end": 1, "speaker": "A"},
                {"start": 1, "end": 2.5, "speaker": "B"},
            ]
        },
        {
            "output": {
                "diarization": [
                    {"start": 0, "end": 1, "speaker": "A"},
                    {"start": 1, "end": 2.5, "speaker": "B"},
                ]
            }
        },
    ],
)
def test_segments_of_many_tools_are_taken(value: object, tmp_path: Path) -> None:
    expected = (Turn(0, 1, "A"), Turn(1, 2.5, "B"))
    assert read_diarization(value).turns == expected
    file = tmp_path / "said.json"
    file.write_text(json.dumps(value))
    assert read_diarization(file).turns == expected


def test_annotations_as_json_are_taken() -> None:
    """As pyannote.core before 6 writes them."""
    content = [{"segment": {"start": 0, "end": 1}, "track": "A", "label": "ann"}]
    said = read_diarization({"pyannote": "Annotation", "content": content, "uri": "talk"})
    assert said.turns == (Turn(0, 1, "ann"),)
    assert said.recording == "talk"


def test_a_transcript_of_whisperx_keeps_its_words_and_leaves_out_who_has_no_name() -> None:
    value = {
        "segments": [
            {"start": 0, "end": 1, "text": " Hello.", "speaker": "A", "words": []},
            {"start": 1, "end": 2, "text": " Who?"},
        ],
        "word_segments": [],
    }
    said = from_values(value)
    assert said.turns == (Turn(0, 1, "A", "Hello."),)
    assert said.notes == ("segments that name no speaker, left out: 1.",)


def test_a_data_frame_is_taken() -> None:
    class Frame:
        def to_dict(self, how: str) -> list[dict[str, object]]:
            assert how == "records"
            return [{"start": 0.0, "end": 1.0, "speaker": "A", "segment": None}]

    assert read_diarization(Frame()).turns == (Turn(0, 1, "A"),)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "no turn of speech"),
        ({}, "holds no list of segments"),
        (7, "holds no list of segments"),
        ({"segments": "abc"}, "holds no list of segments"),
        ([(1, 2)], r"segment 1 is \(1, 2\); it needs a start and an end"),
        ([(0, 1, "a"), (1, "x", "b")], "segment 2 is"),
        ([{"start": 0, "speaker": "a"}], "segment 1 is"),
        ([{"start": 0, "end": 1}], "no segment says its speaker"),
        ([(2, 1, "a")], "is no range of time"),
        ([None], "segment 1 is None"),
    ],
)
def test_what_is_no_diarization_is_refused_in_a_sentence(value: object, match: str) -> None:
    with pytest.raises(BadRequest, match=match):
        read_diarization(value)


LINE = "SPEAKER talk 1 0.5 1.0 <NA> <NA> {} <NA> <NA>\n"


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.rttm", "", "has no SPEAKER line"),
        ("a.rttm", "\n \n", "has no SPEAKER line"),
        ("a.rttm", "LEXEME talk 1 0 1 word lex A <NA> <NA>\n", "has no SPEAKER line"),
        ("a.rttm", "SPEAKER talk 1 -0.5 1 <NA> <NA> A <NA> <NA>\n", "line 1: .*is negative"),
        ("a.rttm", "\n" + LINE.format("A").replace("1.0", "-1"), "line 2: .*is negative"),
        ("a.rttm", LINE.format("A").replace("0.5", "soon"), "the start is 'soon'"),
        ("a.rttm", LINE.format("A").replace("0.5", "nan"), "must be finite"),
        ("a.rttm", "SPEAKER talk 1 0.5\n", "has ten fields, and this one 4"),
        (
            "a.rttm",
            LINE.format("A B C").replace("<NA> <NA>\n", "0.5 1 1\n"),
            "write a space in a name as %20",
        ),
        ("a.json", "{", "is no JSON"),
        ("a.json", "[1]", r"a.json: segment 1 is 1"),
        ("a.txt", "0\t1\n", "line 1: a label has a start, an end and a name"),
        ("a.txt", "0\tx\tann\n", "line 1: the time is 'x'"),
        ("a.txt", "2\t1\tann\n", "is no range of time"),
        ("a.txt", "Tier\tBegin Time - ss.msec\nann\t1\n", "no column is named 'end'"),
        ("a.txt", "Tier\tBegin\tEnd\nann\t1\n", "line 2: it has 2 cells where the header has 3"),
        ("a.vtt", "WEBVTT\n\n00:02.000 --> 00:01.000\n<v a>b\n", "line 3: the cue ends before"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_line(
    tmp_path: Path, name: str, content: str, match: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(BadRequest, match=match) as raised:
        read_diarization(file)
    assert name in str(raised.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        read_diarization(tmp_path / "none.rttm")
    with pytest.raises(BadRequest, match="cannot be read: Is a directory"):
        read_diarization(tmp_path)
    (tmp_path / "a.rttm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRequest, match="is not text in UTF-8"):
        read_diarization(tmp_path / "a.rttm")


def test_spaces_in_a_name_of_rttm_are_told_by_what_stands_behind(tmp_path: Path) -> None:
    file = tmp_path / "a.rttm"
    file.write_text(LINE.format("Ann B. C"))
    assert read_rttm(file).turns == (Turn(0.5, 1.5, "Ann B. C"),)


def test_an_rttm_of_several_recordings_is_asked_for_one(tmp_path: Path) -> None:
    file = tmp_path / "all.rttm"
    file.write_text(LINE.format("A") + LINE.format("B").replace("talk", "other"))
    assert read_rttm(file, "other").turns == (Turn(0.5, 1.5, "B"),)
    with pytest.raises(BadRequest, match="is of talk, other and not of mine"):
        read_rttm(file, "mine")
    with pytest.raises(BadRequest, match="is of 2 recordings; say which"):
        read_rttm(file)


def test_an_rttm_of_one_recording_is_taken_whatever_its_id_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.rttm"
    file.write_text(LINE.format("A"))
    assert read_rttm(file, "mine").notes == (
        "The RTTM says it is of 'talk'; it was taken for 'mine'.",
    )
    assert read_rttm(file, "talk").notes == ()


def test_files_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    turns = (Turn(0, 1, "ann"), Turn(1, 2, "bob"))
    contents = {
        "a.txt": write_audacity(turns),
        "b.txt": write_elan(turns),
        "c.txt": write_webvtt(turns),
        "d.txt": write_rttm(turns, "talk"),
        "e.txt": json.dumps([[0, 1, "ann"], [1, 2, "bob"]]),
        "f.txt": write_rttm(turns, "talk").replace(" ", "\t"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_text("\ufeff" + content, "utf-8")
        assert read_diarization(tmp_path / name).turns == turns


def test_captions_without_a_voice_are_left_out_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "a.vtt"
    file.write_text(
        "WEBVTT\n\n1\n00:01.000 --> 00:02.000\n<v Ann>Hi\n\n00:03.000 --> 00:04.000\nMusic\n"
    )
    said = read_webvtt(file)
    assert said.turns == (Turn(1, 2, "Ann", "Hi"),)
    assert said.notes == ("cues that name no voice, left out: 1.",)


def test_elan_takes_clocks_and_columns_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tTier\tAnnotation\n"
        "01:00:01.500\t01:00:02.000\tann\thello\n"
    )
    assert read_elan(file).turns == (Turn(3601.5, 3602, "ann", "hello"),)
