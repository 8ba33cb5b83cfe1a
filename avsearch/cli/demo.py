"""``avsearch demo``: show it all on a small synthetic world, or on a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import FILE, faces_option, json_option
from avsearch.cli.output import ProgressBar, plain, print_json, print_table, say
from indexer.errors import BadRequest, ForeignSpace, printable

if TYPE_CHECKING:
    from avsearch.media import Faces
    from trainer.recipes.synthetic_demo import Demo, ShownAnswer


@click.command("demo")
@click.option(
    "--gallery",
    metavar="GALLERY",
    type=FILE,
    help="A gallery of your own, one folder per person, in place of the synthetic people.",
)
@faces_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("avsearch-demo"),
    show_default=True,
    help="The folder for the index, the page, and the synthetic gallery.",
)
@json_option
def command(gallery: Path | None, faces: Faces, out: Path, *, as_json: bool) -> None:
    """Render synthetic people, index them, search with voices, and write a page of the answers.

    Needs no data and no network. The people do not exist, and the page says so. With --gallery
    the default model indexes your own faces and voices, searches with them, and shows them.
    """
    if gallery is None:
        _show_synthetic(out, as_json=as_json)
    else:
        _show_gallery(gallery, faces, out, as_json=as_json)


def _show_gallery(gallery: Path, faces: Faces, out: Path, *, as_json: bool) -> None:
    from avsearch.report.gallery_page import TABLE_HEAD, show_gallery, table_row

    try:
        with ProgressBar("file") as progress:
            shown = show_gallery(gallery, out, faces=faces, on_progress=progress)
    except ForeignSpace as error:
        raise BadRequest(
            f"{printable(out)} has an index of another model than the default; name another folder "
            "with --out."
        ) from error
    if as_json:
        print_json(shown)
        return
    print_table(TABLE_HEAD, [table_row(kind) for kind in shown.kinds])
    say(f"See and hear them: {printable(shown.page)}")


def _show_synthetic(out: Path, *, as_json: bool) -> None:
    from trainer.recipes.synthetic_demo import run_demo

    with ProgressBar("file") as progress:
        demo = run_demo(out, progress)
    if as_json:
        print_json(demo)
        return
    for shown in demo.shown:
        _print(shown)
    _print_figures(demo)


def _print(shown: ShownAnswer) -> None:
    person = shown.person
    say(f"Whose voice is {plain(shown.asked.path)}? (it is {person.name}, {person.gender})")
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.3f}",
            hit.name or hit.person,
            hit.attributes["gender"] or "",
            hit.attributes["nationality"] or "",
            "<- right" if hit.person == person.key else "",
        )
        for hit in shown.hits
    ]
    print_table(("rank", "score", "name", "gender", "nationality", ""), rows)
    click.echo()


def _print_figures(demo: Demo) -> None:
    report = demo.report
    say(
        f"{report.people} synthetic people, {report.faces} faces, {report.voices} voices. "
        f"Voice to face, mAP {demo.mean_average_precision:.2f}; knowing only the gender gives "
        f"{demo.by_gender:.2f}, chance {demo.by_chance:.2f}."
    )
    say(f"See and hear them: {printable(demo.page)}")
    say(
        f"Ask yourself: avsearch query {printable(demo.shown[0].asked.path)} "
        f"--index {printable(demo.index)}"
    )
