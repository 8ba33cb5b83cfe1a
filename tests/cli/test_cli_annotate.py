"""The verbs annotate and enrol over real media."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avsearch.annotation.formats import FORMAT_LIST, FORMATS
from avsearch.annotation.formats.detect import read_diarization
from avsearch.annotation.formats.pyannote import to_annotation
from avsearch.media import read_audio
from tests.helpers.making import encode

RTTM = "SPEAKER meeting 1 {:.3f} {:.3f} <NA> <NA> {} <NA> <NA>\n"


@pytest.fixture(scope="module")
def meeting(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both actors in turns, and who speaks when beside it."""
    folder = tmp_path_factory.mktemp("meeting")
    files = [
        sorted((gallery / actor).glob("*.ogg"))[n]
        for n in (0, 1)
        for actor in ("Actor_01", "Actor_02")
    ]
    sounds = [read_audio(file) for file in files]
    ends = np.cumsum([0, *map(len, sounds)]) / 16_000
    soundfile.write(folder / "meeting.wav", np.concatenate(sounds), 16_000, subtype="FLOAT")
    lines = [
        RTTM.format(start, end - start, f"SPEAKER_{n % 2:02d}")
        for n, (start, end) in enumerate(itertools.pairwise(ends))
    ]
    (folder / "meeting.rttm").write_text("".join(lines))
    return folder / "meeting.wav"


@pytest.fixture(scope="module")
def rttm(meeting: Path) -> Path:
    return meeting.with_suffix(".rttm")


def test_annotate_prints_a_line_a_speaker_and_writes_every_format(
    run, indexed, meeting, rttm, tmp_path
):
    done = run("annotate", meeting, "--rttm", rttm, "--index", indexed, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["speaker", "person", "speech", "nearest", "reason"]
    assert [line.split()[0] for line in lines[1:]] == ["SPEAKER_00", "SPEAKER_01"]
    nearest = re.compile(r" s +(?:Actor_0[12]|bbaf2n) \(V-V -?[01]\.\d\d\)  ")
    assert all(nearest.search(line) for line in lines[1:])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"meeting{ending}"
        for ending in (
            ".rttm",
            ".json",
            ".audacity.txt",
            ".elan.txt",
            ".labelstudio.json",
            ".vtt",
            ".svg",
        )
    }
    assert len(read_diarization(tmp_path / "out" / "meeting.rttm").turns) == 4


def test_annotate_as_json_is_what_is_written(run, indexed, meeting, rttm, tmp_path):
    done = run("annotate", meeting, "--rttm", rttm, "--index", indexed, "--out", tmp_path, "--json")
    said = json.loads(done.stdout)
    assert said == json.loads((tmp_path / "meeting.json").read_text())
    assert said["recording"]["duration_s"] == pytest.approx(len(read_audio(meeting)) / 16_000)
    assert {each["speaker"] for each in said["speakers"]} == {"SPEAKER_00", "SPEAKER_01"}
    for speaker in said["speakers"]:
        people = {candidate["person"] for candidate in speaker["candidates"]}
        assert people == {"Actor_01", "Actor_02", "bbaf2n"}
        for candidate in speaker["candidates"]:  # all have a voice and a face
            assert candidate["scores"].keys() == {"V-V", "V-F"}


def test_without_a_diarization_speech_is_found_in_the_recording(run, indexed, meeting):
    done = run("annotate", meeting, "--index", indexed, "--speakers", "2")
    assert done.exit_code == 0, done.stderr
    assert "a diarizer's file is better" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "SPEAKER_00",
        "SPEAKER_01",
    ]


