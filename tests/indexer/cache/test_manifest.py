from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.cache import manifest as module
from indexer.cache.manifest import SegmentCache
from indexer.cache.refresh import refresh
from indexer.cache.segment_file import UnfitCacheError
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Revision, Stat
from indexer.search.segment import Segment
from indexer.search.vector_index import prepared
from tests.helpers.fakes import DIM, SPACE, fake_vector
from tests.helpers.places import change, everything, fill

QUERY = fake_vector("a question")[None]


def segment(ids, person=1, seed=0):
    ids = np.array(ids, np.int64)
    vectors = np.random.default_rng(seed).standard_normal((len(ids), DIM)).astype(np.float32)
    return Segment.of(ids, np.full(len(ids), person), ids % 2 == 0, vectors, "cosine")


class FakeReader:
    """A catalog as a table in memory: the owner of each id."""

    def __init__(self, owners):
        self.owners = owners

    def item_checksums(self):
        ids, people = self._arrays(self.owners)
        who = np.unique(people)
        sums = [[some[people == p].sum() for p in who] for some in (ids, ids * ids % 2**31)]
        return np.array([who, *sums], np.int64).reshape(3, -1)

    def items_of_people(self, people):
        return self._arrays({i: p for i, p in self.owners.items() if p in people})

    def item_content(self, ids):
        people = np.array([self.owners[i] for i in ids.tolist()], np.int64)
        vectors = np.stack([fake_vector(str(i)) for i in ids.tolist()])
        return ids, people, ids % 2 == 0, vectors

    @staticmethod
    def _arrays(owners):
        pairs = np.array(sorted(owners.items()), np.int64).reshape(-1, 2)
        return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def content(segments):
    """Return owner, whether a face, and vector of each live item."""
    found = {}
    for some in segments:
        for row in np.flatnonzero(some.live_mask):
            number = int(some.ids[row])
            assert number not in found
            found[number] = (int(some.people[row]), bool(some.faces[row]), some.vectors[row])
    return found


steps = st.lists(
    st.tuples(
        st.integers(0, 12),  # new items
        st.lists(st.integers(1, 60), max_size=8),  # deleted, where they are there
        st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5)), max_size=3),  # given to others
    ),
    max_size=6,
)


@settings(max_examples=80)
@given(steps=steps, largest=st.sampled_from([8, 1000]))
def test_a_refreshed_cache_holds_what_the_catalog_does(tmp_path_factory, steps, largest):
    cache = SegmentCache(tmp_path_factory.mktemp("index"), SPACE)
    owners, last = {}, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGEST", largest)
        for number, (new, deleted, given_away) in enumerate(steps):
            owners |= {last + at: at % 4 + 1 for at in range(1, new + 1)}
            last += new
            owners = {i: p for i, p in owners.items() if i not in deleted}
            owners |= {i: p for i, p in given_away if i in owners}
            before = cache.load()[1] if number else []
            read = FakeReader(owners)
            stored = cache.store(refresh(before, read, "cosine"), Revision(number, "now"))
            manifest, loaded = SegmentCache(cache.folder.parent, SPACE).load()
            assert manifest.revision.number == number
            assert manifest.count == len(owners)
            for segments in (stored, loaded):
                found = content(segments)
                assert {i: who for i, (who, _, _) in found.items()} == owners
                for i, (_, face, vector) in found.items():
                    assert face == (i % 2 == 0)
                    expected = prepared(fake_vector(str(i))[None], "cosine")[0]
                    np.testing.assert_array_equal(vector, expected)
            SegmentCache(cache.folder.parent, SPACE).check([])
            cache.check(loaded)
            named = {name for info in manifest.segments for name in info.files()} | {"stamp.json"}
            assert {path.name for path in cache.folder.iterdir()} == named


def test_an_update_writes_its_difference_and_leaves_the_rest(tmp_path):
    cache = SegmentCache(tmp_path, SPACE)
    big = cache.store([segment(range(5000))], Revision(1, "a"))
    before = everything(cache.folder)
    gone = np.arange(5000) == 77
    cache.store([big[0].without(gone), segment([9000, 9001])], Revision(2, "b"))
    after = everything(cache.folder)
    kept = before.keys() & after.keys()
    assert {path.name for path in kept} == {big[0].name, "stamp.json"}
    written = sum(len(content) for path, content in after.items() if path not in kept)
    assert written < 2000
    assert cache.load()[0].count == 5001


