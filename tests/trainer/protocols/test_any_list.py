"""Whatever a list, table or feature file holds, it is read or refused in a sentence."""

from __future__ import annotations

import gzip
import io
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from indexer.errors import BadRequest
from trainer.data.features import read_feature_file
from trainer.data.splits import read_split
from trainer.evaluation.items import feature_items
from trainer.protocols.open_list import read_published
from trainer.protocols.score_files import read_scores
from trainer.protocols.text_lists import read_list
from trainer.protocols.trials import Matching, Verification
from trainer.protocols.vfal_pickle import read_features
from trainer.protocols.voxceleb_people import People, VoxPerson, read_people

PEOPLE = People([VoxPerson("id1", "Ann_A", "f", "Peru"), VoxPerson("id2", "Bob_B", "m", "")])

CELLS = st.sampled_from(
    [
        *("id1/V/1.wav", "Ann_A/1.jpg", "Bob_B/1.6/V/2.jpg", "id2/V/2.wav", "x.wav", "/y.jpg"),
        *("0", "1", "2", "-1", "x", "", "label", "voice", "id1", "Ann_A", '"', "²", "nan", "1e9"),
        *("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "set", "train", "test", "split", "score", "\0"),
        *("id,voice-speaker-id,face-speaker-id,label,voice-path,face-path", ".png"),
    ]
)
MARKS = st.sampled_from([" ", "\t", ",", ";", ", ", "  "])
LINES = st.builds(lambda mark, cells: mark.join(cells), MARKS, st.lists(CELLS, max_size=7))
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.builds(lambda end, lines: end.join(lines), ENDS, st.lists(LINES, max_size=6))
CONTENTS = st.one_of(
    TEXTS.map(str.encode),
    TEXTS.map(lambda text: text.encode("utf-16")),
    TEXTS.map(lambda text: gzip.compress(text.encode())),
    st.binary(max_size=60),
    st.binary(max_size=20).map(lambda raw: b"\x1f\x8b" + raw),
)


def read_or_refused(read, path):
    """Read a file; where it is refused, a sentence names it."""
    refusal = None
    try:
        read(path)
    except BadRequest as error:
        refusal = str(error)
    assert refusal is None or (path.stem in refusal and refusal.endswith("."))


WORDS = "id1/V/1.wav Ann_A/1.jpg\nid1/V/1.wav Bob_B/1.jpg\n"


@pytest.fixture(scope="module")
def two_pairs(tmp_path_factory):
    """A protocol of two trials."""
    path = tmp_path_factory.mktemp("two") / "pairs.txt"
    path.write_text(WORDS)
    return read_list(path, PEOPLE)


@pytest.mark.parametrize("name", ["list.txt", "wav_20k.csv", "list.pkl", "meta.csv", "split.txt"])
@given(content=CONTENTS)
def test_any_content_is_read_or_refused(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    (path.parent / "jpg_20k.csv").write_text("VoxCeleb1 ID\tjpg\nid2\tBob_B/1.6/V/1.jpg\n")
    readers = {"meta.csv": lambda path: read_people([path]), "split.txt": read_split}
    read_or_refused(readers.get(name, lambda path: read_published(path, PEOPLE)), path)


@pytest.mark.parametrize("name", ["score.txt", "score.npy"])
@given(content=CONTENTS)
def test_any_scores_are_read_or_refused(tmp_path_factory, two_pairs, name, content):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    read_or_refused(lambda path: read_scores(path, two_pairs), path)


# What pickles and arrays may hold.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELLS | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner)
        | st.dictionaries(CELLS, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["list", "match_list", "retrieval_lists"]), VALUES), VALUES)
def test_any_pickle_is_read_or_refused(tmp_path_factory, lists, other):
    path = tmp_path_factory.mktemp("any") / "list.pkl"
    for content in (lists, other):
        path.write_bytes(pickle.dumps(content))
        read_or_refused(lambda path: read_published(path, PEOPLE), path)
        read_or_refused(read_features, path)


