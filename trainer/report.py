"""``report.html``: what an evaluation found, on one page that stands alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from avsearch.page import Question, write_page
from avsearch.page import Section as Part
from trainer import drawing
from trainer.confusions import hardest
from trainer.evaluation import Section
from trainer.judge import Judged
from trainer.material import Material
from trainer.protocols.trials import Retrieval

NOTICE = (
    "A face and a voice say little of each other: mostly gender, and something of age, build and "
    "origin. No figure here makes an answer evidence of who somebody is."
)
INVALID = "INVALID: a score changed with the company it was computed in."
_MAPPED = 1500  # items of a map


def write_report(
    path: Path,
    sections: Sequence[Section],
    material: Material,
    *,
    model: str,
    command: Sequence[str],
) -> None:
    """Write the page; BadRequest is for whoever calls this without matplotlib and scikit-learn."""
    parts = [_summary(sections), *_pictures(sections), _map(material)]
    parts += [_groups(section) for section in sections if any(section.groups.values())]
    parts.append(_again(model, command, sections))
    write_page(path, f"avsearch evaluate: {model}", NOTICE, _hardest(material), (), parts)


def _summary(sections: Sequence[Section]) -> Part:
    scorers = list(sections[0].rows) if sections else []
    rows: list[tuple[str, ...]] = [("protocol", "trials", "people", "figure", *scorers, "audit")]
    for section in sections:
        values = [_value(section.rows[name], section.main) for name in scorers]
        verdict = "passed" if section.valid else INVALID
        counts = str(section.trials), str(section.people)
        rows.append((section.protocol, *counts, section.main, *values, verdict))
    invalid = frozenset(at for at, section in enumerate(sections) if not section.valid)
    text = (
        "Beside the model stand a scorer without an opinion, and oracles that know the gender, or "
        "gender and nationality, of everybody and nothing else. Intervals are over people.",
    )
    return Part("Figures", text, rows, invalid)


def _value(judged: Judged, name: str) -> str:
    figure = judged.figures[name]
    if not figure.upper - figure.lower > 1e-9:  # no interval, or one of no width
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.lower:.3f}, {figure.upper:.3f}]"


def _pictures(sections: Sequence[Section]) -> Iterator[Part]:
    lines = {section.protocol: section.curves.lines for section in sections}
    roc = {name: each["roc"] for name, each in lines.items() if "roc" in each}
    if roc:
        shares = {name: {kind: lines[name][kind] for kind in ("same", "different")} for name in roc}
        pictures = [(drawing.roc_and_det(roc), "ROC and DET curves of each verification")]
        names = list(shares)
        for start in range(0, len(names), 4):
            some = {name: shares[name] for name in names[start : start + 4]}
            pictures.append((drawing.histograms(some), "Scores of pairs of one person and of two"))
        yield Part("Verification", pictures=pictures)
    cmc = {name: each["cmc"] for name, each in lines.items() if "cmc" in each}
    if cmc:
        precision = {name: lines[name]["precision"] for name in cmc}
        picture = drawing.ranks_and_precision(cmc, precision)
        yield Part("Retrieval", pictures=[(picture, "CMC, and precision over recall")])
    matched = _choices(sections)
    if matched:
        yield Part("Matching", pictures=[(drawing.choices(matched), "Accuracy over N")])


def _choices(sections: Sequence[Section]) -> drawing.Lines:
    """Accuracy by number of candidates, of each direction and stratum."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for section in sections:
        number, _, rest = section.protocol.partition(" ")
        if number.startswith("1:"):
            numbers, values = found.setdefault(rest, ([], []))
            numbers.append(float(number[2:]))
            values.append(section.rows["model"].figures["accuracy"].value)
    if found:
        numbers = sorted({number for line in found.values() for number in line[0]})
        found["chance"] = (numbers, [1 / number for number in numbers])
    return found


def _map(material: Material) -> Part:
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
    picture = drawing.space_map(material.scorer.vectors[rows], groupings)
    return Part(
        "The space",
        (f"t-SNE of {len(chosen)} items. Distances between far points mean nothing.",),
        pictures=[(picture, "Map of the embeddings by modality, gender, nationality and person")],
    )


def _groups(section: Section) -> Part:
    main = section.main
    rows: list[tuple[str, ...]] = [("group", "people", "trials", f"{main} and 95 % interval")]
    for judged in section.groups.values():
        rows += [
            (group, str(each.people), str(each.trials), _value(each, main))
            for group, each in judged.items()
        ]
    gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in section.gaps.items() if gap == gap)
    return Part(f"Groups: {section.protocol}", (f"Largest gaps: {gaps}.",), rows)


def _hardest(material: Material) -> list[Question]:
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


def _again(model: str, command: Sequence[str], sections: Sequence[Section]) -> Part:
    seen = sorted({name for section in sections for name in section.seen})
    told = (
        f"{len(seen)} of the people asked about were in the model's training, {seen[0]} among them."
        if seen
        else "Nobody asked about is recorded as seen in the model's training."
    )
    return Part("To run it again", (shlex.join(command), f"Model: {model}.", told))
