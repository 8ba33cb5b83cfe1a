"""What the verbs of the command line do, each as one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from avsearch.media import Faces, MediaExtractor
from avsearch.search import Answer, By, Searcher, Want, choose_question
from indexer.errors import BadRequest, NoIndex, RefusedFile
from indexer.index import Index
from indexer.ingest import IngestReport, Progress, ingest
from indexer.locate import new_index, open_index
from indexer.scan import file_fault, scan
from indexer.types import Media, Reranker


def index_galleries(
    galleries: Sequence[Path],
    *,
    index: Path | None = None,
    model: str | None = None,
    manifest: Path | None = None,
    faces: Faces = "detect",
    device: str = "auto",
    prune: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, IngestReport]:
    """Take galleries into an index, made if there is none; its folder and what was done.

    ``model`` None is the model of the index, or of a new one the default. Raises BadRequest for
    a gallery, manifest, model or device that cannot be used, ForeignSpace for a model that is
    not the index's own.
    """
    if manifest is not None and len(galleries) > 1:
        raise BadRequest("A manifest goes with one gallery; index the others without it.")
    extractor = MediaExtractor(faces)
    each_once = dict.fromkeys(os.path.realpath(gallery) for gallery in galleries)
    scans = [scan(Path(gallery), extractor.kind, manifest=manifest) for gallery in each_once]
    folder = new_index(index)
    from avsearch.models import load_model, model_address  # torch, only once all else is in order

    source = model or _known_model(folder)
    embedder = load_model(source, device)
    notes = {"model": model_address(source), "faces": faces}
    with Index.open_or_create(folder, embedder.space, notes=notes) as opened:
        report = ingest(opened, scans, extractor, embedder, prune=prune, progress=progress)
    return folder, report


def _known_model(folder: Path) -> str | None:
    """The model an index was made with, None where there is no index or it was the default."""
    try:
        with Index.open(folder) as opened:
            return opened.notes().get("model") or None
    except NoIndex:
        return None


def ask(
    file: Path | None,
    *,
    person: str | None = None,
    index: Path | None = None,
    top: int = 10,
    want: Want | None = None,
    by: By = "person",
    where: Mapping[str, str] | None = None,
    rerank: str | None = None,
    device: str = "auto",
    warn: Callable[[str], None] = lambda _: None,
) -> tuple[Answer, str]:
    """Ask an index with a file or with one of its people; the answer and the model's name.

    ``warn`` is told what the user should know of how the file was understood. Raises
    RefusedFile for a file that cannot be asked with and BadRequest for a request that is wrong.
    """
    reranker = _reranker(rerank, device)
    with open_index(index) as opened:
        if file is None:
            answer = Searcher(opened, None, reranker).answer(person or "", top, want, where, by)
        else:
            question = _question(file, opened, warn)
            from avsearch.models import load_model

            embedder = load_model(opened.notes().get("model") or None, device)
            searcher = Searcher(opened, embedder, reranker)
            answer = searcher.answer(question, top, want, where, by)
        return answer, opened.space.model


def _reranker(name: str | None, device: str) -> Reranker | None:
    if name is None:
        return None
    from avsearch.models import load_reranker

    return load_reranker(name, device)


def _question(file: Path, index: Index, warn: Callable[[str], None]) -> list[Media]:
    """What to ask with of a file: its speech, or its largest face."""
    fault = file_fault(file)
    if fault is not None:
        raise RefusedFile(file, fault)
    media = _look_into(file, whole_too=index.notes().get("faces") == "whole")
    question = choose_question(media)
    if len(media) > 1 and MediaExtractor().kind(file) == "picture":
        warn(f"{len(media)} faces were found; asked with the largest. Crop the picture to choose.")
    return question


def _look_into(file: Path, *, whole_too: bool) -> list[Media]:
    """The items of a file; a picture in which no face is found may be a crop itself.

    It is taken as one where the index was made of crops.
    """
    try:
        return list(MediaExtractor("detect").extract(file))
    except RefusedFile:
        extractor = MediaExtractor("whole")
        if not whole_too or extractor.kind(file) != "picture":
            raise
        return list(extractor.extract(file))
