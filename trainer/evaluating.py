"""From a request to a report: what ``avsearch evaluate`` does, as one call."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avsearch.evidence import calibrations_of
from avsearch.models import load_model
from indexer.errors import BadRequest
from indexer.files import replacing
from indexer.locate import open_index
from trainer.audit import audit_embedder
from trainer.evaluation import Section, Subject, evaluate, protocols_of
from trainer.material import (
    Material,
    attributes_of,
    embedded,
    material_of,
    material_of_features,
    media_under,
)
from trainer.protocols.lists import read_list
from trainer.protocols.people import People, read_people
from trainer.protocols.trials import Protocol, Retrieval

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What is to be evaluated on what."""

    index: Path | None = None
    lists: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    media: Path | None = None
    model: str | None = None
    features: Path | None = None
    kinds: tuple[str, ...] = ("verification", "1:2", "1:10", "retrieval")
    directions: tuple[str, ...] = ("V-F", "F-V")
    strata: tuple[str, ...] = ("U", "G")
    without_same_recording: bool = False
    sample: int = 40
    seed: int = 0
    device: str = "auto"


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was found, and everything needed to find it again."""

    request: Request
    command: list[str]
    model: str
    sections: list[Section]
    material: Material

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; each section says whether it is valid."""
        sections = [
            {**dataclasses.asdict(each), "main": each.main, "faults": each.audit.faults}
            for each in self.sections
        ]
        request = dataclasses.asdict(self.request)
        return {
            "command": self.command,
            "model": self.model,
            "request": request,
            "sections": sections,
        }

    def write(self, folder: Path) -> None:
        """Write ``report.json`` and ``report.html``, each to a temporary name first.

        Raises BadRequest where what draws the page is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=1, default=str)
        with replacing(folder / "report.json") as partial:
            partial.write_text(text, encoding="utf-8")
        try:
            from trainer.report import write_report
        except ImportError as error:
            raise BadRequest(
                f"report.json is written, but the page needs {error.name}: "
                "pip install 'avsearch[report]'."
            ) from error
        write_report(
            folder / "report.html",
            self.sections,
            self.material,
            model=self.model,
            command=self.command,
        )


def run(request: Request, progress: Progress | None = None) -> Report:
    """Evaluate; raises BadRequest for what cannot be evaluated."""
    material, found = _found(request)
    sections: list[Section] = []
    for protocol, subject in found:
        sections += evaluate([protocol], subject)
        if progress is not None:
            progress(len(sections), len(found))
    name = request.model or (request.features.name if request.features else "the index's own")
    return Report(request, ["avsearch", *sys.argv[1:]], name, sections, material)


def _found(request: Request) -> tuple[Material, list[tuple[Protocol, Subject]]]:
    if request.features is not None and (request.media or request.model or request.index):
        raise BadRequest("Ready features need no media, model or index; leave those out.")
    if request.lists:
        return _by_lists(request)
    return _by_features(request) if request.features else _by_index(request)


def _by_index(request: Request) -> tuple[Material, list[tuple[Protocol, Subject]]]:
    with open_index(request.index) as index:
        material = material_of(index)
        address = request.model or index.notes().get("model") or None
        space = index.space
    protocols = _made(request, material)
    embedder = load_model(address, request.device)
    if embedder.space != space:
        raise BadRequest("The model at hand is not the index's own; name that with --model.")
    subject = Subject(
        material.scorer,
        material.attributes,
        _trained_on(embedder.record),
        audit_embedder(embedder, list(material.media.values()), sample=request.sample),
        calibrations=calibrations_of(embedder.record),
    )
    return material, [(protocol, subject) for protocol in protocols]


def _by_features(request: Request) -> tuple[Material, list[tuple[Protocol, Subject]]]:
    """Protocols made of a feature file; only the comparison of its vectors can be audited."""
    assert request.features is not None
    material = material_of_features(request.features)
    subject = Subject(material.scorer, material.attributes)
    return material, [(protocol, subject) for protocol in _made(request, material)]


def _made(request: Request, material: Material) -> list[Protocol]:
    protocols = protocols_of(
        material.items,
        material.attributes,
        kinds=request.kinds,
        directions=request.directions,
        strata=request.strata,
        seed=request.seed,
    )
    return [_stripped(protocol, request) for protocol in protocols]


def _by_lists(request: Request) -> tuple[Material, list[tuple[Protocol, Subject]]]:
    people = read_people(request.tables) if request.tables else People()
    protocols = [_stripped(read_list(path, people), request) for path in request.lists]
    attributes = attributes_of(people)
    if request.features is not None:
        scorer = material_of_features(request.features).scorer
        last = Material(protocols[-1].items, scorer, attributes, {})
        return last, [(protocol, Subject(scorer, attributes)) for protocol in protocols]
    if request.media is None:
        raise BadRequest("A list needs media or vectors; name them with --media or --features.")
    embedder = load_model(request.model, request.device)
    found: list[tuple[Protocol, Subject]] = []
    for protocol in protocols:
        media = media_under(request.media, protocol.items)
        scorer = embedded(protocol.items, media, embedder)
        last = Material(protocol.items, scorer, attributes, media)
        checked = audit_embedder(embedder, list(media.values()), sample=request.sample)
        subject = Subject(
            scorer,
            attributes,
            _trained_on(embedder.record),
            checked,
            calibrations=calibrations_of(embedder.record),
        )
        found.append((protocol, subject))
    return last, found


def _stripped(protocol: Protocol, request: Request) -> Protocol:
    if isinstance(protocol, Retrieval) or not request.without_same_recording:
        return protocol
    return protocol.without_same_video()


def _trained_on(record: dict[str, Any]) -> list[str]:
    """People of a checkpoint's training side; names of galleries before a slash are dropped."""
    people = record.get("people", {})
    train = people.get("train", []) if isinstance(people, dict) else []
    return [str(name).rpartition("/")[2] for name in train]
