"""``avsearch query``: ask an index with a face, a voice, or a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.common import (
    device_option,
    index_option,
    json_option,
    plain,
    print_json,
    print_table,
)
from avsearch.cli.say import warn
from indexer.errors import BadRequest, printable

if TYPE_CHECKING:
    from avsearch.search import Answer, By, Hit, Want


@click.command("query")
@click.argument("file", required=False, type=click.Path(readable=False, path_type=Path))
@click.option("--person", help="Ask with a person of the index instead of a file.")
@index_option
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Hits.")
@click.option(
    "--want",
    type=click.Choice(["face", "voice", "any"]),
    help="What to find.  [default: what was not asked with]",
)
@click.option(
    "--by",
    type=click.Choice(["person", "item"]),
    default="person",
    show_default=True,
    help="The best item of each person, or every item.",
)
@click.option("--gender", help="Only people of this gender, f or m.")
@click.option("--nationality", help="Only people of this nationality.")
@click.option("--where", "conditions", metavar="KEY=VALUE", multiple=True, help="Only people with.")
@click.option("--rerank", metavar="NAME|FILE", help="Re-order the best 100 hits with a re-ranker.")
@device_option
@click.option("--explain", is_flag=True, help="Say how the search went about its filter.")
@json_option
def command(
    file: Path | None,
    person: str | None,
    index_path: Path | None,
    top: int,
    want: Want | None,
    by: By,
    gender: str | None,
    nationality: str | None,
    conditions: tuple[str, ...],
    rerank: str | None,
    device: str,
    *,
    explain: bool,
    as_json: bool,
) -> None:
    """Ask an index with a FILE (picture, recording or video) or with a --person.

    Faces answer a voice and voices a face, unless --want says otherwise. A video asks with its
    voice where it has speech, else with its largest face.
    """
    if (file is None) == (person is None):
        raise BadRequest("Ask with a FILE or with --person ID, one of the two.")
    from avsearch.library import ask

    answer, model = ask(
        file,
        person=person,
        index=index_path,
        top=top,
        want=want,
        by=by,
        where=_where(conditions, gender, nationality),
        rerank=rerank,
        device=device,
        warn=warn,
    )
    if as_json:
        print_json(_contract(answer, model))
        return
    if explain:
        plan = answer.plan
        click.echo(f"plan: {plan.kind}, {plan.matching} of {plan.total} vectors match the filter")
    _show(answer)


def _where(
    conditions: tuple[str, ...], gender: str | None, nationality: str | None
) -> dict[str, str]:
    """The filters of the options, by column."""
    named = {"gender": gender, "nationality": nationality}
    where = {key: value for key, value in named.items() if value is not None}
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals or not key.strip():
            raise BadRequest(
                f"--where takes KEY=VALUE, such as accent=Scottish, not {condition!r}."
            )
        if where.setdefault(key.strip(), value.strip()) != value.strip():
            raise BadRequest(f"{key.strip()} was asked for twice; leave one of them.")
    return where


def _contract(answer: Answer, model: str) -> dict[str, Any]:
    asked = answer.asked
    query = {
        "path": plain(asked.path),
        "modality": asked.modality,
        "start_s": asked.start_s,
        "end_s": asked.end_s,
    }
    if asked.person is not None:
        query["person"] = asked.person
    return {"query": query, "model": model, "hits": plain(answer.hits), "plan": plain(answer.plan)}


def _show(answer: Answer) -> None:
    if not answer.hits:
        click.echo("Nothing in this index matches the filter.")
        return
    header: tuple[str, ...] = ("rank", "score", "person", "name", "gender", "nationality", "file")
    rows = [_row(hit) for hit in answer.hits]
    if any(hit.rerank_score is not None for hit in answer.hits):
        header = (*header[:2], "re-rank", *header[2:])
        rows = [
            (*row[:2], _rerank_score(hit), *row[2:])
            for row, hit in zip(rows, answer.hits, strict=True)
        ]
    print_table(header, rows)


def _rerank_score(hit: Hit) -> str:
    return "" if hit.rerank_score is None else f"{hit.rerank_score:.3f}"


def _row(hit: Hit) -> tuple[str, ...]:
    gender, nationality = (hit.attributes[key] or "" for key in ("gender", "nationality"))
    return (
        str(hit.rank),
        f"{hit.score:.3f}",
        hit.person,
        hit.name or "",
        gender,
        nationality,
        printable(hit.path) + _where_in_file(hit),
    )


def _where_in_file(hit: Hit) -> str:
    if hit.end_s is not None:
        return f" {hit.start_s:.1f}-{hit.end_s:.1f} s"
    return f" at {hit.start_s:.1f} s" if hit.start_s else ""
