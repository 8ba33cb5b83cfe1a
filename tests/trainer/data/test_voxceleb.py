from __future__ import annotations

import collections
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from avsearch.media import MediaExtractor
from indexer.errors import BadRequest
from trainer.data.load import DataOptions, read_data
from trainer.data.splits import read_split, split, split_by_letter
from trainer.data.synthetic.world import World
from trainer.data.voxceleb import voxceleb_jobs
from trainer.protocols.voxceleb_people import read_people

WHOLE = MediaExtractor("whole")
FIRST = """\
VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet
id10001\tA.J._Buckley\tm\tIreland\tdev
id10002\tA.R._Rahman\tm\tIndia\tdev
id10309\tEwan_McGregor\tm\tUK\ttest
"""
SECOND = """\
VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set
id00012 ,n000012 ,m ,dev
id00017 ,n000017 ,f ,test
"""


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


@pytest.fixture
def first(tmp_path) -> Path:
    (tmp_path / "vox1_meta.csv").write_text(FIRST)
    touch(
        tmp_path,
        "wav/id10001/1zcIwhmdeo4/00001.wav",
        "wav/id10001/1zcIwhmdeo4/00002.wav",
        "dev/wav/id10002/0_laIeN-Q44/00001.wav",
        "unzippedFaces/A.R._Rahman/1.6/6WO410QOeuo/0003800.jpg",
        "vgg_face/A.J._Buckley/00000558.jpg",
        "vgg_face/Nobody_Known/00000001.jpg",
        "wav/id10001/1zcIwhmdeo4/notes.txt",
    )
    return tmp_path


@pytest.fixture
def second(tmp_path) -> Path:
    (tmp_path / "vox2_meta.csv").write_text(SECOND)
    touch(
        tmp_path,
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "train/n000012/0001_01.jpg",
        "test/aac/id00017/01dfn2spqyE/00001.m4a",
    )
    return tmp_path


def files(root: Path) -> dict[str, list[str]]:
    """The files of each person, from the root on."""
    found = collections.defaultdict(list)
    for job in voxceleb_jobs(root, WHOLE)[0]:
        found[job.person].append(str(Path(job.origin).relative_to(root)))
    return dict(found)


def test_recordings_and_pictures_of_voxceleb1_meet_in_the_name(first):
    assert files(first) == {
        "A.J._Buckley": [
            "vgg_face/A.J._Buckley/00000558.jpg",
            "wav/id10001/1zcIwhmdeo4/00001.wav",
            "wav/id10001/1zcIwhmdeo4/00002.wav",
        ],
        "A.R._Rahman": [
            "dev/wav/id10002/0_laIeN-Q44/00001.wav",
            "unzippedFaces/A.R._Rahman/1.6/6WO410QOeuo/0003800.jpg",
        ],
    }
    known = voxceleb_jobs(first, WHOLE)[1]
    assert (known["A.J._Buckley"].gender, known["A.J._Buckley"].nationality) == ("m", "Ireland")


def test_sounds_videos_and_pictures_of_voxceleb2_meet_in_the_id(second):
    assert files(second) == {
        "id00012": [
            "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
            "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
            "train/n000012/0001_01.jpg",
        ],
        "id00017": ["test/aac/id00017/01dfn2spqyE/00001.m4a"],
    }
    known = voxceleb_jobs(second, WHOLE)[1]
    assert (known["id00017"].gender, known["id00017"].nationality) == ("f", None)


def test_the_table_of_voxceleb2_splits_it(second):
    sides = read_split(second / "vox2_meta.csv")
    assert sides["id00017"] == "test"
    assert sides["id00012"] in ("train", "validation")


def test_a_tree_of_voxceleb1_is_read_and_split_by_letter(tmp_path):
    """Real media of the synthetic world under the names of VoxCeleb1."""
    names = ["Adam", "Bela", "Cleo", "Dora", "Fred", "Gina"]
    rows = [f"id{at:05d}\t{name}\tf\tUSA\tdev" for at, name in enumerate(names)]
    (tmp_path / "vox1_meta.csv").write_text("\n".join([FIRST.splitlines()[0], *rows]))
    world = World(seed=1)
    for at, name in enumerate(names):
        sound = tmp_path / "wav" / f"id{at:05d}" / "video" / "00001.wav"
        picture = tmp_path / "faces" / name / "1.jpg"
        for path in (sound, picture):
            path.parent.mkdir(parents=True)
        soundfile.write(sound, world.speak(world.person(at), 0, 2.0), 16000)
        Image.fromarray(world.draw_face(world.person(at), 0)).save(picture)
    sizes = SimpleNamespace(face_size=24, voice_seconds=0.5)
    data = read_data([tmp_path], sizes, tmp_path / "cache", DataOptions(faces="whole"))
    parts = split(data, "letters")
    people = {side: [part.names[n] for n in part.people] for side, part in parts.items()}
    assert people == {"validation": names[:2], "test": names[2:4], "train": names[4:]}
    assert np.array_equal(parts["train"].paired, parts["train"].people)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,gender\nann,f\n", "first line must name VoxCeleb1 ID"),
        ("VoxCeleb1 ID\tVGGFace1 ID\tGender\n", "has no column 'set'"),
        (FIRST + "id10003\tAamir_Khan\n", "line 5: 5 columns are expected, 2"),
        (FIRST.splitlines()[0], "names nobody"),
        ("", "first line must name VoxCeleb1 ID"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path, text, reason):
    (tmp_path / "vox1_meta.csv").write_text(text)
    with pytest.raises(BadRequest, match=reason):
        read_people([tmp_path / "vox1_meta.csv"], ("gender", "set"))


def test_a_root_without_anybody_is_refused(tmp_path):
    (tmp_path / "vox1_meta.csv").write_text(FIRST)
    with pytest.raises(BadRequest, match=r"such as id10001 or A.J._Buckley"):
        voxceleb_jobs(tmp_path, WHOLE)
    with pytest.raises(BadRequest, match=r"has no vox1_meta.csv or vox2_meta.csv"):
        voxceleb_jobs(tmp_path / "elsewhere", WHOLE)


# The published table.


def test_the_published_table_is_read_and_its_people_are_those_of_the_splits(test_data):
    lists = test_data / "lists" / "cmpc"
    people = read_people([lists / "vox1_meta.csv.gz"], ("gender", "set"))
    assert len(people) == len({one.id for one in people}) == 1251
    assert collections.Counter(one.gender for one in people) == {"m": 690, "f": 561}
    sides = read_split(lists / "Splits" / "identity_splits.txt.gz")
    assert set(sides) == {one.name for one in people}
    letters = collections.Counter(split_by_letter(one.name) for one in people)
    assert sum(letters.values()) == 1251
    assert letters["train"] > letters["test"] > letters["validation"] >= 112
