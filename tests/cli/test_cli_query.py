"""avsearch query: its JSON to the letter, its filters, and every file that cannot be asked with."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import avsearch
from avsearch.models.checkpoint import put_record
from avsearch.runtime.weights import model_record, model_space
from tests.helpers.places import change

HIT = {
    "rank": int,
    "person": str,
    "name": (str, type(None)),
    "modality": str,
    "path": str,
    "start_s": float,
    "end_s": (float, type(None)),
    "box": (list, type(None)),
    "score": float,
    "rerank_score": type(None),
    "attributes": dict,
}


def people(answer):
    return [hit["person"] for hit in answer["hits"]]


def test_json_is_the_contract(ask, voice, gallery):
    answer = ask(voice)
    assert list(answer) == ["query", "model", "hits", "plan", "notes"]
    assert answer["notes"] == []
    assert list(answer["query"]) == ["path", "modality", "start_s", "end_s"]
    assert answer["query"]["path"] == str(voice)
    assert answer["query"]["modality"] == "voice"
    assert 0 <= answer["query"]["start_s"] < answer["query"]["end_s"]
    assert answer["model"] == "adsm"
    for hit in answer["hits"]:
        assert list(hit) == list(HIT)
        for key, kind in HIT.items():
            assert isinstance(hit[key], kind)
        assert hit["path"].startswith(str(gallery))
        assert len(hit["box"]) == 4
        assert list(hit["attributes"])[:2] == ["gender", "nationality"]
    assert answer["plan"].keys() == {"kind", "matching", "total", "scanned_bytes"}
    assert (answer["plan"]["matching"], answer["plan"]["total"]) == (3, 8)


def test_the_other_modality_and_the_best_of_each_person_are_the_default(ask, voice, face):
    for asked, wanted in ((voice, "face"), (face, "voice")):
        hits = ask(asked)["hits"]
        assert {hit["modality"] for hit in hits} == {wanted}
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        scores = [hit["score"] for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert sorted(hit["person"] for hit in hits) == ["Actor_01", "Actor_02", "bbaf2n"]


def test_a_person_is_there_once_and_every_item_by_item(ask, voice):
    every = ask(voice, "--by", "item", "--want", "any", "--top", 100)["hits"]
    assert len(every) == 8
    assert [hit["rank"] for hit in every] == list(range(1, 9))
    best = ask(voice, "--want", "any")["hits"]
    firsts = {}
    for hit in every:
        firsts.setdefault(hit["person"], hit)
    assert [hit["path"] for hit in best] == [hit["path"] for hit in firsts.values()]
    assert ask(voice, "--by", "item", "--want", "any", "--top", 2)["hits"] == every[:2]


def test_ten_is_the_default(run, test_data, model, tmp_path):
    for actor in sorted((test_data / "ravdess").glob("Actor_*"))[:11]:
        (tmp_path / "many" / actor.name).mkdir(parents=True)
        shutil.copy(actor / "face.png", tmp_path / "many" / actor.name)
    at = "--index", tmp_path / "index"
    assert run("index", tmp_path / "many", *at, "--model", model).exit_code == 0
    asked = run("query", actor / "face.png", *at, "--want", "face", "--json")
    assert len(json.loads(asked.stdout)["hits"]) == 10


@pytest.mark.parametrize("top", ["1000000000", "99999999999999999999999"])
def test_any_number_may_be_asked_for(ask, voice, top):
    assert len(ask(voice, "--top", top)["hits"]) == 3
    assert len(ask(voice, "--top", top, "--by", "item")["hits"]) == 3


def test_what_was_indexed_finds_itself(ask, voice, face):
    for asked in (voice, face):
        (hit,) = ask(asked, "--want", "any", "--top", 1)["hits"]
        assert hit["path"] == str(asked)
        assert hit["score"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--gender", "f"], ["Actor_02"]),
        (["--gender", "Female"], ["Actor_02"]),
        (["--nationality", "canada"], ["Actor_01", "Actor_02"]),
        (["--nationality", "Canada", "--gender", "m"], ["Actor_01"]),
        (["--where", "accent=south"], ["Actor_02"]),
        (["--where", "accent=North", "--where", "gender=m"], ["Actor_01"]),
        (["--where", "accent=North", "--gender", "f"], []),
        (["--where", " person = Actor_01 "], ["Actor_01"]),
        (["--where", "name=cid three"], ["bbaf2n"]),
        (["--where", "gender=f", "--gender", "f"], ["Actor_02"]),
        (["--gender", "x"], []),
        (["--where", "accent="], []),
    ],
)
def test_filters(ask, voice, options, expected):
    answer = ask(voice, *options)
    assert sorted(people(answer)) == expected
    assert answer["plan"]["matching"] == len(expected)


def test_a_person_is_asked_with(ask):
    answer = ask("--person", "Actor_01")
    query = {"path": None, "modality": "voice", "start_s": 0.0, "end_s": None, "person": "Actor_01"}
    assert answer["query"] == query
    assert {hit["modality"] for hit in answer["hits"]} == {"face"}
    answer = ask("--person", "Actor_01", "--want", "voice")
    assert answer["query"]["modality"] == "face"
    assert {hit["modality"] for hit in answer["hits"]} == {"voice"}


def test_a_person_of_one_modality_is_asked_with_that(run, gallery, model, tmp_path):
    folder = tmp_path / "faces" / "Actor_02"
    folder.mkdir(parents=True)
    shutil.copy(gallery / "Actor_02" / "face.png", folder)
    index = ("--index", tmp_path / "index")
    assert run("index", folder.parent, *index, "--model", model).exit_code == 0
    asked = ("query", "--person", "Actor_02", *index, "--json")
    answer = json.loads(run(*asked).stdout)
    assert (answer["query"]["modality"], answer["hits"]) == ("face", [])
    answer = json.loads(run(*asked, "--want", "face").stdout)
    assert (answer["query"]["modality"], people(answer)) == ("face", ["Actor_02"])
    for asked, why in (
        ((), "is of the kind that was asked for"),
        (("--nationality", "UK"), "matches the filter"),
    ):
        result = run("query", "--person", "Actor_02", *index, *asked)
        assert (result.exit_code, result.stdout) == (0, f"Nothing in this index {why}.\n")


def test_a_video_asks_with_its_voice(ask, gallery):
    answer = ask(gallery / "bbaf2n" / "bbaf2n.mpg")
    assert answer["query"]["modality"] == "voice"
    assert len(people(answer)) == 3


def test_a_video_asks_with_what_is_wanted_or_as_it_is_told_to(ask, gallery):
    video = gallery / "bbaf2n" / "bbaf2n.mpg"
    for options, asking, found in (
        (("--want", "face"), "face", "face"),
        (("--want", "voice"), "voice", "voice"),
        (("--ask", "face"), "face", "voice"),
        (("--ask", "voice", "--want", "face"), "voice", "face"),
        (("--ask", "face", "--want", "face"), "face", "face"),
    ):
        answer = ask(video, *options)
        assert answer["query"]["modality"] == asking
        assert {hit["modality"] for hit in answer["hits"]} == {found}
    (hit,) = ask(video, "--want", "face", "--top", 1)["hits"]
    assert (hit["person"], hit["path"]) == ("bbaf2n", str(video))


def test_a_video_that_lacks_what_is_wanted_asks_with_the_other_and_says_so(
    run, indexed, voice, tmp_path
):
    import av

    dark = tmp_path / "dark.mp4"
    with av.open(str(voice)) as old, av.open(str(dark), "w") as new:
        picture = new.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 320, 240, "yuv420p"
        sound = new.add_stream("aac", rate=16_000)
        for _ in range(20):
            blank = av.VideoFrame.from_ndarray(np.zeros((240, 320, 3), np.uint8), format="rgb24")
            new.mux(picture.encode(blank))
        for frame in old.decode(audio=0):
            frame.pts = None
            new.mux(sound.encode(frame))
        new.mux([*picture.encode(None), *sound.encode(None)])
    result = run("query", dark, "--index", indexed, "--want", "face", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["query"]["modality"] == "voice"
    (note,) = answer["notes"]
    assert "it asks with its voice: no clear face" in note["note"]
    refused = run("query", dark, "--index", indexed, "--ask", "face")
    assert (refused.exit_code, "no clear face" in refused.stderr) == (2, True)


def test_a_video_without_sound_asks_with_its_largest_face(run, indexed, gallery, tmp_path):
    import av

    silent = tmp_path / "silent.mp4"
    with av.open(str(gallery / "bbaf2n" / "bbaf2n.mpg")) as old, av.open(str(silent), "w") as new:
        stream = new.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 360, 288, "yuv420p"
        stream.bit_rate = 2_000_000
        for frame in old.decode(video=0):
            again = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            new.mux(stream.encode(again))
        new.mux(stream.encode(None))
    result = run("query", silent, "--index", indexed, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["query"]["modality"] == "face"
    assert {hit["modality"] for hit in answer["hits"]} == {"voice"}
    assert result.stderr == ""


def test_a_picture_of_several_asks_with_the_largest(run, indexed, gallery, tmp_path):
    from PIL import Image

    faces = [
        Image.open(gallery / who / "face.png").convert("RGB") for who in ("Actor_01", "Actor_02")
    ]
    both = Image.new("RGB", (900, 400), "white")
    both.paste(faces[0].resize((200, 112)), (0, 0))
    both.paste(faces[1], (450, 100))
    both.save(tmp_path / "both.png")
    result = run("query", tmp_path / "both.png", "--index", indexed, "--want", "face", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["hits"][0]["person"] == "Actor_02"
    note = "2 faces were found; it asks with the largest. Crop the picture to choose."
    assert answer["notes"] == [{"path": str(tmp_path / "both.png"), "note": note}]
    assert result.stderr == f"avsearch: {note}\n"


def test_odd_sounds_and_pictures(ask, run, indexed, voice, face, tmp_path):
    samples, rate = soundfile.read(voice)
    soundfile.write(tmp_path / "eight.wav", np.stack([samples] * 8, 1), rate)
    soundfile.write(tmp_path / "short.wav", samples[rate * 3 // 2 :][: rate * 3 // 10], rate)
    (hit,) = ask(tmp_path / "eight.wav", "--want", "any", "--top", 1)["hits"]
    assert hit["path"] == str(voice)
    assert ask(tmp_path / "short.wav")["query"]["end_s"] <= 0.31
    from PIL import Image

    for size in ((40, 6000), (6000, 40)):
        Image.new("RGB", size, "white").save(tmp_path / "long.png")
        result = run("query", tmp_path / "long.png", "--index", indexed)
        assert result.exit_code == 2
        assert "no face found" in result.stderr
    wide = Image.new("RGB", (6000, 400), "white")
    wide.paste(Image.open(face).convert("RGB"), (5000, 50))
    wide.save(tmp_path / "wide.png")
    best, *_ = ask(tmp_path / "wide.png", "--want", "face")["hits"]
    assert best["path"] == str(face)


def test_explain_says_the_plan_in_words(run, indexed, voice):
    result = run("query", voice, "--index", indexed, "--explain", "--gender", "f")
    first, header, *rows, _ = result.stdout.splitlines()
    assert first == "plan: gather, 1 of 8 vectors match the filter, 16 bytes to scan"
    assert header.split() == ["rank", "score", "person", "name", "gender", "nationality", "file"]
    assert [row.split()[2] for row in rows] == ["Actor_02"]


def test_a_name_on_two_lines_stays_on_one(run, gallery, model, tmp_path):
    folder = shutil.copytree(gallery / "Actor_02", tmp_path / "g" / "Actor_02").parent
    (folder / "people.csv").write_text('person,name\nActor_02,"Bea\nTwo \x1b[31m"\n')
    assert run("index", folder, "--model", model).exit_code == 0
    _, row = run("query", "--person", "Actor_02").stdout.splitlines()
    assert "Bea\\nTwo \\x1b[31m" in row


def test_a_bad_file_is_refused_as_a_question(run, indexed, bad_files, tmp_path):
    expected = bad_files(tmp_path / "bad")
    names = {path.name: path for path in (tmp_path / "bad").iterdir()}
    names["caf\\xe9.wav"] = next(path for name, path in names.items() if name.startswith("caf"))
    for name, words in expected.items():
        result = run(
            "query", os.fsencode(names[name]).decode("utf-8", "surrogateescape"), "--index", indexed
        )
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("avsearch: ")
        assert f"{name}: " in line
        assert words in line
        assert line.endswith(".")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.wav", "nothing.wav: is not there; check the name."),
        ("folder", "folder: is a folder; name a file in it."),
        ("a.txt", "its name ends in .txt, which is no image, audio or video; rename it"),
        ("n" * 300, "is not there; check the name."),
    ],
)
def test_what_is_no_medium_is_refused(run, indexed, tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").write_text("text")
    result = run("query", name, "--index", indexed)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_file_without_permission_is_refused(run, indexed, voice, monkeypatch):
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: path != voice and real(path, mode, **more)
    )
    result = run("query", voice, "--index", indexed)
    assert result.exit_code == 2
    assert "may not be read; check its permissions." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Ask with a FILE or with --person ID"),
        (["VOICE", "--person", "Actor_01"], "one of the two"),
        (["--person", "Actor_1"], "did you mean Actor_01, Actor_02?"),
        (["--person", "zzz"], "There is no 'zzz' in this index"),
        (["--person", ""], "There is no '' in this index"),
        (["--person", "\udcff"], "There is no '\\udcff' in this index"),
        (["VOICE", "--where", "accent"], "--where takes KEY=VALUE"),
        (["VOICE", "--where", "=x"], "--where takes KEY=VALUE"),
        (
            ["VOICE", "--where", "club=x"],
            "this index has person, name, gender, nationality, accent.",
        ),
        (["VOICE", "--where", "gender=f", "--gender", "m"], "gender was asked for twice"),
        (["VOICE", "--where", "accent=a", "--where", "accent=b"], "accent was asked for twice"),
        (["VOICE", "--rerank", "acienet"], "There is no re-ranker 'acienet'"),
        (["VOICE", "--top", "0"], "0 is not in the range"),
        (["VOICE", "--top", "ten"], "'ten' is not a valid integer"),
        (["VOICE", "--want", "both"], "'both' is not one of"),
        (["VOICE", "--by", "file"], "'file' is not one of"),
        (["VOICE", "--device", "tpu"], "'tpu' is not one of"),
        (["VOICE", "--nothing"], "No such option '--nothing'"),
        (["VOICE", "b", "c"], "3 files are asked with at once by --jsonl; name one."),
        (["VOICE", "--json", "--jsonl"], "--json prints one answer and --jsonl many"),
        (["--person", "Actor_01", "VOICE", "--jsonl"], "one of the two"),
    ],
)
def test_a_wrong_request_is_said(run, indexed, voice, arguments, words):
    named = [str(voice) if argument == "VOICE" else argument for argument in arguments]
    result = run("query", *named, "--index", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_the_index_is_found(run, indexed, voice, monkeypatch, tmp_path):
    asked = ("query", voice, "--json")
    missing = run(*asked)
    assert missing.exit_code == 2
    assert "There is no index in" in missing.stderr
    assert "avsearch index GALLERY" in missing.stderr
    expected = json.loads(run(*asked, "--index", indexed).stdout)
    assert json.loads(run(*asked, "--index", indexed / ".avsearch").stdout) == expected
    monkeypatch.setenv("AVSEARCH_INDEX", str(indexed))
    assert json.loads(run(*asked).stdout) == expected
    assert run(*asked, "--index", tmp_path / "no").exit_code == 2  # the option has the last word
    monkeypatch.setenv("AVSEARCH_INDEX", str(tmp_path / "no"))
    assert run(*asked).exit_code == 2
    monkeypatch.setenv("AVSEARCH_INDEX", "")
    (indexed / "deep" / "er").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(indexed / "deep" / "er")
    assert json.loads(run(*asked).stdout) == expected


def test_a_relative_question_is_answered_with_whole_paths(run, indexed, gallery, monkeypatch):
    monkeypatch.chdir(gallery)
    answer = json.loads(run("query", "Actor_02/face.png", "--index", indexed, "--json").stdout)
    assert answer["query"]["path"] == "Actor_02/face.png"
    assert all(hit["path"].startswith(str(gallery)) for hit in answer["hits"])


def test_many_files_are_those_of_the_folder_where_they_were_named(indexed, gallery, monkeypatch):
    monkeypatch.chdir(gallery)
    named = Path("Actor_02/face.png")
    with avsearch.open(os.path.relpath(indexed, gallery)) as index:
        answers = index.answers([named])
        os.chdir("/")
        ((file, answer),) = answers
    assert file == answer.query.path == named
    assert answer.hits


def test_many_files_are_answered_a_line_each(run, ask, indexed, voice, face, gallery, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    files = [voice, tmp_path / "a.txt", face, tmp_path / "no.wav", gallery / "bbaf2n/bbaf2n.mpg"]
    options = ("--top", 2, "--where", "accent=north")
    result = run("query", *files, voice, *options, "--index", indexed, "--jsonl")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout_bytes.decode().splitlines()]
    expected = [ask(file, *options) for file in (voice, face, files[4], voice)]
    assert [line for line in lines if "error" not in line] == [
        {**answer, "hits": [close(hit) for hit in answer["hits"]]} for answer in expected
    ]
    refused = {line["query"]["path"]: line for line in lines if "error" in line}
    assert list(refused) == [str(files[1]), str(files[3])]
    assert all(line.keys() == {"query", "error"} for line in refused.values())
    assert "is no image, audio or video" in refused[str(files[1])]["error"]
    assert [lines.index(line) for line in refused.values()] == [1, 3]
    assert result.stderr.count("avsearch: refused ") == 2


def close(hit):
    return {**hit, "score": pytest.approx(hit["score"], abs=1e-5)}


def test_if_no_file_can_be_asked_with_the_exit_code_says_so(run, indexed, tmp_path):
    result = run("query", "a.wav", "b.wav", "--index", indexed, "--jsonl")
    assert result.exit_code == 2
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["query"]["path"] for line in lines] == ["a.wav", "b.wav"]


def test_one_file_and_a_person_may_be_asked_for_as_lines_too(run, ask, indexed, voice):
    for asked in ((voice,), ("--person", "Actor_01")):
        result = run("query", *asked, "--index", indexed, "--jsonl")
        assert result.exit_code == 0
        (line,) = result.stdout_bytes.decode().splitlines()
        answer = ask(*asked)
        assert json.loads(line) == {**answer, "hits": [close(hit) for hit in answer["hits"]]}


def test_a_model_that_has_moved_is_named(run, ask, copy_of_index, voice, models, tmp_path):
    expected = ask(voice)
    index = ("--index", copy_of_index, "--json")
    change(copy_of_index, "UPDATE meta SET value = '/gone.safetensors' WHERE key = 'note:model'")
    lost = run("query", voice, *index)
    assert (lost.exit_code, lost.stdout) == (2, "")
    assert "/gone.safetensors, and there is no such file any more; name it with" in lost.stderr
    moved = shutil.copy(models[0], tmp_path / "moved.safetensors")
    assert json.loads(run("query", voice, *index, "--model", moved).stdout) == expected
    other = run("query", voice, *index, "--model", models[1])
    assert other.exit_code == 4
    assert "use the index's own model with --model" in other.stderr


# Evidence.


@pytest.fixture
def calibrated(model, copy_of_index, tmp_path):
    """The model with a calibration, and the index asked by it."""
    path = tmp_path / "calibrated.safetensors"
    shutil.copy(model, path)
    put_record(path, {"calibration": {"V-F": {"scale": 4.0, "offset": -1.0}}})
    return "--model", path, "--index", copy_of_index


def test_a_calibrated_model_says_beside_each_score_what_it_is_worth(run, ask, voice, calibrated):
    result = run("query", voice, *calibrated, "--json")
    answer = json.loads(result.stdout_bytes)
    assert [{**hit, "evidence": 0} for hit in answer["hits"]] == [
        {**hit, "evidence": 0} for hit in ask(voice)["hits"]
    ]
    for hit in answer["hits"]:
        found = hit["evidence"]
        assert found["log_likelihood_ratio"] == pytest.approx(4 * hit["score"] - 1)
        assert found["people"] == 3
        odds = np.exp(found["log_likelihood_ratio"]) / 2
        assert found["probability"] == pytest.approx(odds / (1 + odds))
    *rows, assumed = run("query", voice, *calibrated).stdout.splitlines()
    assert rows[0].split()[:4] == ["rank", "score", "evidence", "probability"]
    assert f"  {found['support']}  " in rows[-1]
    assert f"  {found['probability']:.2g}  " in rows[-1]
    assert "exactly one of the 3 people who could answer" in assumed


def test_among_one_person_no_probability_is_shown(run, voice, calibrated):
    *rows, assumed = run("query", voice, *calibrated, "--gender", "f").stdout.splitlines()
    assert len(rows) == 2
    assert rows[0].split()[:4] == ["rank", "score", "evidence", "person"]
    assert "probability" not in assumed


def test_without_a_calibration_only_explain_speaks_of_it(run, ask, voice, face, indexed):
    assert "evidence" not in ask(voice)["hits"][0]
    assert "evidence" not in run("query", voice, "--index", indexed).stdout
    explained = run("query", voice, "--index", indexed, "--explain").stdout
    assert explained.count("carries no calibration") == 1


def test_evaluate_calibrates_a_model_on_an_index(run, voice, calibrated):
    _, path, *_ = calibrated
    space = model_space(path)
    result = run("evaluate", "--calibrate", *calibrated)
    assert result.exit_code == 0, result.stderr
    assert f"Written into {path}" in result.stdout
    record = model_record(path)["calibration"]
    assert set(record) == {"V-F", "F-V", "V-V", "F-F"} - (set() if "F-F" in record else {"F-F"})
    assert {"scale", "offset", "Cllr", "minCllr", "pairs"} <= set(record["V-F"])
    assert model_space(path) == space
    answer = json.loads(run("query", voice, *calibrated, "--json").stdout_bytes)
    assert all("evidence" in hit for hit in answer["hits"])


def test_a_model_is_not_calibrated_on_those_it_was_trained_on(run, calibrated):
    _, path, *_ = calibrated
    put_record(path, {"people": {"train": ["x/Actor_01", "x/Actor_02", "x/bbaf2n"]}})
    result = run("evaluate", "--calibrate", *calibrated)
    assert result.exit_code == 2
    assert "no two people outside the model's training" in result.stderr
    assert "calibration" not in model_record(path)


def test_a_model_is_not_calibrated_on_an_index_of_another(run, models, indexed):
    result = run("evaluate", "--calibrate", "--model", models[1], "--index", indexed)
    assert result.exit_code == 4
    assert "was not made by" in result.stderr
