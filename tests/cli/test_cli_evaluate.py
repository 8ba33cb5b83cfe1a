"""avsearch evaluate: what a person reads and what a program gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.papers.acienet import ACIENet
from avsearch.models.papers.dsanet import DSANet, DSANetSettings
from tests.helpers.tiny_pairs import MEDIA, lived_pairs

BRIEF = ("--stratum", "U", "--audit", "3", "--device", "cpu")
QUICK = ("--direction", "V-F", *BRIEF)


@pytest.fixture
def evaluate(run, indexed):
    def go(*arguments: object) -> object:
        return run("evaluate", "--index", indexed, *QUICK, *arguments)

    return go


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ACIENet that has learnt nothing."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    network = lived_pairs(ACIENet, face_features=(), voice_features=(), **MEDIA)
    save_checkpoint(path, "acienet", network, {}, half=False)
    return path


def test_an_index_is_evaluated_and_reported(evaluate, tmp_path):
    done = evaluate("--protocol", "1:2,retrieval", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    head, first, *_ = done.stdout.splitlines()
    assert head.split()[:4] == ["protocol", "trials", "scorer", "figure"]
    assert first.startswith("1:2 V-F U")
    assert "embedding distance" in first
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["protocol"] for each in found["sections"]] == ["1:2 V-F U", "retrieval V-F U"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_re_ranker_has_a_column_of_its_own(evaluate, pairs):
    done = evaluate("--protocol", "verification,retrieval", "--rerank", pairs, "--json")
    assert done.exit_code == 0, done.stderr
    for section in json.loads(done.stdout)["sections"]:
        assert list(section["rows"])[:2] == ["model", "re-ranking"]
        assert section["verdicts"] == {"model": "passed", "re-ranking": "passed"}


def test_a_re_ranker_within_one_modality_is_left_out_with_a_word(run, indexed, pairs):
    asked = ("--protocol", "retrieval", "--direction", "V-V", "--rerank", pairs)
    done = run("evaluate", "--index", indexed, *BRIEF, *asked)
    assert done.exit_code == 0, done.stderr
    assert "Re-ranking is left out: it compares faces with voices." in done.stderr
    assert "re-ranking" not in done.stdout


def test_the_matching_head_of_a_model_has_a_column_of_its_own(run, gallery, tmp_path):
    settings = DSANetSettings(
        task="matching",
        dim=16,
        widths=(4, 4, 8, 8),
        channels=4,
        map_size=2,
        face_size=32,
        voice_seconds=0.5,
        hidden=24,
        patch_rows=2,
        patch_columns=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DSANet(settings)
    save_checkpoint(tmp_path / "dsa.safetensors", "dsanet", network, {}, half=False)
    made = run("index", gallery, "--index", tmp_path / "i", "--model", tmp_path / "dsa.safetensors")
    assert made.exit_code == 0, made.stderr
    done = run("evaluate", "--index", tmp_path / "i", *QUICK, "--protocol", "1:2", "--json")
    assert done.exit_code == 0, done.stderr
    (section,) = json.loads(done.stdout)["sections"]
    assert list(section["rows"])[:2] == ["model", "matching head"]


def test_an_index_and_another_model_are_compared_on_its_media(evaluate, run, indexed, models):
    done = evaluate("--protocol", "1:2", "--compare", indexed, models[1])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"{indexed.name} minus {models[1].name}:" in lines
    assert lines[-1].split()[:4] == ["1:2", "V-F", "U", "accuracy"]


def test_an_index_answers_a_list_of_its_files(run, indexed, gallery, tmp_path):
    voice = min((gallery / "Actor_01").glob("*.ogg")).name
    line = f"Actor_01/{voice} Actor_01/face.png Actor_02/face.png\n"
    (tmp_path / "list.txt").write_text(line)
    options = ("--index", indexed, "--list", tmp_path / "list.txt", "--media", gallery, *QUICK)
    done = run("evaluate", *options, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["sections"][0]["trials"] == 1
    (tmp_path / "list.txt").write_text(line.replace("Actor_02", "Actor_03"))
    (gallery_copy := tmp_path / "g" / "Actor_03").mkdir(parents=True)
    (gallery_copy / "face.png").write_bytes((gallery / "Actor_01" / "face.png").read_bytes())
    done = run("evaluate", "--index", indexed, "--list", tmp_path / "list.txt", *QUICK)
    assert done.exit_code == 2
    assert "The index has no voice of" in done.stderr


def test_ready_scores_say_that_they_cannot_be_audited(run, tmp_path):
    (tmp_path / "list.txt").write_text("a/1.wav a/1.jpg b/1.jpg\nb/1.wav b/1.jpg a/1.jpg\n")
    np.save(tmp_path / "s.npy", [[1.0, 0.0], [0.0, 1.0]])
    done = run("evaluate", "--list", tmp_path / "list.txt", "--scores", tmp_path / "s.npy")
    assert done.exit_code == 0
    assert "cannot be audited" in done.stderr
    assert "ready scores" in done.stdout
    assert "not audited" in done.stdout


def test_a_submission_is_written(run, gallery, model, tmp_path):
    voice = min((gallery / "Actor_01").glob("*.ogg")).name
    (tmp_path / "fame.txt").write_text(f"t1 Actor_01/{voice} Actor_01/face.jpg\n")
    (tmp_path / "media" / "Actor_01").mkdir(parents=True)
    for name, own in ((voice, voice), ("face.png", "face.jpg")):
        content = (gallery / "Actor_01" / name).read_bytes()
        (tmp_path / "media" / "Actor_01" / own).write_bytes(content)
    options = ("--list", tmp_path / "fame.txt", "--media", tmp_path / "media", "--model", model)
    done = run("evaluate", *options, *QUICK, "--submission", tmp_path / "out.txt")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("1 scores are written to")
    assert (tmp_path / "out.txt").read_text().startswith("t1 ")


def test_protocols_that_are_given_one_by_one_are_all_made(evaluate):
    done = evaluate("--protocol", "1:2", "--protocol", "retrieval,1:2", "--json")
    assert done.exit_code == 0, done.stderr
    made = [each["protocol"] for each in json.loads(done.stdout)["sections"]]
    assert made == ["1:2 V-F U", "retrieval V-F U"]


def test_what_a_small_gallery_does_not_suffice_for_is_left_out_with_a_word(run, indexed, tmp_path):
    quick = ("--audit", "3", "--device", "cpu")
    done = run("evaluate", "--index", indexed, *quick, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "avsearch: Left out: 1:10 matching V-F within U needs 10 people" in done.stderr
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [note.split()[2:4] for note in told["notes"]][:1] == [["1:10", "matching"]]
    assert "verification V-F U" in [each["protocol"] for each in told["sections"]]
    assert told["notes"][0] in (tmp_path / "out" / "report.html").read_text()


def test_what_cannot_be_asked_is_said_before_anything_is_embedded(evaluate, monkeypatch):
    from trainer.evaluation import systems

    def embeds(*_: object, **__: object) -> None:
        raise AssertionError("something was embedded")

    monkeypatch.setattr(systems, "audit_embedder", embeds)
    for words, said in (
        (("--protocol", "1:10"), "No protocol can be made. 1:10 matching V-F within U needs 10"),
        (
            ("--protocol", "ranking"),
            "no protocol 'ranking'; there are verification, retrieval, and",
        ),
        (
            ("--protocol", "1:1"),
            "no protocol '1:1'; there are verification, retrieval, and 1:N with",
        ),
        (("--protocol", "1:x"), "no protocol '1:x'"),
        (("--protocol", "1:2", "--protocol", "all"), "no protocol 'all'"),
        (("--protocol", ""), "should be one or more of verification, 1:N, retrieval"),
    ):
        done = evaluate(*words)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("option", "word"), [("--by", "age"), ("--trained", "some"), ("--stratum", "X")]
)
def test_a_word_that_is_not_known_is_refused_with_those_that_are(evaluate, option, word):
    done = evaluate(option, word)
    assert done.exit_code == 2
    assert f"{word}' should be one or more of" in done.stderr


def test_a_leaning_model_makes_figures_invalid_and_the_exit_code_3(evaluate, monkeypatch):
    from avsearch.models.torch_embedder import TorchEmbedder

    honest = TorchEmbedder.embed

    def leaning(self, media):
        embedded = honest(self, media)
        embedded.vectors[:] -= embedded.vectors.mean(0)
        return embedded

    monkeypatch.setattr(TorchEmbedder, "embed", leaning)
    done = evaluate("--protocol", "1:2")
    assert done.exit_code == 3
    assert "INVALID: 1:2 V-F U: vectors, " in done.stderr
    assert "INVALID" in done.stdout


def test_pairs_have_an_accuracy_where_a_list_of_others_gives_the_threshold(run, tmp_path):
    names = [f"p{who}/{take}.wav" for who in range(4) for take in range(2)]
    vectors = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    np.savez(tmp_path / "own.npz", voices=vectors, voice_paths=np.array(names))
    rows = [f"p{at}\tp{at}\tf\tPeru\tdev" for at in range(4)]
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    (tmp_path / "people.tsv").write_text("\n".join([header, *rows]) + "\n")
    for name, (one, other) in {"tested": (0, 1), "others": (2, 3)}.items():
        pairs = [f"p{one}/0.wav p{who}/1.wav" for who in (one, other, one)]
        (tmp_path / f"{name}.txt").write_text("\n".join(pairs) + "\n")
    words = ["--list", tmp_path / "tested.txt", "--people", tmp_path / "people.tsv"]
    words += ["--features", tmp_path / "own.npz", "--threshold-list", tmp_path / "others.txt"]
    done = run("evaluate", *words, "--json")
    assert done.exit_code == 0, done.stderr
    (section,) = json.loads(done.stdout)["sections"]
    assert section["rows"]["model"]["figures"]["accuracy"]["value"] == 1
