from __future__ import annotations

import dataclasses
import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from indexer.errors import BadRequest
from tests.helpers.sides import numbered_set
from trainer.data.assemble import assemble
from trainer.data.features import feature_source, read_feature_file, with_private
from trainer.data.sources import FeatureSource

FACES = np.arange(24, dtype=np.float32).reshape(4, 6)
MAPS = np.arange(3 * 2 * 4 * 4, dtype=np.float32).reshape(3, 2, 4, 4)
PATHS = [f"ann/{n}.jpg" for n in range(2)] + [f"bob/{n}.jpg" for n in range(2)]
CLIPS = ["bob/0.wav", "ann/1.wav", "ann/2.wav"]

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)


def npz(path: Path, save=np.savez, **changes) -> Path:
    arrays = {
        "faces": FACES,
        "face_paths": np.array(PATHS),
        "voices": MAPS,
        "voice_paths": np.array(CLIPS),
    }
    save(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


def safetensors(path: Path) -> Path:
    lists = {"face_paths": json.dumps(PATHS), "voice_paths": json.dumps(CLIPS)}
    save_file({"faces": FACES, "voices": MAPS}, path, lists)
    return path


def parquet(path: Path) -> Path:
    columns = {
        "path": [*PATHS, *CLIPS],
        "modality": ["face"] * 4 + ["voice"] * 3,
        "vector": [*FACES.tolist(), *MAPS.reshape(3, -1).tolist()],
    }
    return write_parquet(path, columns)


def write_parquet(path: Path, columns: dict[str, list]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (npz, "f.npz"),
        (safetensors, "f.safetensors"),
        pytest.param(parquet, "f.parquet", marks=needs_pyarrow),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path, write, name):
    tables = read_feature_file(write(tmp_path / name))
    face, voice = tables["face"], tables["voice"]
    np.testing.assert_array_equal(face.values, FACES)
    np.testing.assert_array_equal(np.reshape(voice.values, (3, -1)), MAPS.reshape(3, -1))
    assert (list(face.paths), list(face.people)) == (PATHS, ["ann", "ann", "bob", "bob"])
    assert list(voice.people) == ["bob", "ann", "ann"]


def test_vectors_stored_as_they_are_are_mapped_and_not_read(tmp_path):
    for file in (npz(tmp_path / "f.npz"), safetensors(tmp_path / "f.safetensors")):
        assert isinstance(read_feature_file(file)["face"].values, np.memmap)
    packed = npz(tmp_path / "packed.npz", np.savez_compressed)
    np.testing.assert_array_equal(read_feature_file(packed)["voice"].values, MAPS)


def test_a_file_and_its_table_make_a_data_set(tmp_path):
    (tmp_path / "people.csv").write_text("person,gender,nationality\nann,f,Peru\nbob,m,\n")
    data = assemble([feature_source(npz(tmp_path / "f.npz"))])
    assert data.names == ("ann", "bob")
    assert data.faces.people.tolist() == [0, 0, 1, 1]
    assert data.voices.people.tolist() == [1, 0, 0]
    assert data.voices.genders.tolist() == [1, 0, 0]
    assert data.faces.nationalities.tolist() == [0, 0, -1, -1]
    assert (data.faces.source.features, data.voices.source.features) == ((6,), (2, 4, 4))
    np.testing.assert_array_equal(data.voices.batch(np.array([2])).inputs, MAPS[2:])


def test_files_of_one_modality_each_are_joined_by_the_names_of_people(tmp_path):
    faces = npz(tmp_path / "a.npz", voices=None)
    voices = npz(tmp_path / "b.npz", faces=None)
    more = npz(tmp_path / "c.npz", voices=None, face_paths=np.array(["cid/1"] * 4))
    data = assemble([feature_source(file) for file in (faces, voices, more)])
    assert data.names == ("ann", "bob", "cid")
    assert data.faces.people.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    rows = np.array([5, 0, 7])
    np.testing.assert_array_equal(data.faces.batch(rows).inputs, FACES[[1, 0, 3]])
    assert data.faces.origins(rows) == ["cid/1", "ann/0.jpg", "cid/1"]


def test_people_may_be_named_where_paths_do_not_say(tmp_path):
    file = npz(tmp_path / "f.npz", face_people=np.array(list("wxyz")), voices=None)
    assert list(feature_source(file).faces.people) == list("wxyz")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"faces": None, "voices": None}, "holds neither 'faces' nor 'voices'"),
        ({"face_paths": None}, "'face_paths' has 0 rows and the vectors have 4"),
        ({"voice_paths": np.array(["a/b"])}, "'voice_paths' has 1 rows and the vectors have 3"),
        ({"face_people": np.array(["ann"])}, "'face_people' has 1 rows"),
        ({"face_paths": np.array(["1.jpg", "2.jpg", "3.jpg", "4.jpg"])}, "no person for row 0"),
        ({"faces": np.where(FACES == 7, np.nan, FACES)}, r"the vector of ann/1.jpg holds NaN"),
        ({"faces": FACES[:, 0]}, r"shape \(4,\) is no table of vectors"),
        ({"faces": np.array(PATHS)[:, None]}, "is no table of vectors"),
        ({"face_paths": np.array(PATHS, object)}, "holds Python objects"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_a_reason(tmp_path, changes, reason):
    file = npz(tmp_path / "f.npz", **changes)
    with pytest.raises(BadRequest, match=rf"f\.npz.*{reason}"):
        feature_source(file)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "went off",))

    (tmp_path / "f.pkl").write_bytes(pickle.dumps({"a": Bomb()}))
    with pytest.raises(BadRequest, match="is a pickle, which may run any code"):
        feature_source(tmp_path / "f.pkl")
    assert not (tmp_path / "went off").exists()


