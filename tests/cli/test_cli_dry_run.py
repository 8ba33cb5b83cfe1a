"""--dry-run: what it says is what the run then does, and it leaves every byte as it is."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import soundfile

import avsearch
from avsearch.media import read_audio
from tests.helpers.places import change, everything

RTTM = "SPEAKER talk 1 {} {} <NA> <NA> {} <NA> <NA>\n"


@pytest.fixture
def changed(gallery, tmp_path):
    """A copy of the gallery to be changed, with an index of it as it was."""
    return shutil.copytree(gallery, tmp_path / "gallery")


@pytest.fixture
def dry(run, tmp_path):
    """A verb with --dry-run and with --json; what it says, once it is seen that nothing changed."""

    def go(*arguments, code=0):
        before = everything(tmp_path), _times(tmp_path)
        words = run(*arguments, "--dry-run")
        result = run(*arguments, "--dry-run", "--json")
        assert (words.exit_code, result.exit_code) == (code, code), result.stderr
        assert (everything(tmp_path), _times(tmp_path)) == before
        if code:
            return result.stderr
        assert words.stdout.startswith("Nothing was ")
        facts = json.loads(result.stdout_bytes.decode())
        assert facts.pop("dry_run") is True
        return facts

    return go


def _times(folder):
    """When each file was changed, and what folders there are."""
    files = (path for path in folder.rglob("*") if not path.name.startswith("catalog.sqlite-"))
    return {path: path.is_file() and path.stat().st_mtime_ns for path in files}


def actual(run, *arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout_bytes.decode())


def test_index(run, dry, changed, model, tmp_path):
    verb = ("index", changed, "--index", tmp_path / "index", "--model", model)
    plan = dry(*verb)
    assert plan["people"] == 0
    made = actual(run, *verb)
    assert plan.keys() == made.keys()
    counted = ("added", "updated", "unchanged", "removed", "refused")
    assert [plan[key] for key in counted] == [made[key] for key in counted] == [7, 0, 0, 0, []]
    voice, other = sorted((changed / "Actor_01").glob("*.ogg"))
    os.utime(other, ns=(1, 1))  # looks changed and is not
    shutil.copy(other, changed / "Actor_02" / "new.ogg")
    shutil.copy(other, voice)
    (changed / "bbaf2n" / "empty.wav").write_bytes(b"")
    for path in (changed / "Actor_02").glob("[0-9]*.ogg"):
        path.unlink()
    plan = dry(*verb)
    assert [plan[key] for key in counted[:4]] == [1, 2, 3, 0]
    plan = dry(*verb, "--prune")
    assert [plan[key] for key in counted[:4]] == [1, 2, 3, 2]
    assert [refusal["path"] for refusal in plan["refused"]] == [
        str(changed / "bbaf2n" / "empty.wav")
    ]
    assert (plan["people"], plan["faces"], plan["voices"]) == (3, 3, 5)
    made = actual(run, *verb, "--prune")
    assert [made[key] for key in counted[:4]] == [1, 1, 4, 2]


def test_a_dry_run_from_python_makes_nothing(gallery, tmp_path):
    for named in (str(gallery), gallery):
        with avsearch.open(tmp_path / "none") as index:
            report = index.add(named, dry_run=True)
        assert (report.added, report.index) == (7, tmp_path / "none")
        assert not report.index.exists()


def test_index_says_what_a_run_would_refuse(run, dry, changed, model, models, tmp_path):
    verb = ("index", changed, "--index", tmp_path / "index", "--model", model)
    actual(run, *verb)
    assert "use the index's own model" in dry(*verb[:-1], models[1], code=4)
    assert "There is no model 'none'" in dry(*verb[:-1], "none", code=2)
    for who in ("Actor_01", "Actor_02"):
        shutil.rmtree(changed / who)
    assert dry(*verb, "--prune")["removed"] == 6
    asked = run(*verb, "--prune", "--dry-run").stderr
    assert f"it would be asked: 6 of the 7 files that the index has of {changed} are gone" in asked
    shutil.rmtree(changed)
    assert "is not a folder" in dry(*verb, code=2)
    changed.mkdir()
    assert "none of the 7 files" in dry(*verb, "--prune", code=2)
    assert dry(*verb)["removed"] == 0


def test_forget(run, dry, copy_of_index):
    verb = ("forget", "Actor_02", "--index", copy_of_index)
    plan = dry(*verb)
    assert plan.pop("people_left") == 2
    receipt = actual(run, *verb)
    assert plan.keys() == receipt.keys()
    assert {key for key in plan if plan[key] != receipt[key]} == {"bytes_searched", "clean"}
    assert "There is no 'Actor_02'" in dry(*verb, code=2)


def test_import(run, dry, indexed, copy_of_index, models, tmp_path):
    actual(run, "export", tmp_path / "all.parquet", "--index", indexed)
    for index in (tmp_path / "new", copy_of_index):
        verb = ("import", tmp_path / "all.parquet", "--index", index)
        plan = dry(*verb)
        assert plan.pop("rows") == 15
        assert plan == actual(run, *verb)
    assert plan["replaced"] == 7
    (tmp_path / "odd.parquet").write_bytes(b"PAR1")
    assert "odd.parquet cannot be read" in dry("import", tmp_path / "odd.parquet", code=2)
    other = ("import", tmp_path / "all.parquet", "--index", copy_of_index, "--model", models[1])
    assert "leave the model out" in dry(*other, code=4)


@pytest.fixture
def talk(gallery, tmp_path):
    """A known person, a new one, and one who says nothing alone, in one recording."""
    sound = read_audio(min((gallery / "Actor_01").glob("*.ogg")))
    soundfile.write(tmp_path / "talk.wav", sound[:48_000], 16_000)
    turns = [(0.5, 1.0, "Actor_01"), (1.5, 0.6, "zoe"), (2.2, 0.1, "yan"), (2.5, 0.4, "SPEAKER_7")]
    (tmp_path / "talk.rttm").write_text("".join(RTTM.format(*turn) for turn in turns))
    return tmp_path / "talk.wav"


def test_enrol(run, dry, copy_of_index, talk):
    verb = ("enrol", talk, "--rttm", talk.with_suffix(".rttm"), "--index", copy_of_index)
    plan = dry(*verb)
    made = actual(run, *verb)
    assert plan.keys() == made.keys()
    for facts in (plan, made):
        assert {who: [n, round(s, 3)] for who, (n, s) in facts["voices"].items()} == {
            "Actor_01": [1, 1.0],
            "zoe": [1, 0.6],
        }
        assert facts["new"] == ["zoe"]
        assert facts["passed_over"].keys() == {"yan", "SPEAKER_7"}
    assert plan["passed_over"] == made["passed_over"]
    again = dry(*verb)
    assert again["new"] == []
    assert any("of Actor_01, zoe, would be replaced" in note for note in again["notes"])


def test_enrol_without_an_index_or_with_nobody(dry, talk, tmp_path):
    verb = ("enrol", talk, "--rttm", talk.with_suffix(".rttm"), "--index", tmp_path / "none")
    assert dry(*verb)["new"] == ["Actor_01", "zoe"]
    talk.with_suffix(".rttm").write_text(RTTM.format(0, 1, "SPEAKER_7"))
    assert "No speaker has a name" in dry(*verb, code=2)


@pytest.mark.parametrize("verb", ["index", "forget", "import", "enrol"])
def test_an_index_of_an_earlier_version_stays_one(
    run, dry, indexed, gallery, talk, copy_of_index, tmp_path, verb
):
    change(copy_of_index, "UPDATE alembic_version SET version_num = '2'")
    actual(run, "export", tmp_path / "all.parquet", "--index", indexed)
    arguments = {
        "index": [gallery],
        "forget": ["Actor_01"],
        "import": [tmp_path / "all.parquet"],
        "enrol": [talk, "--rttm", talk.with_suffix(".rttm")],
    }
    said = dry(verb, *arguments[verb], "--index", copy_of_index, code=2)
    assert "was made by an earlier version of avsearch" in said
    assert "run avsearch info on it once." in said
