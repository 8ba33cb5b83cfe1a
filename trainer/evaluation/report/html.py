"""The page of an evaluation, ``report.html``, which needs no other file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from avsearch.report.html import PageSection, QueryCard, write_page
from trainer.evaluation.items import EvalItems
from trainer.evaluation.report import plots
from trainer.evaluation.report.hardest import hardest
from trainer.evaluation.results import Report, SystemResult
from trainer.evaluation.score import Metric
from trainer.evaluation.section import MODEL, ORACLES, Section
from trainer.protocols.trials import Retrieval

NOTICE = (
    "A face and a voice say little of each other: mostly gender, and something of age, build and "
    "origin. No figure here makes an answer evidence of who somebody is."
)
INVALID = "INVALID: a score depends on the batch it was computed in."
_MAPPED = 1500  # items on the map
_NONE = "-"


def write_page_of(report: Report, path: Path) -> None:
    """Write the page; importing this module needs matplotlib, and the map scikit-learn."""
    parts = [_comparison(report)] if report.comparisons else []
    questions = []
    for result in report.results:
        of_system = f": {result.name}" if len(report.results) > 1 else ""
        parts += _system_parts(result, of_system, report.notes)
        for items in list(result.items.values())[:1]:
            questions += _hardest(items)
    parts.append(_reproduction(report))
    write_page(path, f"avsearch evaluate: {report.model}", NOTICE, questions, (), parts)


def _system_parts(
    result: SystemResult, of_system: str, notes: Sequence[str]
) -> Iterator[PageSection]:
    """All parts of one system; ``of_system`` ends the headings where there are two."""
    yield _summary(result.sections, of_system, notes)
    leakage = _leakage(result.sections, of_system)
    if leakage is not None:
        yield leakage
    yield from _plots(result.sections, of_system)
    for title, items in result.items.items():
        of_list = f": {title}" if title else ""
        yield _map(items, f"{of_system}{of_list}")
    yield _all_metrics(result.sections, of_system)
    for section in result.sections:
        if any(section.groups.values()):
            yield _groups(section, of_system)


def _comparison(report: Report) -> PageSection:
    """Every metric of two systems, and the better of them."""
    names = [result.name for result in report.results]
    rows: list[tuple[str, ...]] = [
        ("protocol", "figure", *names, "difference and 95 % interval", "better")
    ]
    marked = set()
    for comparison in report.comparisons:
        for metric, found in comparison.differences.items():
            if not comparison.valid:
                marked.add(len(rows) - 1)
            better = names[found.better - 1] if found.better else "neither"
            rows.append(
                (
                    comparison.protocol,
                    metric,
                    f"{found.first:.3f}",
                    f"{found.second:.3f}",
                    metric_text(found.difference, signed=True),
                    better if comparison.valid else "INVALID",
                )
            )
    text = (
        f"The difference is {names[0]} minus {names[1]}, on the same bootstrap samples of people. "
        "A smaller EER is better; all other metrics are better when larger. Neither system is "
        "better where the interval contains 0.",
    )
    return PageSection("Compared", text, rows, frozenset(marked), _side_by_side(report))


def _side_by_side(report: Report) -> list[tuple[bytes, str]]:
    """The ROC and DET curves of each verification, with both systems in one plot."""
    pictures = []
    for sections in zip(*(result.sections for result in report.results), strict=True):
        protocol = sections[0].protocol
        curves = {
            f"{result.name}: {protocol}": section.curves.lines["roc"]
            for result, section in zip(report.results, sections, strict=True)
            if "roc" in section.curves.lines
        }
        if curves:
            pictures.append((plots.roc_and_det(curves), f"ROC and DET of both: {protocol}"))
    return pictures


def _summary(sections: Sequence[Section], of_system: str, notes: Sequence[str]) -> PageSection:
    scorers = _scorers(sections)
    heads = [sections[0].column if name == MODEL else name for name in scorers]
    rows: list[tuple[str, ...]] = [("protocol", "audit", "trials", "people", "figure", *heads)]
    for section in sections:
        values = [
            metric_text(section.rows[name].figures[section.main]) if name in section.rows else _NONE
            for name in scorers
        ]
        verdict = section.audit.verdict if section.valid else INVALID
        counts = str(section.trials), str(section.people)
        rows.append((section.protocol, verdict, *counts, section.main, *values))
    invalid = frozenset(at for at, section in enumerate(sections) if not section.valid)
    text = [
        "The baselines are chance, and oracles that know the gender, or gender and nationality, of "
        "everybody and nothing else. Intervals are over people.",
        *dict.fromkeys([*notes, *(note for section in sections for note in section.notes)]),
    ]
    return PageSection(f"Figures{of_system}", text, rows, invalid)


def _all_metrics(sections: Sequence[Section], of_system: str) -> PageSection:
    """Every metric of the model and of its further columns."""
    columns = [name for name in _scorers(sections) if name not in ("chance", *ORACLES)]
    heads = [sections[0].column if name == MODEL else name for name in columns]
    rows: list[tuple[str, ...]] = [("protocol", "figure", *heads)]
    for section in sections:
        for figure in section.rows[MODEL].figures:
            found = [section.rows.get(name) for name in columns]
            values = [
                metric_text(each.figures[figure]) if each and figure in each.figures else _NONE
                for each in found
            ]
            rows.append((section.protocol, figure, *values))
    text = (
        "TMR at FMR: the true match rate at that false match rate. Cllr: the cost of the scores as "
        "evidence, in bits, with the model's calibration; minCllr: with the best possible "
        "calibration. A system that knows nothing costs 1.",
    )
    return PageSection(f"All figures{of_system}", text, rows)


def _scorers(sections: Sequence[Section]) -> list[str]:
    """The rows of all sections: the model, its further columns, then the baselines."""
    baselines = ("chance", *ORACLES)
    names = dict.fromkeys(name for section in sections for name in section.rows)
    others = [name for name in names if name not in (MODEL, *baselines)]
    return [name for name in (MODEL, *others, *baselines) if name in names]


def _leakage(sections: Sequence[Section], of_system: str) -> PageSection | None:
    """Data that tests share with the training, and probes with answers; None where there is none.

    Protocols with the same counts share a row.
    """
    rows: list[tuple[str, ...]] = [
        (
            "protocol",
            "people trained on",
            "people chosen on",
            "right answers of the asker's recording",
            "copies, question and answer",
            "of two people",
        )
    ]
    alike: dict[tuple[int, ...], list[str]] = {}
    for section in sections:
        people = len(section.seen), len(section.chosen_on)
        copies = section.copies.pairs, section.copies.of_two_people
        alike.setdefault((*people, section.same_recording, *copies), []).append(section.protocol)
    for counts, (first, *more) in alike.items():
        if any(counts):
            rows.append((f"{first} and {len(more)} more" if more else first, *map(str, counts)))
    if len(rows) == 1:
        return None
    text = (
        "People of the training split, or of the validation split that chose the checkpoint, by "
        "the checkpoint's own record; right answers cut from the probe's recording; and files with "
        "the same bytes that are both a question and an answer. Figures on these are too good.",
    )
    return PageSection(f"What is shared{of_system}", text, rows)


def metric_text(metric: Metric, *, signed: bool = False) -> str:
    """Return a metric with its interval, or alone where the interval has no width."""
    kind = "+.3f" if signed else ".3f"
    if not metric.upper - metric.lower > 1e-9:
        return f"{metric.value:{kind}}"
    return f"{metric.value:{kind}} [{metric.lower:{kind}}, {metric.upper:{kind}}]"


def _plots(sections: Sequence[Section], of_system: str) -> Iterator[PageSection]:
    lines = {section.protocol: section.curves.lines for section in sections}
    roc = {name: each["roc"] for name, each in lines.items() if "roc" in each}
    if roc:
        shares = {name: {kind: lines[name][kind] for kind in ("same", "different")} for name in roc}
        pictures = [(plots.roc_and_det(roc), "ROC and DET curves of each verification")]
        names = list(shares)
        for start in range(0, len(names), 4):
            some = {name: shares[name] for name in names[start : start + 4]}
            pictures.append((plots.histograms(some), "Scores of pairs of one person and of two"))
        yield PageSection(f"Verification{of_system}", pictures=pictures)
    cmc = {name: each["cmc"] for name, each in lines.items() if "cmc" in each}
    if cmc:
        precision = {name: lines[name]["precision"] for name in cmc}
        picture = plots.ranks_and_precision(cmc, precision)
        yield PageSection(
            f"Retrieval{of_system}", pictures=[(picture, "CMC, and precision over recall")]
        )
    matched = _choices(sections)
    if matched:
        yield PageSection(
            f"Matching{of_system}", pictures=[(plots.choices(matched), "Accuracy over N")]
        )


def _choices(sections: Sequence[Section]) -> plots.Lines:
    """Accuracy over the number of candidates, for each direction and stratum."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for section in sections:
        number, _, rest = section.protocol.partition(" ")
        if number.startswith("1:"):
            numbers, values = found.setdefault(rest, ([], []))
            numbers.append(float(number[2:]))
            values.append(section.rows[MODEL].figures["accuracy"].value)
    if found:
        numbers = sorted({number for line in found.values() for number in line[0]})
        found["chance"] = (numbers, [1 / number for number in numbers])
    return found


