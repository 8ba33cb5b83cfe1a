"""People of data sets, lists and tables are one in every Unicode form of their names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from avsearch.annotation.enrol import _people
from avsearch.annotation.turns import Turn, build_diarization
from avsearch.media import MediaExtractor
from avsearch.runtime.weights import people_of
from indexer.errors import BadRequest
from indexer.records import Person
from tests.helpers.making import tone, write_wav
from trainer.data.assemble import assemble
from trainer.data.features import feature_source, with_private
from trainer.data.galleries import find_galleries, gallery_jobs
from trainer.data.splits import read_split, split
from trainer.data.voxceleb import voxceleb_jobs
from trainer.evaluation.items import material_of_features, media_under
from trainer.protocols.text_lists import read_list
from trainer.protocols.voxceleb_people import People, read_people

NFC, NFD = (unicodedata.normalize(form, "Zoë_Müller") for form in ("NFC", "NFD"))
WHOLE = MediaExtractor("whole")
FORMS = pytest.mark.parametrize("form", [NFC, NFD])


def features(path: Path) -> Path:
    """A feature file that names a person in both forms."""
    people = [NFC, NFD, "bob", "cid"]
    arrays = {"faces": np.eye(4, dtype="f4"), "voices": np.eye(4, dtype="f4")}
    for modality, suffix in (("face", "jpg"), ("voice", "wav")):
        paths = [f"{who}/{at}.{suffix}" for at, who in enumerate(people)]
        arrays[f"{modality}_paths"] = np.array(paths)
    np.savez(path, **arrays)
    return path


@FORMS
def test_features_tables_and_splits_agree_on_a_name(tmp_path, form):
    path = features(tmp_path / "f.npz")
    (tmp_path / "people.csv").write_text(f"person,gender\n{form},f\nbob,m\n")
    data = assemble([feature_source(path)])
    assert set(data.names) == {NFC, "bob", "cid"}
    assert (data.faces.genders == 0).sum() == 2
    material = material_of_features(path)
    assert sorted(material.items.names) == sorted([NFC, "bob", "cid"])
    assert material.attributes[NFC]["gender"] == "f"
    (tmp_path / "split.txt").write_text(f"{form} train\nbob train\ncid val\nmia val\n")
    assert read_split(tmp_path / "split.txt")[NFC] == "train"


@FORMS
def test_private_attributes_are_found_by_the_path_in_any_form(tmp_path, form):
    data = assemble([feature_source(features(tmp_path / "f.npz"))])
    table = {"faces": np.ones((1, 2), "f4")}
    save_file(table, tmp_path / "private.safetensors", {"face_paths": f'["{form}/0.jpg"]'})
    private = with_private(data, "face", tmp_path / "private.safetensors").faces.private
    assert np.isfinite(private).all(1).sum() == 1


@FORMS
def test_galleries_and_voxceleb_call_a_person_by_one_name(tmp_path, form):
    for name in (f"{NFD}/{NFD}/a.wav", f"{NFD}/@eaDir/a.wav/b.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"content")
    jobs, known = gallery_jobs(tmp_path / NFD, WHOLE)
    assert [job.person for job in jobs] == [f"{NFC}/{NFC}"]
    (tmp_path / "vox1_meta.csv").write_text(
        f"VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid1\t{form}\tf\tPeru\tdev\n"
    )
    jobs, known = voxceleb_jobs(tmp_path, WHOLE)
    assert [(job.person, Path(job.origin).name) for job in jobs] == [(NFC, "a.wav")]
    assert known[NFC].gender == "f"


def test_galleries_in_folders_of_systems_are_none(tmp_path):
    for name in ("one", "#recycle", "@eaDir"):
        (tmp_path / name / "ann").mkdir(parents=True)
        (tmp_path / name / "People.csv").write_text("person\nann\n")
    assert find_galleries(tmp_path) == [tmp_path / "one"]


@FORMS
def test_lists_find_people_and_media_in_any_form(tmp_path, form):
    (tmp_path / "meta.tsv").write_text(
        f"VoxCeleb1 ID\tVGGFace1 ID\tGender\nid1\t{form}\tf\nid2\tBob_B\tm\n"
    )
    people = read_people([tmp_path / "meta.tsv"])
    assert (people.id(NFD), people.name(NFD)) == ("id1", NFC)
    assert People().name(NFD) == NFC
    (tmp_path / "list.txt").write_text(f"{NFC}/v/1.wav {NFD}/1.jpg\n{NFD}/v/1.wav Bob_B/1.jpg\n")
    found = read_list(tmp_path / "list.txt", people)
    assert found.items.names == (NFC, "Bob_B")
    assert found.same.tolist() == [True, False]
    write_wav_at(tmp_path / "media" / NFD / "v" / "1.wav")
    for name in (f"{NFD}/1.jpg", "Bob_B/1.jpg"):
        (tmp_path / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "media" / name)
    media = media_under(tmp_path / "media", found.items)
    assert all(each.path.is_file() for each in media.values())


def write_wav_at(path: Path) -> None:
    path.parent.mkdir(parents=True)
    write_wav(path, tone(300, 16_000))


def test_people_of_a_training_are_known_in_any_form():
    record = {"people": {"train": [f"gallery/{NFD}"]}}
    assert people_of(record, "train") == [NFC]


@FORMS
def test_labels_of_turns_are_people_in_any_form(form):
    said = build_diarization([Turn(0, 1, NFD), Turn(1, 2, NFC), Turn(2, 3, "SPEAKER_00")])
    assert said.speakers == [NFC, "SPEAKER_00"]
    known = [Person(form, NFD.replace("_", " "))]
    assert _people(said, known, {})[0] == {NFC: form}
    people, _ = _people(said, known, {"SPEAKER_00": form, NFD: "ann"})
    assert people == {NFC: "ann", "SPEAKER_00": form}
    named = build_diarization([Turn(0, 1, NFC.replace("_", " ").upper())])
    assert _people(named, known, {})[0] == {named.speakers[0]: form}


@FORMS
def test_a_split_by_file_places_everybody_whatever_the_form(tmp_path, form):
    data = assemble([feature_source(features(tmp_path / "f.npz"))])
    (tmp_path / "split.txt").write_text(f"{form},train\nbob,train\ncid,val\n")
    with pytest.raises(BadRequest, match="The validation side"):  # one is too few, but is placed
        split(data, str(tmp_path / "split.txt"))
