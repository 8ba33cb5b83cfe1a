from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from indexer import approximate
from indexer.approximate import ApproximateIndex, GraphFile, HnswGraph
from indexer.cache.segment_file import UnfitCacheError
from indexer.errors import BadRequest
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Person, Revision, Stat
from indexer.search.exact_index import ExactIndex
from indexer.search.segment import Segment
from indexer.search.vector_index import Neighbours
from tests.helpers.fakes import DIM, SPACE
from tests.helpers.places import everything

COUNT = 600


def vectors_of(ids):
    """Near its number's own direction, so that a query has neighbours to be found."""
    table = np.random.default_rng(5).standard_normal((20, DIM)).astype(np.float32)
    noise = np.stack([np.random.default_rng(i).standard_normal(DIM) for i in ids])
    return (table[np.asarray(ids) % 20] + 0.3 * noise).astype(np.float32)


def segment(ids):
    ids = np.asarray(ids, np.int64)
    return Segment.of(ids, ids // 2, ids % 2 == 0, vectors_of(ids), "cosine")


def vector_index(segments):
    return ExactIndex(DIM, "cosine", "cpu", segments)


QUERIES = vectors_of(range(2000, 2040))


def share_found(found, right):
    return np.mean([np.isin(a, b).mean() for a, b in zip(right.ids, found.ids, strict=True)])


def put(index, ids):
    """Items as files of their own; number i is of person i % 3, a face if i is even."""
    folder = index.folder.parent
    with index.writing() as catalog, catalog.write("test") as write:
        write.put_files(
            [
                (
                    FileRecord(
                        path=folder / f"{i}.jpg",
                        gallery=folder,
                        stat=Stat(i, i),
                        sha256=f"{i:064x}",
                        settings="test",
                        source_keys=frozenset({(f"person-{i % 3}", None, 0.0, None)}),
                    ),
                    [NewItem(f"person-{i % 3}", ("face", "voice")[i % 2], 0.0, None, None, vector)],
                )
                for i, vector in zip(ids, vectors_of(ids), strict=True)
            ],
            {f"person-{p}": Person(f"person-{p}", gender="f" if p == 0 else "m") for p in range(3)},
        )


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "index", SPACE, notes={"approximate": "hnsw"}) as made:
        put(made, range(COUNT))
        yield made


def files(index):
    return sorted(path.name for path in (index.folder / "cache").glob("approximate*"))


def test_most_of_the_nearest_are_found_and_their_scores_are_exact():
    segments = [segment(range(400)), segment(range(400, 600)).without(np.arange(200) < 20)]
    vectors = vector_index(segments)
    way = ApproximateIndex(vectors, HnswGraph.build("cosine", segments))
    found, right = way.nearest(QUERIES, 10), vectors.nearest(QUERIES, 10)
    assert found.plan.kind == "hnsw"
    assert share_found(found, right) > 0.8
    scores = [dict(zip(*row, strict=True)) for row in zip(right.ids, right.scores, strict=True)]
    for ids, near, true in zip(found.ids, found.scores, scores, strict=True):
        assert all(true.get(i, s) == s for i, s in zip(ids, near, strict=True))
        assert not np.isin(ids, np.arange(400, 420)).any()


def test_what_came_since_is_found_and_what_went_is_not():
    before = segment(range(500))
    made = HnswGraph.build("cosine", [before])
    gone = np.isin(before.ids, vector_index([before]).nearest(QUERIES[:1], 5).ids)
    segments = [before.without(gone), segment(range(2000, 2010))]
    found = ApproximateIndex(vector_index(segments), made).nearest(QUERIES[:10], 4)
    assert found.plan.kind == "hnsw"
    assert found.ids[:, 0].tolist() == list(range(2000, 2010))
    assert not np.isin(found.ids, before.ids[gone]).any()


