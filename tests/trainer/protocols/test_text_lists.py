from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import BadRequest
from trainer.protocols.fame import read_fame, write_submission
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Matching, Retrieval, Verification
from trainer.protocols.vfal_pickle import read_pickle, read_trials
from trainer.protocols.voxceleb_people import People, VoxPerson, read_people

ANN = VoxPerson("id1", "Ann_A", "f", "Peru")
BOB = VoxPerson("id2", "Bob_B", "m", "")
PEOPLE = People([ANN, BOB])

CMPC_MATCHING = """\
id1/VIDEO1/00001.wav Ann_A/1.6/VIDEO2/0001.jpg Bob_B/1.6/VIDEO3/0002.jpg
id2/VIDEO3/00004.wav Bob_B/1.6/VIDEO3/0002.jpg Ann_A/1.6/VIDEO2/0001.jpg
"""
LABELLED_MATCHING = """\
id1/V/1.wav Bob_B/1.jpg Ann_A/1.jpg 1
id2/V/1.wav Bob_B/1.jpg Ann_A/1.jpg 0
"""
CMPC_PAIRS = """\
id,voice-speaker-id,face-speaker-id,label,voice-path,face-path
1,1,1,1,Ann_A/VIDEO1_0000001.wav,Ann_A/VIDEO1/0001.jpg
2,1,2,0,Ann_A/VIDEO1_0000001.wav,Bob_B/VIDEO2/0001.jpg
"""
WEN_PAIRS = "id1/V/1.wav Ann_A/1.jpg\nid1/V/1.wav Bob_B/1.jpg\n"
WEN_RETRIEVAL = "id1/V/1.wav id1/V/2.wav id2/V/1.wav\nBob_B/1.jpg Ann_A/1.jpg Ann_A/2.jpg\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "list.txt") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def people_of(found, places):
    return [found.items.names[found.items.people[place]] for place in places]


# The formats.


def test_cmpc_matching_has_the_right_candidate_first(write):
    found = read_list(write(CMPC_MATCHING), PEOPLE)
    assert isinstance(found, Matching)
    assert people_of(found, found.probes) == ["Ann_A", "Bob_B"]
    assert found.truth.tolist() == [0, 0]
    assert [people_of(found, row) for row in found.candidates] == [
        ["Ann_A", "Bob_B"],
        ["Bob_B", "Ann_A"],
    ]
    assert len(found.items) == 4  # files that are named twice are one item
    assert [found.items.modalities[at] for at in found.probes] == ["voice", "voice"]


def without_same_video(protocol):
    return protocol.take(~protocol.own_recording())


def test_trials_whose_answer_is_of_the_same_recording_can_be_left_out(write):
    found = without_same_video(read_list(write(CMPC_MATCHING), PEOPLE))
    assert people_of(found, found.probes) == ["Ann_A"]
    found = without_same_video(read_list(write(CMPC_PAIRS), PEOPLE))
    assert found.same.tolist() == [False]


def test_a_list_that_tells_no_recordings_loses_nothing(write):
    found = read_list(write(WEN_PAIRS), PEOPLE)
    assert len(without_same_video(found).same) == len(found.same)


def test_a_last_column_numbers_the_right_candidate(write):
    found = read_list(write(LABELLED_MATCHING), PEOPLE)
    assert (found.candidates.shape, found.truth.tolist()) == ((2, 2), [1, 0])


def test_cmpc_verification_says_its_labels(write):
    found = read_list(write(CMPC_PAIRS), PEOPLE)
    assert isinstance(found, Verification)
    assert found.same.tolist() == [True, False]
    assert [found.items.paths[at] for at in found.first] == ["Ann_A/VIDEO1_0000001.wav"] * 2


def test_the_labels_of_wen_follow_from_the_people(write):
    assert read_list(write(WEN_PAIRS), PEOPLE).same.tolist() == [True, False]


def test_wen_retrieval_is_a_line_of_probes_and_one_of_the_gallery(write):
    found = read_list(write(WEN_RETRIEVAL), PEOPLE)
    assert isinstance(found, Retrieval)
    assert people_of(found, found.queries) == ["Ann_A", "Ann_A", "Bob_B"]
    assert people_of(found, found.gallery) == ["Bob_B", "Ann_A", "Ann_A"]


def test_cmpc_retrieval_is_read_with_its_partner(write):
    write("VoxCeleb1 ID\twav\nid1\tid1/V/1.wav\nid2\tid2/V/1.wav\n", "wav_20k.csv")
    faces = write("VoxCeleb1 ID\tjpg\nid2\tBob_B/1.6/V/1.jpg\n", "jpg_20k.csv")
    found = read_list(faces, PEOPLE)
    assert people_of(found, found.queries) == ["Bob_B"]
    assert people_of(found, found.gallery) == ["Ann_A", "Bob_B"]


