"""``avsearch query``: search an index with a face, a voice, or a person."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avsearch.cli.options import device_option, index_option, json_option, model_option
from avsearch.cli.output import on_terminal, print_json, print_table, say, warn
from indexer.errors import ADDRESS, BadRequest, RefusedFile, is_address, printable
from indexer.unicode_names import DiskNames

if TYPE_CHECKING:
    from avsearch.api import MediaIndex
    from avsearch.search import Answer, Hit, HitOptions
    from indexer.types import Modality

_STDIN = "-"


@click.command("query")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--person", help="Search with a person of the index instead of a file.")
@index_option
@model_option
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Hits.")
@click.option(
    "--want",
    type=click.Choice(["face", "voice", "any"]),
    help="What to find.  [default: the modality that the query does not have]",
)
@click.option(
    "--ask",
    type=click.Choice(["face", "voice"]),
    help="What to search with from a video.  [default: what is wanted, else its voice]",
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
@click.option(
    "--approximate", is_flag=True, help="Search the approximate index: most of the nearest."
)
@click.option("--explain", is_flag=True, help="Show how the search applied its filter.")
@json_option
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line for each of many FILEs.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    person: str | None,
    index_path: Path | None,
    model: str | None,
    device: str,
    gender: str | None,
    nationality: str | None,
    conditions: tuple[str, ...],
    ask: Modality | None,
    rerank: str | None,
    *,
    explain: bool,
    as_json: bool,
    jsonl: bool,
    **options: Any,
) -> None:
    """Search an index with a FILE (picture, recording or video) or with a --person.

    - takes the FILE from standard input.

    A voice finds faces and a face finds voices, unless --want says otherwise. A video is searched
    with what is wanted if it has that, else with its voice, else with its largest face.

    With --jsonl any number of FILEs are searched with; each has its answer on a line of its own.
    A FILE that cannot be used has an "error" there and stops nothing; the exit code is 2 if none
    of them could be used.
    """
    import avsearch
    from avsearch.search import HitOptions

    _check_request(files, person, jsonl=jsonl, as_json=as_json)
    disk = DiskNames()
    paths = [disk.find(Path(file)) for file in files]
    options["where"] = _filter(conditions, gender, nationality)
    with avsearch.open(index_path, model=model, device=device) as index:
        if jsonl and files and files != (_STDIN,):
            if not _print_lines(index, paths, HitOptions(**options), ask, rerank):
                ctx.exit(BadRequest.exit_code)
            return
        with contextlib.ExitStack() as stack:
            file = paths[0] if paths else None
            if files == (_STDIN,):
                from avsearch.cli.standard_input import spooled

                file = stack.enter_context(spooled())
            answer = index.query(file, person=person, ask=ask, rerank=rerank, **options)
    if files == (_STDIN,):
        query = dataclasses.replace(answer.query, path=Path(_STDIN))
        answer = dataclasses.replace(answer, query=query)
    for note in answer.notes:
        warn(note)
    if as_json or jsonl:
        print_json(answer.to_dict())
    else:
        _show(answer, explain=explain, filtered=bool(options["where"]))


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


def _filter(
    conditions: tuple[str, ...], gender: str | None, nationality: str | None
) -> dict[str, str]:
    """Return the filter of the options, by column."""
    named = {"gender": gender, "nationality": nationality}
    where = {key: value for key, value in named.items() if value is not None}
    for condition in conditions:
        key, equals, value = (part.strip() for part in condition.partition("="))
        if not equals or not key:
            raise BadRequest(
                f"--where takes KEY=VALUE, such as accent=Scottish, not {condition!r}."
            )
        if where.setdefault(key, value) != value:
            raise BadRequest(f"{key} was asked for twice; leave one of them.")
    return where


def _print_lines(
    index: MediaIndex,
    files: list[Path],
    options: HitOptions,
    ask: Modality | None,
    rerank: str | None,
) -> bool:
    """Print each answer on a line; return False if every file was rejected."""
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


def _show(answer: Answer, *, explain: bool, filtered: bool) -> None:
    """Print the answer for a person to read."""
    if explain:
        plan = answer.plan
        click.echo(
            f"plan: {plan.kind}, {plan.matching} of {plan.total} vectors match the filter, "
            f"{plan.scanned_bytes} bytes to scan"
        )
    if answer.hits:
        folder = _gallery(answer) if on_terminal() else None
        columns = _columns(answer, folder)
        print_table(
            tuple(columns), [tuple(cell(hit) for cell in columns.values()) for hit in answer]
        )
        if folder is not None:
            say(f"Files are in {printable(folder)}.")
    else:
        why = "matches the filter" if filtered else "is of the kind that was asked for"
        say(f"Nothing in this index {why}.")
    found = next((hit.evidence for hit in answer if hit.evidence is not None), None)
    if found is not None:
        words = "evidence: support for one person rather than two, in the words of ENFSI"
        odds = (
            f"; probability: if exactly one of the {found.people} people who could answer is "
            "right, each as likely beforehand."
        )
        say(words + (odds if found.people > 1 else "."))
    elif explain:
        say("The model carries no calibration for this query, so no evidence is given.")


def _columns(answer: Answer, folder: Path | None) -> dict[str, Callable[[Hit], str]]:
    """Return the columns of the table; paths are relative to ``folder`` if it is given."""
    from avsearch.search import time_range

    def file(hit: Hit) -> str:
        path = hit.path if folder is None else hit.path.relative_to(folder)
        return printable(path) + time_range(hit.start_s, hit.end_s)

    columns: dict[str, Callable[[Hit], str]] = {
        "rank": lambda hit: str(hit.rank),
        "score": lambda hit: f"{hit.score:.3f}",
    }
    if any(hit.rerank_score is not None for hit in answer):
        columns["re-rank"] = lambda hit: (
            "" if hit.rerank_score is None else f"{hit.rerank_score:.3f}"
        )
    found = [hit.evidence for hit in answer if hit.evidence is not None]
    if found:
        columns["evidence"] = lambda hit: "" if hit.evidence is None else hit.evidence.support
    if found and found[0].people > 1:  # among one person a probability says nothing
        columns["probability"] = lambda hit: (
            "" if hit.evidence is None else f"{hit.evidence.probability:.2g}"
        )
    return columns | {
        "person": lambda hit: hit.person,
        "name": lambda hit: hit.name or "",
        "gender": lambda hit: hit.attributes["gender"] or "",
        "nationality": lambda hit: hit.attributes["nationality"] or "",
        "file": file,
    }


def _gallery(answer: Answer) -> Path | None:
    """Return the folder around all hits' folders of their people; None if there is no such one."""
    folders = {
        next((each.parent for each in hit.path.parents if each.name == hit.person), None)
        for hit in answer
    }
    return folders.pop() if len(folders) == 1 else None