@pytest.mark.parametrize("write", [npz, safetensors, pytest.param(parquet, marks=needs_pyarrow)])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.97])
def test_a_file_cut_short_is_refused(tmp_path, write, share):
    file = write(tmp_path / f"f.{write.__name__}")
    raw = file.read_bytes()
    file.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(BadRequest, match="cannot be read"):
        read_feature_file(file)


@pytest.mark.parametrize(
    "suffix", [".npz", ".safetensors", pytest.param(".parquet", marks=needs_pyarrow)]
)
def test_a_file_that_is_not_there_is_refused(tmp_path, suffix):
    with pytest.raises(
        BadRequest, match=rf"absent{suffix} cannot be read|no file .*absent{suffix}; check"
    ):
        read_feature_file(tmp_path / f"absent{suffix}")


@needs_pyarrow
def test_parquet_as_other_programs_write_it(tmp_path):
    import pyarrow as pa

    columns = {
        "Path": pa.array(["a/1", "b/1", "a/2", "a/3"], pa.large_string()),
        "person": pa.array(["Zoe\u0308 ", "bob", "Zoë", "x"]).dictionary_encode(),
        "modality": pa.array(["Face", "face", "VOICE", None]).dictionary_encode(),
        "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], None], pa.list_(pa.float32(), 2)),
        "__index_level_0__": pa.array([0, 2, 3, 7]),
    }
    tables = read_feature_file(write_parquet(tmp_path / "f.parquet", columns))
    assert tables["face"].values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert (list(tables["face"].people), list(tables["voice"].people)) == (["Zoë", "bob"], ["Zoë"])
    assert list(tables["voice"].paths) == ["a/2"]


@needs_pyarrow
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a/1"], "modality": ["face"]}, "no column 'vector'"),
        ({"path": ["a/1"], "modality": ["face"], "vector": ["x"]}, "'vector' is of type string"),
        ({"path": [[1]], "modality": ["face"], "vector": [[1.0]]}, "'path' is of type list"),
    ],
)
def test_parquet_without_what_it_needs_is_refused(tmp_path, columns, words):
    with pytest.raises(BadRequest, match=words):
        read_feature_file(write_parquet(tmp_path / "f.parquet", columns))