def npz(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ARRAYS = st.dictionaries(
    st.sampled_from(["faces", "voices", "face_paths", "voice_paths", "face_people"]),
    st.one_of(
        st.sampled_from([np.zeros((2, 3), "f4"), np.zeros((2, 0), "f4"), np.zeros((0, 3))]),
        st.sampled_from([np.zeros(2), np.array(1.0), np.array([True, False])]),
        st.sampled_from([np.array(["a/1.wav", "b/1.wav"]), np.array(["2020-01-01"], "M8[D]")]),
    ),
)
METADATA = st.dictionaries(CELLS | st.just("face_paths"), VALUES)


@given(ARRAYS, METADATA, st.integers(0, 400), st.integers(0, 255))
def test_any_feature_file_is_read_or_refused(tmp_path_factory, arrays, metadata, at, byte):
    folder = tmp_path_factory.mktemp("any")
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    said = {name: json.dumps(value, default=str) for name, value in metadata.items()}
    for name, content in (("f.npz", npz(arrays)), ("f.safetensors", save(numbers, said))):
        harmed = bytearray(content)
        harmed[at % len(harmed)] = byte
        for each in (content, bytes(harmed)):
            (folder / name).write_bytes(each)
            read_or_refused(read_feature_file, folder / name)
            read_or_refused(feature_items, folder / name)


# Lists as other programs write them.


def test_a_list_says_the_same_however_it_is_apart(tmp_path):
    trials = {
        "matching": ["id1/V/1.wav Ann_A/1.jpg Bob_B/1.jpg", "id2/V/1.wav Bob_B/1.jpg Ann_A/1.jpg"],
        "numbered": ["id1/V/1.wav Bob_B/1.jpg Ann_A/1.jpg 1"] * 2,
        "pairs": ["id1/V/1.wav Ann_A/1.jpg", "id1/V/1.wav Bob_B/1.jpg"],
        "retrieval": ["id1/V/1.wav id1/V/2.wav id2/V/1.wav", "Bob_B/1.jpg Ann_A/1.jpg Ann_A/2.jpg"],
        "labelled": ["1 id1/V/1.wav Ann_A/1.jpg", "0 id1/V/1.wav Bob_B/1.jpg"] * 2,
        "behind": ["id1/V/1.wav Ann_A/1.jpg 1", "id1/V/1.wav Bob_B/1.jpg 0"],
    }
    for name, lines in trials.items():
        found = []
        for mark, end in (
            (" ", ""),
            ("\t", "\t"),
            (",", ",,"),
            (";", ""),
            (", ", ","),
            (" ; ", ""),
        ):
            path = tmp_path / f"{name}.txt"
            rows = [f"{mark.join(line.split())}{end}\r\n" for line in lines]
            path.write_bytes("".join([*rows, f"{end}\r\n"]).encode())
            (protocol,) = read_published(path, PEOPLE)
            found.append(repr(protocol))
        assert len(set(found)) == 1, name


def test_pairs_with_labels_are_verification_whatever_stands_above_them(tmp_path):
    path = tmp_path / "list.csv"
    for head in ("", "voice,face,label\n", '"Voice";"Face";"Label"\n'):
        path.write_text(f"{head}id1/V/1.wav,Ann_A/1.jpg,1\nid1/V/1.wav,Bob_B/1.jpg,0\n")
        (found,) = read_published(path, PEOPLE)
        assert isinstance(found, Verification)
        assert found.same.tolist() == [True, False]


def test_paths_with_blanks_may_be_apart_by_commas(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('"Ann A/v/1 a.wav","Ann A/1 a.jpg","Bob B/1.jpg"\n')
    (found,) = read_published(path, People())
    assert isinstance(found, Matching)
    assert found.items.paths == ("Ann A/v/1 a.wav", "Ann A/1 a.jpg", "Bob B/1.jpg")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a/v/1.wav\nb/v/1.wav\nc/v/1.wav\n", "line 1: a trial names what asks and what could"),
        ("a/v/1.wav 0\n", "line 1: a trial names"),
        ("voice,face,label\n", "line 1: "),
        ("a/v/1.wav,a/1.jpg,b/1.jpg\na/v/1.wav a/1.jpg b/1.jpg\n", "line 2: 3 columns are exp"),
        ("a/v/1.wav,a/1.jpg,1\na/v/1.wav,b/1.jpg,1\n", "line 2: label 1 contradicts the people"),
        ("a b/v/1.wav,a b/1.mat\n", "line 1: 'a' is neither"),
    ],
)
def test_a_line_that_is_no_trial_is_said_by_file_and_line(tmp_path, text, words):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(BadRequest, match=rf"list\.csv, {words}"):
        read_published(path, People())


def test_people_scores_and_sides_may_be_apart_by_semicolons(tmp_path, two_pairs):
    (tmp_path / "meta.csv").write_text('"VoxCeleb1 ID";"VGGFace1 ID";"Gender"\n"id1";"Ann_A";"F"\n')
    (who,) = read_people([tmp_path / "meta.csv"])
    assert (who.name, who.gender) == ("Ann_A", "f")
    (tmp_path / "split.csv").write_text('Person;Split\n"Ann A";Train\nbob\tval\ncid;test;;\n')
    sides = read_split(tmp_path / "split.csv")
    assert sides == {"Ann A": "train", "bob": "validation", "cid": "test"}
    (tmp_path / "s.csv").write_text("id_score\n0.5;\n-1e3\n")
    assert read_scores(tmp_path / "s.csv", two_pairs).tolist() == [[0.5], [-1000.0]]
