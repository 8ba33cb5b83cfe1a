"""Whole evaluations: who is evaluated, on what, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.torch_embedder import TorchEmbedder
from indexer.errors import BadRequest
from tests.helpers.tiny import face_noise, tiny_adsm, voice_noise
from tests.trainer.evaluation.test_score import GENDERS, blind, perfect, world_items
from trainer.evaluation.build_trials import TrialLists
from trainer.evaluation.results import EvalRequest
from trainer.evaluation.run import run, submit, write_report

SMALL = {"kinds": ("1:3",), "directions": ("V-F",), "strata": ("U",)}


@pytest.fixture
def items():
    return world_items()


@pytest.fixture
def features(items, tmp_path):
    """Feature files of perfect and of blind vectors, and what is known of their people."""
    kinds = np.array(items.modalities)
    paths = []
    for name, scorer in (("perfect", perfect(items)), ("blind", blind(items))):
        parts = {}
        for modality in ("face", "voice"):
            own = np.flatnonzero(kinds == modality)
            parts[f"{modality}s"] = scorer.vectors[own]
            parts[f"{modality}_paths"] = np.array(items.paths)[own]
        np.savez(tmp_path / f"{name}.npz", **parts)
        paths.append(tmp_path / f"{name}.npz")
    rows = [f"{name},{gender},{20 + at}" for at, (name, gender) in enumerate(GENDERS.items())]
    (tmp_path / "people.csv").write_text("\n".join(["person,gender,age", *rows]) + "\n")
    return paths


@pytest.fixture
def listed(tmp_path):
    """A list of 1:2 trials whose right candidate is the first."""
    lines = [f"p{at}/0.wav p{at}/0.jpg p{at + 1}/0.jpg" for at in range(12)]
    (tmp_path / "match.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "match.txt"


def write_pairs(path, people):
    """A list of pairs of a voice and a face, as many of one person as of two."""
    rows = [(at, other) for at in people for other in (at, people[at == people[0]])]
    lines = [f"p{one}/0.wav p{other}/0.jpg" for one, other in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def meta(tmp_path):
    """The table of people, under both of their names."""
    rows = [f"id{at}\tp{at}\t{gender}\tPeru\tdev" for at, gender in enumerate(GENDERS.values())]
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    (tmp_path / "meta.csv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path / "meta.csv"


@pytest.fixture
def media(tmp_path):
    """A folder of media that the list names."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "media"
    for at in range(13):
        (folder / f"p{at}").mkdir(parents=True)
        Image.fromarray(face_noise(rng)).save(folder / f"p{at}" / "0.jpg")
        soundfile.write(folder / f"p{at}" / "0.wav", voice_noise(rng), 16_000)
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint that was trained on two of the people and chosen on one."""
    record = {"people": {"train": ["vox/p1", "vox/id2"], "validation": ["vox/p3"]}}
    save_checkpoint(tmp_path / "tiny.safetensors", "adsm", tiny_adsm(), record)
    return tmp_path / "tiny.safetensors"


def accuracy(section):
    return section.rows["model"].figures["accuracy"].value


# Two who are compared.


def test_two_feature_files_are_compared_on_the_same_protocols(features, tmp_path):
    kinds = ("1:3", "verification")
    report = run(EvalRequest(compare=tuple(map(str, features)), kinds=kinds, strata=("U",)))
    assert [each.protocol for each in report.comparisons] == [
        section.protocol for section in report.results[0].sections
    ]
    assert all(each.differences for each in report.comparisons)
    found = report.comparisons[0].differences["accuracy"]
    assert (found.first, found.better) == (1, 1)
    assert found.difference.lower > 0
    write_report(report, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["contenders"] == ["perfect.npz", "blind.npz"]
    assert told["compared"][0]["differences"]["accuracy"]["better"] == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Compared" in page
    assert "perfect.npz minus blind.npz" in page
    assert page.count("ROC and DET of both: verification") == 2  # each direction


def test_what_only_one_of_two_has_is_not_asked(features, items, tmp_path):
    kept = [path for path in items.paths if not path.startswith("p0/")]
    own = perfect(items)
    parts = {}
    for modality, ending in (("face", "jpg"), ("voice", "wav")):
        paths = [path for path in kept if path.endswith(ending)]
        parts |= {f"{modality}s": own.vectors[own.places(paths)], f"{modality}_paths": paths}
    np.savez(tmp_path / "fewer.npz", **parts)
    report = run(EvalRequest(compare=(str(features[1]), str(tmp_path / "fewer.npz")), **SMALL))
    assert [section.people for section in report.sections] == [19, 19]
    assert [accuracy(section) for section in report.sections][1] == 1


def test_two_with_nothing_in_common_are_not_compared(features, tmp_path):
    parts = {"faces": np.ones((1, 3)), "face_paths": ["x/1.jpg"]}
    np.savez(tmp_path / "other.npz", **parts)
    with pytest.raises(BadRequest, match="no item in common"):
        run(EvalRequest(compare=(str(features[0]), str(tmp_path / "other.npz"))))


def test_ready_scores_are_compared_with_vectors_on_a_list(features, listed, tmp_path):
    (tmp_path / "scores.csv").write_text("0.5 0.1\n" * 6 + "0.1 0.5\n" * 6)
    pair = (str(features[0]), str(tmp_path / "scores.csv"))
    report = run(EvalRequest(compare=pair, lists=(listed,)))
    found = report.comparisons[0].differences["accuracy"]
    assert (found.first, found.second, found.difference.value) == (1, 0.5, 0.5)


@pytest.mark.parametrize("extra", [{"features": "x.npz"}, {"scores": ("x.npy",)}])
def test_a_comparison_names_both_itself(features, extra):
    with pytest.raises(BadRequest, match="names both systems"):
        run(EvalRequest(compare=tuple(map(str, features)), **extra))
    with pytest.raises(BadRequest, match="names both systems"):
        run(EvalRequest(compare=(str(features[0]),) * 2))


# Ready scores.


def test_ready_scores_are_judged_but_not_audited(listed, tmp_path):
    np.save(tmp_path / "scores.npy", np.tile([0.9, 0.1], (12, 1)))
    report = run(EvalRequest(scores=(tmp_path / "scores.npy",), lists=(listed,)))
    (section,) = report.sections
    assert accuracy(section) == 1
    assert (section.audit.verdict, section.column) == ("not audited", "ready scores")
    assert "cannot be audited" in section.notes[0]
    write_report(report, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "not audited" in page
    assert "Ready scores cannot be audited" in page


def test_scores_stay_with_their_trials_where_some_are_left_out(tmp_path):
    lines = ["id1/V/1.wav Ann/9/V/1.jpg Bob/9/X/1.jpg", "id1/V/1.wav Ann/9/W/1.jpg Bob/9/X/1.jpg"]
    (tmp_path / "match.txt").write_text("\n".join(lines).replace("id1", "Ann") + "\n")
    (tmp_path / "scores.txt").write_text("0 1\n1 0\n")
    request = EvalRequest(
        scores=(tmp_path / "scores.txt",),
        lists=(tmp_path / "match.txt",),
        without_same_recording=True,
    )
    (section,) = run(request).sections
    assert (section.trials, accuracy(section)) == (1, 1)


def test_ready_scores_without_their_lists_are_refused(listed, tmp_path):
    (tmp_path / "s.txt").write_text("1\n")
    for lists in ((), (listed, listed)):
        with pytest.raises(BadRequest, match="each list needs its own"):
            run(EvalRequest(scores=(tmp_path / "s.txt",), lists=lists))


# By attribute, and by who was trained on.


def test_a_gallery_is_asked_by_gender_and_within_ages(features):
    request = EvalRequest(
        features=features[0],
        kinds=("verification", "retrieval", "1:2"),
        directions=("V-F",),
        strata=("U", "A"),
        answers=("identity", "gender"),
    )
    sections = {section.protocol: section for section in run(request).sections}
    assert set(sections) == {
        "verification V-F U",
        "retrieval V-F U",
        "1:2 V-F U",
        "verification V-F U by gender",
        "retrieval V-F U by gender",
        "verification V-F A",
        "1:2 V-F A",
        "verification V-F A by gender",
    }
    knowing = sections["retrieval V-F U by gender"].rows["knows gender"]
    assert knowing.figures["mAP"].value == 1
    assert set(sections["1:2 V-F U"].groups["age"]) == {"20-29", "30-39"}


def test_what_a_stratum_shares_cannot_be_asked_for(features):
    request = EvalRequest(
        features=features[0], kinds=("verification",), strata=("G",), answers=("gender",)
    )
    with pytest.raises(BadRequest, match="No protocol can be made"):
        run(request)


def test_a_published_list_of_pairs_is_asked_by_gender_too(features, meta, tmp_path):
    (tmp_path / "pairs.txt").write_text("p0/0.wav p0/0.jpg\np0/1.wav p2/0.jpg\np0/0.wav p1/0.jpg\n")
    request = EvalRequest(
        features=features[0],
        lists=(tmp_path / "pairs.txt",),
        tables=(meta,),
        answers=("identity", "gender"),
    )
    one, by_gender = run(request).sections
    assert by_gender.protocol == "pairs by gender"
    assert one.rows["knows gender"].figures["AUC"].value == 0.75
    assert by_gender.rows["knows gender"].figures["AUC"].value == 1


def test_lists_of_matching_are_not_asked_by_gender(features, listed):
    with pytest.raises(BadRequest, match="Matching is by identity"):
        run(EvalRequest(features=features[0], lists=(listed,), answers=("gender",)))


def test_vectors_without_a_record_have_nobody_seen(features):
    with pytest.raises(BadRequest, match="are not recorded"):
        run(EvalRequest(features=features[0], trained=("seen",)))


def test_a_list_without_the_askers_recordings_is_asked_by_gender_without_them_too(tmp_path):
    pairs = "a/V/1.wav a/V/1.jpg\na/V/1.wav a/W/1.jpg\na/V/1.wav b/X/1.jpg\n"
    (tmp_path / "pairs.txt").write_text(pairs)
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    (tmp_path / "meta.csv").write_text(f"{header}\na\ta\tf\tPeru\tdev\nb\tb\tm\tPeru\tdev\n")
    lists = TrialLists(
        (tmp_path / "pairs.txt",), (tmp_path / "meta.csv",), None, ("identity", "gender")
    )
    every = [len(asked.protocol.same) for asked in lists.tasks()]
    fewer = dataclasses.replace(lists, without_same_recording=True).tasks()
    assert (every, [len(asked.protocol.same) for asked in fewer]) == ([3, 3], [2, 2])


# A model on a list with its media.


def test_a_model_on_a_list_tells_what_test_and_training_share(listed, meta, media, checkpoint):
    (media / "p5" / "0.wav").write_bytes((media / "p4" / "0.wav").read_bytes())
    request = EvalRequest(
        lists=(listed,), tables=(meta,), media=media, model=str(checkpoint), device="cpu"
    )
    (section,) = run(request).sections
    assert section.valid
    assert (section.seen, section.chosen_on) == (["p1", "p2"], ["p3"])
    assert set(section.groups["training"]) == {"seen-heard", "unseen-unheard"}
    assert section.groups["training"]["seen-heard"].trials == 2
    assert section.copies.pairs == 0  # two voices that both ask


def test_a_copied_face_that_asks_and_answers_is_reported(media, checkpoint, tmp_path):
    (media / "p5" / "0.jpg").write_bytes((media / "p4" / "0.jpg").read_bytes())
    (tmp_path / "faces.txt").write_text("p4/0.jpg p4/0.wav p5/0.jpg\n")
    request = EvalRequest(
        lists=(tmp_path / "faces.txt",), media=media, model=str(checkpoint), device="cpu"
    )
    (section,) = run(request).sections
    assert (section.copies.pairs, section.copies.of_two_people) == (1, 1)


def test_a_model_that_is_asked_by_two_lists_of_one_media_embeds_them_once(
    listed, media, checkpoint, tmp_path, monkeypatch
):
    asked = []
    honest = TorchEmbedder.embed

    def counting(self, some):
        asked.append(len(some))
        return honest(self, some)

    monkeypatch.setattr(TorchEmbedder, "embed", counting)
    (tmp_path / "again.txt").write_text(listed.read_text())
    request = EvalRequest(
        lists=(listed, tmp_path / "again.txt"),
        media=media,
        model=str(checkpoint),
        sample=3,
        device="cpu",
    )
    one, other = run(request).sections
    assert one.rows["model"].figures == other.rows["model"].figures
    named = {path for line in listed.read_text().splitlines() for path in line.split()}
    assert asked.count(len(named)) == 1


def test_each_list_has_a_map_of_its_own(features, listed, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(f"p{at}/1.wav p{at}/1.jpg p{at - 1}/1.jpg" for at in range(1, 9)))
    report = run(EvalRequest(features=features[0], lists=(listed, other)))
    assert list(report.results[0].items) == ["match.txt", "other.txt"]
    write_report(report, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The space: match.txt" in page
    assert "The space: other.txt" in page


# Trials whose answers others keep, and pickles.


@pytest.fixture
def trials(tmp_path):
    (tmp_path / "fame.txt").write_text("a1 p0/0.wav p0/0.jpg\na2 p0/0.wav p1/0.jpg\n")
    return tmp_path / "fame.txt"


def test_a_submission_is_written_of_vectors(features, trials, tmp_path):
    count, checked = submit(
        EvalRequest(features=features[0], lists=(trials,)), tmp_path / "out.txt"
    )
    assert (count, checked.faults) == (2, [])
    right, wrong = ((tmp_path / "out.txt").read_text()).splitlines()
    assert right.split()[0] == "a1"
    assert float(right.split()[1]) < float(wrong.split()[1])


def test_a_submission_is_written_of_a_model(trials, media, checkpoint, tmp_path):
    request = EvalRequest(lists=(trials,), media=media, model=str(checkpoint), device="cpu")
    count, checked = submit(request, tmp_path / "out.txt")
    assert (count, checked.verdict) == (2, "passed")
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 2


def test_trials_without_answers_are_not_judged_and_others_not_submitted(features, trials, listed):
    with pytest.raises(BadRequest, match="--submission FILE"):
        run(EvalRequest(features=features[0], lists=(trials,)))
    with pytest.raises(BadRequest, match="has labels"):
        submit(EvalRequest(features=features[0], lists=(listed,)), trials.with_name("out.txt"))
    with pytest.raises(BadRequest, match="A submission needs one list"):
        submit(EvalRequest(features=features[0]), trials.with_name("out.txt"))
    assert not trials.with_name("out.txt").exists()


def test_pickled_trials_are_a_list_like_any_other(features, tmp_path):
    rows = [["p0/0.wav", "p0/0.jpg", 1], ["p0/0.wav", "p1/0.jpg", 0]]
    matches = [("p0", "p0/0.wav", "p0/0.jpg", "p1", "p1/0.wav", "p1/0.jpg")]
    path = tmp_path / "trials.pkl"
    path.write_bytes(pickle.dumps({"list": rows, "match_list": matches}))
    report = run(EvalRequest(features=features[0], lists=(path,)))
    assert [section.protocol for section in report.sections] == [
        "trials",
        "trials V-F",
        "trials F-V",
    ]
    assert [next(iter(s.rows["model"].figures.values())).value for s in report.sections] == [1] * 3


# A threshold of other people.


def test_pairs_have_an_accuracy_at_the_threshold_that_is_best_for_other_people(
    features, meta, tmp_path
):
    tested = write_pairs(tmp_path / "tested.txt", [0, 1, 2, 3, 4, 5])
    others = write_pairs(tmp_path / "others.txt", [10, 11, 12])
    asked = {"lists": (tested,), "tables": (meta,), "features": features[0]}
    assert "accuracy" not in run(EvalRequest(**asked)).sections[0].rows["model"].figures
    (section,) = run(EvalRequest(**asked, threshold_list=others)).sections
    assert accuracy(section) == 1
    report = run(
        EvalRequest(
            lists=(tested,),
            tables=(meta,),
            compare=tuple(map(str, features)),
            threshold_list=others,
        )
    )
    assert report.comparisons[0].differences["accuracy"].first == 1
    assert report.comparisons[0].differences["accuracy"].second < 1


@pytest.mark.parametrize(
    ("people", "said"),
    [([3, 10, 11], "has p3 and 0 others who are evaluated too"), (None, "must hold pairs")],
)
def test_a_threshold_of_those_who_are_tested_or_of_no_pairs_is_refused(
    features, meta, listed, tmp_path, people, said
):
    tested = write_pairs(tmp_path / "tested.txt", [0, 1, 2, 3])
    others = listed if people is None else write_pairs(tmp_path / "others.txt", people)
    with pytest.raises(BadRequest, match=said):
        run(
            EvalRequest(
                lists=(tested,), tables=(meta,), features=features[0], threshold_list=others
            )
        )
