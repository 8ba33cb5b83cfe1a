"""The demo: a small synthetic world is indexed, queried and shown on a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avsearch.api import MediaIndex, OnProgress
from avsearch.report import html
from avsearch.search import Answer, Hit
from indexer.ingest.ingest import IngestReport
from indexer.types import Media
from trainer.data.synthetic.world import SyntheticPerson, World, write_gallery, write_sound
from trainer.evaluation.metrics import average_precision

PEOPLE = range(24)  # none of them in the training of the demo's model
FACES, VOICES = 3, 2  # of each person, in the gallery
QUERIED = PEOPLE[::4]  # the people whose results are shown
TOP = 5
NOTICE = (
    "Nobody on this page exists. The faces are drawn and the voices computed, from a hidden "
    "identity, gender and accent that both share more closely than in life. Real voices and "
    "faces say far less of each other: little beyond gender, and never who somebody is."
)


@dataclasses.dataclass(frozen=True, slots=True)
class ShownAnswer:
    """A query of the demo and its best results."""

    person: SyntheticPerson
    asked: Media
    hits: Sequence[Hit]


@dataclasses.dataclass(frozen=True, slots=True)
class Demo:
    """The files and figures of the demo.

    ``mean_average_precision`` is over all queries, one for each person, and all faces.
    ``by_chance`` and ``by_gender`` are those of random answers, and of knowing only the gender.
    """

    index: Path
    page: Path
    report: IngestReport
    shown: list[ShownAnswer]
    mean_average_precision: float
    by_chance: float
    by_gender: float


def run_demo(folder: Path, on_progress: OnProgress | None = None) -> Demo:
    """Render the world into a folder, index it, query with new voices, and write the page."""
    world = World()
    gallery, queries = folder / "gallery", folder / "questions"
    people = write_gallery(world, PEOPLE, gallery, FACES, VOICES)
    asked = [_write_query(world, person, queries) for person in people]
    with MediaIndex(folder / "index", model="demo") as index:
        report = index.add(gallery, faces="whole", on_progress=on_progress)
        shown = [
            ShownAnswer(
                people[number],
                Media(asked[number], "voice"),
                index.query(asked[number], top=TOP, want="face").hits,
            )
            for number in QUERIED
        ]
        everything = len(people) * FACES
        ranked = [index.query(file, top=everything, want="face", by="item") for file in asked]
    demo = Demo(
        index=index.folder,
        page=folder / "demo.html",
        report=report,
        shown=shown,
        mean_average_precision=_map(ranked, people),
        by_chance=_baseline(people, knows_gender=False),
        by_gender=_baseline(people, knows_gender=True),
    )
    html.write_page(demo.page, "avsearch demo", NOTICE, _questions(shown), _figures(demo))
    return demo


def _write_query(world: World, person: SyntheticPerson, folder: Path) -> Path:
    """Write a take of a person's voice that is not in the gallery."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{person.key}.flac"
    write_sound(path, world.speak(person, take=VOICES), world.settings.rate)
    return path


def _map(ranked: Sequence[Answer], people: Sequence[SyntheticPerson]) -> float:
    """The mean average precision of finding a person's own faces."""
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


def _baseline(people: Sequence[SyntheticPerson], *, knows_gender: bool, draws: int = 200) -> float:
    """The mean average precision of random answers, those of the right gender first if known."""
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


def _questions(shown: Sequence[ShownAnswer]) -> list[html.QueryCard]:
    return [
        html.QueryCard(
            heading=f"Whose voice is this? ({one.person.name})",
            media=one.asked,
            caption=f"{one.person.name}, {one.person.gender}, {one.person.nationality}",
            answers=[_answer(hit, one.person) for hit in one.hits],
        )
        for one in shown
    ]


def _answer(hit: Hit, person: SyntheticPerson) -> html.AnswerCard:
    return html.AnswerCard(
        rank=hit.rank,
        person=hit.person,
        name=hit.name or hit.person,
        score=hit.score,
        media=hit.media,
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
