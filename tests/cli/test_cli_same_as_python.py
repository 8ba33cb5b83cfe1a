"""Every verb and its call from Python give the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import avsearch

RTTM = """\
SPEAKER talk 1 0.0 2.0 <NA> <NA> SPEAKER_00 <NA> <NA>
SPEAKER talk 1 2.0 1.5 <NA> <NA> cleo <NA> <NA>
"""


@pytest.fixture
def printed(run):
    """Run a verb with --json; what it prints."""

    def go(*arguments):
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout_bytes)

    return go


def plain(value):
    """A value as it is after a way through JSON."""
    return json.loads(json.dumps(value))


def same(one, other):
    """Compare answers: all the same, but scores, which may differ by 1e-4."""
    loose = ("score", "rerank_score", "evidence", "probability", "log_likelihood_ratio")
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            if key in loose and isinstance(one[key], float):
                assert one[key] == pytest.approx(other[key], abs=1e-4)
            else:
                same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ((), {}),
        (("--top", 2, "--by", "item"), {"top": 2, "by": "item"}),
        (("--want", "any", "--by", "item"), {"want": "any", "by": "item"}),
        (("--want", "voice"), {"want": "voice"}),
        (("--gender", "f"), {"where": {"gender": "f"}}),
        (
            ("--where", "accent=North", "--nationality", "canada"),
            {"where": {"accent": "North", "nationality": "canada"}},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("asks", ["voice", "picture", "video", "person"])
def test_query(printed, indexed, gallery, voice, face, asks, options, keywords):
    files = {"voice": voice, "picture": face, "video": gallery / "bbaf2n" / "bbaf2n.mpg"}
    file = files.get(asks)
    who = () if file else ("--person", "Actor_01")
    told = printed("query", *((file,) if file else ()), *who, "--index", indexed, *options)
    assert told["hits"]
    with avsearch.open(indexed) as index:
        answer = index.query(file, person=None if file else "Actor_01", **keywords)
        same(plain(answer.to_dict()), told)
        if file is not None:
            (answer,) = index.query_many([str(file)], **keywords)
            same(plain(answer.to_dict()), told)


@pytest.mark.parametrize("ask", ["face", "voice"])
def test_query_with_one_half_of_a_video(printed, indexed, gallery, ask):
    video = gallery / "bbaf2n" / "bbaf2n.mpg"
    told = printed("query", video, "--index", indexed, "--ask", ask)
    assert told["query"]["modality"] == ask
    with avsearch.open(indexed) as index:
        same(plain(index.query(video, ask=ask).to_dict()), told)


def test_index_and_add_leave_each_other_nothing_to_do(printed, gallery, model, tmp_path):
    told = printed("index", gallery, "--index", tmp_path / "by_verb", "--model", model)
    with avsearch.open(tmp_path / "by_call", model=model) as index:
        report = index.add(gallery)
    assert report.added == told["added"] == 7
    assert {**report.to_dict(), "seconds": 0, "index": ""} == {**told, "seconds": 0, "index": ""}
    again = printed("index", str(gallery), "--index", tmp_path / "by_call")
    assert (again["added"], again["updated"], again["unchanged"]) == (0, 0, 7)
    with avsearch.open(tmp_path / "by_verb") as index:
        report = index.add(str(gallery))
    assert (report.added, report.updated, report.unchanged) == (0, 0, 7)


@pytest.fixture
def talk(gallery, tmp_path):
    file = tmp_path / "talk.ogg"
    shutil.copy(sorted((gallery / "Actor_02").glob("*.ogg"))[1], file)
    (tmp_path / "talk.rttm").write_text(RTTM)
    return file


def test_annotate(printed, indexed, talk):
    turns = talk.with_suffix(".rttm")
    told = printed("annotate", talk, "--rttm", turns, "--index", indexed)
    with avsearch.open(indexed) as index:
        same(plain(index.annotate(str(talk), str(turns)).to_dict()), told)


def test_enrol(printed, run, indexed, talk, tmp_path):
    folders = [shutil.copytree(indexed / ".avsearch", tmp_path / name) for name in "ab"]
    turns = talk.with_suffix(".rttm")
    told = printed(
        *("enrol", talk, "--rttm", turns, "--index", folders[0]),
        *("--name", "SPEAKER_00=Actor_02"),
    )
    with avsearch.open(folders[1]) as index:
        enrolled = index.enrol(talk, {"SPEAKER_00": "Actor_02"}, turns=turns)
        assert plain({key: list(value) for key, value in enrolled.voices.items()}) == told["voices"]
        assert list(enrolled.new) == told["new"] == ["cleo"]
        held = [(hit.person, hit.start_s) for hit in index.query(talk, want="voice", by="item")]
    with avsearch.open(folders[0]) as index:
        other = [(hit.person, hit.start_s) for hit in index.query(talk, want="voice", by="item")]
    assert held == other


def test_the_named_speakers_of_a_result_are_enrolled(indexed, talk, tmp_path):
    folder = shutil.copytree(indexed / ".avsearch", tmp_path / "index")
    with avsearch.open(folder) as index:
        named = index.annotate(talk, talk.with_suffix(".rttm"))
        assert {each.person for each in named.speakers} == {None}  # the model is not calibrated
        enrolled = index.enrol(named, {"SPEAKER_00": "Actor_02"})
        assert sorted(enrolled.voices) == ["Actor_02", "cleo"]


def test_info_verify_export_import_and_forget(printed, indexed, model, tmp_path):
    folder = shutil.copytree(indexed / ".avsearch", tmp_path / "index")
    with avsearch.open(folder) as index:
        told = printed("info", "--index", folder)
        facts = index.info()
        assert told["people"] == facts["people"] == len(index.people()) == 3
        assert told["faces"] + told["voices"] == len(index)
        assert told.keys() == facts.keys()
        assert index.verify() == printed("verify", "--index", folder)["problems"] == []
        by_call, by_verb = tmp_path / "call.parquet", tmp_path / "verb.parquet"
        written = index.export(by_call)
        told = printed("export", by_verb, "--index", folder)
        assert (written.people, written.files) == (told["people"], told["files"])
        assert by_call.read_bytes() == by_verb.read_bytes()
    with avsearch.open(tmp_path / "back") as index:
        taken = index.import_vectors(str(by_call))
        told = printed("import", by_verb, "--index", tmp_path / "again")
        assert (taken.people, taken.faces, taken.voices) == (3, told["faces"], told["voices"])
        receipt = index.forget("Actor_01")
        told = printed("forget", "Actor_01", "--index", tmp_path / "again")
        assert receipt.clean
        assert (told["clean"], told["items"]) == (True, receipt.items)
        assert [who.key for who in index.people()] == ["Actor_02", "bbaf2n"]


def test_vectors_of_an_export_ask_as_their_files(printed, indexed, voice):
    told = printed("query", voice, "--index", indexed)
    with avsearch.open(indexed) as index:
        items, vectors = index.store.items_of("Actor_01", "voice")
        mine = np.stack([v for item, v in zip(items, vectors, strict=True) if item.path == voice])
        answer = index.query(vectors=mine, modality="voice")
    same(plain(answer.to_dict())["hits"], told["hits"])
