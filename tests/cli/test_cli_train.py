"""``avsearch train`` as its user runs it: on features, from a command to a checkpoint in use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avsearch.models import MODELS
from avsearch.models.checkpoint import load_checkpoint
from tests.helpers.worlds import TINY, left_by, write_features
from trainer.training.config import STATE

PEOPLE = "person,name,gender,nationality\n" + "".join(
    f"person {n:02d},Name {n},{'fm'[n % 2]},Peru\n" for n in range(20)
)


@pytest.fixture(autouse=True)
def _no_extras(monkeypatch):
    monkeypatch.setattr("trainer.training.run.matplotlib_is_there", lambda: False)
    monkeypatch.setattr("trainer.training.logging.tensorboard_is_there", lambda: False)


@pytest.fixture
def features(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return write_features(folder / "features.npz")


@pytest.fixture
def train(run, tmp_path):
    """Run avsearch train with a tiny model and few steps."""
    usual = ["--model", "adsm", "--steps", "12", "--batch", "8", "--every", "4", "--split",
             "last:6,2", "--out", tmp_path / "model.safetensors"]  # fmt: skip
    words = [f"--set={key}={value}" for key, value in TINY.items()]

    def go(*arguments):
        return run("train", *usual, *words, *arguments)

    return go


def test_a_training_ends_in_a_sentence_and_a_checkpoint(train, features, tmp_path):
    done = train("--data", features)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("adsm, 12 steps on 12 people; kept step ")
    assert "on 6 validation people: score 0." in done.stdout
    record = load_checkpoint(tmp_path / "model.safetensors", MODELS).record
    assert record["data"] == [str(features)]
    assert record["split"] == "last:6,2"


def test_json_says_what_it_came_to(train, features, tmp_path):
    done = train("--data", features, "--json")
    answer = json.loads(done.stdout)
    assert answer["checkpoint"] == str(tmp_path / "model.safetensors")
    assert answer["people"] == {"train": 12, "validation": 6, "test": 2}
    assert answer["scores"] == load_checkpoint(Path(answer["checkpoint"]), MODELS).record["scores"]
    assert answer["log"] == str(tmp_path / "model.training" / "log.jsonl")


def test_a_finished_training_may_be_resumed(train, features, tmp_path):
    assert train("--data", features).exit_code == 0
    before = left_by(tmp_path / "model.safetensors")
    assert train("--data", features, "--resume").exit_code == 0
    assert left_by(tmp_path / "model.safetensors") == before


def test_people_who_have_one_modality_share_their_gender(train, tmp_path):
    folder = tmp_path / "unpaired"
    folder.mkdir()
    (folder / "people.csv").write_text(PEOPLE)
    data = write_features(folder / "all.npz")
    arrays = dict(np.load(data))
    odd = [int(path[7:9]) % 4 >= 2 for path in arrays["face_paths"]]
    for modality, chosen in (("face", np.array(odd)), ("voice", ~np.array(odd))):
        arrays[f"{modality}s"] = arrays[f"{modality}s"][chosen]
        arrays[f"{modality}_paths"] = arrays[f"{modality}_paths"][chosen]
    np.savez(data, **arrays)
    done = train("--data", data, "--set", "attribute_weight=1", "--set", "identity_weight=0.5")
    assert done.exit_code == 0, done.stderr
    assert load_checkpoint(tmp_path / "model.safetensors", MODELS).network.settings.classes == 2


def private(folder: Path, modality: str, width: int) -> Path:
    """A table of attributes of every other item."""
    arrays = dict(np.load(folder / "features.npz"))
    paths = arrays[f"{modality}_paths"][::2]
    values = np.random.default_rng(0).standard_normal((len(paths), width)).astype(np.float32)
    path = folder / f"{modality}-private.npz"
    np.savez(path, **{f"{modality}s": values, f"{modality}_paths": paths})
    return path


P2VANET = [
    "--model",
    "p2vanet",
    "--set",
    "map_size=2",
    "--set",
    "widths=4,4,4,4,4",
    "--set",
    "dim=8",
]


def test_private_attributes_are_trained_on_and_the_checkpoint_says_of_how_many(
    train, features, tmp_path
):
    table = private(features.parent, "face", 12)
    done = train("--data", features, *P2VANET, "--face-private", table)
    assert done.exit_code == 0, done.stderr
    assert "No private attributes of voices are known" in done.stderr
    assert "of faces" not in done.stderr
    checkpoint = load_checkpoint(tmp_path / "model.safetensors", MODELS)
    assert checkpoint.record["private_attributes"] == {"face": 0.5, "voice": 0.0}
    assert checkpoint.network.face.tokens.count.max() > 0


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (P2VANET, ["--face-private", "7 values", "takes 12", "--set face_attributes=7"]),
        ([*P2VANET, "--set", "private=no"], ["p2vanet, as it is set, takes no private"]),
        ([], ["adsm, as it is set, takes no private attributes"]),
    ],
)
def test_private_attributes_that_do_not_fit_are_refused(model, words, train, features, tmp_path):
    table = private(features.parent, "face", 7)
    refused(train("--data", features, *model, "--face-private", table), words, tmp_path)


# Bad input: one sentence, exit 2, nothing half written.


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def one_modality(path: Path) -> None:
    write_features(path, voices=False)


def one_person(path: Path) -> None:
    write_features(path, people=1)


def not_numbers(path: Path) -> None:
    arrays = dict(np.load(path))
    arrays["faces"][3, 1] = np.nan
    np.savez(path, **arrays)


def unknown_gender(path: Path) -> None:
    path.with_name("people.csv").write_text(PEOPLE.replace("person 04,Name 4,f", "person 04,N,q"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_short, ["features.npz", "cut short"]),
        (one_modality, ["holds no voices"]),
        (one_person, ["one person"]),
        (not_numbers, ["features.npz", "face3"]),
        (unknown_gender, ["person 04", "'q'"]),
        (Path.unlink, ["features.npz"]),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_and_nothing_is_written(
    spoil, words, train, features, tmp_path
):
    spoil(features)
    refused(train("--data", features, "--split", "last:6,2"), words, tmp_path)


def test_a_training_is_not_resumed_as_another_model_and_stays_as_it_is(train, features, tmp_path):
    assert train("--data", features).exit_code == 0
    before = left_by(tmp_path / "model.safetensors")
    done = train("--data", features, *P2VANET, "--resume")
    assert done.exit_code == 2
    assert "was started with model adsm, not p2vanet" in done.stderr
    assert left_by(tmp_path / "model.safetensors") == before


def test_a_training_whose_state_is_cut_short_is_refused_and_stays_as_it_is(
    train, features, tmp_path
):
    assert train("--data", features).exit_code == 0
    state = tmp_path / "model.training" / STATE
    cut_short(state)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = train("--data", features, "--resume")
    assert done.exit_code == 2
    assert "is cut short" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("person 01 train\nperson 01 test\n", ["line 2", "person 01", "two"]),
        ("person 01 train\n", ["does not name person 00"]),
        ("person 01 sideways\n", ["line 1", "sideways"]),
    ],
)
def test_a_split_that_is_none_is_refused(text, words, train, features, tmp_path):
    (tmp_path / "data" / "split.txt").write_text(text)
    done = train("--data", features, "--split", tmp_path / "data" / "split.txt")
    refused(done, words, tmp_path)


def test_a_table_that_names_absent_files_is_refused(train, tmp_path):
    (tmp_path / "data").mkdir()
    table = tmp_path / "data" / "files.csv"
    table.write_text("path,person,modality\nann/nothing.png,ann,face\nann/none.wav,ann,voice\n")
    refused(train("--data", table), ["files.csv", "nothing.png"], tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "64"], ["64", "larger"]),
        (["--set", "margin"], ["'margin' is not KEY=VALUE"]),
        (["--model", "nonet"], ["no model 'nonet'"]),
        (["--split", "thirds"], ["'thirds' is neither a way to split"]),
        (["--resume"], ["no training to resume", STATE]),
        (["--epochs", "3"], ["--epochs and --steps"]),
        (["--steps", "0"], ["--steps"]),
        (["--face-trunk", "no.pth"], ["There are no weights no.pth"]),
        (["--face-trunk", __file__], ["test_cli_train.py", "not a file of tensors"]),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(arguments, words, train, features, tmp_path):
    refused(train("--data", features, *arguments), words, tmp_path)


def refused(done, words: list[str], folder: Path) -> None:
    assert done.exit_code == 2, done.output
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("Usage")][-1:]
    for word in words:
        assert word in sentence
    assert "Traceback" not in done.output
    assert [path.name for path in folder.iterdir()] == ["data"]
