"""``report.html``: what an evaluation found, on one page that stands alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsearch.report.html import Question, write_page
from avsearch.report.html import Section as Part
from trainer.evaluation.items import EvalItems
from trainer.evaluation.report import plots
from trainer.evaluation.report.hardest import hardest
from trainer.evaluation.score import Metric, MetricSet
from trainer.evaluation.section import MODEL, ORACLES, Section
from trainer.protocols.trials import Retrieval

if TYPE_CHECKING:
    from trainer.evaluation.run import Report, SystemResult

NOTICE = (
    "A face and a voice say little of each other: mostly gender, and something of age, build and "
    "origin. No figure here makes an answer evidence of who somebody is."
)
INVALID = "INVALID: a score changed with the company it was computed in."
_MAPPED = 1500  # items of a map
_NONE = "-"


def write_report(path: Path, report: Report) -> None:
    """Write the page; BadRequest is for whoever calls this without matplotlib and scikit-learn."""
    parts = [_compared(report)] if report.compared else []
    for reached in report.reached:
        whose = f": {reached.name}" if len(report.reached) > 1 else ""
        parts += _of_one(reached, whose, report.notes)
    parts.append(_again(report))
    questions = [
        question
        for reached in report.reached
        for material in list(reached.materials.values())[:1]
        for question in _hardest(material)
    ]
    write_page(path, f"avsearch evaluate: {report.model}", NOTICE, questions, (), parts)


def _of_one(reached: SystemResult, whose: str, notes: Sequence[str]) -> Iterator[Part]:
    """Everything about one contender; ``whose`` ends the headings where there are two."""
    yield _summary(reached.sections, whose, notes)
    shared = _shared(reached.sections, whose)
    if shared is not None:
        yield shared
    yield from _pictures(reached.sections, whose)
    for title, material in reached.materials.items():
        of = f": {title}" if title else ""
        yield _map(material, f"{whose}{of}")
    yield _all_figures(reached.sections, whose)
    for section in reached.sections:
        if any(section.groups.values()):
            yield _groups(section, whose)


def _compared(report: Report) -> Part:
    """Every figure of two contenders, and which of them is better."""
    names = [reached.name for reached in report.reached]
    rows: list[tuple[str, ...]] = [
        ("protocol", "figure", *names, "difference and 95 % interval", "better")
    ]
    marked = set()
    for compared in report.compared:
        for figure, found in compared.differences.items():
            if not compared.valid:
                marked.add(len(rows) - 1)
            better = names[found.better - 1] if found.better else "neither"
            rows.append(
                (
                    compared.protocol,
                    figure,
                    f"{found.first:.3f}",
                    f"{found.second:.3f}",
                    figure_text(found.difference, signed=True),
                    better if compared.valid else "INVALID",
                )
            )
    text = (
        f"The difference is {names[0]} less {names[1]}, in the same draws of people for both. Of "
        "an EER less is better, of everything else more. Neither is where the interval holds 0: "
        "other people might have said otherwise.",
    )
    return Part("Compared", text, rows, frozenset(marked), _side_by_side(report))


def _side_by_side(report: Report) -> list[tuple[bytes, str]]:
    """The ROC and DET curves of each verification, of both contenders in one picture."""
    pictures = []
    for sections in zip(*(reached.sections for reached in report.reached), strict=True):
        protocol = sections[0].protocol
        curves = {
            f"{reached.name}: {protocol}": section.curves.lines["roc"]
            for reached, section in zip(report.reached, sections, strict=True)
            if "roc" in section.curves.lines
        }
        if curves:
            pictures.append((plots.roc_and_det(curves), f"ROC and DET of both: {protocol}"))
    return pictures


def _summary(sections: Sequence[Section], whose: str, notes: Sequence[str]) -> Part:
    scorers = _scorers(sections)
    heads = [sections[0].column if name == MODEL else name for name in scorers]
    rows: list[tuple[str, ...]] = [("protocol", "audit", "trials", "people", "figure", *heads)]
    for section in sections:
        values = [
            _value(section.rows[name], section.main) if name in section.rows else _NONE
            for name in scorers
        ]
        verdict = section.audit.verdict if section.valid else INVALID
        counts = str(section.trials), str(section.people)
        rows.append((section.protocol, verdict, *counts, section.main, *values))
    invalid = frozenset(at for at, section in enumerate(sections) if not section.valid)
    text = [
        "Beside the model stand a scorer without an opinion, and oracles that know the gender, or "
        "gender and nationality, of everybody and nothing else. Intervals are over people.",
        *dict.fromkeys([*notes, *(note for section in sections for note in section.notes)]),
    ]
    return Part(f"Figures{whose}", text, rows, invalid)


def _all_figures(sections: Sequence[Section], whose: str) -> Part:
    """Every figure of the model and of its further columns."""
    columns = [name for name in _scorers(sections) if name not in ("chance", *ORACLES)]
    heads = [sections[0].column if name == MODEL else name for name in columns]
    rows: list[tuple[str, ...]] = [("protocol", "figure", *heads)]
    for section in sections:
        for figure in section.rows[MODEL].figures:
            found = [section.rows.get(name) for name in columns]
            values = [
                figure_text(each.figures[figure]) if each and figure in each.figures else _NONE
                for each in found
            ]
            rows.append((section.protocol, figure, *values))
    text = (
        "TMR at FMR: the share of true pairs accepted where that share of false ones is. Cllr: "
        "what scores cost as evidence, in bits, by the model's calibration; minCllr by the best "
        "there could be; knowing nothing costs 1.",
    )
    return Part(f"All figures{whose}", text, rows)


def _scorers(sections: Sequence[Section]) -> list[str]:
    names = dict.fromkeys(name for section in sections for name in section.rows)
    return sorted(names, key=_place)


def _place(name: str) -> int:
    """The model comes first, then its further columns, then those who know no identity."""
    known = ("chance", *ORACLES)
    return 0 if name == MODEL else 2 + known.index(name) if name in known else 1


def _shared(sections: Sequence[Section], whose: str) -> Part | None:
    """What tests share with training and questions with answers; None where nothing is."""
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
        alike.setdefault(_counts(section), []).append(section.protocol)
    for counts, (first, *more) in alike.items():
        if any(counts):
            rows.append((f"{first} and {len(more)} more" if more else first, *map(str, counts)))
    if len(rows) == 1:
        return None
    text = (
        "People on whom the model was trained, or on whom the step of the training was chosen, by "
        "the checkpoint's own record; right answers cut from the recording that asks; and files "
        "with the same bytes that ask and answer. Figures on these are too good.",
    )
    return Part(f"What is shared{whose}", text, rows)


def _counts(section: Section) -> tuple[int, ...]:
    """How much of what should not be shared is."""
    people = len(section.seen), len(section.chosen_on)
    return (*people, section.same_recording, section.copies.pairs, section.copies.of_two_people)


def _value(judged: MetricSet, name: str) -> str:
    return figure_text(judged.figures[name])


def figure_text(figure: Metric, *, signed: bool = False) -> str:
    """A figure with its interval, or alone where it has none or one of no width."""
    kind = "+.3f" if signed else ".3f"
    if not figure.upper - figure.lower > 1e-9:
        return f"{figure.value:{kind}}"
    return f"{figure.value:{kind}} [{figure.lower:{kind}}, {figure.upper:{kind}}]"


def _pictures(sections: Sequence[Section], whose: str) -> Iterator[Part]:
    lines = {section.protocol: section.curves.lines for section in sections}
    roc = {name: each["roc"] for name, each in lines.items() if "roc" in each}
    if roc:
        shares = {name: {kind: lines[name][kind] for kind in ("same", "different")} for name in roc}
        pictures = [(plots.roc_and_det(roc), "ROC and DET curves of each verification")]
        names = list(shares)
        for start in range(0, len(names), 4):
            some = {name: shares[name] for name in names[start : start + 4]}
            pictures.append((plots.histograms(some), "Scores of pairs of one person and of two"))
        yield Part(f"Verification{whose}", pictures=pictures)
    cmc = {name: each["cmc"] for name, each in lines.items() if "cmc" in each}
    if cmc:
        precision = {name: lines[name]["precision"] for name in cmc}
        picture = plots.ranks_and_precision(cmc, precision)
        yield Part(f"Retrieval{whose}", pictures=[(picture, "CMC, and precision over recall")])
    matched = _choices(sections)
    if matched:
        yield Part(f"Matching{whose}", pictures=[(plots.choices(matched), "Accuracy over N")])


def _choices(sections: Sequence[Section]) -> plots.Lines:
    """Accuracy by number of candidates, of each direction and stratum."""
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


def _map(material: EvalItems, whose: str) -> Part:
    items = material.items
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(items))[:_MAPPED])
    names = [items.names[who] for who in items.people[chosen]]
    groupings = {
        "modality": [items.modalities[at] for at in chosen],
        "gender": [material.attributes.get(name, {}).get("gender", "") for name in names],
        "nationality": [material.attributes.get(name, {}).get("nationality", "") for name in names],
        "person": names,
    }
    rows = material.scorer.places([items.paths[at] for at in chosen])
    picture = plots.space_map(material.scorer.vectors[rows], groupings)
    return Part(
        f"The space{whose}",
        (f"t-SNE of {len(chosen)} items. Distances between far points mean nothing.",),
        pictures=[(picture, "Map of the embeddings by modality, gender, nationality and person")],
    )


def _groups(section: Section, whose: str) -> Part:
    main = section.main
    rows: list[tuple[str, ...]] = [("group", "people", "trials", f"{main} and 95 % interval")]
    for judged in section.groups.values():
        rows += [
            (group, str(each.people), str(each.trials), _value(each, main))
            for group, each in judged.items()
        ]
    gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in section.gaps.items() if gap == gap)
    return Part(f"Groups{whose}: {section.protocol}", (f"Largest gaps: {gaps}.",), rows)


def _hardest(material: EvalItems) -> list[Question]:
    items = material.items
    if not material.media:
        return []
    voices, faces = (
        np.flatnonzero([each == modality for each in items.modalities])
        for modality in ("voice", "face")
    )
    if not len(voices) or not len(faces):
        return []
    return hardest(material, Retrieval("voices ask faces", items, voices, faces))


def _again(report: Report) -> Part:
    seen = sorted({name for section in report.sections for name in section.seen})
    told = (
        f"{len(seen)} of the people asked about were in a model's training, {seen[0]} among them."
        if seen
        else "Nobody asked about is recorded as seen in a model's training."
    )
    return Part("To run it again", (shlex.join(report.command), f"Model: {report.model}.", told))