def test_a_retrieval_table_without_its_partner_says_which_is_absent(write):
    faces = write("VoxCeleb1 ID\tjpg\nid2\tBob_B/1.6/V/1.jpg\n", "jpg_20k.csv")
    with pytest.raises(BadRequest, match=r"needs wav_20k.csv beside it"):
        read_list(faces, PEOPLE)


def test_a_compressed_list_is_the_plain_one(write, tmp_path):
    plain = read_list(write(WEN_PAIRS), PEOPLE)
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(WEN_PAIRS.encode()))
    packed = read_list(tmp_path / "list.txt.gz", PEOPLE)
    assert (packed.name, packed.items.paths) == (plain.name, plain.items.paths)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (CMPC_MATCHING + "id1/V/1.wav Ann_A/1/V/1.jpg\n", "line 3: 3 columns are expected, 2"),
        (CMPC_MATCHING + "\n \nid1/V/1.wav\n", "line 5: 3 columns are expected, 1"),
        (CMPC_MATCHING.replace("Ann_A/1.6/VIDEO2/0001.jpg\n", "\0 a.jpg\n"), "line 2: 3 .*, 4"),
        (CMPC_MATCHING.replace("id1/VIDEO1/00001.wav ", "\0 "), r"line 1: '\\x00' is neither"),
        (CMPC_MATCHING.replace(".wav", ".txt"), "line 1: .* is neither an image nor audio"),
        (CMPC_MATCHING.replace("id1", "id2"), "line 1: only the right candidate may be"),
        (LABELLED_MATCHING.replace(" 1\n", " 2\n"), "line 1: '2' is no number from 0 to 1"),
        (LABELLED_MATCHING.replace(" 1\n", " 0\n"), "line 1: only the right candidate"),
        (CMPC_PAIRS.replace("2,1,2,0", "2,1,2,1"), "line 3: label 1 contradicts the people"),
        (CMPC_PAIRS.replace("2,1,2,0", "2,1,2,x"), "line 3: 'x' is no number from 0 to 1"),
        (CMPC_PAIRS.replace("2,1,2,0,", "2,1,2,"), "line 3: 6 columns are expected, 5"),
        (WEN_PAIRS.replace("Bob_B", "Cid_C"), "line 2: 'Cid_C' is in no table of people"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_number(write, text, message):
    with pytest.raises(BadRequest, match=rf"list.txt(, | ).*{message}"):
        read_list(write(text), PEOPLE)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08broken", b"\xff\xfe\x00text", None])
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadRequest, match="cannot be read"):
        read_list(path, PEOPLE)


@pytest.mark.parametrize("change", [(" ", "\t"), (" ", "  "), ("\n", " \n"), ("\n", "\r\n")])
def test_blanks_of_any_kind_and_number_stand_between_columns(write, change):
    plain = read_list(write(CMPC_MATCHING), PEOPLE)
    other = read_list(write(CMPC_MATCHING.replace(*change)), PEOPLE)
    assert other.items.paths == plain.items.paths
    assert other.candidates.tolist() == plain.candidates.tolist()


def test_a_line_too_short_is_not_mended_by_one_too_long(write):
    first, second = CMPC_MATCHING.splitlines()
    text = f"{first} {second.split()[0]}\n{' '.join(second.split()[1:])}\n"
    with pytest.raises(BadRequest, match=r"line 1: 3 columns|line 2: 4 columns"):
        read_list(write(text), PEOPLE)


# People.


def test_names_are_mapped_both_ways():
    assert (PEOPLE.name("id1"), PEOPLE.id("Ann_A")) == ("Ann_A", "id1")
    assert (PEOPLE.name("Ann_A"), PEOPLE.id("id1")) == ("Ann_A", "id1")
    assert (PEOPLE.name("stranger"), PEOPLE.get("stranger")) == ("stranger", None)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_tables_of_people_are_read_by_tab_or_comma(write, separator):
    names = ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    rows = [names, ["id1", "Ann_A", "F", "Peru", "dev"], ["id2", "Bob_B", "m", "", "test"]]
    table = write("".join(separator.join(row) + "\n" for row in rows), "vox1.csv")
    assert list(read_people([table])) == [ANN, BOB]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person,name\n", "no table of VoxCeleb's people"),
        ("VoxCeleb1_ID,VGGFace1_ID\nid1,Ann_A\nid1,Bob_B\n", "line 3: id1 is Bob_B here"),
        ("VoxCeleb1_ID,VGGFace1_ID\nid1\n", "line 2: 2 columns are expected, 1"),
    ],
)
def test_a_table_of_people_that_is_wrong_is_refused(write, text, message):
    with pytest.raises(BadRequest, match=message):
        read_people([write(text)])


