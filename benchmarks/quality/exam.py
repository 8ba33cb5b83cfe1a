"""Rows of trials asked of several contenders, in the same draws of people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.quality.trial_folder import Row
from indexer.types import Modality
from trainer.evaluation.build_trials import Task, TrialLists
from trainer.evaluation.compare import difference_of
from trainer.evaluation.run import choose_threshold
from trainer.evaluation.score import BootstrapMetric, Metric
from trainer.evaluation.section import Section, evaluate_protocol
from trainer.evaluation.systems import System
from trainer.protocols.voxceleb_people import read_people


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What somebody reached on a row's list: its figure, of all who ask and of each gender."""

    row: Row
    section: Section
    people: tuple[str, ...]  # whom the list names, in the order in which they are drawn
    reached: BootstrapMetric
    women: BootstrapMetric
    men: BootstrapMetric

    @property
    def figure(self) -> Metric:
        """The row's figure, of all who ask."""
        return self.reached.with_interval()

    @property
    def gap(self) -> Metric:
        """The figure of women who ask less that of men."""
        return difference_of(self.women, self.men)

    def less(self, other: Found) -> Metric:
        """The figure less another's; ValueError where other people were asked about."""
        if self.people != other.people:
            raise ValueError("figures of other people cannot be drawn together")
        return difference_of(self.reached, other.reached)


Reaches = dict[str, Found]  # by the row's title


@dataclasses.dataclass(frozen=True, slots=True)
class Exam:
    """The rows of a folder, read once, with what they ask.

    ``chosen`` are pairs of other people's faces, of which thresholds come, where there are any.
    """

    media: Path
    table: Path
    asked: Sequence[tuple[Row, Task]]
    chosen: Task | None
    genders: Mapping[str, str]

    def take(self, contender: System, within: Modality | None = None) -> Reaches:
        """What a contender reaches, by title, on all rows or those within one modality."""
        rows = [(row, asked) for row, asked in self.asked if within in (None, row.within)]
        found = (self._ask(contender, *each) for each in tqdm(rows, contender.name, disable=None))
        return {each.row.title: each for each in found}

    def media_within(self, modality: Modality) -> dict[str, Path]:
        """The files by name that are asked about within a modality, or choose its threshold."""
        asked = [asked for row, asked in self.asked if row.within == modality]
        if asked and modality == "face" and self.chosen is not None:
            asked.append(self.chosen)
        return {name: media.path for each in asked for name, media in each.media.items()}

    def _ask(self, contender: System, row: Row, asked: Task) -> Found:
        subject = contender.score(asked)
        if row.within == "face" and self.chosen is not None:
            threshold = choose_threshold(contender, self.chosen, [asked])
            subject = dataclasses.replace(subject, threshold=threshold)
        section, scored = evaluate_protocol(asked.protocol, subject)
        names = asked.protocol.items.names
        genders = np.array([self.genders[name] for name in names])[scored.probe_people()]
        reached, women, men = (
            scored.bootstrap(own).figures[row.figure]
            for own in (None, genders == "f", genders == "m")
        )
        return Found(row, section, names, reached, women, men)


def read_exam(folder: Path, rows: Sequence[Row], chosen: Sequence[Row] = ()) -> Exam:
    """The rows of a folder with ``media`` and the table ``people.tsv``.

    The first of ``chosen`` gives thresholds; without one, rows of faces are left out.
    """
    media, table = folder / "media", folder / "people.tsv"
    asked = [(row, _read(row, table, media)) for row in rows if chosen or row.within != "face"]
    others = next((_read(row, table, media) for row in chosen), None)
    genders = {who.name: who.gender for who in read_people([table])}
    return Exam(media, table, asked, others, genders)


def _read(row: Row, table: Path, media: Path) -> Task:
    (asked,) = TrialLists((row.list,), (table,), media, (row.answer,)).tasks()
    return asked
