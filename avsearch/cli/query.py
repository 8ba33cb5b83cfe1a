"""``avsearch query``: search an index with a face, a voice, or a person."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import (
    device_option,
    index_option,
    json_option,
    print_json,
    print_table,
)
from avsearch.cli.output import say, warn
from indexer.errors import ADDRESS, BadRequest, RefusedFile, is_address, printable
from indexer.unicode_names import DiskNames

if TYPE_CHECKING:
    from avsearch.api import MediaIndex
    from avsearch.search import Answer, By, Hit, HitOptions, Want
    from indexer.search.vector_index import Plan
    from indexer.types import Modality

_STDIN = "-"


@click.command("query")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--person", help="Search with a person of the index instead of a file.")
@index_option
@click.option("--model", metavar="NAME|FILE", help="The model of the index, if it has moved since.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Hits.")
@click.option(
    "--want",
    type=click.Choice(["face", "voice", "any"]),
    help="What to find.  [default: the modality that does not ask]",
)
@click.option(
    "--ask",
    type=click.Choice(["face", "voice"]),
    help="What a video asks with.  [default: what is wanted, else its voice]",
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
@click.option(
    "--where",
    "conditions",
    metavar="KEY=VALUE",
    multiple=True,
    help="Filter by attribute, e.g. --where accent=scottish.",
)
@click.option("--rerank", metavar="NAME|FILE", help="Re-order the best 100 hits with a re-ranker.")
@device_option
@click.option("--approximate", is_flag=True, help="Ask the approximate index: most of the nearest.")
@click.option("--explain", is_flag=True, help="Say how the search went about its filter.")
@json_option
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line for each of many FILEs.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    person: str | None,
    index_path: Path | None,
    model: str | None,
    top: int,
    want: Want | None,
    ask: Modality | None,
    by: By,
    gender: str | None,
    nationality: str | None,
    conditions: tuple[str, ...],
    rerank: str | None,
    device: str,
    *,
    approximate: bool,
    explain: bool,
    as_json: bool,
    jsonl: bool,
) -> None:
    """Search an index with a FILE (picture, recording or video) or with a --person.

    - takes the FILE from standard input.

    Faces answer a voice and voices a face, unless --want says otherwise. A video asks with what
    is wanted where it has that, else with its voice, else with its largest face.

    With --jsonl any number of FILEs are asked with, each answered on a line of its own. One that
    cannot be asked with has an "error" there and stops nothing; the exit code is 2 if that was
    so of all of them.
    """
    import avsearch
    from avsearch.search import HitOptions

    _check_request(files, person, jsonl=jsonl, as_json=as_json)
    disk = DiskNames()
    paths = [disk.find(Path(file)) for file in files]
    where = _where(conditions, gender, nationality)
    options = HitOptions(top, want, by, where, approximate)
    with avsearch.open(index_path, model=model, device=device) as index:
        if jsonl and files and files != (_STDIN,):
            if not _print_lines(index, paths, options, ask, rerank):
                ctx.exit(BadRequest.exit_code)
            return
        with _one_file(paths) as file:
            answer = index.query(
                file,
                person=person,
                top=top,
                want=want,
                by=by,
                where=where,
                ask=ask,
                rerank=rerank,
                approximate=approximate,
            )
    if files == (_STDIN,):
        query = dataclasses.replace(answer.query, path=Path(_STDIN))
        answer = dataclasses.replace(answer, query=query)
    for note in answer.notes:
        warn(note)
    if as_json or jsonl:
        print_json(answer.to_dict())
        return
    if explain:
        click.echo(_explained(answer.plan))
    _show(answer, filtered=bool(where))
    assumed = _assumed(answer)
    if assumed:
        say(assumed)
    elif explain:
        say("The model carries no calibration for this query, so no evidence is given.")


def _one_file(files: list[Path]) -> AbstractContextManager[Path | None]:
    """Return the file to search with, if it is one; what comes through a pipe is kept meanwhile."""
    if files == [Path(_STDIN)]:
        from avsearch.cli.standard_input import spooled

        return spooled()
    return contextlib.nullcontext(files[0] if files else None)


def _check_request(
    files: tuple[str, ...], person: str | None, *, jsonl: bool, as_json: bool
) -> None:
    if bool(files) == (person is not None):
        raise BadRequest("Ask with a FILE or with --person ID, one of the two.")
    if len(files) > 1 and not jsonl:
        raise BadRequest(f"{len(files)} files are asked with at once by --jsonl; name one.")
    if jsonl and as_json:
        raise BadRequest("--json prints one answer and --jsonl many; leave one of them out.")
    if len(files) > 1 and _STDIN in files:
        raise BadRequest("Standard input is asked with alone; name it or files, not both.")
    if files and not jsonl and is_address(files[0]) and not os.path.lexists(files[0]):
        raise BadRequest(f"{files[0]} {ADDRESS}")


def _print_lines(
    index: MediaIndex,
    files: list[Path],
    options: HitOptions,
    ask: Modality | None,
    rerank: str | None,
) -> bool:
    """Print each answer on a line; return whether there was any."""
    answered = False
    for file, answer in index.answers(files, options, ask, rerank):
        if isinstance(answer, RefusedFile):
            warn(f"refused {printable(file)}: {answer.reason}")
            print_json({"query": {"path": file}, "error": answer.reason})
        else:
            answered = True
            for note in answer.notes:
                warn(f"note on {printable(file)}: {note}")
            print_json(answer.to_dict())
    return answered


def _explained(plan: Plan) -> str:
    """Say the plan of a search in a sentence."""
    return (
        f"plan: {plan.kind}, {plan.matching} of {plan.total} vectors match the filter, "
        f"{plan.scanned_bytes} bytes to scan"
    )


def _assumed(answer: Answer) -> str:
    """Say what the evidence beside the scores assumes; nothing where there is none."""
    found = next((hit.evidence for hit in answer.hits if hit.evidence is not None), None)
    if found is None:
        return ""
    words = "evidence: support for one person rather than two, in the words of ENFSI"
    if found.people == 1:
        return f"{words}."
    return (
        f"{words}; probability: if exactly one of the {found.people} people who could answer is "
        "right, each as likely beforehand."
    )


def _where(
    conditions: tuple[str, ...], gender: str | None, nationality: str | None
) -> dict[str, str]:
    """Return the filters of the options, by column."""
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


def _show(answer: Answer, *, filtered: bool) -> None:
    if not answer.hits:
        why = "matches the filter" if filtered else "is of the kind that was asked for"
        say(f"Nothing in this index {why}.")
        return
    from avsearch.search import time_words

    columns: dict[str, Callable[[Hit], str]] = {
        "rank": lambda hit: str(hit.rank),
        "score": lambda hit: f"{hit.score:.3f}",
        **_optional_columns(answer),
        "person": lambda hit: hit.person,
        "name": lambda hit: hit.name or "",
        "gender": lambda hit: hit.attributes["gender"] or "",
        "nationality": lambda hit: hit.attributes["nationality"] or "",
        "file": lambda hit: printable(hit.path) + time_words(hit.start_s, hit.end_s),
    }
    rows = [tuple(cell(hit) for cell in columns.values()) for hit in answer.hits]
    print_table(tuple(columns), rows)


def _optional_columns(answer: Answer) -> dict[str, Callable[[Hit], str]]:
    """Return the columns that only some answers have."""
    found: dict[str, Callable[[Hit], str]] = {}
    if any(hit.rerank_score is not None for hit in answer):
        found["re-rank"] = _rerank_score
    weighed = [hit.evidence for hit in answer if hit.evidence is not None]
    if weighed:
        found["evidence"] = lambda hit: "" if hit.evidence is None else hit.evidence.support
    if weighed and weighed[0].people > 1:  # among one person it says nothing
        found["probability"] = _probability
    return found


def _rerank_score(hit: Hit) -> str:
    return "" if hit.rerank_score is None else f"{hit.rerank_score:.3f}"


def _probability(hit: Hit) -> str:
    return "" if hit.evidence is None else f"{hit.evidence.probability:.2g}"
