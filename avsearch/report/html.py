"""A page of queries and answers with images of faces and players for voices.

The page is a single HTML file with the images and sounds inside. So it can be opened without the
program and the gallery, and it loads nothing from the network.
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
from avsearch.media.images.pixels import shrink
from indexer.errors import AvsearchError
from indexer.runtime.atomic import replacing
from indexer.types import Media

THUMBNAIL = 128  # pixels of an image's longer side
MAX_SOUND_S = 20.0  # a longer sound is cut, so that the page stays small
MAX_SOUND_BYTES = 1_000_000  # a larger file is not embedded whole

UNREADABLE = (OSError, AvsearchError)  # for a file that is missing, broken or of another kind

# The formats that browsers play.
SOUND_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
}


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerCard:
    """One answer to a query: the person, the score, and the face or voice itself.

    ``correct`` is True for the right person, None if that is unknown.
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
    """A face or a voice that is the query, its caption, and the answers."""

    heading: str
    media: Media
    caption: str
    answers: Sequence[AnswerCard]


@dataclasses.dataclass(frozen=True, slots=True)
class PageSection:
    """A part of a page without queries: text, a table and images, each left out if empty.

    Attributes:
        heading: The heading.
        text: Paragraphs.
        table: Rows; the first one is the head.
        marked: The numbers of rows, from 0 after the head, that are highlighted.
        pictures: PNG files with their descriptions.
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
    queries: Sequence[QueryCard],
    figures: Sequence[tuple[str, str]] = (),
    sections: Sequence[PageSection] = (),
) -> None:
    """Write a page, whole or not at all.

    Args:
        path: The file.
        title: The title and first heading.
        notice: A text in a box at the top, if it is not empty.
        queries: The queries with their answers.
        figures: Labels and values of the summary.
        sections: Sections before the queries.
    """
    page = render_page(title, notice, queries, figures, sections)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")


def render_page(
    title: str,
    notice: str,
    queries: Sequence[QueryCard],
    figures: Sequence[tuple[str, str]] = (),
    sections: Sequence[PageSection] = (),
) -> str:
    """Return the page of :func:`write_page` as HTML."""
    head = f'<meta charset="utf-8">{VIEWPORT}{POLICY}<title>{_text(title)}</title>'
    body = [
        f"<header><h1>{_text(title)}</h1>{_notice(notice)}{_figures(figures)}</header>",
        "<main>",
        *(_section(section) for section in sections),
        *(_query(place, query) for place, query in enumerate(queries, start=1)),
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
    """Return the summary, one box for each figure."""
    if not figures:
        return ""
    boxes = (
        f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in figures
    )
    return f'<dl class="figures">{"".join(boxes)}</dl>'


def _section(section: PageSection) -> str:
    words = "".join(f"<p>{_text(line)}</p>" for line in section.text)
    pictures = "".join(
        f'<img class="plot" src="{_data_uri("image/png", content)}" alt="{_text(said)}">'
        for content, said in section.pictures
    )
    table = _table(section) if section.table else ""
    return f"<section><h2>{_text(section.heading)}</h2>{words}{table}{pictures}</section>"


def _table(section: PageSection) -> str:
    """Return a table that scrolls by itself if it is wider than the screen."""
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


def _query(place: int, query: QueryCard) -> str:
    """Return a section with the query on top and the answers in order below."""
    label = f"query-{place}"
    shown = media_html(query.media, query.caption)
    answers = "".join(_answer(answer) for answer in query.answers)
    listed = f'<ol class="answers">{answers}</ol>' if answers else "<p>No answer.</p>"
    return (
        f'<section aria-labelledby="{label}"><h2 id="{label}">{_text(query.heading)}</h2>'
        f'<figure class="asked">{shown}<figcaption>{_text(query.caption)}</figcaption></figure>'
        f"{listed}</section>"
    )


def _answer(answer: AnswerCard) -> str:
    """Return a card: rank, verdict, face or voice, name, score and attributes."""
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
    """Return right or wrong in words beside the sign, for readers who do not see the colour."""
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
    """Return an image of a face or a player for a voice; a line of text if it is unreadable."""
    label = _text(f"{media.modality}: {words}")
    try:
        source = picture_uri(media) if media.modality == "face" else sound_uri(media)
    except UNREADABLE:
        return f'<p class="missing">This {media.modality} cannot be shown.</p>'
    if media.modality == "face":
        return f'<img src="{source}" alt="{label}">'
    return f'<audio controls preload="metadata" src="{source}" aria-label="{label}"></audio>'


def picture_uri(media: Media) -> str:
    """Return a face crop as a small JPEG in a data URI."""
    stored = io.BytesIO()
    Image.fromarray(shrink(load_media(media), THUMBNAIL)).save(stored, "JPEG", quality=88)
    return _data_uri("image/jpeg", stored.getvalue())


def sound_uri(media: Media) -> str:
    """Return a voice in a data URI: a small file as it is, else its first seconds."""
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
    """Return text escaped for HTML, quotes too."""
    return html.escape(words, quote=True)


VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'

# No script in the page runs and nothing is fetched, whatever its content.
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