@pytest.mark.parametrize(
    ("k", "matching"),
    [(3, 100), (3, 0), (200, 600), (600, 600)],
    ids=["few match", "none match", "a deep answer", "all that there are"],
)
def test_the_exact_way_is_gone_where_an_approximate_one_would_not_do(k, matching):
    segments = [segment(range(COUNT))]
    vectors = vector_index(segments)
    wanted = vectors.row_filter(np.arange(COUNT) < matching)
    found = ApproximateIndex(vectors, HnswGraph.build("cosine", segments)).nearest(
        QUERIES, k, wanted
    )
    right = vectors.nearest(QUERIES, k, wanted)
    np.testing.assert_array_equal(found.ids, right.ids)
    assert found.plan == right.plan


def test_too_few_proposed_is_answered_exactly(monkeypatch):
    monkeypatch.setattr(approximate, "SPARE", 0)
    segments = [segment(range(COUNT))]
    vectors, made = vector_index(segments), HnswGraph.build("cosine", segments)
    wanted = vectors.row_filter(~np.isin(segments[0].ids, vectors.nearest(QUERIES, 10).ids))
    found = ApproximateIndex(vectors, made).nearest(QUERIES, 5, wanted)
    assert found.plan.kind == "selector"
    np.testing.assert_array_equal(found.ids, vectors.nearest(QUERIES, 5, wanted).ids)


def test_an_unselective_filter_is_kept():
    segments = [segment(range(COUNT))]
    vectors = vector_index(segments)
    wanted = vectors.row_filter(segments[0].faces)
    found = ApproximateIndex(vectors, HnswGraph.build("cosine", segments)).nearest(
        QUERIES, 5, wanted
    )
    assert found.plan.matching == COUNT // 2
    assert (found.ids % 2 == 0).all()


def test_a_graph_is_kept_extended_or_built_again_as_its_items_change(monkeypatch):
    old = segment(range(500))
    made = HnswGraph.build("cosine", [old])
    assert made.updated("cosine", [old, segment(range(500, 510))]) is made
    monkeypatch.setattr(approximate, "NEW_ITEMS", 5)
    extended = made.updated("cosine", [old, segment(range(500, 510))])
    assert extended.ids.tolist() == list(range(510))
    assert made.ids.tolist() == list(range(500))  # another thread may be searching it
    again = made.updated("cosine", [old.without(old.ids < 200)])
    assert again.ids.tolist() == list(range(200, 500))
    doubled = made.updated("cosine", [segment(range(100)), segment(range(1000, 3000))])
    assert doubled.ids.tolist() == [*range(100), *range(1000, 3000)]  # without deleted ones


def holding(index, segments):
    """Return the files of the index that contain one of these byte strings."""
    content = everything(index.folder)
    return [path for path, held in content.items() if any(part in held for part in segments)]


@pytest.mark.parametrize("damage", ["flip", "cut", "manifest", "lost"])
def test_a_damaged_file_is_seen(tmp_path, damage):
    stored = GraphFile(tmp_path, SPACE)
    stored.write(HnswGraph.build("cosine", [segment(range(50))]), Revision(1, "now"))
    (path,) = tmp_path.glob("approximate-*")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "lost":
        path.unlink()
    else:
        manifest = tmp_path / "approximate.json"
        facts = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**facts, "revision": {"number": 9, "at": "now"}}))
    assert len(stored.problems()) == 1
    with pytest.raises(UnfitCacheError):
        GraphFile(tmp_path, SPACE).read()


# As segment of an index


def test_an_index_is_asked_exactly_unless_told_otherwise(index):
    assert index.search(QUERIES, 5).plan.kind == "everything"
    near = index.search(QUERIES, 5, approximate=True)
    assert near.plan.kind == "hnsw"
    few = {"modality": "face", "where": {"person": "person-1"}}
    assert index.search(QUERIES, 5, **few, approximate=True).plan.kind == "gather"
    people = index.search(QUERIES, 3, by="person", approximate=True)
    assert people.plan.kind == "hnsw"
    assert all(len({item.person.key for item, _ in hits}) == 3 for hits in people.hits)


