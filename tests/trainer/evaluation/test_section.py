from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from avsearch.calibration import Calibration
from indexer.errors import BadRequest
from indexer.types import Media
from tests.helpers.fakes import FakeEmbedder
from tests.trainer.evaluation.test_score import PEOPLE, perfect, world_items
from trainer.evaluation.batch_audit import audit_embedder
from trainer.evaluation.build_trials import ProtocolSpec, generate_protocols
from trainer.evaluation.items import EvalItems
from trainer.evaluation.results import EvalRequest, Report, SystemResult
from trainer.evaluation.run import run, write_report
from trainer.evaluation.section import ScoredSystem, evaluate_protocol

ATTRIBUTES = {
    f"p{number}": {"gender": "fm"[number % 2], "nationality": "abc"[number % 3]}
    for number in range(PEOPLE)
}


def evaluate(protocols, system):
    return [evaluate_protocol(each, system)[0] for each in protocols]


@pytest.fixture
def items():
    return world_items()


@pytest.fixture
def protocols(items):
    wanted = ProtocolSpec(("verification", "1:3", "retrieval"), ("V-F", "F-F"), ("U", "G"))
    return generate_protocols(items, ATTRIBUTES, wanted)


def test_every_kind_direction_and_stratum_is_made(protocols):
    assert [protocol.name for protocol in protocols] == [
        f"{kind} {way} {stratum}"
        for way in ("V-F", "F-F")
        for stratum in ("U", "G")
        for kind in ("verification", "1:3", "retrieval")
        if (kind, stratum) != ("retrieval", "G")
    ]


def test_beside_the_model_stand_chance_and_what_attributes_alone_give(items, protocols):
    sections = {
        section.protocol: section
        for section in evaluate(protocols, ScoredSystem(perfect(items), ATTRIBUTES))
    }
    section = sections["1:3 V-F G"]
    values = {name: metrics.figures["accuracy"].value for name, metrics in section.rows.items()}
    assert values["model"] == 1
    assert values["chance"] == values["knows gender"] == pytest.approx(1 / 3)
    assert 1 / 3 < values["knows gender and nationality"] < 1
    assert sections["retrieval V-F U"].rows["chance"].figures["mAP"].value == pytest.approx(
        1 / PEOPLE
    )


def test_groups_and_gaps_are_of_the_main_figure(items, protocols):
    section = evaluate(protocols[:1], ScoredSystem(perfect(items), ATTRIBUTES))[0]
    assert section.main == "AUC"
    assert set(section.groups) == {"gender", "nationality", "both"}
    assert set(section.groups["both"]) == {f"{g}, {n}" for g in "fm" for n in "abc"}
    assert section.gaps == {"gender": 0, "nationality": 0, "both": 0}


def test_a_verification_says_what_its_scores_cost_as_evidence(items, protocols):
    calibrated = ScoredSystem(
        perfect(items), ATTRIBUTES, calibrations={"V-F": Calibration(200, -100)}
    )
    plain = ScoredSystem(perfect(items), ATTRIBUTES)
    for system, names in ((calibrated, ["Cllr", "minCllr"]), (plain, ["minCllr"])):
        sections = evaluate(protocols[:2], system)
        figures = sections[0].rows["model"].figures
        assert list(figures)[-len(names) :] == names
        assert all(figures[name].value == pytest.approx(0, abs=1e-9) for name in names)
        assert "minCllr" not in sections[1].rows["model"].figures  # no verification


def test_a_calibration_says_nothing_of_pairs_that_share_a_gender(items, protocols):
    pairs = protocols[0]
    genders = np.array([ATTRIBUTES[items.names[who]]["gender"] for who in items.people])
    alike = genders[pairs.first] == genders[pairs.second]
    by_gender = dataclasses.replace(pairs, same=alike)
    system = ScoredSystem(perfect(items), ATTRIBUTES, calibrations={"V-F": Calibration(200, -100)})
    assert "Cllr" not in evaluate([by_gender], system)[0].rows["model"].figures


def test_people_of_the_training_are_listed(items, protocols):
    system = ScoredSystem(perfect(items), ATTRIBUTES, trained_on=["p3", "stranger"])
    assert evaluate(protocols[:1], system)[0].seen == ["p3"]


def test_the_share_of_right_answers_from_the_askers_own_recording_is_counted(items):
    shared = world_items(videos=True)
    made = generate_protocols(shared, {}, ProtocolSpec(("1:2",), ("V-F",), ("U",)))
    assert evaluate(made, ScoredSystem(perfect(shared), {}))[0].same_recording == 0  # none is made