# The published lists themselves.


@pytest.fixture(scope="module")
def published(test_data):
    lists = test_data / "lists"
    people = read_people([lists / "cmpc" / "vox1_meta.csv.gz"])
    files = sorted(lists.glob("cmpc/*/*.gz")) + sorted(lists.glob("wen/*.gz"))
    no_list = ("README", "vox1_", "identity_splits")
    return [
        read_list(path, people) for path in files if not any(word in path.name for word in no_list)
    ]


def test_every_published_list_is_read_and_balanced(published):
    assert len(published) == 28
    for found in published:
        if isinstance(found, Verification):
            assert 0.49 < found.same.mean() < 0.51
        elif isinstance(found, Matching):
            assert found.candidates.shape[1] == 2
        else:
            assert set(found.items.people[found.queries]) == set(found.items.people[found.gallery])


def test_every_positive_of_the_seen_heard_lists_is_of_one_recording(published):
    """Voice and face of a trial share the moment, so published figures are too good."""
    for found in published:
        if found.name.endswith("_seenheard"):
            assert not without_same_video(found).same.any()


# FAME.


def test_a_submission_holds_distances(write, tmp_path):
    trials = read_fame(write("a1 v/1.wav f/1.jpg\na2 v/1.wav f/2.jpg\n"))
    write_submission(tmp_path / "out.txt", trials, np.array([0.5, -0.25]))
    assert (tmp_path / "out.txt").read_text() == "a1 -0.5\na2 0.25\n"
    assert [path.name for path in tmp_path.glob("out*")] == ["out.txt"]


@pytest.mark.parametrize("scores", [[0.5], [0.5, np.nan]])
def test_a_submission_needs_a_finite_score_a_trial(write, tmp_path, scores):
    trials = read_fame(write("a1 v/1.wav f/1.jpg\na2 v/1.wav f/2.jpg\n"))
    with pytest.raises(ValueError, match="finite score"):
        write_submission(tmp_path / "out.txt", trials, np.array(scores))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a1 f/1.jpg v/1.wav\n", "line 1: a trial is an id, the path of a voice"),
        ("a1 v/1.wav f/1.jpg\na1 v/1.wav f/2.jpg\n", "line 2: the id a1 is here a second"),
        ("", "is empty"),
    ],
)
def test_fame_trials_that_are_wrong_are_refused(write, text, message):
    with pytest.raises(BadRequest, match=message):
        read_fame(write(text))


# vfal-eva.


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def test_vfal_trials(tmp_path):
    content = {
        "list": [["id1/V/1.wav", "Ann_A/1.jpg", 1], ["id1/V/1.wav", "Bob_B/1.jpg", 0]],
        "match_list": [("Ann", "v/1.wav", "f/1.jpg", "Bob", "v/2.wav", "f/2.jpg")],
    }
    pairs, voices, faces = read_trials(pickled(tmp_path / "test.pkl", content))
    assert pairs.same.tolist() == [True, False]
    for found, asked in ((voices, "v/1.wav"), (faces, "f/1.jpg")):
        assert [found.items.paths[at] for at in found.probes] == [asked]
        assert people_of(found, found.candidates[0]) == ["Ann", "Bob"]
        assert found.truth.tolist() == [0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_from_pickles_of_any_protocol(tmp_path, protocol):
    table = {"f/1.jpg": np.arange(3, dtype=np.float32), "f/2.jpg": np.ones((1, 3))}
    path = tmp_path / "face_input.pkl"
    path.write_bytes(pickle.dumps(table, protocol=protocol))
    found = read_pickle(path)
    assert list(found) == ["f/1.jpg", "f/2.jpg"]
    assert [values.tolist() for values in found.values()] == [[0, 1, 2], [[1, 1, 1]]]


class Harmful:
    """Runs code where it is read by a pickle module that does not look."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path):
    path = pickled(tmp_path / "test.pkl", {"list": [Harmful(tmp_path / "harm")]})
    with pytest.raises(BadRequest, match=r"test.pkl is no pickle of plain lists .*pathlib"):
        read_trials(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("cut", [0, 1, 10, 30])
def test_a_pickle_cut_short_is_refused(tmp_path, cut):
    path = pickled(tmp_path / "test.pkl", {"list": [["v/1.wav", "f/1.jpg", 1]]})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadRequest, match=r"test.pkl is no pickle"):
        read_pickle(path)


@pytest.mark.parametrize(
    "content", [[], {"other": 1}, {"list": [1]}, {"list": [["a.txt", "b.jpg", 1]]}]
)
def test_a_pickle_of_something_else_is_refused(tmp_path, content):
    with pytest.raises(BadRequest, match=r"test.pkl"):
        read_trials(pickled(tmp_path / "test.pkl", content))
