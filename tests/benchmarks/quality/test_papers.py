from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.quality.mapped_world import MappedWorld
from benchmarks.quality.papers import Drawn, Sizes, main

FEW = ["--people", "12", "--takes", "2"]


def run(*words):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert "12 people with 2 faces and voices each" in run("draw", "--cache", folder, *FEW)
    return folder


def test_people_who_were_drawn_before_are_not_drawn_again(cache):
    shards = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    parts = Drawn.of(cache, 2, 12).read(Sizes())
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == shards
    assert {side: len(part.people) for side, part in parts.items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }


def test_sides_have_the_people_that_the_figures_are_told_of(tmp_path):
    drawn = Drawn.of(tmp_path, 8, 660)
    assert drawn.split == "last:60,100"
    assert len(drawn.places()) == 33
    assert drawn.places()[-1].startswith("synthetic:people=20,takes=8,first=640")


def test_each_training_leaves_a_file_and_the_table_shows_them_all(cache, tmp_path):
    quick = ["--steps", "2", "--batch", "4", "--threads", "1", "--out", tmp_path]
    small = ["--set", "voice_seconds=0.5", "--set", "face_size=32"]
    for name in ("adsm", "aicanet"):
        narrow = ["--set", "width=4"] if name == "aicanet" else []
        run("train", "--model", name, "--cache", cache, *FEW, *quick, *small, *narrow)
    told = json.loads((tmp_path / "aicanet.json").read_text())
    assert told["steps"] == 2
    assert set(told["figures"]) == {"embedding", "interact", "chance"}
    rows = [line.split("|")[1:3] for line in run("table", tmp_path).splitlines() if "|" in line]
    assert [[cell.strip() for cell in row] for row in rows[2:]] == [
        ["adsm", "embedding"],
        ["aicanet", "embedding"],
        ["aicanet", "interact"],
        ["chance", ""],
        ["best possible", ""],
    ]


def test_a_training_that_would_take_too_long_is_made_shorter(cache, tmp_path):
    words = ["--steps", "1000", "--batch", "4", "--threads", "1", "--minutes", "0.001"]
    small = ["--set", "voice_seconds=0.5", "--set", "face_size=32"]
    run("train", "--model", "adsm", "--cache", cache, *FEW, *words, *small, "--out", tmp_path)
    assert json.loads((tmp_path / "adsm.json").read_text())["steps"] < 10


def test_of_a_model_of_maps_the_minutes_of_both_trainings_are_told(tmp_path):
    MappedWorld.made(tmp_path / "maps", 12, 2, 4, 2)
    quick = ["--steps", "2", "--batch", "4", "--threads", "1"]
    run("train", "--model", "dsanet", "--maps", tmp_path / "maps", *quick, "--out", tmp_path)
    told = json.loads((tmp_path / "dsanet.json").read_text())
    assert told["people"]["test"]
    minutes = [cell.strip() for cell in run("table", tmp_path).splitlines()[4].split("|")][-3]
    assert minutes == f"{told['minutes']:.1f} + {told['minutes of maps']:.1f}"


def test_people_are_drawn_or_mapped_but_not_both(tmp_path):
    both = ["--cache", str(tmp_path), "--maps", str(tmp_path)]
    for given in ([], both):
        asked = ["train", "--model", "adsm", "--out", str(tmp_path), *given]
        refused = CliRunner().invoke(main, asked)
        assert refused.exit_code == 2
        assert "give --cache or --maps" in refused.stderr
