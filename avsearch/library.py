"""What the verbs of the command line do, each as one call.

What only some of them need is imported inside of those, because asking has to begin at once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsearch.evidence import Calibration, calibrations_of
from avsearch.media import Faces, MediaExtractor, kind_of
from avsearch.search import Answer, By, Searcher, Want, choose_question
from avsearch.spaces import find_weights, model_address, model_record, model_space
from indexer.approximate import NOTE
from indexer.errors import BadRequest, NoIndex, RefusedFile
from indexer.index import Index
from indexer.locate import new_index, open_index
from indexer.scan import file_fault, scan
from indexer.types import Embedded, Embedder, Kind, Media, Metric, Modality, Reranker, Space

if TYPE_CHECKING:
    from indexer.importing import Imported
    from indexer.ingest import IngestReport, Progress

Warn = Callable[[str], None]

# What a file is asked with, where its name tells before it is read; a video may have either.
_ASKED_OF: dict[Kind | None, Modality] = {"picture": "face", "sound": "voice"}
BATCH_ITEMS = 128  # questions are asked together once they have so many faces and stretches


def index_galleries(
    galleries: Sequence[Path],
    *,
    index: Path | None = None,
    model: str | None = None,
    manifest: Path | None = None,
    faces: Faces = "detect",
    device: str = "auto",
    prune: bool = False,
    approximate: str | None = None,
    progress: Progress | None = None,
) -> tuple[Path, IngestReport]:
    """Take galleries into an index, made if there is none; its folder and what was done.

    ``model`` None is the model of the index, or of a new one the default. ``approximate`` is
    hnsw or ivf for an approximate index beside the exact one, none to have none any more; None
    leaves it as it is. Raises BadRequest for a gallery, manifest, model or device that cannot be
    used, ForeignSpace for a model that is not the index's own.
    """
    from avsearch.annotation.joining import BySpeaker
    from avsearch.annotation.matching import PersonMatcher
    from avsearch.annotation.plda import plda_of
    from avsearch.annotation.strength import even_score
    from indexer.ingest import ingest

    if manifest is not None and len(galleries) > 1:
        raise BadRequest("A manifest goes with one gallery; index the others without it.")
    extractor = MediaExtractor(faces, speakers=True)
    each_once = dict.fromkeys(os.path.realpath(gallery) for gallery in galleries)
    scans = [scan(Path(gallery), extractor.kind, manifest=manifest) for gallery in each_once]
    folder = new_index(index)
    source = model or known_model(folder)
    embedder = _when_needed(folder, source, device)
    notes = {"model": model_address(source), "faces": faces}
    notes |= {} if approximate is None else {NOTE: approximate}
    with Index.open_or_create(folder, embedder.space, notes=notes) as opened:
        record = index_record(opened, source)
        calibrations = calibrations_of(record)
        report = ingest(
            opened,
            scans,
            extractor,
            embedder,
            prune=prune,
            progress=progress,
            joiner=BySpeaker(even_score(calibrations, "V-V")),
            matcher=PersonMatcher(calibrations, plda_of(record, opened.space.dim)),
        )
    return folder, report


class _Later:
    """A model whose space is known; it is loaded when the first media are embedded."""

    def __init__(self, space: Space, load: Callable[[], Embedder]) -> None:
        self.space = space
        self._load = functools.cache(load)

    def embed(self, media: Sequence[Media]) -> Embedded:
        """As the model does."""
        return self._load().embed(media)


def _when_needed(folder: Path, model: str | None, device: str) -> Embedder:
    """A model for an index: one that is its own already is loaded when there is work for it.

    Any other, or one that a GPU was asked for, is loaded at once, to say what is wrong with it.
    """

    def load() -> Embedder:
        from avsearch.models import load_model  # what runs it, only once all else is in order

        return load_model(model, device)

    space = _own_space(folder) if device != "cuda" else None
    if space is not None and model_space(find_weights(model)) == space:
        return _Later(space, load)
    return load()


def _own_space(folder: Path) -> Space | None:
    try:
        with Index.open(folder) as opened:
            return opened.space
    except NoIndex:
        return None


def known_model(folder: Path) -> str | None:
    """The model an index was made with, None where there is no index or it was the default."""
    try:
        with Index.open(folder) as opened:
            return opened.notes().get("model") or None
    except NoIndex:
        return None


def import_vectors(
    file: Path,
    *,
    index: Path | None = None,
    model: str | None = None,
    space: str | None = None,
    metric: Metric = "cosine",
    progress: Progress | None = None,
) -> tuple[Path, Imported]:
    """Take the vectors of a Parquet file into an index; its folder and what was taken.

    ``model`` or ``space`` says which model made them, where the file does not: one of
    avsearch's, or any name for another, whose vectors are compared by ``metric``. Raises what
    :func:`indexer.exchange.import_file` does.
    """
    from indexer.exchange import import_file, vector_size

    if model is not None and space is not None:
        raise BadRequest("The vectors are of --model or of --space; name one of the two.")
    folder = new_index(index)
    if space is not None:
        told = Space(space, "unknown", vector_size(file), metric)
        return folder, import_file(file, folder, space=told, progress=progress)
    if model is None:
        return folder, import_file(file, folder, progress=progress)
    from avsearch.models import load_model  # what runs it, only once all else is in order

    made_by, notes = load_model(model, "cpu").space, {"model": model_address(model)}
    return folder, import_file(file, folder, space=made_by, notes=notes, progress=progress)


def ask(
    file: Path | None,
    *,
    person: str | None = None,
    index: Path | None = None,
    model: str | None = None,
    top: int = 10,
    want: Want | None = None,
    by: By = "person",
    where: Mapping[str, str] | None = None,
    rerank: str | None = None,
    device: str = "auto",
    approximate: bool = False,
    warn: Warn = lambda _: None,
) -> tuple[Answer, str]:
    """Ask an index with a file or with one of its people; the answer and the model's name.

    ``model`` None is the model the index was made with. ``warn`` is told what the user should
    know of how the file was understood. ``approximate`` asks the index's approximate one. Raises
    RefusedFile for a file that cannot be asked with, BadRequest for a request that is wrong,
    ForeignSpace for another model than the index's.
    """
    reranker = _reranker(rerank, device)
    with open_index(index) as opened:
        question: str | list[Media] = person or ""
        embedder = None
        if file is not None:
            looker, source = _Looker(opened, warn), _model_to_ask(opened, model)
            question, embedder = _question_and_model(looker, file, source, device)
        calibrations = index_calibrations(opened, model)
        searcher = Searcher(
            opened, embedder, reranker, approximate=approximate, calibrations=calibrations
        )
        return searcher.answer(question, top, want, where, by), opened.space.model


def _question_and_model(
    looker: _Looker, file: Path, model: str | None, device: str
) -> tuple[list[Media], Embedder]:
    """What to ask with of a file, and the model, loaded as far as can be while the file is read.

    Torch is loaded only once it is known that there is something to ask with.
    """
    from avsearch.models import load_onnx_model, load_torch_model

    _check_file(file)
    soon, modality = load_onnx_model(model, device), _ASKED_OF.get(kind_of(file))
    if soon is not None and modality is not None:
        soon.begin(modality)
    question = looker.question(file)
    return question, soon or load_torch_model(model, device)


def ask_many(
    files: Iterable[Path],
    *,
    index: Path | None = None,
    model: str | None = None,
    top: int = 10,
    want: Want | None = None,
    by: By = "person",
    where: Mapping[str, str] | None = None,
    rerank: str | None = None,
    device: str = "auto",
    approximate: bool = False,
    warn: Warn = lambda _: None,
) -> Iterator[tuple[Path, Answer | RefusedFile, str]]:
    """Ask an index with each of many files: the file, its answer, the model's name, in order.

    The model is loaded once, and many files are embedded and sought together. In place of the
    answer to a file that cannot be asked with stands why. Else as :func:`ask`.
    """
    reranker = _reranker(rerank, device)
    with open_index(index) as opened:
        looker = _Looker(opened, warn)
        embedder = index_model(opened, model, device)
        calibrations = index_calibrations(opened, model)
        searcher = Searcher(
            opened, embedder, reranker, approximate=approximate, calibrations=calibrations
        )
        for some in _batches(looker, files):
            questions = [each for _, each in some if not isinstance(each, RefusedFile)]
            answers = iter(searcher.answer_many(questions, top, want, where, by))
            for file, question in some:
                answer = question if isinstance(question, RefusedFile) else next(answers)
                yield file, answer, opened.space.model


def _batches(
    looker: _Looker, files: Iterable[Path]
) -> Iterator[list[tuple[Path, list[Media] | RefusedFile]]]:
    """Files with what to ask with of them, or why there is nothing; some at a time."""
    some: list[tuple[Path, list[Media] | RefusedFile]] = []
    items = 0
    for file in files:
        try:
            question = looker.question(file)
        except RefusedFile as refusal:
            some.append((file, refusal))
        else:
            some.append((file, question))
            items += len(question)
        if items >= BATCH_ITEMS or len(some) >= BATCH_ITEMS:
            yield some
            some, items = [], 0
    if some:
        yield some


def _reranker(name: str | None, device: str) -> Reranker | None:
    if name is None:
        return None
    from avsearch.models import load_reranker

    return load_reranker(name, device)


def index_model(index: Index, model: str | None, device: str) -> Embedder:
    """The model to ask with: the one that is named, or else the index's own."""
    from avsearch.models import load_model

    return load_model(_model_to_ask(index, model), device)


