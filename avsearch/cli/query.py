"""``avsearch query``: ask an index with a face, a voice, or a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from avsearch.cli.say import say, warn
from indexer.errors import BadRequest, RefusedFile, printable

if TYPE_CHECKING:
    from avsearch.search import Answer, By, Hit, Want
    from indexer.vectors import Plan


@click.command("query")
@click.argument(
    "files", metavar="FILE...", nargs=-1, type=click.Path(readable=False, path_type=Path)
)
@click.option("--person", help="Ask with a person of the index instead of a file.")
@index_option
@click.option("--model", metavar="NAME|FILE", help="The model of the index, if it has moved since.")
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
@click.option("--approximate", is_flag=True, help="Ask the approximate index: most of the nearest.")
@click.option("--explain", is_flag=True, help="Say how the search went about its filter.")
@json_option
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line for each of many FILEs.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    person: str | None,
    index_path: Path | None,
    model: str | None,
    top: int,
    want: Want | None,
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
    """Ask an index with a FILE (picture, recording or video) or with a --person.

    Faces answer a voice and voices a face, unless --want says otherwise. A video asks with its
    voice where it has speech, else with its largest face.

    With --jsonl any number of FILEs are asked with, each answered on a line of its own. One that
    cannot be asked with has an "error" there and stops nothing; the exit code is 2 if that was
    so of all of them.
    """
    _check_asked(files, person, jsonl=jsonl, as_json=as_json)
    options: dict[str, Any] = {
        "index": index_path,
        "model": model,
        "top": top,
        "want": want,
        "by": by,
        "where": _where(conditions, gender, nationality),
        "rerank": rerank,
        "device": device,
        "approximate": approximate,
        "warn": warn,
    }
    if jsonl and files:
        _answer_many(ctx, files, options)
    else:
        _answer_one(files, person, options, as_json=as_json or jsonl, explain=explain)


def _answer_many(ctx: click.Context, files: tuple[Path, ...], options: dict[str, Any]) -> None:
    from avsearch.library import ask_many

    if not _print_lines(ask_many(files, **options)):
        ctx.exit(BadRequest.exit_code)


def _answer_one(
    files: tuple[Path, ...],
    person: str | None,
    options: dict[str, Any],
    *,
    as_json: bool,
    explain: bool,
) -> None:
    from avsearch.library import ask

    answer, name = ask(files[0] if files else None, person=person, **options)
    if as_json:
        print_json(_contract(answer, name))
        return
    if explain:
        click.echo(_explained(answer.plan))
    _show(answer, filtered=bool(options["where"]))
    if explain:
        click.echo(_weighed(answer))


def _check_asked(
    files: tuple[Path, ...], person: str | None, *, jsonl: bool, as_json: bool
) -> None:
    if bool(files) == (person is not None):
        raise BadRequest("Ask with a FILE or with --person ID, one of the two.")
    if len(files) > 1 and not jsonl:
        raise BadRequest(f"{len(files)} files are asked with at once by --jsonl; name one.")
    if jsonl and as_json:
        raise BadRequest("--json prints one answer and --jsonl many; leave one of them out.")


def _print_lines(answers: Iterable[tuple[Path, Answer | RefusedFile, str]]) -> bool:
    """Print each answer on a line; whether there was any."""
    answered = False
    for file, answer, model in answers:
        if isinstance(answer, RefusedFile):
            warn(f"refused {printable(file)}: {answer.reason}")
            print_json({"query": {"path": file}, "error": answer.reason})
        else:
            answered = True
            print_json(_contract(answer, model))
    return answered


def _explained(plan: Plan) -> str:
    """The plan of a search in a sentence."""
    return (
        f"plan: {plan.kind}, {plan.matching} of {plan.total} vectors match the filter, "
        f"{plan.scanned_bytes} bytes to scan"
    )


def _weighed(answer: Answer) -> str:
    """What the evidence beside the scores is, or that there is none."""
    found = next((hit.evidence for hit in answer.hits if hit.evidence is not None), None)
    if found is None:
        return "evidence: the model carries no calibration for this question, so none is given"
    return (
        f"evidence: each as likely beforehand among {found.people} people, of whom exactly one is "
        "right; log-likelihood ratios are natural logarithms, the words those of ENFSI"
    )


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
    hits = [_hit_fields(hit) for hit in answer.hits]
    return {"query": query, "model": model, "hits": hits, "plan": plain(answer.plan)}


def _hit_fields(hit: Hit) -> dict[str, Any]:
    """A hit as JSON has it, with the fields of its evidence where it has some."""
    fields: dict[str, Any] = plain(hit)
    evidence = fields.pop("evidence")
    return fields if evidence is None else fields | {"evidence": evidence}


def _show(answer: Answer, *, filtered: bool) -> None:
    if not answer.hits:
        why = "matches the filter" if filtered else "is of the kind that was asked for"
        say(f"Nothing in this index {why}.")
        return
    columns: dict[str, Callable[[Hit], str]] = {
        "rank": lambda hit: str(hit.rank),
        "score": lambda hit: f"{hit.score:.3f}",
        **_optional_columns(answer.hits),
        "person": lambda hit: hit.person,
        "name": lambda hit: hit.name or "",
        "gender": lambda hit: hit.attributes["gender"] or "",
        "nationality": lambda hit: hit.attributes["nationality"] or "",
        "file": lambda hit: printable(hit.path) + _where_in_file(hit),
    }
    rows = [tuple(cell(hit) for cell in columns.values()) for hit in answer.hits]
    print_table(tuple(columns), rows)


def _optional_columns(hits: list[Hit]) -> dict[str, Callable[[Hit], str]]:
    """What some hits have beside their score."""
    found: dict[str, Callable[[Hit], str]] = {}
    if any(hit.rerank_score is not None for hit in hits):
        found["re-rank"] = _rerank_score
    if any(hit.evidence is not None for hit in hits):
        found["evidence"] = _evidence
    return found


def _rerank_score(hit: Hit) -> str:
    return "" if hit.rerank_score is None else f"{hit.rerank_score:.3f}"


def _evidence(hit: Hit) -> str:
    """In words, with the probability, which says how little a word can mean in a gallery."""
    if hit.evidence is None:
        return ""
    return f"{hit.evidence.support}, {hit.evidence.probability:.2g}"


def _where_in_file(hit: Hit) -> str:
    if hit.end_s is not None:
        return f" {hit.start_s:.1f}-{hit.end_s:.1f} s"
    return f" at {hit.start_s:.1f} s" if hit.start_s else ""
