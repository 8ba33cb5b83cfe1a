"""One page of questions and answers that anybody can open: faces to see, voices to hear.

The page is a single HTML file. Pictures and sounds are inside it, so it can be sent to
somebody who has neither the program nor the gallery, and it asks nothing of the network.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
from PIL import Image

from avsearch.media import SAMPLE_RATE, load_media
from avsearch.media.pictures.images import shrink
from indexer.errors import AvsearchError
from indexer.runtime.atomic import replacing
from indexer.types import Media

THUMBNAIL = 128  # pixels, the longer side of a picture
MAX_SOUND_S = 20.0  # a longer sound is cut: nobody listens on, and the page stays small
MAX_SOUND_BYTES = 1_000_000  # a larger file is not put in as it is

UNREADABLE = (OSError, AvsearchError)  # of a file that is missing, broken or of another kind

# What browsers play as it is.
SOUND_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
}


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerCard:
    """One answer to a question: who, how near, and the face or voice itself.

    ``correct`` says whether it is the right person; None where nobody knows.
    """

    rank: int
    person: str
    name: str
    score: float
    media: Media
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    correct: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class QueryCard:
    """A face or a voice that was asked with, in words and as it is, and the answers."""

    heading: str
    asked: Media
    caption: str
    answers: Sequence[AnswerCard]


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A part of a page without questions: text, a table and pictures, each left out if empty.

    The first row of ``table`` is its head; rows of ``marked`` numbers stand out. ``pictures``
    are PNG files and what they show in words.
    """

    heading: str
    text: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    marked: frozenset[int] = frozenset()
    pictures: Sequence[tuple[bytes, str]] = ()


def write_page(
    path: Path,
    title: str,
    notice: str,
    questions: Sequence[QueryCard],
    figures: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
) -> None:
    """Write the page; whoever opens ``path`` meanwhile sees the old page or the new one.

    ``notice`` stands in a box at the top where it is not empty; ``figures`` are labels and
    values that sum the rest up; ``sections`` stand before the questions.
    """
    page = render_page(title, notice, questions, figures, sections)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")


