from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import BadRequest, RefusedFile
from indexer.types import Media
from trainer.data import prepared_cache
from trainer.data.prepared_cache import PrepareJob, ShardItems, prepare

SIDE = 8


class Decoder:
    """Jobs whose items follow from their number; remembers what was read."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.stops_at: int | None = None

    def job(self, number: int) -> PrepareJob:
        def items() -> Iterator[Media]:
            if number == self.stops_at:
                raise KeyboardInterrupt
            self.read.append(number)
            path = Path(f"{number}")
            if number % 7 == 3:
                raise RefusedFile(path, "nobody is in it.")
            yield Media(path, "face", data=np.full((4, 4, 3), number, np.uint8))
            yield Media(path, "voice", data=np.full(5 + number, number / 1000, np.float32))

        return PrepareJob(f"person {number % 4}", f"file {number}", f"identity {number}", items)

    def jobs(self, count: int) -> list[PrepareJob]:
        return [self.job(number) for number in range(count)]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(prepared_cache, "USUAL_JOBS", 4)
    monkeypatch.setattr(prepared_cache, "MOST_JOBS", 9)


def contents(folder: Path, jobs: list[PrepareJob]) -> list[tuple[str, str, int, int]]:
    """Person, origin, first value and length of every item, faces then voices."""
    prepared = prepare(jobs, SIDE, folder)
    found = []
    for modality in ("face", "voice"):
        entries = prepared.of(modality)
        items = ShardItems(entries)
        assert len(items) == len(entries)
        for row, entry in enumerate(entries):
            item = items[row]
            assert (item == item.flat[0]).all()
            found.append((entry.job.person, entry.job.origin, int(item.flat[0]), item.size))
    return found


def expected(count: int) -> list[tuple[str, str, int, int]]:
    numbers = [n for n in range(count) if n % 7 != 3]
    faces = [(f"person {n % 4}", f"file {n}", n, SIDE * SIDE * 3) for n in numbers]
    levels = [int(np.float32(n / 1000) * np.float32(32767)) for n in numbers]
    voices = [
        (f"person {n % 4}", f"file {n}", level, 5 + n)
        for n, level in zip(numbers, levels, strict=True)
    ]
    return faces + voices


def test_items_come_back_with_whose_they_are_in_the_order_of_the_jobs(tmp_path):
    assert contents(tmp_path, Decoder().jobs(40)) == expected(40)


def test_nothing_is_decoded_twice(tmp_path):
    decoder = Decoder()
    first = contents(tmp_path, decoder.jobs(40))
    assert sorted(decoder.read) == [*range(40)]
    assert contents(tmp_path, decoder.jobs(40)) == first
    assert len(decoder.read) == 40


def test_refusals_are_kept_with_their_reasons(tmp_path):
    for _ in range(2):
        prepared = prepare(Decoder().jobs(12), SIDE, tmp_path)
        assert prepared.refused == [
            ("file 3", "nobody is in it."),
            ("file 10", "nobody is in it."),
        ]


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path):
    decoder = Decoder()
    decoder.stops_at = 33
    with pytest.raises(KeyboardInterrupt):
        prepare(decoder.jobs(40), SIDE, tmp_path, threads=1)
    before = len(decoder.read)
    decoder.stops_at = None
    assert contents(tmp_path, decoder.jobs(40)) == expected(40)
    again = decoder.read[before:]
    assert 33 in again
    assert len(again) < 20  # the shard that was open, and those that were never begun


def test_a_new_job_moves_only_its_own_shard(tmp_path):
    decoder = Decoder()
    jobs = decoder.jobs(60)
    prepare(jobs, SIDE, tmp_path)
    decoder.read.clear()
    prepare([*jobs[:30], decoder.job(61), *jobs[30:]], SIDE, tmp_path)
    assert 61 in decoder.read
    assert len(decoder.read) <= 2 * 9


def test_another_size_is_another_shard(tmp_path):
    decoder = Decoder()
    prepare(decoder.jobs(3), SIDE, tmp_path)
    small = prepare(decoder.jobs(3), SIDE // 2, tmp_path)
    assert ShardItems(small.of("face"))[0].shape == (SIDE // 2, SIDE // 2, 3)
    assert ShardItems(prepare(decoder.jobs(3), SIDE, tmp_path).of("face"))[0].shape[0] == SIDE


@settings(max_examples=30)
@given(place=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_a_shard_that_was_damaged_anywhere_is_made_again(tmp_path_factory, place, cut):
    folder = tmp_path_factory.mktemp("damaged")
    prepare(Decoder().jobs(3), SIDE, folder)
    (shard,) = folder.iterdir()
    raw = bytearray(shard.read_bytes())
    at = int(place * len(raw))
    raw[at] ^= 0xFF
    shard.write_bytes(raw[:at] if cut else raw)
    prepared_cache._arrays.cache_clear()
    decoder = Decoder()
    assert contents(folder, decoder.jobs(3)) == expected(3)
    assert decoder.read == [0, 1, 2]


def test_a_file_that_is_not_ours_is_not_taken_for_a_shard(tmp_path):
    prepare(Decoder().jobs(2), SIDE, tmp_path)
    (shard,) = tmp_path.iterdir()
    prepared_cache.save_file({"face": np.zeros(3)}, shard)
    prepared_cache._arrays.cache_clear()
    assert contents(tmp_path, Decoder().jobs(2)) == expected(2)


def test_nothing_half_written_is_left_where_the_disk_is_full(tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared_cache, "save_file", full)
    with pytest.raises(BadRequest, match=r"cannot be written: No space left on device; make room"):
        prepare(Decoder().jobs(3), SIDE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"file cannot be written"):
        prepare(Decoder().jobs(1), SIDE, tmp_path / "file")


def test_no_jobs_give_no_items(tmp_path):
    assert prepare([], SIDE, tmp_path).entries == []


def test_loud_samples_are_clipped_and_not_wrapped(tmp_path):
    loud = np.array([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0], np.float32)
    job = PrepareJob("p", "f", "i", lambda: iter([Media(Path("f"), "voice", data=loud)]))
    item = ShardItems(prepare([job], SIDE, tmp_path).of("voice"))[0]
    assert item.tolist() == [-32767, -32767, 0, 16383, 32767, 32767]


@pytest.mark.parametrize(("origin", "kept"), [("a/b.jpg", [7]), ("a/b.mp4", [7, 8, 9])])
def test_of_several_faces_in_a_picture_the_first_is_kept_and_the_others_counted(
    tmp_path, origin, kept
):
    def items() -> Iterator[Media]:
        for shade in (7, 8, 9):  # the largest comes first
            yield Media(Path(origin), "face", data=np.full((4, 4, 3), shade, np.uint8))

    for _ in range(2):  # decoded, then from the shard
        prepared = prepare([PrepareJob("ann", origin, "the same", items)], SIDE, tmp_path)
        faces = ShardItems(prepared.of("face"))
        assert [int(faces[row].flat[0]) for row in range(len(faces))] == kept
        assert prepared.left_out == ([(origin, 2)] if len(kept) == 1 else [])
