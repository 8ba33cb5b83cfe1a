"""``avsearch annotate``: name the speakers of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.annotation.formats import FORMAT_LIST
from avsearch.cli.options import (
    FILE,
    device_option,
    index_option,
    json_option,
    model_option,
    recording_option,
)
from avsearch.cli.output import ProgressBar, print_json, print_table, warn

if TYPE_CHECKING:
    from avsearch.annotation.result import Annotated


@click.command("annotate")
@click.argument("recording", type=FILE)
@click.option(
    "--rttm",
    "diarization",
    metavar="FILE|-",
    type=FILE,
    help=f"Who speaks when, in a file or on standard input (-). Formats: {FORMAT_LIST}.",
)
@recording_option
@click.option(
    "--speakers",
    type=click.IntRange(min=1),
    help="The number of speakers, if there is no --rttm.",
)
@index_option
@model_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder for the results, in every format."
)
@click.option(
    "--calibration",
    type=FILE,
    help="A calibration of the model's scores, as JSON.",
)
@click.option(
    "--at-least",
    "least_probability",
    type=click.FloatRange(0, 1),
    help="The least probability of a name.  [default: 0.5]",
)
@click.option("--no-faces", is_flag=True, help="Use only the sound of a video.")
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
    """Name the speakers of a RECORDING as people of an index.

    Each speaker's own speech is compared with the voices and faces of the index. No person is
    named twice; a speaker without enough evidence stays unknown. The table gives the reason and
    the nearest person. Without a diarization speech is found and clustered in a simple way.
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
