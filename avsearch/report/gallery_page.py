"""A page about a gallery: random queries from it with their answers, and the accuracy of all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from avsearch.api import MediaIndex, OnProgress
from avsearch.media import Faces
from avsearch.report import html
from avsearch.report.leave_one_out import (
    DirectionResult,
    ItemQuery,
    by_person,
    query_own_items,
    summarize,
)
from avsearch.runtime.weights import find_weights, model_record, people_of
from indexer.errors import BadRequest, printable
from indexer.ingest.ingest import IngestReport
from indexer.records import Item
from indexer.types import Media

TOP = 5  # answers that are shown
SHOWN = 3  # queries of each direction that are shown
NAME = "gallery.html"

TABLE_HEAD = (
    *("asked with", "people", "questions", "right person first", "by chance"),
    *("right gender first", "by chance"),
)
WORDS = {
    "V-F": "a voice, for faces",
    "F-V": "a face, for voices",
    "V-V": "a voice, for voices",
    "F-F": "a face, for faces",
}
HEADINGS = {
    "V-F": "Whose face could this voice have?",
    "F-V": "Whose voice could this face have?",
    "V-V": "Who else sounds like this voice?",
    "F-F": "Who else looks like this face?",
}
NOTICE = (
    "Nothing here identifies anybody. A voice shows whether a face is a woman's or a man's, a "
    "little of its age, and hardly ever more: expect answers of the right gender; the right "
    "person is luck. Two recordings of one voice, or two pictures of one face, have far more in "
    "common, and still people are confused. This is not evidence of anybody's identity."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """The results of :func:`show_gallery`: the index, the page, and the accuracy."""

    index: Path
    page: Path
    report: IngestReport
    kinds: list[DirectionResult]


def show_gallery(
    gallery: Path,
    folder: Path,
    *,
    faces: Faces = "detect",
    on_progress: OnProgress | None = None,
) -> Shown:
    """Index a gallery inside a folder, search with its own items, and write a page of answers.

    An index that is already in ``folder`` is updated.

    Raises:
        BadRequest: As in :meth:`avsearch.api.MediaIndex.add`, or the gallery has no queries.
    """
    record = model_record(find_weights(None))
    known = {name for side in ("train", "validation") for name in people_of(record, side)}
    with MediaIndex(folder / "index") as index:
        report = index.add(gallery, faces=faces, on_progress=on_progress)
        queries = query_own_items(index.store, known)
        in_training = sum(who.key in known for who in index.people())
    if not any(queries.values()):
        raise BadRequest(
            f"There is nothing to ask in {printable(gallery)}: nobody new to the model has both a "
            "face and a voice, or two of one, in files of their own; add some."
        )
    results = [summarize(way, found) for way, found in queries.items() if found]
    cards = [_card(way, each) for way, found in queries.items() for each in _chosen(found)]
    title = f"Faces and voices of {printable(Path(gallery.resolve().name))}"
    counts = {"people": report.people, "faces": report.faces, "voices": report.voices}
    figures = [(name, str(count)) for name, count in counts.items()]
    text = [
        "Each query is a face or a voice of the gallery, chosen at random and not for its answer. "
        "The candidates are all items from other files; of each person the nearest is shown, the "
        "larger score first.",
        f"{in_training} of the people have names of people the model was trained or chosen on: "
        "they are candidates, and there are no queries about them.",
        "The table counts all queries, of which a few are shown below. Each person has the same "
        "weight in it; with few people, it is rough.",
    ]
    about = html.PageSection("How to read this page", text, [TABLE_HEAD, *map(table_row, results)])
    html.write_page(folder / NAME, title, NOTICE, cards, figures, [about])
    return Shown(index.folder, folder / NAME, report, results)


def table_row(result: DirectionResult) -> tuple[str, ...]:
    """Return a direction's row under :data:`TABLE_HEAD`."""
    shares = (result.right, result.right_by_chance, result.gender, result.gender_by_chance)
    cells = ("" if share is None else f"{share:.0%}" for share in shares)
    return (WORDS[result.way], str(result.people), str(result.questions), *cells)


def _chosen(queries: Sequence[ItemQuery]) -> list[ItemQuery]:
    """Return the queries that are shown: one a person, the genders in turns."""
    groups: dict[str | None, list[ItemQuery]] = {}
    for first, *_ in by_person(queries):
        groups.setdefault(first.item.person.gender, []).append(first)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    return [each for each in turns if each is not None][:SHOWN]


def _card(way: str, query: ItemQuery) -> html.QueryCard:
    person = query.item.person
    about = f"{person.name or person.key}{f' ({person.gender})' if person.gender else ''}"
    caption = f"It is {about}, at place {query.place} of {len(query.hits)}."
    answers = []
    for rank, hit in enumerate(query.hits[:TOP], 1):
        who = hit.item.person
        facts = {"gender": who.gender, "nationality": who.nationality}
        attributes = {key: value for key, value in facts.items() if value}
        media = _media(hit.item)
        name = who.name or who.key
        answers.append(
            html.AnswerCard(rank, who.key, name, hit.score, media, attributes, hit.right)
        )
    return html.QueryCard(HEADINGS[way], _media(query.item), caption, answers)


def _media(item: Item) -> Media:
    return Media(item.path, item.modality, item.start_s, item.end_s, item.box)
