"""A gallery on a page: questions drawn from it, with their answers, and how all of them went."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from avsearch.api import MediaIndex, OnProgress
from avsearch.media import Faces
from avsearch.report import html
from avsearch.report.leave_one_out import Hit, Kind, Question, ask_itself, by_person, judged
from avsearch.runtime.weights import find_weights, model_record, people_of
from indexer.errors import BadRequest, printable
from indexer.ingest.ingest import IngestReport
from indexer.records import Item
from indexer.types import Media

TOP = 5  # answers that are shown
SHOWN = 3  # questions of each kind that are shown
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
    "Nothing here says who somebody is. A voice tells of a face whether it is a woman's or a "
    "man's, a little of its age, and hardly ever more: expect answers of the right gender, and "
    "take the right person for luck. Two recordings of one voice, or two pictures of one face, "
    "have far more in common, and still people are mixed up. Not evidence of anybody's identity."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """What was indexed, how the questions were answered, and where the page is."""

    index: Path
    page: Path
    report: IngestReport
    kinds: list[Kind]


def show_gallery(
    gallery: Path,
    folder: Path,
    *,
    faces: Faces = "detect",
    on_progress: OnProgress | None = None,
) -> Shown:
    """Index a gallery inside a folder, ask questions drawn from it, and write a page of answers.

    An index that is in ``folder`` already is brought up to date. Raises BadRequest as
    :meth:`avsearch.api.MediaIndex.add` does, and where nothing could be asked.
    """
    record = model_record(find_weights(None))
    known = {name for side in ("train", "validation") for name in people_of(record, side)}
    with MediaIndex(folder / "index") as index:
        report = index.add(gallery, faces=faces, on_progress=on_progress)
        asked = ask_itself(index.store, known)
        in_training = sum(who.key in known for who in index.people())
    if not any(asked.values()):
        raise BadRequest(
            f"There is nothing to ask in {printable(gallery)}: nobody new to the model has both a "
            "face and a voice, or two of one, in files of their own; add some."
        )
    kinds = [judged(way, questions) for way, questions in asked.items() if questions]
    shown = [_shown(way, each) for way, questions in asked.items() for each in _chosen(questions)]
    title = f"Faces and voices of {printable(Path(gallery.resolve().name))}"
    about = _explained(kinds, in_training)
    html.write_page(folder / NAME, title, NOTICE, shown, _figures(report), [about])
    return Shown(index.folder, folder / NAME, report, kinds)


def table_row(kind: Kind) -> tuple[str, ...]:
    """A kind under :data:`TABLE_HEAD`."""
    shares = (kind.right, kind.right_by_chance, kind.gender, kind.gender_by_chance)
    said = ("" if share is None else f"{share:.0%}" for share in shares)
    return (WORDS[kind.way], str(kind.people), str(kind.questions), *said)


def _chosen(questions: Sequence[Question]) -> list[Question]:
    """The questions that are shown: one a person, the genders in turns."""
    groups: dict[str | None, list[Question]] = {}
    for first, *_ in by_person(questions):
        groups.setdefault(first.asked.person.gender, []).append(first)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    return [each for each in turns if each is not None][:SHOWN]


def _shown(way: str, question: Question) -> html.Question:
    person = question.asked.person
    about = f"{person.name or person.key}{f' ({person.gender})' if person.gender else ''}"
    caption = f"It is {about}, at place {question.place} of {len(question.hits)}."
    answers = [_card(rank, hit) for rank, hit in enumerate(question.hits[:TOP], 1)]
    return html.Question(HEADINGS[way], _media(question.asked), caption, answers)


def _card(rank: int, hit: Hit) -> html.Answer:
    person = hit.item.person
    said = {"gender": person.gender, "nationality": person.nationality}
    return html.Answer(
        rank,
        person.key,
        person.name or person.key,
        hit.score,
        _media(hit.item),
        {key: value for key, value in said.items() if value},
        hit.right,
    )


def _media(item: Item) -> Media:
    return Media(item.path, item.modality, item.start_s, item.end_s, item.box)


def _figures(report: IngestReport) -> list[tuple[str, str]]:
    counts = {"people": report.people, "faces": report.faces, "voices": report.voices}
    return [(name, str(count)) for name, count in counts.items()]


def _explained(kinds: Sequence[Kind], in_training: int) -> html.Section:
    """What was asked and how it went, in words and a table."""
    text = [
        "Each question is a face or a voice of the gallery, drawn at random and not picked for its "
        "answer. Everything in other files than its own could answer; of each person the nearest "
        "is shown, the larger score first.",
        f"{in_training} of the people have names of people the model was trained or chosen on: "
        "they answer, and nobody asks about them.",
        "The table is of all questions that were asked, of which a few are shown below. Each "
        "person weighs the same in it; where they are few, it is rough.",
    ]
    return html.Section("How to read this page", text, [TABLE_HEAD, *map(table_row, kinds)])
