"""Common to all verbs: help, addresses, verbosity, progress, standard input."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from avsearch.cli import VERBS
from avsearch.cli.output import Pace
from avsearch.media.file_types import kind_of, suffix_of_content
from tests.helpers.making import encode, tone

# Nothing asked.


def test_without_a_verb_the_help_is_shown_and_the_exit_code_is_2(spawn):
    done = spawn()
    assert (done.returncode, done.stdout) == (2, b"")
    said = done.stderr.decode()
    assert said.startswith("Usage: avsearch")
    assert all(f"  {verb} " in said for verb in VERBS)


# Addresses.

ADDRESSES = (
    "https://example.org/a.jpg",
    "http://x/y.wav",
    "s3://bucket/a.mp4",
    "file:///tmp/a.png",
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "words",
    [
        ("query", "ADDRESS"),
        ("index", "ADDRESS"),
        ("annotate", "ADDRESS"),
        ("enrol", "ADDRESS", "--rttm", "x.rttm"),
        ("enrol", "x.wav", "--rttm", "ADDRESS"),
        ("import", "ADDRESS"),
        ("evaluate", "--list", "ADDRESS"),
    ],
    ids=" ".join,
)
def test_an_address_in_place_of_a_file_is_said_with_what_to_do(run, words, address):
    done = run(*(address if word == "ADDRESS" else word for word in words))
    assert done.exit_code == 2
    assert f"{address} is an address" in done.stderr
    assert "download it first" in done.stderr


def test_an_address_among_many_files_stops_nothing(run, indexed, face):
    done = run("query", "--jsonl", ADDRESSES[0], face, "--index", indexed)
    assert done.exit_code == 0
    refused, answered = map(json.loads, done.stdout.splitlines())
    assert "download it first" in refused["error"]
    assert answered["query"]["path"] == str(face)


def test_a_folder_named_like_an_address_is_a_folder(run, small_folder, monkeypatch):
    monkeypatch.chdir(small_folder)
    done = run("index", "ab:/x")
    assert "ab:/x is not a folder" not in done.stderr
    assert "address" not in done.stderr


@pytest.fixture
def small_folder(tmp_path):
    (tmp_path / "ab:" / "x" / "ann").mkdir(parents=True)
    return tmp_path


# Options that a message advises.


def test_a_query_advises_nothing_that_it_has_no_option_for(run, indexed, tmp_path):
    Image.new("RGB", (200, 200), (90, 120, 200)).save(tmp_path / "sky.png")
    done = run("query", tmp_path / "sky.png", "--index", indexed)
    assert done.exit_code == 2
    assert "no face found" in done.stderr
    _has_what_it_advises(run, "query", done.stderr)


def test_what_takes_crops_whole_is_said_where_there_is_the_option(run, model, tmp_path):
    (tmp_path / "g" / "ann").mkdir(parents=True)
    Image.new("RGB", (200, 200), (90, 120, 200)).save(tmp_path / "g" / "ann" / "sky.png")
    done = run("index", tmp_path / "g", "--model", model, "--index", tmp_path / "i")
    assert done.stderr.count("--faces whole") == 1


def test_a_missing_approximate_index_advises_nothing_that_info_has_not(run, indexed):
    done = run("info", "--recall", "--index", indexed)
    assert done.exit_code == 2
    _has_what_it_advises(run, "info", done.stderr)


def _has_what_it_advises(run, verb, said):
    own = run(verb, "--help").stdout
    rest = re.sub(r"avsearch \w+( \S+)*?( --[\w-]+)( \w+)?", "", said)  # whole commands of others
    for option in re.findall(r"--[\w-]+", rest):
        assert f"{option} " in own or f"{option}\n" in own, option


# How much is said.


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_may_be_verbose_or_quiet(run, verb):
    said = run(verb, "--help").stdout
    assert "-v, --verbose" in said
    assert "-q, --quiet" in said


@pytest.mark.parametrize("place", [0, 1, 2])
def test_verbose_says_what_is_done_and_how_long_it_takes(run, gallery, model, tmp_path, place):
    words = ["index", gallery, "--model", model, "--index", tmp_path / "i"]
    words.insert(place, "-v")
    lines = run(*words).stderr.splitlines()
    files = [path for path in gallery.rglob("*") if path.is_file() and path.name != "people.csv"]
    for path in files:
        told = [line for line in lines if str(path) in line]
        assert len(told) == 1
        assert re.fullmatch(r"avsearch: [\d.]+ s: .*: \d+ items, [\d.]+ s", told[0])
    quiet = run("index", gallery, "--index", tmp_path / "i").stderr
    assert " items, " not in quiet  # it ends with the command


def test_quiet_says_what_goes_wrong_and_nothing_else_on_standard_error(
    run, gallery, model, tmp_path
):
    (tmp_path / "g" / "ann").mkdir(parents=True)
    (tmp_path / "g" / "ann" / "bad.jpg").write_bytes(b"")
    (tmp_path / "g" / "ann" / "a.txt").write_text("x")
    words = ("index", tmp_path / "g", "--model", model, "--index", tmp_path / "i")
    assert "refused" in run(*words).stderr
    for place in (0, 1, len(words)):
        done = run(*words[:place], "-q", *words[place:])
        assert (done.exit_code, done.stderr) == (0, "")
        assert "1 refused" in done.stdout
    wrong = run("-q", "index", tmp_path / "nothing", "--model", model)
    assert wrong.exit_code == 2
    assert "is not a folder" in wrong.stderr


def test_quiet_keeps_the_error_of_a_process(spawn, tmp_path):
    done = spawn("query", "-q", tmp_path / "nothing.jpg", "--index", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"avsearch: ")


# How long it takes.


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(times, total=1000):
    """The progress messages after each unit of work, at these times."""
    clock = Clock()
    pace = Pace(clock)
    left = [pace.left_s(0, total)]
    for done, after in enumerate(times, 1):
        clock.now += after
        left.append(pace.left_s(done, total))
    return left


def test_the_first_one_that_loads_a_model_does_not_count():
    left = told([60.0, *[1.0] * 99])
    assert left[:6] == [None] * 6
    assert [each for each in left if each is not None] == [1000 - done for done in range(6, 101)]


def test_nothing_is_told_before_some_seconds_and_some_things():
    assert set(told([60.0, *[0.01] * 300])) == {None}
    assert set(told([60.0, *[30.0] * 4])) == {None}
    assert told([1.0] * 20, total=0)[-1] is None


def test_what_was_done_before_is_no_work_of_this_run():
    clock = Clock()
    pace = Pace(clock)
    left = pace.left_s(900, 1000)
    for done in range(901, 1000):
        clock.now += 2.0
        left = pace.left_s(done, 1000)
    assert left == pytest.approx(2.0)


# Standard input.


@pytest.fixture
def pipe(indexed):
    """Ask with what comes through standard input."""

    def go(content, *options):
        words = [sys.executable, "-m", "avsearch", "query", "-", "--index", indexed, *options]
        return subprocess.run(words, input=content, capture_output=True, check=False, timeout=60)

    return go


def test_a_picture_and_a_sound_may_come_through_a_pipe(pipe, ask, face, voice):
    for file in (face, voice):
        done = pipe(file.read_bytes(), "--json")
        assert done.returncode == 0, done.stderr
        found, expected = json.loads(done.stdout), ask(file)
        assert found["query"].pop("path") == "-"
        assert found["notes"] == [{**note, "path": "-"} for note in expected["notes"]]
        expected["query"].pop("path")
        assert (found["query"], found["hits"]) == (expected["query"], expected["hits"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "-: standard input is empty"),
        (b"hello", "-: standard input is no picture, sound or video"),
        (b"\xff\xd8\xff\xe0 no picture", "-: "),
    ],
)
def test_what_is_no_media_is_refused_under_the_name_of_standard_input(pipe, content, words):
    done = pipe(content)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"avsearch: {words}")
    assert "tmp" not in line


def test_standard_input_is_asked_with_alone(run, indexed, face):
    done = run("query", "--jsonl", "-", face, "--index", indexed)
    assert done.exit_code == 2
    assert "Standard input is asked with alone" in done.stderr


@pytest.mark.parametrize(
    "suffix",
    [
        *(".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".wav", ".flac", ".ogg", ".mp3"),
        *(".aiff", ".au", ".m4a", ".aac", ".mp4", ".mov", ".mkv", ".avi", ".ts", ".mpg", ".flv"),
    ],
)
def test_the_kind_of_a_file_is_told_by_how_it_begins(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if kind_of(path) == "image":
        Image.new("RGB", (8, 8)).save(path)
    elif kind_of(path) == "audio":
        codec = {".flac": "flac", ".mp3": "libmp3lame", ".ogg": "libopus", ".wav": "pcm_s16le"}
        codec |= {".aiff": "pcm_s16be", ".au": "pcm_s16be"}
        _sound(path, codec.get(suffix, "aac"))
    else:
        codecs = {".mpg": "mpeg1video", ".flv": "flv"}
        frames = [np.zeros((64, 64, 3), np.uint8)] * 25
        encode(path, frames=frames, codecs=(codecs.get(suffix, "mpeg4"), "aac"), fps=25)
    told = suffix_of_content(path.read_bytes()[:200])
    assert told is not None
    assert kind_of(path.with_suffix(told)) == kind_of(path)


def _sound(path, codec):
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48_000, layout="mono")
        samples = tone(300, 48_000)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for part in resampler.resample(frame):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