def test_small_segments_are_joined_and_much_deleted_ones_rewritten(tmp_path):
    cache = SegmentCache(tmp_path, SPACE)
    segments = []
    for at in range(40):
        segments = cache.store(
            [*segments, segment([10 * at, 10 * at + 1], seed=at)], Revision(at, "a")
        )
    assert len(segments) < 6
    assert sum(map(len, segments)) == 80
    few = [some.without(np.arange(len(some)) > 2) for some in segments]
    assert all(some.deleted is None for some in cache.store(few, Revision(99, "b")))


def test_a_reader_goes_on_with_the_revision_it_has_mapped(index, folder):
    with Index.open(folder) as reader:
        before = reader.search(QUERY, 20).hits
        mapped = reader._cache.held.vectors
        index.forget("bob")
        again = mapped.search(QUERY, 20)
        assert [item.id for item, _ in before[0]] == again.ids[0][: len(before[0])].tolist()
        assert {item.person.key for item, _ in reader.search(QUERY, 20).hits[0]} == {"ann", "cid"}


def test_a_segment_damaged_after_it_was_opened_is_not_joined_into_another(tmp_path):
    SegmentCache(tmp_path, SPACE).store([segment(range(10))], Revision(1, "a"))
    cache = SegmentCache(tmp_path, SPACE)
    _, segments = cache.load()
    path = cache.folder / segments[0].name
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnfitCacheError, match="changed or cut short"):
        cache.store([*segments, segment(range(50, 60))], Revision(2, "b"))


def test_an_item_given_to_another_person_is_found_with_them(index, folder):
    with Index.open(folder) as reader:
        reader.search(QUERY, 1)
        change(folder, "UPDATE item SET person_id = 3 WHERE id = 2")
        change(folder, "INSERT INTO revision (at, what) VALUES ('later', 'moved')")
        hits = reader.search(QUERY, 20, where={"person": "cid"}).hits[0]
        assert 2 in [item.id for item, _ in hits]
        assert reader.verify() == []


def test_the_cache_of_an_earlier_kind_is_replaced(run, folder, caplog):
    run()
    old = fill(folder / "cache", {"vectors.faiss": "as it was", "stamp.json": '{"sha256": "0"}'})
    with Index.open(folder) as index:
        assert index.search(QUERY, 3).hits[0]
        assert "cache is rebuilt" in caplog.text
        assert index.verify() == []
    assert not (old / "vectors.faiss").exists()


def test_opening_reads_no_vector_and_loads_no_faiss(index, folder):
    for path in folder.glob("cache/*"):
        path.unlink()
    code = (
        "import sys, pathlib; from indexer.index import Index\n"
        f"index = Index.open(pathlib.Path({str(folder)!r})); index.counts(); index.people()\n"
        "sys.exit('faiss' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_segments_of_a_failed_write_are_not_taken_for_those_of_the_next(folder):
    """Ids that were never committed are reused."""
    path = folder.parent / "gallery" / "ann" / "1.wav"
    asked = frozenset({("ann", "voice", 0.0, None)})
    record = FileRecord(path, path.parents[1], Stat(1, 1), "0" * 64, "", asked)

    def write(index, vector, *, fails=False):
        item = NewItem("ann", "voice", 0.0, None, None, vector)
        with index.writing() as catalog, catalog.write("test") as to:
            to.put_files([(record, [item])], {})
            if fails:
                index.prewrite(segment([1]))
                raise RuntimeError("the disk is gone")

    with Index.create(folder, SPACE) as index:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            write(index, fake_vector("before"), fails=True)
        write(index, fake_vector("after"))
        assert index.verify() == []
        ((_, score),) = index.search(fake_vector("after")[None], 1).hits[0]
        assert score == pytest.approx(1, abs=1e-6)
