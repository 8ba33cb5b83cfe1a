"""``avsearch demo``: show it all on a small synthetic world, or on a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avsearch.cli.options import (
    FILE,
    ProgressBar,
    faces_option,
    json_option,
    plain,
    print_json,
    print_table,
)
from avsearch.cli.output import say
from indexer.errors import BadRequest, ForeignSpace, printable

if TYPE_CHECKING:
    from avsearch.media import Faces
    from avsearch.report.gallery_page import Shown as ShownGallery
    from trainer.recipes.synthetic_demo import Demo, Shown


@click.command("demo")
@click.option(
    "--gallery",
    metavar="GALLERY",
    type=FILE,
    help="A folder of your own, a folder a person, in place of the synthetic people.",
)
@faces_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("avsearch-demo"),
    show_default=True,
    help="Where the index and the page go, and the synthetic gallery.",
)
@json_option
def command(gallery: Path | None, faces: Faces, out: Path, *, as_json: bool) -> None:
    """Render synthetic people, index them, ask with voices, and write a page of the answers.

    Needs no data and no network. The people do not exist, and the page says so. With --gallery
    it is your own faces and voices that are indexed by the default model, asked with, and shown.
    """
    if gallery is None:
        _of_nobody(out, as_json=as_json)
    else:
        _of_gallery(gallery, faces, out, as_json=as_json)


def _of_gallery(gallery: Path, faces: Faces, out: Path, *, as_json: bool) -> None:
    from avsearch.report.gallery_page import show_gallery

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
    _print_kinds(shown)


def _print_kinds(shown: ShownGallery) -> None:
    from avsearch.report.gallery_page import TABLE_HEAD, table_row

    print_table(TABLE_HEAD, [table_row(kind) for kind in shown.kinds])
    say(f"See and hear them: {printable(shown.page)}")


def _of_nobody(out: Path, *, as_json: bool) -> None:
    from trainer.recipes.synthetic_demo import run_demo

    with ProgressBar("file") as progress:
        demo = run_demo(out, progress)
    if as_json:
        print_json(demo)
        return
    for shown in demo.shown:
        _print(shown)
    _print_figures(demo)


def _print(shown: Shown) -> None:
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
