"""``avsearch enrol``: add the named speakers of a recording to an index."""

from __future__ import annotations

from pathlib import Path

import click

from avsearch.annotation.formats import FORMAT_LIST
from avsearch.cli.options import (
    FILE,
    device_option,
    dry_run_option,
    index_option,
    json_option,
    recording_option,
)
from avsearch.cli.output import ProgressBar, plain, print_json, say, warn
from indexer.errors import BadRequest, printable


@click.command("enrol")
@click.argument("recording", type=FILE)
@click.option(
    "--rttm",
    "diarization",
    metavar="FILE|-",
    required=True,
    type=FILE,
    help=f"Who speaks when, by name, in a file or on standard input (-). Formats: {FORMAT_LIST}.",
)
@recording_option
@click.option(
    "--name",
    "names",
    metavar="LABEL=PERSON",
    multiple=True,
    help="The person, by key or name, for a label of the file; the name may be new.",
)
@index_option
@click.option("--model", metavar="NAME|FILE", help="A shipped model's name or a checkpoint file.")
@device_option
@dry_run_option
@json_option
def command(
    recording: Path,
    diarization: Path,
    recording_id: str | None,
    names: tuple[str, ...],
    index_path: Path | None,
    model: str | None,
    device: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add the named speakers of a RECORDING to an index, by the speech of each alone.

    A label that is a person's key or name in the index is that person; a label such as SPEAKER_00
    is skipped; any other label is a new person. The new items replace the recording's old ones,
    so a correction is the same command again.
    """
    from avsearch.api import MediaIndex
    from indexer.open import new_index

    place = new_index(index_path)
    opened = MediaIndex(place, model=model, device=device, upgrade=not dry_run)
    with opened as index, ProgressBar("s") as progress:
        enrolled = index.enrol(
            recording,
            _pairs(names),
            turns=diarization,
            recording_id=recording_id,
            dry_run=dry_run,
            on_progress=progress,
        )
    if as_json:
        facts = {"index": index.folder, **plain(enrolled)}
        print_json(facts | ({"dry_run": True} if dry_run else {}))
    else:
        if dry_run:
            say(f"Nothing was written to {printable(index.folder)}. By the turns alone:")
        for key, (count, seconds) in enrolled.voices.items():
            new = ", new" if key in enrolled.new else ""
            seen = f", a face in {enrolled.faces[key]} shots" if key in enrolled.faces else ""
            say(f"{key}: {seconds:.1f} s in {count} stretches{seen}{new}")
    for note in enrolled.notes:
        warn(note)
    for label, reason in enrolled.passed_over.items():
        warn(f"passed over {label}: {reason}")


def _pairs(names: tuple[str, ...]) -> dict[str, str]:
    pairs = dict[str, str]()
    for text in names:
        label, equals, person = text.rpartition("=")
        if not (label and equals and person):
            raise BadRequest(f"--name {text!r} should be LABEL=PERSON.")
        if label in pairs:
            raise BadRequest(f"--name says twice who {label} is: {pairs[label]} and {person}.")
        pairs[label] = person
    return pairs