def _model_to_ask(index: Index, model: str | None) -> str | None:
    noted = index.notes().get("model") or None
    if model is None and noted is not None and _is_lost(noted):
        raise BadRequest(
            f"The model of this index was {noted}, and there is no such file any more; "
            "name it with --model."
        )
    return model or noted


def index_calibrations(index: Index, model: str | None) -> dict[str, Calibration]:
    """What the index's model says its scores are worth; nothing where it is not at hand."""
    return calibrations_of(index_record(index, model))


def index_record(index: Index, model: str | None) -> dict[str, Any]:
    """The record of the index's model; empty where it is not at hand or is another space's."""
    address = model or index.notes().get("model") or None
    if address is not None and _is_lost(address):
        return {}
    path = find_weights(address)
    record = model_record(path)
    return record if record and model_space(path) == index.space else {}


def _is_lost(address: str) -> bool:
    """Whether a noted model was a file, not a shipped one's name, and is there no more."""
    return Path(address).is_absolute() and not Path(address).is_file()


def _check_file(file: Path) -> None:
    """Raise RefusedFile for what is no file that can be read."""
    fault = file_fault(file)
    if fault is not None:
        raise RefusedFile(file, fault)


class _Looker:
    """Finds what to ask with of a file, as the index was made."""

    def __init__(self, index: Index, warn: Warn) -> None:
        self._found, self._whole = MediaExtractor("detect"), MediaExtractor("whole")
        self._whole_too = index.notes().get("faces") == "whole"
        self._warn = warn

    def question(self, file: Path) -> list[Media]:
        """Its speech, or its largest face; RefusedFile where there is neither."""
        _check_file(file)
        media = self._look_into(file)
        if len(media) > 1 and self._found.kind(file) == "picture":
            self._warn(
                f"{len(media)} faces were found; asked with the largest. "
                "Crop the picture to choose."
            )
        return choose_question(media)

    def _look_into(self, file: Path) -> list[Media]:
        """The items of a file; a picture in which no face is found may be a crop itself.

        It is taken as one where the index was made of crops.
        """
        try:
            return list(self._found.extract(file))
        except RefusedFile:
            if not self._whole_too or self._whole.kind(file) != "picture":
                raise
            return list(self._whole.extract(file))