def _map(evaluated: EvalItems, of_system: str) -> PageSection:
    items = evaluated.items
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(items))[:_MAPPED])
    names = [items.names[who] for who in items.people[chosen]]
    groupings = {
        "modality": [items.modalities[at] for at in chosen],
        "gender": [evaluated.attributes.get(name, {}).get("gender", "") for name in names],
        "nationality": [
            evaluated.attributes.get(name, {}).get("nationality", "") for name in names
        ],
        "person": names,
    }
    rows = evaluated.scorer.places([items.paths[at] for at in chosen])
    picture = plots.space_map(evaluated.scorer.vectors[rows], groupings)
    return PageSection(
        f"The space{of_system}",
        (f"t-SNE of {len(chosen)} items. Only the distances between neighbours have a meaning.",),
        pictures=[(picture, "Map of the embeddings by modality, gender, nationality and person")],
    )


def _groups(section: Section, of_system: str) -> PageSection:
    main = section.main
    rows: list[tuple[str, ...]] = [("group", "people", "trials", f"{main} and 95 % interval")]
    for metrics in section.groups.values():
        rows += [
            (group, str(each.people), str(each.trials), metric_text(each.figures[main]))
            for group, each in metrics.items()
        ]
    gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in section.gaps.items() if gap == gap)
    return PageSection(f"Groups{of_system}: {section.protocol}", (f"Largest gaps: {gaps}.",), rows)


def _hardest(evaluated: EvalItems) -> list[QueryCard]:
    items = evaluated.items
    if not evaluated.media:
        return []
    voices, faces = (
        np.flatnonzero([each == modality for each in items.modalities])
        for modality in ("voice", "face")
    )
    if not len(voices) or not len(faces):
        return []
    return hardest(evaluated, Retrieval("voices ask faces", items, voices, faces))


def _reproduction(report: Report) -> PageSection:
    seen = sorted({name for section in report.sections for name in section.seen})
    overlap = (
        f"{len(seen)} of these people were in a model's training, {seen[0]} among them."
        if seen
        else "No person here is recorded in a model's training."
    )
    lines = (shlex.join(report.command), f"Model: {report.model}.", overlap)
    return PageSection("To run it again", lines)