def test_no_approximate_index_is_said(tmp_path):
    with Index.create(tmp_path / "index", SPACE) as index:
        put(index, range(10))
        assert files(index) == []
        for ask in (lambda: index.search(QUERIES, 5, approximate=True), index.recall):
            with pytest.raises(BadRequest, match=r"no approximate one; make it with"):
                ask()


def test_a_note_of_a_kind_that_is_no_longer_made_is_ignored(tmp_path):
    with Index.create(tmp_path / "index", SPACE, notes={"approximate": "ivf"}) as index:
        put(index, range(10))
        for name in ("approximate.json", "approximate-1"):
            (index.folder / "cache" / name).write_bytes(b"of an earlier version")
        put(index, range(10, 20))
        assert files(index) == []
        assert index.search(QUERIES, 5).plan.kind == "everything"
        with pytest.raises(BadRequest, match=r"no approximate one; make it with"):
            index.search(QUERIES, 5, approximate=True)
        index.note({"approximate": "hnsw"})
        assert index.search(QUERIES, 1, approximate=True).hits


def test_a_stored_index_of_another_kind_is_replaced(index):
    manifest = index.folder / "cache" / "approximate.json"
    facts = json.loads(manifest.read_text())
    del facts["sum"]
    facts["kind"] = "ivf"
    text = json.dumps(facts, sort_keys=True)
    manifest.write_text(json.dumps({**facts, "sum": zlib.crc32(text.encode())}))
    with Index.open(index.folder) as opened:
        assert opened.verify() == []
        assert opened.search(QUERIES, 5, approximate=True).plan.kind == "everything"
        put(opened, [COUNT])
        assert opened.search(QUERIES, 5, approximate=True).plan.kind == "hnsw"


def test_it_survives_updates_and_goes_when_it_is_not_wanted(index):
    put(index, range(COUNT, COUNT + 30))
    with Index.open(index.folder) as reader:
        found = reader.search(vectors_of([COUNT + 7]), 1, approximate=True)
        assert found.plan.kind == "hnsw"
        assert found.hits[0][0][0].path.name == f"{COUNT + 7}.jpg"
    index.note({"approximate": "none"})
    assert files(index) == []


def test_a_damaged_one_is_not_used_and_made_anew(index, caplog):
    (path,) = (index.folder / "cache").glob("approximate-*")
    path.write_bytes(path.read_bytes()[:-1])
    with Index.open(index.folder) as reader:
        assert reader.search(QUERIES, 5, approximate=True).plan.kind == "everything"
        assert "approximate index is not used" in caplog.text
        assert "approximate index is unfit" in reader.verify()[0]
    with Index.open(index.folder) as writer:
        put(writer, [COUNT])
        assert writer.verify() == []
        assert writer.search(QUERIES, 5, approximate=True).plan.kind == "hnsw"


def test_forgetting_builds_it_again_without_the_person(index):
    before = files(index)
    theirs = [vector.tobytes() for vector in vectors_of(range(0, COUNT, 3))]
    assert holding(index, theirs) != []
    receipt = index.forget("person-0")
    assert receipt.clean
    assert not set(before) & set(files(index)) - {"approximate.json"}
    _, made = GraphFile(index.folder / "cache", SPACE).read()
    assert len(made.ids) == COUNT * 2 // 3
    assert index.verify() == []
    assert holding(index, theirs) == []


class NothingFound:
    """Answers with no item at all."""

    def __init__(self, plan):
        self.plan = plan

    def nearest(self, queries, k, wanted=None):
        ids = np.full((len(queries), k), -1, np.int64)
        return Neighbours(ids, np.full(ids.shape, -np.inf, np.float32), self.plan)


def test_recall_is_measured_against_the_exact_answer(index, monkeypatch):
    result = index.recall(40, 5)
    assert (result.kind, result.asked, result.k) == ("hnsw", 40, 5)
    assert 0.7 < result.recall <= 1
    assert min(result.exact_ms, result.approximate_ms) > 0
    nothing = NothingFound(index.search(QUERIES, 1).plan)
    monkeypatch.setattr(ApproximateIndex, "nearest", nothing.nearest)
    assert index.recall(40, 5).recall == 0
