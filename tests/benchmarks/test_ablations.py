from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from avsearch.models import MODELS
from benchmarks.ablations import described, interval, main, verdict
from benchmarks.variants import ORDERINGS, VARIANTS
from trainer.data.features import read_feature_file
from trainer.data.synthetic.world import World
from trainer.training.settings import make_settings


def run(*words):
    done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    run("maps", "--out", folder, "--people", 12, "--takes", 2, "--crowd", 4, "--steps", 2)
    return folder


def test_every_item_has_private_attributes_that_tell_something_of_its_person(maps):
    world = World()
    tables = read_feature_file(maps / "private.safetensors")
    items = read_feature_file(maps / "features.safetensors")
    assert {name: table.values.shape for name, table in tables.items()} == {
        "face": (24, 12),
        "voice": (24, 384),
    }
    assert tables["face"].paths == items["face"].paths
    traits = np.array([world.person(int(key[1:])).face_traits for key in tables["face"].people])
    answers = np.asarray(tables["face"].values)
    assert set(answers.ravel().tolist()) == {0, 1}
    assert 0.75 < (answers[:, 6:] == (traits > 0.5)).mean() < 1
    assert (answers[::2] != answers[1::2]).any()


def test_runs_leave_files_and_are_not_run_again(maps, tmp_path):
    words = ["--maps", maps, "--out", tmp_path, "--device", "cpu", "--steps", 2, "--batch", 4]
    names = ["P2VANet+VAE", "P2VANet+VAE+pri", "ACIENet", "ACIENet+AGI"]
    chosen = [word for name in names for word in ("--variant", name)]
    assert len(run("run", *words, *chosen, "--seeds", 1).splitlines()) == 4
    assert run("run", *words, *chosen, "--seeds", 1) == ""
    told = json.loads((tmp_path / "ACIENet+AGI-0.json").read_text())
    assert told["compared"] == "interact"
    assert {way: len(each["mAP"]) for way, each in told["found"].items()} == {
        "embedding": 2,
        "interact": 2,
    }
    shown = run("table", tmp_path)
    assert shown.count("P2VANet+VAE+pri > P2VANet+VAE") == 1
    assert shown.count("ACIENet+AGI > ACIENet") == 1
    assert "ADSM" not in shown


def test_a_run_that_was_stopped_is_begun_anew(maps, tmp_path):
    words = ["--maps", maps, "--out", tmp_path, "--device", "cpu", "--steps", 2, "--batch", 4]
    words += ["--variant", "ADSM-T", "--seeds", 1]
    run("run", *words)
    (tmp_path / "ADSM-T-0.json").unlink()  # as if it had been stopped before its end
    assert run("run", *words).startswith("ADSM-T, seed 0")


def test_every_variant_is_a_model_of_its_own():
    settings = {
        name: dataclasses.asdict(make_settings(MODELS[one.model].Settings, one.words, small=True))
        for name, one in VARIANTS.items()
    }
    told = [(VARIANTS[name].model, json.dumps(each)) for name, each in settings.items()]
    assert len(set(told)) == len(told)


def test_an_ordering_compares_variants_of_one_model():
    for each in ORDERINGS:
        assert VARIANTS[each.better].model == VARIANTS[each.worse].model


def test_an_interval_holds_the_mean_and_grows_with_seeds_that_disagree():
    rng = np.random.default_rng(0)
    people = rng.random((1, 50)).repeat(3, 0)
    low, high = interval(people)
    assert low < people.mean() < high
    wide = interval(people + np.array([[-0.2], [0.0], [0.2]]))
    assert wide[1] - wide[0] > 1.5 * (high - low)


def test_an_interval_of_one_value_is_that_value():
    assert interval(np.full((3, 5), 0.25)) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("ends", "said"),
    [((0.1, 0.2), "holds"), ((-0.2, -0.1), "the other way round"), ((-0.1, 0.1), "cannot be told")],
)
def test_a_claim_holds_only_where_the_interval_leaves_nought_out(ends, said):
    assert verdict(ends) == said


def test_a_difference_is_of_the_same_people_and_seeds():
    """People differ more than variants do; still each of them is a little better."""
    rng = np.random.default_rng(0)
    hard = rng.random((3, 40))
    runs = [
        {
            "variant": name,
            "seed": seed,
            "device": "a machine",
            "compared": "embedding",
            "best": {"mAP": 1.0, "1:2": 1.0},
            "found": {"embedding": {"mAP": (hard[seed] + more).tolist(), "1:2": [0.5] * 40}},
        }
        for name, more in (("ADSM-T", 0.0), ("ADSM-TC", 0.01))
        for seed in (2, 0, 1)
    ]
    line = next(line for line in described(runs).splitlines() if "ADSM-TC > ADSM-T" in line)
    assert "+0.010 [+0.010, +0.010]" in line
    assert line.rstrip(" |").endswith("holds")