class Neighbourly(FakeEmbedder):
    """An embedder whose vectors lean on the batch they are computed in."""

    def embed(self, media):
        embedded = super().embed(media)
        embedded.vectors[:] -= embedded.vectors.mean(0)
        return embedded


def media(count=12):
    texts = [f"voice {number}".encode() for number in range(count)]
    return [Media(Path("x.wav"), "voice", data=np.frombuffer(text, np.uint8)) for text in texts]


def test_an_embedder_that_leans_on_its_batch_makes_every_figure_invalid(items, protocols):
    leaning, honest = (audit_embedder(each, media()) for each in (Neighbourly(), FakeEmbedder()))
    assert honest.passed
    assert any(fault.startswith("vectors, batches of 1:") for fault in leaning.faults)
    for found, valid in ((leaning, False), (honest, True)):
        system = ScoredSystem(perfect(items), ATTRIBUTES, embedder=found)
        assert [section.valid for section in evaluate(protocols, system)] == [valid] * len(
            protocols
        )


def test_a_report_is_a_json_file_and_a_page_that_stands_alone(items, protocols, tmp_path):
    sections = evaluate(protocols, ScoredSystem(perfect(items), ATTRIBUTES))
    evaluated = EvalItems(items, perfect(items), ATTRIBUTES, {})
    result = SystemResult("adsm", sections, {"": evaluated})
    write_report(Report(EvalRequest(), ["avsearch", "evaluate"], [result]), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["report.html", "report.json"]
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["command"] == ["avsearch", "evaluate"]
    assert found["sections"][0]["rows"]["model"]["figures"]["AUC"]["value"] == 1
    assert found["sections"][0]["valid"] is True
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5  # pairs, their scores, ranks, matching, map
    for section in sections:
        assert section.protocol in page


def test_a_list_without_its_media_is_said(tmp_path):
    (tmp_path / "list.txt").write_text("id1/a.wav id1/a.jpg id2/a.jpg\n")
    with pytest.raises(BadRequest, match="name them with --media or --features"):
        run(EvalRequest(lists=(tmp_path / "list.txt",)))


@pytest.fixture
def features(items, tmp_path):
    """Perfect vectors by path, and what is known of the people beside them."""
    vectors = perfect(items).vectors
    kinds = np.array(items.modalities)
    parts = {}
    for modality in ("face", "voice"):
        own = np.flatnonzero(kinds == modality)
        parts |= {f"{modality}s": vectors[own], f"{modality}_paths": np.array(items.paths)[own]}
    np.savez(tmp_path / "features.npz", **parts)
    rows = [f"{name},{each['gender']},{each['nationality']}" for name, each in ATTRIBUTES.items()]
    (tmp_path / "people.csv").write_text("\n".join(["person,gender,nationality", *rows]) + "\n")
    return tmp_path / "features.npz"


def test_ready_vectors_are_evaluated_on_protocols_made_of_them(features):
    report = run(
        EvalRequest(features=features, kinds=("1:3",), directions=("V-F",), strata=("GN",))
    )
    (section,) = report.sections
    values = {name: metrics.figures["accuracy"].value for name, metrics in section.rows.items()}
    assert values == pytest.approx(
        {"model": 1, "chance": 1 / 3, "knows gender": 1 / 3, "knows gender and nationality": 1 / 3}
    )


def test_ready_vectors_are_evaluated_on_a_list(features, tmp_path):
    (tmp_path / "list.txt").write_text("p1/0.wav p1/0.jpg p2/0.jpg\np2/1.wav p2/0.jpg p3/0.jpg\n")
    report = run(EvalRequest(features=features, lists=(tmp_path / "list.txt",)))
    assert report.sections[0].rows["model"].figures["accuracy"].value == 1
    write_report(report, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_list_that_names_media_without_vectors_is_said(features, tmp_path):
    (tmp_path / "list.txt").write_text("p1/0.wav p1/0.jpg p2/9.jpg\n")
    with pytest.raises(BadRequest, match=r"have no vector, 'p2/9\.jpg' the first"):
        run(EvalRequest(features=features, lists=(tmp_path / "list.txt",)))


def test_vectors_of_two_lengths_are_not_of_one_space(tmp_path):
    np.savez(
        tmp_path / "f.npz",
        faces=np.ones((2, 3)),
        face_paths=["a/1.jpg", "b/1.jpg"],
        voices=np.ones((1, 4)),
        voice_paths=["a/1.wav"],
    )
    with pytest.raises(BadRequest, match="not vectors of one space"):
        run(EvalRequest(features=tmp_path / "f.npz"))