@needs_pyarrow
def test_vectors_of_different_lengths_are_refused(tmp_path):
    columns = {"path": ["a/1", "a/2"], "modality": ["face"] * 2, "vector": [[1.0], [1.0, 2.0]]}
    write_parquet(tmp_path / "f.parquet", columns)
    with pytest.raises(BadRequest, match="have different lengths"):
        read_feature_file(tmp_path / "f.parquet")


def test_features_of_different_shapes_do_not_join(tmp_path):
    first = feature_source(npz(tmp_path / "a.npz"))
    second = feature_source(npz(tmp_path / "b.npz", faces=FACES[:, :5]))
    with pytest.raises(BadRequest, match=r"faces of the data have different shapes: \(5,\)"):
        assemble([first, second])


def test_a_set_without_voices_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="The data holds no voices"):
        assemble([feature_source(npz(tmp_path / "a.npz", voices=None))])


def test_a_gender_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "people.csv").write_text("person,gender\nann,x\n")
    with pytest.raises(BadRequest, match=r"f.npz: the gender of ann is 'x'"):
        assemble([feature_source(npz(tmp_path / "f.npz"))])


def test_places_that_contradict_each_other_are_refused(tmp_path):
    for folder, gender in (("a", "f"), ("b", "m")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "people.csv").write_text(f"person,gender\nann,{gender}\n")
        npz(tmp_path / folder / "f.npz")
    with pytest.raises(BadRequest, match="the gender of ann is 'm', but other data says 'f'"):
        assemble([feature_source(tmp_path / folder / "f.npz") for folder in "ab"])


def test_nationalities_are_numbered_by_how_many_have_them(tmp_path):
    countries = {"ann": "Peru", "bob": "Chad"}
    paths = np.array(["ann/1", "bob/1", "cid/1", "dan/1"])
    (tmp_path / "people.csv").write_text(
        "person,nationality\n"
        + "".join(f"{who},{countries.get(who, 'Fiji')}\n" for who in ("ann", "bob", "cid", "dan"))
    )
    data = assemble([feature_source(npz(tmp_path / "f.npz", face_paths=paths))])
    assert data.faces.nationalities.tolist() == [2, 1, 0, 0]


# Private attributes.


def with_paths(folder: Path):
    data = numbered_set([0, 1, 2], [0, 1])
    paths = ["one.jpg", "one.jpg", str(folder / "two.jpg")]
    source = FeatureSource(np.zeros((3, 2), np.float32), paths)
    return data.with_side("face", dataclasses.replace(data.faces, source=source))


def test_private_attributes_go_to_every_item_of_their_file_and_others_have_none(tmp_path):
    file = tmp_path / "p.npz"
    np.savez(file, faces=np.array([[1.0, np.nan]]), face_paths=["one.jpg"])
    private = with_private(with_paths(tmp_path), "face", file).faces.private
    assert private is not None
    np.testing.assert_array_equal(private, [[1, np.nan], [1, np.nan], [np.nan, np.nan]])


def test_paths_of_private_attributes_may_be_relative_to_their_table(tmp_path):
    file = tmp_path / "p.npz"
    np.savez(file, faces=np.array([[7.0]]), face_paths=["two.jpg"])
    private = with_private(with_paths(tmp_path), "face", file).faces.private
    assert private is not None
    assert private[2] == 7


def test_attributes_of_files_that_are_not_there_are_refused(tmp_path):
    file = tmp_path / "p.npz"
    np.savez(file, faces=np.ones((3, 1)), face_paths=["one.jpg", "no.jpg", "nor.jpg"])
    with pytest.raises(BadRequest, match=r"p.npz names 2 files .*, no.jpg the first"):
        with_private(with_paths(tmp_path), "face", file)
    with pytest.raises(BadRequest, match=r"p.npz holds no voices"):
        with_private(with_paths(tmp_path), "voice", file)
