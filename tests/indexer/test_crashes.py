"""Killed at any moment: the index is whole, and the next run ends where an undisturbed one does."""

from __future__ import annotations

import dataclasses
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.catalog.migrations import back_up
from indexer.index import Index
from indexer.maintenance.byte_search import search_folder
from indexer.search.vector_index import prepared
from tests.helpers import version1
from tests.helpers.contents import contents
from tests.helpers.crashing import Moment, Process
from tests.helpers.places import PEOPLE, fill

logger = logging.getLogger(__name__)

QUICK, FULL = 6, 210
LONGEST_S = 0.004  # how long after a point the work may go on
TRIES = 20  # to kill a process that sometimes is quicker than its executioner


@dataclasses.dataclass(frozen=True)
class Story:
    """Work to be killed: initial state, steps, and final state."""

    before: Path | None
    steps: tuple[tuple[str, dict[str, object]], ...]
    points: tuple[dict[str, int], ...]  # passed in each step
    after: dict[str, Counter[tuple[object, ...]]]
    forgotten: str | None = None


@pytest.fixture(scope="session")
def process() -> Iterator[Process]:
    with Process() as running:
        yield running


@pytest.fixture(scope="session")
def stories(process: Process, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    place = tmp_path_factory.mktemp("stories")
    return {
        "first": _story(process, place, "first", None, ("index", {"gallery": _first(place)})),
        "update": _story(process, place, "update", *_update(process, place)),
        "forget": _story(process, place, "forget", *_forget(process, place), forgotten="bob"),
        "import": _story(process, place, "import", None, _import(process, place)),
        "people": _story(process, place, "people", *_people(process, place)),
        "migrate": _story(process, place, "migrate", _migrate(place), ("migrate", {})),
    }


def _story(
    process: Process,
    place: Path,
    name: str,
    before: Path | None,
    *steps: tuple[str, dict[str, object]],
    forgotten: str | None = None,
) -> Story:
    """Do the work once without a kill, to record the final state and the events on the way."""
    folder = _copied(before, place / f"{name}-after")
    points = tuple(process.do(work, folder, **options).points for work, options in steps)
    return Story(before, steps, points, contents(folder), forgotten)


def _gallery(folder: Path) -> str:
    files = {
        f"{who}/{number}.{kind}": "".join(
            f"{what}: {who} {number} {line}\n" for line in range(1 + number % 3)
        )
        for who in ("ann", "bob", "cid", "dan")
        for number in range(4)
        for kind, what in (("wav", "voice"), ("jpg", "face"))
    }
    return str(fill(folder, {**files, "people.csv": PEOPLE, "cid/bad.wav": "refuse: no sound"}))


def _first(place: Path) -> str:
    return _gallery(place / "first-gallery")


def _update(process: Process, place: Path) -> tuple[Path, tuple[str, dict[str, object]]]:
    """Files that changed, are new, missing, moved, and refused now."""
    gallery = place / "update-gallery"
    process.do("index", place / "update-before", gallery=_gallery(gallery), kind="hnsw")
    fill(gallery, {"people.csv": PEOPLE.replace("Bob Baker", "Robert"), "ann/bad.wav": ""})
    fill(gallery, {f"ann/{number}.wav": f"voice: changed {number}\n" for number in range(3)})
    fill(gallery, {f"new/{number}.jpg": f"face: new {number}\n" for number in range(5)})
    fill(gallery, {"bob/0.jpg": "refuse: broken", "cid/bad.wav": "voice: mended\n"})
    (gallery / "bob/1.wav").rename(gallery / "cid/from bob.wav")
    (gallery / "dan").rename(gallery / "daniel")
    for name in ("ann/3.jpg", "cid/2.wav", "cid/2.jpg"):
        (gallery / name).unlink()
    options = {"gallery": str(gallery), "prune": True, "kind": "hnsw"}
    return place / "update-before", ("index", options)


def _people(process: Process, place: Path) -> tuple[Path, tuple[str, dict[str, object]]]:
    """Files that show several people are decided again, since others changed."""
    gallery, who = place / "people-gallery", ("ann", "bob", "cid")
    files = {
        f"{one}/{n}.jpg": f"face: {two}\nface: {one}\n" for one in who for n, two in enumerate(who)
    }
    files |= {f"{one}/alone.jpg": f"face: {one}\n" for one in ("ann", "cid")}
    process.do("index", place / "people-before", gallery=str(fill(gallery, files)))
    fill(gallery, {"ann/alone.jpg": "face: bob\n", "bob/new.jpg": "face: cid\nface: ann\n"})
    fill(gallery, {"ann/9.jpg": "face: cid\nface: bob\n", "dan/0.jpg": "face: ann\nface: dan\n"})
    (gallery / "cid/alone.jpg").unlink()
    (gallery / "cid/0.jpg").rename(gallery / "ann/from cid.jpg")
    return place / "people-before", ("index", {"gallery": str(gallery), "prune": True})


def _forget(
    process: Process, place: Path
) -> tuple[Path, *tuple[tuple[str, dict[str, object]], ...]]:
    gallery = place / "forget-gallery"
    process.do("index", place / "forget-before", gallery=_gallery(gallery), kind="hnsw")
    back_up(place / "forget-before" / "catalog.sqlite", "1")
    shutil.rmtree(gallery / "bob")
    forgetting = ("forget", {"person": "bob"})
    after = ("index", {"gallery": str(gallery), "kind": "hnsw"})
    return place / "forget-before", forgetting, after


def _import(process: Process, place: Path) -> tuple[str, dict[str, object]]:
    process.do("index", place / "exported", gallery=_gallery(place / "import-gallery"))
    file = str(place / "import.parquet")
    process.do("export", place / "exported", file=file)
    return "take_in", {"file": file}


def _migrate(place: Path) -> Path:
    return version1.make(place / "migrate-before").parent


def _copied(before: Path | None, folder: Path) -> Path:
    if before is not None:
        shutil.copytree(before, folder)
    return folder


# The trials

NAMES = ("first", "update", "forget", "import", "migrate", "people")


@pytest.fixture
def draw(request: pytest.FixtureRequest, crash_seed: int) -> random.Random:
    trial = request.getfixturevalue("trial")
    logger.warning("The same again: --crash-seed %d", crash_seed)
    return random.Random(f"{crash_seed} {trial}")


@pytest.mark.parametrize("trial", range(QUICK))
def test_a_few_killed_runs_lose_nothing(trial, draw, process, stories, tmp_path):
    _kill_and_finish(NAMES[trial % len(NAMES)], draw, process, stories, tmp_path)


@pytest.mark.crash
@pytest.mark.parametrize("trial", range(FULL))
def test_no_killed_run_loses_anything(trial, draw, process, stories, tmp_path):
    _kill_and_finish(NAMES[trial % len(NAMES)], draw, process, stories, tmp_path)


def _kill_and_finish(
    name: str,
    draw: random.Random,
    process: Process,
    stories: dict[str, Story],
    place: Path,
) -> None:
    story = stories[name]
    folder = _killed(story, draw, process, place)
    if draw.random() < 0.3:  # the next run may be killed as well
        _step(story, 0, draw, process, folder)
        _check_whole(folder)
    for work, options in story.steps:
        process.do(work, folder, **options)
        _check_whole(folder)
    assert contents(folder) == story.after
    _check_left(story, folder)


def _killed(story: Story, draw: random.Random, process: Process, place: Path) -> Path:
    """An index left in the middle of the first step."""
    for attempt in range(TRIES):
        folder = _copied(story.before, place / str(attempt))
        if _step(story, 0, draw, process, folder):
            _check_whole(folder)
            return folder
    pytest.fail("the work was never killed")


def _step(story: Story, at: int, draw: random.Random, process: Process, folder: Path) -> bool:
    """Do a step and kill it; return True if it was killed before its end."""
    label = draw.choice(sorted(story.points[at]))
    number = draw.randrange(story.points[at][label])
    later_s = draw.choice((0.0, draw.uniform(0.0, LONGEST_S)))
    moment = Moment(label, number, later_s)
    work, options = story.steps[at]
    logger.warning("Kill %s at %s.", work, moment)
    return process.do(work, folder, moment, **options).killed


def _check_whole(folder: Path) -> None:
    if (folder / "catalog.sqlite").exists():
        with Index.open(folder) as index:
            assert index.verify() == []


def _check_left(story: Story, folder: Path) -> None:
    """A deleted person is in no byte, whenever the deletion was stopped."""
    if story.forgotten is None or story.before is None:
        return
    with Index.open(story.before) as index:
        vectors = index.vectors_of(story.forgotten)[1]
    texts = [f"/{story.forgotten}/", "Bob Baker"]
    assert not list(folder.glob("*backup*"))
    pieces = [*vectors, *prepared(vectors, "cosine")]
    assert search_folder(folder, texts, pieces).sentences() == []


def test_what_is_killed_is_killed_in_the_middle(process, stories, tmp_path):
    """The trials are valid only if the work stops at the drawn events."""
    story = stories["first"]
    assert {"COMMIT", "before fsync", "a step"} < story.points[0].keys()
    kept = [stories[name].before / "cache" / "approximate.json" for name in ("update", "forget")]
    assert all(path.exists() for path in kept)
    commits = story.points[0]["COMMIT"]
    ending = process.do(
        "index", tmp_path / "x", Moment("COMMIT", commits // 2), **story.steps[0][1]
    )
    assert ending.killed
    found = contents(tmp_path / "x")["files"]
    assert 0 < found.total() < story.after["files"].total()
    assert found <= story.after["files"]