def render_page(
    title: str,
    notice: str,
    questions: Sequence[QueryCard],
    figures: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
) -> str:
    """The whole page as HTML."""
    head = f'<meta charset="utf-8">{VIEWPORT}{POLICY}<title>{_text(title)}</title>'
    body = [
        f"<header><h1>{_text(title)}</h1>{_notice(notice)}{_figures(figures)}</header>",
        "<main>",
        *(_section(section) for section in sections),
        *(_question(place, question) for place, question in enumerate(questions, start=1)),
        "</main>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}\n<style>{STYLE}</style></head>\n'
        + "<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _notice(notice: str) -> str:
    return f'<p class="notice" role="note">{_text(notice)}</p>' if notice else ""


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    """The summary: one box a figure, its value large."""
    if not figures:
        return ""
    boxes = (
        f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in figures
    )
    return f'<dl class="figures">{"".join(boxes)}</dl>'


def _section(section: Section) -> str:
    words = "".join(f"<p>{_text(line)}</p>" for line in section.text)
    pictures = "".join(
        f'<img class="plot" src="{_data_uri("image/png", content)}" alt="{_text(said)}">'
        for content, said in section.pictures
    )
    table = _table(section) if section.table else ""
    return f"<section><h2>{_text(section.heading)}</h2>{words}{table}{pictures}</section>"


def _table(section: Section) -> str:
    """A table that scrolls by itself where it is wider than the screen."""
    head, *rows = section.table
    top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    lines = []
    for place, row in enumerate(rows):
        kind = ' class="marked"' if place in section.marked else ""
        first, *cells = (_text(cell) for cell in row)
        lines.append(
            f'<tr{kind}><th scope="row">{first}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    body = "".join(lines)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _question(place: int, question: QueryCard) -> str:
    """One section: what was asked on top, the answers below in order."""
    label = f"question-{place}"
    shown = media_html(question.asked, question.caption)
    answers = "".join(_answer(answer) for answer in question.answers)
    listed = f'<ol class="answers">{answers}</ol>' if answers else "<p>No answer.</p>"
    return (
        f'<section aria-labelledby="{label}"><h2 id="{label}">{_text(question.heading)}</h2>'
        f'<figure class="asked">{shown}<figcaption>{_text(question.caption)}</figcaption></figure>'
        f"{listed}</section>"
    )


def _answer(answer: AnswerCard) -> str:
    """One card: rank, verdict, face or voice, name, score and attributes."""
    attributes = "".join(
        f"<li><span>{_text(key)}</span> {_text(value)}</li>"
        for key, value in answer.attributes.items()
    )
    kind = {True: " right", False: " wrong", None: ""}[answer.correct]
    return (
        f'<li class="answer{kind}"><p class="rank">{answer.rank}{_verdict(answer)}</p>'
        f"{media_html(answer.media, answer.name)}"
        f'<p class="name">{_text(answer.name)}</p><p class="person">{_text(answer.person)}</p>'
        f'<p class="score"><span>score</span> {answer.score:.3f}</p>'
        f'<ul class="attributes">{attributes}</ul></li>'
    )


def _verdict(answer: AnswerCard) -> str:
    """Right or wrong in words beside the sign, for those who do not see the colour."""
    if answer.correct is None:
        return ""
    sign, word = ("✓", "right") if answer.correct else ("✗", "wrong")
    return f' <span class="verdict"><span aria-hidden="true">{sign}</span> {word}</span>'


def media_table(head: Sequence[str], rows: Sequence[tuple[Media, Sequence[str]]]) -> str:
    """Return a table whose rows begin with a face or a voice, as a notebook shows it."""
    top = "".join(f"<th>{_text(cell)}</th>" for cell in ("", *head))
    lines = (
        f"<tr><td>{media_html(media, cells[0])}</td>"
        + "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        + "</tr>"
        for media, cells in rows
    )
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def media_html(media: Media, words: str) -> str:
    """Return a face or a player of a voice; a line that says so where its file cannot be read."""
    label = _text(f"{media.modality}: {words}")
    try:
        source = picture_uri(media) if media.modality == "face" else sound_uri(media)
    except UNREADABLE:
        return f'<p class="missing">This {media.modality} cannot be shown.</p>'
    if media.modality == "face":
        return f'<img src="{source}" alt="{label}">'
    return f'<audio controls preload="metadata" src="{source}" aria-label="{label}"></audio>'


def picture_uri(media: Media) -> str:
    """A face as a small JPEG inside a data URI, as an embedder is shown it."""
    stored = io.BytesIO()
    Image.fromarray(shrink(load_media(media), THUMBNAIL)).save(stored, "JPEG", quality=88)
    return _data_uri("image/jpeg", stored.getvalue())


def sound_uri(media: Media) -> str:
    """A voice inside a data URI: its file as it is where that is what was asked, else a cut."""
    kind = SOUND_TYPES.get(media.path.suffix.lower())
    whole = media.data is None and media.start_s <= 0.0 and media.end_s is None
    if whole and kind is not None and media.path.stat().st_size <= MAX_SOUND_BYTES:
        return _data_uri(kind, media.path.read_bytes())
    samples = load_media(media)[: round(MAX_SOUND_S * SAMPLE_RATE)]
    stored = io.BytesIO()
    soundfile.write(stored, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return _data_uri("audio/wav", stored.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _text(words: str) -> str:
    """Words as they may stand in a page, quotes included."""
    return html.escape(words, quote=True)


VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'

# Whatever got into the page, no script of it runs and nothing of it is fetched.
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "img-src data:; media-src data:; style-src 'unsafe-inline'\">"
)

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f5f2; --card: #ffffff; --ink: #22252a; --quiet: #5d636d; --line: #dedcd6;
  --right: #1c7a45; --wrong: #b3372f; --note: #fff3d1; --note-ink: #5c4300; --accent: #3a5fb0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181c; --card: #20242a; --ink: #e8e8e6; --quiet: #a3a9b3; --line: #353a43;
    --right: #62cf93; --wrong: #f08a80; --note: #3b3115; --note-ink: #f5dfa0; --accent: #8fb0f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 74rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}
h1 { margin: 0 0 1rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 0 0 1rem; font-size: 1.2rem; }
p { margin: 0; }
section > p + p { margin-top: .5rem; }
.notice {
  padding: .75rem 1rem; border-left: .3rem solid currentColor; border-radius: .4rem;
  background: var(--note); color: var(--note-ink);
}
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0 0; }
.figures div {
  display: flex; flex-direction: column-reverse; flex: 1 1 9rem; padding: .75rem 1rem;
  border: 1px solid var(--line); border-radius: .6rem; background: var(--card);
}
.figures dt { color: var(--quiet); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 650; }
section { margin-top: 2rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
figure { margin: 0; }
.asked {
  display: inline-flex; flex-wrap: wrap; align-items: center; gap: 1rem; max-width: 100%;
  padding: .75rem 1rem .75rem .75rem; border: 2px solid var(--accent); border-radius: .8rem;
  background: var(--card);
}
img { display: block; width: 8rem; height: 8rem; object-fit: contain; border-radius: .5rem; }
audio { display: block; width: 15rem; max-width: 100%; }
.answers {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .75rem;
  margin: 1rem 0 0; padding: 0; list-style: none;
}
.answer {
  min-width: 0; padding: .75rem; overflow-wrap: anywhere;
  border: 1px solid var(--line); border-top: .25rem solid var(--line); border-radius: .6rem;
  background: var(--card);
}
.answer img { width: 100%; height: auto; aspect-ratio: 1; }
.answer audio { width: 100%; }
.right { border-top-color: var(--right); }
.wrong { border-top-color: var(--wrong); }
.rank { display: flex; justify-content: space-between; margin-bottom: .5rem; font-weight: 650; }
.right .verdict { color: var(--right); }
.wrong .verdict { color: var(--wrong); }
.name { margin-top: .5rem; font-weight: 650; line-height: 1.3; }
.person, .score, .attributes { color: var(--quiet); font-size: .85rem; }
.score { font-variant-numeric: tabular-nums; }
.score span, .attributes span { opacity: .8; }
.attributes { margin: .25rem 0 0; padding: 0; list-style: none; }
.wide { overflow-x: auto; margin: .75rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
tbody th { font-weight: 400; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.marked > * { font-weight: 650; }
img.plot { width: 100%; height: auto; margin-top: 1rem; background: #ffffff; }
.missing { padding: 1rem 0; color: var(--quiet); font-style: italic; }
"""