def test_a_video_is_seen_and_heard(run, indexed, gallery, tmp_path):
    video = min((gallery / "bbaf2n").glob("*.mpg"))
    said = tmp_path / "said.json"
    said.write_text('[[0.3, 2.5, "SPEAKER_00"]]')
    done = run("annotate", video, "--rttm", said, "--index", indexed, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    (speaker,) = json.loads(done.stdout)["speakers"]
    assert speaker["seen_s"] >= 1
    assert speaker["tracks"]
    assert set(speaker["candidates"][0]["scores"]) >= {"F-F", "V-F"}
    assert (tmp_path / "bbaf2n.SPEAKER_00.png").read_bytes().startswith(b"\x89PNG")


def test_enrol_and_info(run, copy_of_index, meeting, rttm):
    done = run(
        "enrol", meeting, "--rttm", rttm, "--index", copy_of_index, "--name", "SPEAKER_00=zoe"
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("zoe: ")
    assert done.stdout.endswith(", new\n")
    assert "passed over SPEAKER_01: it is a diarizer's label" in done.stderr
    facts = json.loads(run("info", "--index", copy_of_index, "--json").stdout)
    assert facts["people"] == 4
    assert run("verify", "--index", copy_of_index).exit_code == 0
    names = ("SPEAKER_00=Ann One", "SPEAKER_01=Actor_02")
    done = run(
        "enrol",
        meeting,
        "--rttm",
        rttm,
        "--index",
        copy_of_index,
        *(p for n in names for p in ("--name", n)),
        "--json",
    )
    said = json.loads(done.stdout)
    assert said["voices"].keys() == {"Actor_01", "Actor_02"}
    assert said["new"] == []
    assert json.loads(run("info", "--index", copy_of_index, "--json").stdout)["people"] == 3


def test_a_video_enrols_faces_too(run, copy_of_index, gallery, tmp_path):
    video = min((gallery / "bbaf2n").glob("*.mpg"))
    said = tmp_path / "said.json"
    said.write_text('[[0.3, 2.5, "zoe"]]')
    done = run("enrol", video, "--rttm", said, "--index", copy_of_index, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["faces"] == {"zoe": 1}
    done = run("query", "--person", "zoe", "--index", copy_of_index, "--want", "face", "--json")
    assert "zoe" in {hit["person"] for hit in json.loads(done.stdout)["hits"]}
    assert run("verify", "--index", copy_of_index).exit_code == 0


def test_enrol_makes_an_index_where_there_is_none(run, meeting, rttm, model, tmp_path):
    place = tmp_path / "new"
    done = run(
        "enrol",
        meeting,
        "--rttm",
        rttm,
        "--index",
        place,
        "--model",
        model,
        "--name",
        "SPEAKER_01=zoe",
    )
    assert done.exit_code == 0, done.stderr
    assert run("annotate", meeting, "--rttm", rttm, "--index", place).exit_code == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", f"it is empty. Turns are taken as {FORMAT_LIST}."),
        ("no turns\n", f"it is in no format that is known. Turns are taken as {FORMAT_LIST}."),
        ("LEXEME meeting 1 0 1 a lex A <NA>\n", "it has no SPEAKER line"),
        (
            RTTM.format(0, 1, "A").replace("0.000", "-1"),
            "line 1: the start -1 or the length 1.000 is negative.",
        ),
        (RTTM.format(500, 1, "A"), "check that the turns are of this recording"),
        (RTTM.format(0, 1, "A") + RTTM.format(0, 1, "A").replace("meeting", "b"), None),
        (
            RTTM.format(0, 1, "A").replace("meeting", "a")
            + RTTM.format(0, 1, "A").replace("meeting", "b"),
            "bad.rttm: it is of a, b and not of meeting; choose one with --recording.",
        ),
    ],
)
def test_a_bad_diarization_is_one_sentence(run, indexed, meeting, tmp_path, content, sentence):
    file = tmp_path / "bad.rttm"
    file.write_text(content)
    done = run("annotate", meeting, "--rttm", file, "--index", indexed, "--out", tmp_path / "out")
    if sentence is None:
        assert done.exit_code == 0
        return
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not list(tmp_path.glob("out/*.rttm"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.wav", "there is no such file"),
        ("notes.wav", "not audio or video that can be decoded"),
        ("mute.mp4", "has no audio track"),
    ],
)
def test_a_recording_without_sound_is_one_sentence(run, indexed, rttm, tmp_path, name, sentence):
    (tmp_path / "notes.wav").write_text("words")
    encode(tmp_path / "mute.mp4", frames=[np.zeros((64, 64, 3), np.uint8)] * 5)
    for verb in ("annotate", "enrol"):
        done = run(
            verb,
            tmp_path / name,
            "--rttm",
            rttm,
            "--index",
            indexed,
            *(["--name", "SPEAKER_00=zoe"] if verb == "enrol" else []),
        )
        assert done.exit_code == 2
        assert sentence.split()[0] in done.stderr


def test_bad_options_are_one_sentence(run, indexed, meeting, rttm, tmp_path):
    for options, sentence in (
        (["--calibration", tmp_path / "none.json"], "cannot be read: No such file"),
        (["--index", tmp_path / "nowhere"], "There is no index"),
        (["--rttm", tmp_path / "none.rttm"], "cannot be read: No such file"),
        (["--out", meeting / "out"], "cannot be a folder"),
    ):
        done = run("annotate", meeting, "--rttm", rttm, "--index", indexed, *options)
        assert done.exit_code == 2
        assert sentence in done.stderr
    for names, sentence in (
        (["zoe"], "should be LABEL=PERSON"),
        (["SPEAKER_00=a", "SPEAKER_00=b"], "--name says twice who SPEAKER_00 is: a and b"),
        (["SPEAKER_07=a"], "Nobody is called 'SPEAKER_07' in the diarization"),
    ):
        options = [part for name in names for part in ("--name", name)]
        done = run("enrol", meeting, "--rttm", rttm, "--index", indexed, *options)
        assert done.exit_code == 2
        assert sentence in done.stderr


def test_any_key_can_be_given_to_a_label(run, copy_of_index, meeting, rttm):
    names = ("--name", "SPEAKER_00=1034", "--name", "SPEAKER_01=p225=b")
    done = run("enrol", meeting, "--rttm", rttm, "--index", copy_of_index, *names, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["new"] == ["1034", "p225=b"]


def test_turns_may_come_from_standard_input(run, copy_of_index, meeting, rttm):
    options = ("--rttm", "-", "--index", copy_of_index, "--json")
    said = rttm.read_bytes()
    piped = json.loads(run("annotate", meeting, *options, input=said).stdout)
    plain = json.loads(
        run("annotate", meeting, "--rttm", rttm, "--index", copy_of_index, "--json").stdout
    )
    assert piped == plain
    done = run("enrol", meeting, *options, "--name", "SPEAKER_00=zoe", input=said)
    assert json.loads(done.stdout)["new"] == ["zoe"]
    done = run("annotate", meeting, *options, input=b"")
    assert done.exit_code == 2
    assert "standard input: it is empty" in done.stderr


def test_of_turns_of_several_recordings_one_can_be_chosen(
    run, copy_of_index, meeting, rttm, tmp_path
):
    file = tmp_path / "all.rttm"
    text = rttm.read_text()
    file.write_text(text.replace("meeting", "call 7") + text.replace("meeting", "b"))
    options = ("--rttm", file, "--index", copy_of_index)
    for verb in ("annotate", "enrol"):
        done = run(verb, meeting, *options)
        assert done.exit_code == 2
        assert "it is of call 7, b and not of meeting; choose one with --recording." in done.stderr
    done = run("annotate", meeting, *options, "--recording", "call 7", "--json")
    assert len(json.loads(done.stdout)["segments"]) == 4
    done = run("enrol", meeting, *options, "--recording", "b", "--name", "SPEAKER_00=zoe", "--json")
    assert json.loads(done.stdout)["new"] == ["zoe"]
    done = run("annotate", meeting, *options, "--recording", "c")
    assert "it has no recording 'c'; it is of call 7, b." in done.stderr


def guide() -> str:
    return (Path(__file__).parents[2] / "docs" / "annotate.md").read_text("utf-8")


def test_help_and_guide_name_every_format_that_is_taken(run):
    texts = [run(verb, "--help").stdout for verb in ("annotate", "enrol")]
    for text in (*texts, guide()):
        plain = re.sub(r"\s+", " ", text)
        assert [each for each in FORMATS if each not in plain] == []


def test_the_commands_and_the_code_of_the_guide_work_as_they_stand(
    run, gallery, model, meeting, rttm, tmp_path
):
    shutil.copytree(gallery, tmp_path / "gallery")
    shutil.copy(meeting, tmp_path)
    shutil.copy(rttm, tmp_path)
    (tmp_path / "corrected.rttm").write_text(rttm.read_text().replace("SPEAKER_01", "ann"))
    commands = re.findall(r"^    avsearch ([^#\n]+)", guide(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["index", "annotate", "enrol", "enrol"]
    for command in commands:
        verb, *arguments = shlex.split(command)
        done = run(verb, *arguments, *(["--model", model] if verb == "index" else []))
        assert done.exit_code == 0, done.stderr
    (code,) = re.findall(r"```python\n(.*?)```", guide(), re.DOTALL)
    names = {"pipeline": lambda _: to_annotation(read_diarization(rttm).turns, "meeting")}
    exec(code, names)
    people = json.loads(run("info", "--json").stdout)["people"]
    assert people == 4
    assert names["annotation"].labels() == sorted(names["named"].labels.values())
