"""One index object used by many threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexer import approximate
from indexer.index import Index
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.search.vector_index import exact_scores, prepared
from tests.helpers.fakes import SPACE, fake_vector

THREADS = 8
ROUNDS = 15
PEOPLE = [
    Person(
        f"person {n:02}", None, "fm"[n % 2], ["France", "Peru", None][n % 3], {"club": f"{n % 4}"}
    )
    for n in range(12)
]
QUERIES = np.stack([fake_vector(f"question {n}") for n in range(3)])
FILTERS = [
    {},
    {"modality": "face"},
    {"modality": "voice", "where": {"gender": "f"}},
    {"where": {"nationality": "peru"}},
    {"where": {"club": "3", "gender": "m"}},
    {"where": {"person": "person 05"}},
    {"modality": "face", "by": "person"},
    {"where": {"club": "1"}, "by": "person"},
]

State = frozenset[tuple[str, str]]  # the paths there are, and whose each is


class World:
    """An index with known states: each is recorded before it is written."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.begun: list[State] = [frozenset()]
        self.done = 1

    def write(self, add: State, remove: State = frozenset()) -> None:
        """Add files of one item each, and remove some."""
        with self.index.writing() as catalog:
            self.begun.append((self.begun[-1] | add) - remove)
            with catalog.write("index") as write:
                write.remove_files([Path(path) for path, _ in remove])
                everybody = {who.key: who for who in PEOPLE}
                write.put_files([_file(path, person) for path, person in sorted(add)], everybody)
            self.done = len(self.begun)


def _modality(path: str) -> str:
    return "face" if path.endswith("jpg") else "voice"


def _file(path: str, person: str) -> tuple[FileRecord, list[NewItem]]:
    asked = frozenset({(person, None, 0.0, None)})
    record = FileRecord(Path(path), Path("/g"), Stat(1, 1), "", "", asked)
    return record, [NewItem(person, _modality(path), 0.0, None, None, fake_vector(path))]


def expected(state: State, k: int, modality=None, where=None, by="item"):
    """Return the answers of a plain loop: paths and scores of each query, best first."""
    cells = {who.key: {c: t.casefold() for c, t in who.cells().items()} for who in PEOPLE}
    there = [
        (path, person)
        for path, person in sorted(state)
        if modality in (None, _modality(path))
        and all(cells[person].get(column) == text for column, text in (where or {}).items())
    ]
    vectors = prepared(np.stack([fake_vector(path) for path, _ in there]), "cosine")
    answers = []
    for query in prepared(QUERIES, "cosine"):
        scores = exact_scores(query, vectors, "cosine")
        seen, best = set(), []
        for at in np.argsort(-scores, kind="stable").tolist():
            path, person = there[at]
            if by == "item" or person not in seen:
                best.append((path, float(scores[at])))
                seen.add(person)
        answers.append(best[:k])
    return answers


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(approximate, "NEW_ITEMS", 3)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    notes = {approximate.NOTE: "hnsw"}
    with Index.create(folder, SPACE, notes=notes) as index:
        world = World(index)
        world.write(
            frozenset(
                (f"/g/{who.key}/{n}.{kind}", who.key)
                for who in PEOPLE
                for n in range(4)
                for kind in ("jpg", "wav")
            )
        )
        yield world
    sys.setswitchinterval(interval)


def together(*works) -> None:
    """Run functions at once, each in its own thread; raise the exception of any."""
    start = threading.Barrier(len(works))

    def begin(work) -> None:
        start.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(begin, work) for work in works]:
            done.result()


def test_threads_get_the_answers_of_a_revision_while_another_writes(world):
    writing = threading.Event()

    def write() -> None:
        for n in range(ROUNDS):
            who = PEOPLE[n % len(PEOPLE)].key
            new = {(f"/g/{who}/new {n}.{kind}", who) for kind in ("jpg", "wav")}
            world.write(frozenset(new), frozenset(sorted(world.begun[-1])[n :: 3 * ROUNDS]))
        writing.set()

    def search(asked) -> None:
        while not writing.is_set():
            before = world.done - 1
            hits = world.index.search(QUERIES, 9, **asked).hits
            answers = [[(str(i.path), score) for i, score in row] for row in hits]
            possible = world.begun[before:]
            assert any(answers == expected(state, 9, **asked) for state in possible), asked

    together(write, *[lambda asked=asked: search(asked) for asked in FILTERS])
    assert world.index.verify() == []


def test_threads_ask_one_revision_with_different_filters(world):
    right = [expected(world.begun[-1], 9, **asked) for asked in FILTERS]

    def search(asked, right) -> None:
        for _ in range(20 * ROUNDS):
            hits = world.index.search(QUERIES, 9, **asked).hits
            assert [[(str(i.path), score) for i, score in row] for row in hits] == right

    together(*[lambda pair=pair: search(*pair) for pair in zip(FILTERS, right, strict=True)])


def test_a_filter_has_its_own_answer_while_another_is_used(world):
    class Interrupted(dict):
        """Runs another search when it is compared, as another thread might."""

        def __eq__(self, other: object) -> bool:
            world.index.search(QUERIES, 9, where={"club": "1"})
            return dict(self) == other

        __hash__ = None

    asked = {"where": {"gender": "f"}}
    right = expected(world.begun[-1], 9, **asked)
    for where in (asked["where"], Interrupted(asked["where"])):
        hits = world.index.search(QUERIES, 9, where=where).hits
        assert [[(str(i.path), score) for i, score in row] for row in hits] == right


def test_threads_may_call_all_other_methods_too(world):
    writing = threading.Event()

    def write() -> None:
        for n in range(ROUNDS):
            world.write(frozenset({(f"/g/x/{n}.{m}.wav", "person 00") for m in range(5)}))
        world.index.forget("person 01")
        world.index.rebuild()
        writing.set()

    def ask() -> None:
        while not writing.is_set():
            assert len(world.index.search(QUERIES, 5, approximate=True).hits) == len(QUERIES)
            assert world.index.verify() == []
            assert world.index.refused() == []
            assert len(world.index.people()) in (11, 12)
            assert world.index.count_people(modality="face") in (11, 12)
            assert world.index.recall(5).recall > 0.5
            assert world.index.notes()[approximate.NOTE] == "hnsw"

    together(write, *[ask] * (THREADS - 1))
    assert world.index.verify() == []


def test_threads_that_write_wait_for_each_other(world, folder):
    def note(index: Index, name: str) -> None:
        for n in range(5):
            index.note({f"{name} {n}": "there"})

    with Index.open(folder) as other:
        works = [
            lambda n=n: note(world.index if n % 2 else other, f"thread {n}") for n in range(THREADS)
        ]
        together(*works)
        assert len(other.notes()) == len(world.index.notes()) == 5 * THREADS + 1


def test_threads_that_open_and_make_an_index_are_not_in_each_others_way(tmp_path):
    def use(n: int) -> None:
        with Index.open_or_create(tmp_path / "shared", SPACE, notes={f"{n}": "there"}) as index:
            index.search(QUERIES, 3)

    together(*[lambda n=n: use(n) for n in range(THREADS)])
    with Index.open(tmp_path / "shared") as index:
        assert len(index.notes()) == THREADS
