"""Rows of trials scored by several systems, on the same bootstrap samples of people."""

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
class RowResult:
    """The result of a system on a row's list, for all probes and for each gender."""

    row: Row
    section: Section
    people: tuple[str, ...]  # named by the list, in the order in which they are drawn
    reached: BootstrapMetric
    women: BootstrapMetric
    men: BootstrapMetric

    @property
    def figure(self) -> Metric:
        """The row's figure over all probes."""
        return self.reached.with_interval()

    @property
    def gap(self) -> Metric:
        """The figure of female probes less that of male probes."""
        return difference_of(self.women, self.men)

    def less(self, other: RowResult) -> Metric:
        """Return the figure less another's; ValueError for lists of other people."""
        if self.people != other.people:
            raise ValueError("the lists are of other people")
        return difference_of(self.reached, other.reached)


Reaches = dict[str, RowResult]  # by the row's title


@dataclasses.dataclass(frozen=True, slots=True)
class Exam:
    """The rows of a folder with their trials.

    ``threshold_pairs`` are pairs of faces of other people, which set thresholds.
    """

    media: Path
    table: Path
    tasks: Sequence[tuple[Row, Task]]
    threshold_pairs: Task | None
    genders: Mapping[str, str]

    def take(self, system: System, within: Modality | None = None) -> Reaches:
        """Return the results of a system by title, on all rows or those within one modality."""
        rows = [(row, task) for row, task in self.tasks if within in (None, row.within)]
        found = (self._score(system, *each) for each in tqdm(rows, system.name, disable=None))
        return {each.row.title: each for each in found}

    def media_within(self, modality: Modality) -> dict[str, Path]:
        """Return the files by name of the lists within a modality and of its threshold."""
        tasks = [task for row, task in self.tasks if row.within == modality]
        if tasks and modality == "face" and self.threshold_pairs is not None:
            tasks.append(self.threshold_pairs)
        return {name: media.path for each in tasks for name, media in each.media.items()}

    def _score(self, system: System, row: Row, task: Task) -> RowResult:
        subject = system.score(task)
        if row.within == "face" and self.threshold_pairs is not None:
            threshold = choose_threshold(system, self.threshold_pairs, [task])
            subject = dataclasses.replace(subject, threshold=threshold)
        section, scored = evaluate_protocol(task.protocol, subject)
        names = task.protocol.items.names
        genders = np.array([self.genders[name] for name in names])[scored.probe_people()]
        reached, women, men = (
            scored.bootstrap(own).figures[row.figure]
            for own in (None, genders == "f", genders == "m")
        )
        return RowResult(row, section, names, reached, women, men)


def read_exam(folder: Path, rows: Sequence[Row], threshold_rows: Sequence[Row] = ()) -> Exam:
    """Read the rows of a folder with ``media`` and the table ``people.tsv``.

    The first of ``threshold_rows`` sets thresholds; without one, rows of faces are left out.
    """
    media, table = folder / "media", folder / "people.tsv"
    tasks = [
        (row, _read(row, table, media)) for row in rows if threshold_rows or row.within != "face"
    ]
    others = next((_read(row, table, media) for row in threshold_rows), None)
    genders = {who.name: who.gender for who in read_people([table])}
    return Exam(media, table, tasks, others, genders)


def _read(row: Row, table: Path, media: Path) -> Task:
    (task,) = TrialLists((row.list,), (table,), media, (row.answer,)).tasks()
    return task
