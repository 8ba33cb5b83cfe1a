"""What the published lists give to whoever knows gender, or gender and nationality, and no face.

``python -m benchmarks.published LISTS`` prints a row for every list of CMPC and of Wen et al.: its
main figure for the oracles of :mod:`trainer.evaluation.score`, with 95 % intervals over people.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.evaluation import list_files, print_table
from trainer.evaluation.items import attributes_of
from trainer.evaluation.score import MetricSet, Oracle, score
from trainer.evaluation.section import ORACLES
from trainer.protocols.text_lists import read_list
from trainer.protocols.voxceleb_people import read_people


@click.command()
@click.argument("lists", type=click.Path(exists=True, path_type=Path))
def main(lists: Path) -> None:
    """Print the table."""
    people = read_people([lists / "cmpc" / "vox1_meta.csv.gz"])
    attributes = attributes_of(people)
    rows = []
    for path in list_files(lists):
        protocol = read_list(path, people)
        known = {
            key: {name: own[key] for name, own in attributes.items()}
            for key in ("gender", "nationality")
        }
        judged = [
            score(protocol, Oracle(protocol.items, *(known[key] for key in keys))).metrics()
            for keys in ORACLES.values()
        ]
        figure = next(iter(judged[0].figures))
        rows.append((protocol.name, str(judged[0].trials), figure, *_values(judged, figure)))
    print_table(("list", "trials", "figure", *ORACLES), rows)


def _values(judged: list[MetricSet], figure: str) -> list[str]:
    values = [each.figures[figure] for each in judged]
    return [f"{each.value:.3f} [{each.lower:.3f}, {each.upper:.3f}]" for each in values]


if __name__ == "__main__":
    main()
