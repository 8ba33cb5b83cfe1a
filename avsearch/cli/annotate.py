"""``avsearch annotate``: name the speakers of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.annotation.formats import FORMAT_LIST
from avsearch.cli.options import (
    FILE,
    ProgressBar,
    device_option,
    index_option,
    json_option,
    print_json,
    print_table,
    recording_option,
)
from avsearch.cli.output import warn

if TYPE_CHECKING:
    from avsearch.annotation.result import Annotated


@click.command("annotate")
@click.argument("recording", type=FILE)
@click.option(
    "--rttm",
    "diarization",
    metavar="FILE|-",
    type=FILE,
    help=f"Who speaks when, in a file or on standard input (-). Taken are {FORMAT_LIST}.",
)
@recording_option
@click.option(
    "--speakers",
    type=click.IntRange(min=1),
    help="How many there are, where no file says who speaks when.",
)
@index_option
@click.option("--model", metavar="NAME|FILE", help="The model of the index, if it has moved since.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder for the results, in every format."
)
@click.option(
    "--calibration",
    type=FILE,
    help="How strong scores of the model are, as JSON.",
)
@click.option(
    "--at-least",
    "least_probability",
    type=click.FloatRange(0, 1),
    help="How probable a name must be.  [default: 0.5]",
)
@click.option("--no-faces", is_flag=True, help="Of a video, only listen to the sound.")
@device_option
@json_option
def command(
    recording: Path,
    diarization: Path | None,
    recording_id: str | None,
    speakers: int | None,
    index_path: Path | None,
    model: str | None,
    out: Path | None,
    calibration: Path | None,
    least_probability: float | None,
    device: str,
    *,
    no_faces: bool,
    as_json: bool,
) -> None:
    """Name the speakers of a RECORDING by the people of an index.

    Each speaker is compared, by what they say while nobody else does, with the voices and faces of
    the index. Nobody is named twice; who cannot be told stays unknown. The table says why, and who
    of the index is nearest. Without a diarization speech is found and grouped in a simple way.
    """
    import avsearch

    with (
        avsearch.open(index_path, model=model, device=device) as index,
        ProgressBar("s") as progress,
    ):
        annotated = index.annotate(
            recording,
            diarization,
            recording_id=recording_id,
            speakers=speakers,
            faces=not no_faces,
            at_least=least_probability,
            calibration=calibration,
            out=out,
            on_progress=progress,
        )
    if as_json:
        print_json(annotated.to_dict())
    else:
        _show(annotated)
    for note in annotated.notes:
        warn(note)


def _show(annotated: Annotated) -> None:
    from avsearch.annotation.result import nearest_text

    print_table(
        ("speaker", "person", "speech", "nearest", "reason"),
        [
            (
                each.speaker,
                each.person or "unknown",
                f"{each.speech_s:.1f} s",
                nearest_text(each.decision),
                each.reason,
            )
            for each in annotated.speakers
        ],
    )
