"""The demo: a small synthetic world, indexed, asked and shown on a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avsearch import page
from avsearch.library import index_galleries
from avsearch.media import MediaExtractor
from avsearch.models import load_model
from avsearch.search import Hit, Searcher, choose_question
from indexer.index import Index
from indexer.ingest import IngestReport, Progress
from indexer.types import Media
from trainer.data.synthetic import SyntheticPerson, World, write_gallery, write_sound
from trainer.metrics import average_precision

PEOPLE = range(24)  # nobody the demo's model was trained on
FACES, VOICES = 3, 2  # of each person, in the gallery
ASKED_ABOUT = PEOPLE[::4]  # the people whose answers are shown
TOP = 5
NOTICE = (
    "Nobody on this page exists. The faces are drawn and the voices computed, from a hidden "
    "identity, gender and accent that both share more closely than in life. Real voices and "
    "faces say far less of each other: little beyond gender, and never who somebody is."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A question of the demo and its best answers."""

    person: SyntheticPerson
    asked: Media
    hits: list[Hit]


@dataclasses.dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made and found.

    ``mean_average_precision`` is that of all questions, one a person, over all faces; the two
    after it are what blind chance and knowing only the gender would give.
    """

    index: Path
    page: Path
    report: IngestReport
    shown: list[Shown]
    mean_average_precision: float
    by_chance: float
    by_gender: float


def run_demo(folder: Path, progress: Progress | None = None) -> Demo:
    """Render the world into a folder, index it, ask with voices it has not indexed, show it."""
    world = World()
    gallery, questions = folder / "gallery", folder / "questions"
    people = write_gallery(world, PEOPLE, gallery, FACES, VOICES)
    asked = [_ask_file(world, person, questions) for person in people]
    index_folder, report = index_galleries(
        [gallery], index=folder / "index", model="demo", faces="whole", progress=progress
    )
    with Index.open(index_folder) as index:
        searcher = Searcher(index, load_model("demo"))
        shown = [_show(searcher, people[number], asked[number]) for number in ASKED_ABOUT]
        scores = _all_scores(searcher, people, asked)
    demo = Demo(
        index=index_folder,
        page=folder / "demo.html",
        report=report,
        shown=shown,
        mean_average_precision=_map(scores, people),
        by_chance=_blind(people, knows_gender=False),
        by_gender=_blind(people, knows_gender=True),
    )
    page.write_page(demo.page, "avsearch demo", NOTICE, _questions(shown), _figures(demo))
    return demo


def _ask_file(world: World, person: SyntheticPerson, folder: Path) -> Path:
    """A take of a person's voice that is not in the gallery."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{person.key}.flac"
    write_sound(path, world.speak(person, take=VOICES), world.settings.rate)
    return path


def _media(path: Path) -> list[Media]:
    return choose_question(list(MediaExtractor("whole").extract(path)))


def _show(searcher: Searcher, person: SyntheticPerson, path: Path) -> Shown:
    hits = searcher.search(_media(path), top=TOP, want="face")
    return Shown(person, Media(path, "voice"), hits)


def _all_scores(
    searcher: Searcher, people: Sequence[SyntheticPerson], asked: Sequence[Path]
) -> list[list[Hit]]:
    """Every face of the gallery, ranked for every question."""
    everything = len(people) * FACES
    return [searcher.search(_media(path), everything, want="face", by="item") for path in asked]


def _map(ranked: list[list[Hit]], people: Sequence[SyntheticPerson]) -> float:
    """Mean average precision of finding a person's own faces."""
    return float(
        np.mean(
            [
                average_precision(
                    np.array([hit.score for hit in hits]),
                    np.array([hit.person == person.key for hit in hits]),
                )
                for hits, person in zip(ranked, people, strict=True)
            ]
        )
    )


def _blind(people: Sequence[SyntheticPerson], *, knows_gender: bool, draws: int = 200) -> float:
    """Mean average precision of random answers, those of the right gender first if it is known."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(len(people)), FACES)
    women = np.array([person.gender == "f" for person in people])
    values = [
        average_precision(
            rng.random(len(who)) + (women[who] == women[asked]) * float(knows_gender), who == asked
        )
        for _ in range(draws)
        for asked in range(len(people))
    ]
    return float(np.mean(values))


def _questions(shown: Sequence[Shown]) -> list[page.Question]:
    return [
        page.Question(
            heading=f"Whose voice is this? ({one.person.name})",
            asked=one.asked,
            caption=f"{one.person.name}, {one.person.gender}, {one.person.nationality}",
            answers=[_answer(hit, one.person) for hit in one.hits],
        )
        for one in shown
    ]


def _answer(hit: Hit, person: SyntheticPerson) -> page.Answer:
    return page.Answer(
        rank=hit.rank,
        person=hit.person,
        name=hit.name or hit.person,
        score=hit.score,
        media=Media(hit.path, hit.modality, hit.start_s, hit.end_s, hit.box),
        attributes={key: value for key, value in hit.attributes.items() if value},
        correct=hit.person == person.key,
    )


def _figures(demo: Demo) -> list[tuple[str, str]]:
    return [
        ("people", str(demo.report.people)),
        ("faces", str(demo.report.faces)),
        ("voices", str(demo.report.voices)),
        ("mAP, voice to face", f"{demo.mean_average_precision:.2f}"),
        ("mAP knowing only the gender", f"{demo.by_gender:.2f}"),
        ("mAP by chance", f"{demo.by_chance:.2f}"),
    ]
