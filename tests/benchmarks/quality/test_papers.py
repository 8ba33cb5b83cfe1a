from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.quality import papers, synthetic_maps
from benchmarks.quality.papers import MappedWorld

QUICK = ["--steps", "2", "--batch", "4", "--threads", "1"]


def run(command, *words):
    done = CliRunner().invoke(command, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    few = ["--world", "synthetic:people=12,takes=2", "--crowd", "4", "--steps", "2"]
    assert "12 people" in run(synthetic_maps.main, "--out", folder, *few)
    return folder


def test_the_splits_of_few_people_shrink_alike(maps):
    people = {name: len(part.people) for name, part in MappedWorld.of(maps).read().items()}
    assert people == {"train": 8, "validation": 2, "test": 2}


def test_each_training_writes_a_file_and_the_table_shows_them_all(maps, tmp_path):
    for name in ("dsanet", "aicanet"):
        run(papers.main, "train", "--model", name, "--maps", maps, *QUICK, "--out", tmp_path)
    facts = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("aicanet",)}
    assert facts["aicanet"]["steps"] == 2
    assert set(facts["aicanet"]["figures"]) == {"embedding", "interact", "chance"}
    lines = run(papers.main, "table", tmp_path).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line][2:]
    assert [row[:2] for row in rows] == [
        ["aicanet", "embedding"],
        ["aicanet", "interact"],
        ["dsanet", "embedding"],
        ["chance", ""],
        ["best possible", ""],
    ]
    told = facts["aicanet"]
    assert rows[0][-2] == f"{told['minutes']:.1f} + {told['minutes of maps']:.1f}"


def test_a_training_that_would_take_too_long_gets_fewer_steps(maps, tmp_path):
    words = ["--steps", "1000", "--batch", "4", "--threads", "1", "--minutes", "0.001"]
    run(papers.main, "train", "--model", "dsanet", "--maps", maps, *words, "--out", tmp_path)
    assert json.loads((tmp_path / "dsanet.json").read_text())["steps"] < 50
