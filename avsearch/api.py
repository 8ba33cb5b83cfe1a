"""The public interface: an index of faces and voices that is searched with media.

Each method does what the verb of the command line does; the verbs call these methods. A module
that only one method needs is imported inside it, so that a query starts quickly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from avsearch.calibration import calibrations_of
from avsearch.index_model import IndexModel, Model, index_record, noted_model
from avsearch.media import Faces, MediaExtractor
from avsearch.query_file import QueryReader, query_modality
from avsearch.runtime.weights import find_weights, model_address
from avsearch.search import (
    Answer,
    By,
    HitKeywords,
    HitOptions,
    Query,
    Searcher,
    Want,
    person_query,
)
from indexer.arguments import require_one_of
from indexer.errors import BadRequest, NoIndex, RefusedFile, printable
from indexer.index import Index
from indexer.ingest.scan import file_fault
from indexer.open import find_index, new_index
from indexer.records import Person
from indexer.runtime.atomic import absolute
from indexer.runtime.timing import timed
from indexer.types import MODALITIES, Metric, Modality, Reranker, Space, Vectors

if TYPE_CHECKING:
    from avsearch.annotation.enrol import Enrolled
    from avsearch.annotation.identification.clustering import Calibrations
    from avsearch.annotation.identification.plda import PLDA
    from avsearch.annotation.result import Annotated
    from indexer.exchange.bulk_insert import ImportReport
    from indexer.exchange.exchange import ExportReport
    from indexer.ingest.ingest import IngestReport
    from indexer.maintenance.erase import DeletionPlan, Receipt
    from indexer.maintenance.prune import Confirm

logger = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]  # receives the count done and the total, 0 if unknown

BATCH_ITEMS = 128  # faces and speech segments of queries that are embedded together


def open(  # noqa: A001 - used as avsearch.open
    index: str | Path | None = None, *, model: Model | None = None, device: str = "auto"
) -> MediaIndex:
    """Open an index, or name the folder in which :meth:`MediaIndex.add` makes one.

    Args:
        index: The folder of the index, or the folder it lies in, as ``--index``. Without it the
            environment's AVSEARCH_INDEX is used, else ``.avsearch`` in the working folder or a
            folder above it.
        model: The model of the index if it has moved, or the model of a new index: a shipped
            model's name, a checkpoint file, or an object with the two members of
            :class:`indexer.types.Embedder`.
        device: The device that the model runs on: "auto", "cpu" or "cuda".

    Returns:
        The index, a context manager.

    Raises:
        IndexDamaged: There is an index, but it cannot be read.
    """
    folder = new_index(index)
    if index is None:
        with contextlib.suppress(NoIndex):
            folder = find_index()
    return MediaIndex(folder, model=model, device=device)


class MediaIndex:
    """Faces and voices of people in one folder, searched with media; a context manager.

    :func:`avsearch.open` makes it. The model is loaded on first use. Threads may share one
    object, and processes may share one folder; one of them writes at a time.

    Args:
        folder: The folder of the index; it may not exist yet.
        model: The model, as in :func:`avsearch.open`.
        device: The device that the model runs on: "auto", "cpu" or "cuda".
        upgrade: Migrate the catalog of an earlier version to this one, after a backup; otherwise
            such an index is refused, and nothing is written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        model: Model | None = None,
        device: str = "auto",
        upgrade: bool = True,
    ) -> None:
        self.folder = absolute(folder)
        self._named = model_address(model) if isinstance(model, str | Path) else model
        self._device = device
        self._lock = threading.RLock()  # guards what is opened and loaded once
        self._store: Index | None = None
        self._model: IndexModel | None = None
        self._rerankers: dict[Path, Reranker] = {}
        with contextlib.suppress(NoIndex):
            self._store = Index.open(self.folder, upgrade=upgrade)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files of the index."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    @property
    def store(self) -> Index:
        """The catalog and the vectors, for what has no method here.

        Raises:
            NoIndex: There is no index in the folder yet.
        """
        with self._lock:
            if self._store is None:
                self._store = Index.open(self.folder)
            return self._store

    def __len__(self) -> int:
        """Return the number of faces and voices."""
        with contextlib.suppress(NoIndex):
            counts = self.store.counts()
            return counts.faces + counts.voices
        return 0

    def __bool__(self) -> bool:
        """Return True, also for an empty index."""
        return True

    def __repr__(self) -> str:
        where = printable(self.folder)
        try:
            counts = self.store.counts()
        except NoIndex:
            return f"<MediaIndex {where}: not made yet>"
        return (
            f"<MediaIndex {where}: {counts.people} people, {counts.faces} faces, "
            f"{counts.voices} voices>"
        )

    def people(self) -> list[Person]:
        """Return everybody in the index, by key."""
        return self.store.people()

    def info(self, *, recall: bool = False) -> dict[str, Any]:
        """Return what ``avsearch info --json`` prints.

        Args:
            recall: Measure how much of the exact answer the approximate index finds.
        """
        from indexer.approximate import KIND, has_graph

        store = self.store
        counts = store.counts()
        facts: dict[str, Any] = {
            "index": store.folder,
            "revision": store.revision,
            "model": store.space.model,
            "space": store.space,
            "people": counts.people,
            "faces": counts.faces,
            "voices": counts.voices,
            "files": counts.files,
            "refused": [{"path": path, "reason": reason} for path, reason in store.refused()],
            "notes": [{"path": path, "note": note} for path, note in store.file_notes()],
            "forgotten": store.deletions(),
            "bytes": store.bytes_on_disk(),
            "approximate": KIND if has_graph(store.notes()) else "none",
        }
        return {**facts, "recall": store.recall()} if recall else facts

    # Changing the index

    def add(
        self,
        *galleries: str | Path,
        manifest: str | Path | None = None,
        faces: Faces = "detect",
        prune: bool = False,
        confirm: Confirm | None = None,
        approximate: str | None = None,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Add the faces and voices of galleries to the index, made if there is none.

        Only new and changed files are read. The report lists the files that cannot be read; they
        stop nothing.

        Args:
            galleries: Folders with one folder per person.
            manifest: A table that names the files; for one gallery only.
            faces: "detect" finds and crops faces, "whole" takes pictures that are crops already.
            prune: Remove files that have disappeared from the galleries.
            confirm: Receives a question before more than half of a gallery's files are removed,
                and returns the answer; without it so many are never removed.
            approximate: "hnsw" for an approximate index beside the exact one, "none"
                to remove it; None leaves it as it is.
            dry_run: Write nothing, and report what is known without reading a file.
            on_progress: Receives the files done and their total.

        Returns:
            Counts, refused files and notes.

        Raises:
            BadRequest: A gallery, manifest, model or device cannot be used.
            ForeignSpace: The model is not the index's own.
            IndexBusy: Another process is writing to the index.
        """
        from avsearch.annotation.identification.clustering import equal_odds_score
        from avsearch.annotation.merge_speakers import MergeBySpeaker
        from avsearch.annotation.person_matcher import PersonMatcher
        from indexer.approximate import KIND, NOTE
        from indexer.ingest.ingest import ingest, plan
        from indexer.ingest.scan import scan

        if not galleries:
            raise BadRequest("No gallery was named; name the folder of your media.")
        if manifest is not None and len(galleries) > 1:
            raise BadRequest("A manifest goes with one gallery; index the others without it.")
        require_one_of("faces", faces, ("detect", "whole"))
        if approximate is not None:
            require_one_of("approximate", approximate, (KIND, "none"))
        extractor = MediaExtractor(faces, speakers=True)
        each_once = dict.fromkeys(os.path.realpath(gallery) for gallery in galleries)
        listed = None if manifest is None else Path(manifest)
        scans = [scan(Path(gallery), extractor.kind, manifest=listed) for gallery in each_once]
        if dry_run:
            if self._store is not None and (self._named is not None or noted_model(self._store)):
                self._store.check_space(self._model_of(self._store).space)  # without loading it
            answer = confirm or (lambda _: True)
            report = plan(self._store, scans, extractor, prune=prune, confirm=answer)
            report.index = self.folder
            return report
        notes = {"faces": faces} | ({} if approximate is None else {NOTE: approximate})
        store, model = self._open_or_create(notes)
        calibrations, plda = self._calibrations(store)
        return ingest(
            store,
            scans,
            extractor,
            model,
            prune=prune,
            confirm=confirm,
            progress=on_progress,
            merge_items=MergeBySpeaker(equal_odds_score(calibrations, "V-V")),
            matcher=PersonMatcher(calibrations, plda),
        )

    def import_vectors(
        self,
        file: str | Path,
        *,
        space: str | None = None,
        metric: Metric = "cosine",
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Add the vectors of a Parquet file to the index, made if there is none.

        Args:
            file: An export of an index, or a table with the columns person, modality and vector.
            space: A name for the vectors of a model of your own.
            metric: The metric of ``space``: "cosine" or "l2".
            dry_run: Write nothing, and return what would be added.
            on_progress: Receives the rows done and their total.

        Raises:
            BadRequest: The file is wrong, or neither the file, ``space`` nor the ``model`` of
                :func:`avsearch.open` names the model of the vectors.
            ForeignSpace: The vectors are of another space than the index.
        """
        from indexer.exchange.exchange import import_file, plan_import, vector_size

        require_one_of("metric", metric, ("cosine", "l2"))
        if self._named is not None and space is not None:
            raise BadRequest("The vectors are of --model or of --space; name one of the two.")
        given, notes = None, dict[str, str]()
        if space is not None:
            given = Space(space, "unknown", vector_size(Path(file)), metric)
        elif self._named is not None:
            model = IndexModel(self._named, "cpu")
            model.load()  # raises if it cannot be used
            given, notes = model.space, model.notes
        if dry_run:
            return plan_import(file, self.folder, space=given, progress=on_progress)
        return import_file(file, self.folder, space=given, notes=notes, progress=on_progress)

    # Searching

    def query(
        self,
        file: str | Path | None = None,
        *,
        person: str | None = None,
        vectors: Vectors | None = None,
        modality: Modality | None = None,
        top: int = 10,
        want: Want | None = None,
        by: By = "person",
        where: Mapping[str, Any] | None = None,
        ask: Modality | None = None,
        rerank: str | Path | None = None,
        approximate: bool = False,
    ) -> Answer:
        """Search the index with a file, with one of its people, or with vectors.

        Args:
            file: A picture, recording or video.
            person: The key of a person in the index.
            vectors: (dim,) or (n, dim) vectors of one person, made by the index's model; the
                search uses their mean.
            modality: The modality of ``vectors``: "face" or "voice".
            top: The largest number of hits.
            want: "face", "voice" or "any"; None is the modality that the query does not have.
            by: "person" returns the best item of each person, "item" every item.
            where: Values that columns of the person must have, such as ``{"gender": "f"}``.
            ask: "face" or "voice": the modality of a video that is searched with. None is the
                wanted one, else its voice.
            rerank: A re-ranker's checkpoint file, which re-orders the best 100 hits.
            approximate: Search the approximate index, which finds most of the nearest.

        Returns:
            The hits, best first.

        Raises:
            RefusedFile: The file cannot be read, or has no face and no speech.
            BadRequest: The request is wrong.
            ForeignSpace: The model is not the index's own.
        """
        options = HitOptions(top, want, by, where, approximate)
        if sum(each is not None for each in (file, person, vectors)) != 1:
            raise BadRequest("Ask with one of a file, a person and vectors.")
        reranker = None if rerank is None else self._reranker(rerank)
        if file is not None:
            path = Path(file)
            if ask is not None:
                require_one_of("ask", ask, MODALITIES)
            if file_fault(path) is None:  # loading the model and reading the file overlap
                self._model_of(self.store).begin(query_modality(path, ask, want))
            with timed(logger, f"read {printable(path)}"):
                query = QueryReader(self.store).read(path, ask, want)
        elif person is not None:
            query = person_query(self.store, person, want)
        else:
            query = _vector_query(vectors, modality)
        return self._searcher(reranker, embeds=file is not None).answer(query, options)

    def query_many(
        self,
        files: Iterable[str | Path],
        *,
        ask: Modality | None = None,
        rerank: str | Path | None = None,
        **options: Unpack[HitKeywords],
    ) -> list[Answer | RefusedFile]:
        """Search the index with each of many files, embedded and searched for together.

        Args:
            files: Pictures, recordings and videos.
            ask: As in :meth:`query`.
            rerank: As in :meth:`query`.
            options: The other arguments of :meth:`query`.

        Returns:
            The answers in the order of the files; a :class:`RefusedFile` in place of the answer
            to a file that cannot be read.
        """
        return [answer for _, answer in self.answers(files, HitOptions(**options), ask, rerank)]

    def answers(
        self,
        files: Iterable[str | Path],
        options: HitOptions | None = None,
        ask: Modality | None = None,
        rerank: str | Path | None = None,
    ) -> Iterator[tuple[Path, Answer | RefusedFile]]:
        """Return an iterator of files with their answers or refusals, batch by batch."""
        searcher = self._searcher(None if rerank is None else self._reranker(rerank))
        reader = QueryReader(self.store)
        return _answer_files(searcher, reader, files, Path.cwd(), options or HitOptions(), ask)

    # Naming speakers

    def annotate(
        self,
        recording: Any,
        turns: Any = None,
        *,
        recording_id: str | None = None,
        speakers: int | None = None,
        faces: bool = True,
        at_least: float | None = None,
        calibration: str | Path | None = None,
        out: str | Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> Annotated:
        """Name the speakers of a recording as people of the index.

        Args:
            recording: A recording or video, or ``{"waveform", "sample_rate"}``.
            turns: The speakers' turns: a file of any format in ``docs/annotate.md``, a pyannote
                ``Annotation``, or segments. With None speech is found and clustered.
            recording_id: The recording to take if the turns are of several; by default the one
                with the file's name.
            speakers: The number of speakers, if there are no ``turns``.
            faces: Use the faces of a video too.
            at_least: The least probability of a name, 0 to 1; None is 0.5.
            calibration: A JSON file in place of the model's own calibration.
            out: A folder for the results in every format; a stopped run continues from it.
            on_progress: Receives the seconds read, and 0.

        Raises:
            RefusedFile: The recording cannot be read.
            BadRequest: The turns have no known format, or are of another recording.
        """
        from avsearch.annotation.identification.identify import MIN_PROBABILITY
        from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording

        store = self.store
        calibrations, plda = self._calibrations(store, calibration)
        folder = None if out is None else Path(out).absolute()
        options = AnnotateOptions(
            calibrations=calibrations,
            plda=plda,
            min_probability=MIN_PROBABILITY if at_least is None else at_least,
            speaker_count=speakers,
            faces=faces,
            resume_folder=folder,
            on_progress=_seconds(on_progress),
            recording_id=recording_id,
        )
        annotated = annotate_recording(recording, turns, store, self._model_of(store), options)
        if folder is not None:
            annotated.write(folder)
        return annotated

    def enrol(
        self,
        recording: str | Path | Annotated,
        names: Mapping[str, str] | None = None,
        *,
        turns: Any = None,
        recording_id: str | None = None,
        dry_run: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Enrolled:
        """Add the named speakers of a recording to the index, made if there is none.

        Args:
            recording: A recording with its ``turns``, or the result of :meth:`annotate`, which
                names speakers itself.
            names: People, by key or by name, for speakers that the turns do not name or name
                wrongly: ``{"SPEAKER_00": "ada"}``.
            turns: The speakers' turns, as in :meth:`annotate`.
            recording_id: As in :meth:`annotate`.
            dry_run: Write nothing, and return what follows from the turns and names alone.
            on_progress: Receives the seconds read, and 0.

        Raises:
            BadRequest: Nobody is named, or several people have a name.
        """
        from avsearch.annotation.enrol import enrol_recording, plan_enrolment
        from avsearch.annotation.formats.detect import read_diarization
        from avsearch.annotation.result import Annotated
        from avsearch.annotation.turns import Diarization

        names = dict(names or {})
        if isinstance(recording, Annotated):
            if recording.path is None:
                raise BadRequest("Samples in memory cannot be enrolled; annotate a file.")
            known = {each.speaker: each.person for each in recording.speakers if each.person}
            names = {**known, **names}
            path, diarization = recording.path, Diarization(recording.turns, recording.recording)
        elif turns is None:
            raise BadRequest("Enrolling needs to know who speaks when; give the turns.")
        else:
            path = Path(recording)
            # Raises before an index is made.
            diarization = read_diarization(turns, path.stem, recording_id)
        if dry_run:
            return plan_enrolment(path, diarization, self._store, names)
        store, model = self._open_or_create({})
        calibrations = calibrations_of(index_record(store, self._named))
        return enrol_recording(
            path, diarization, store, model, names, calibrations, _seconds(on_progress)
        )

    # Keeping it in order

    def forget(self, person: str) -> Receipt:
        """Delete a person for good, and search every byte of the index for traces.

        Raises:
            BadRequest: Nobody in the index has this key.
        """
        return self.store.forget(person)

    def forgettable(self, person: str) -> DeletionPlan:
        """Return what :meth:`forget` would delete, and delete nothing.

        Raises:
            BadRequest: Nobody in the index has this key.
        """
        return self.store.forgettable(person)

    def verify(self) -> list[str]:
        """Return what is wrong with the index, in sentences; empty if nothing is."""
        return self.store.verify()

    def export(self, file: str | Path, *, on_progress: OnProgress | None = None) -> ExportReport:
        """Write the whole index to a Parquet file.

        Raises:
            BadRequest: The file cannot be written, or exists and is not a Parquet file.
        """
        from indexer.exchange.exchange import export_index

        return export_index(self.store, file, on_progress)

    def _open_or_create(self, notes: Mapping[str, str]) -> tuple[Index, IndexModel]:
        """Return the index with its model, made if there is none, and write the notes to it."""
        with self._lock:
            if self._store is None:
                with contextlib.suppress(NoIndex):
                    self._store = Index.open(self.folder)
            if self._store is None:
                model = IndexModel(self._named, self._device)
                model.load()  # raises before an index is made, if it cannot be used
            else:
                model = self._model_of(self._store)
                if self._device == "cuda" or model.space != self._store.space:
                    model.load()
                self._store.check_space(model.space)
            notes = {**model.notes, **notes}
            if self._store is None:
                self._store = Index.open_or_create(self.folder, model.space, notes=notes)
                self._model = model
            else:
                self._store.note(notes)
            return self._store, model

    def _model_of(self, store: Index) -> IndexModel:
        """Return the model of the index, the same object each time."""
        with self._lock:
            if self._model is None:
                self._model = IndexModel.of_index(store, self._named, self._device)
            return self._model

    def _calibrations(
        self, store: Index, file: str | Path | None = None
    ) -> tuple[Calibrations, PLDA | None]:
        """Return the calibrations of a file, or those and the PLDA of the model's record."""
        from avsearch.annotation.identification.evidence_matrix import read_calibrations
        from avsearch.annotation.identification.plda import plda_from_record

        if file is not None:
            return read_calibrations(Path(file)), None
        record = index_record(store, self._named)
        return calibrations_of(record), plda_from_record(record, store.space.dim)

    def _searcher(self, reranker: Reranker | None, *, embeds: bool = True) -> Searcher:
        """Return what searches the index, with the model if it ``embeds``."""
        store = self.store
        model = self._model_of(store) if embeds else None
        calibrations = calibrations_of(index_record(store, self._named))
        return Searcher(store, model, reranker, calibrations=calibrations)

    def _reranker(self, name: str | Path) -> Reranker:
        """Return a re-ranker, loaded on the first call."""
        from avsearch.models import load_reranker

        with self._lock:
            key = find_weights(name, kind="re-ranker").absolute()
            if key not in self._rerankers:
                self._rerankers[key] = load_reranker(key, self._device)
            return self._rerankers[key]


def _answer_files(
    searcher: Searcher,
    reader: QueryReader,
    files: Iterable[str | Path],
    folder: Path,
    options: HitOptions,
    ask: Modality | None,
) -> Iterator[tuple[Path, Answer | RefusedFile]]:
    """Yield files, whose paths are relative to ``folder``, with their answers or refusals."""
    batch: list[tuple[Path, Query | RefusedFile]] = []

    def flush() -> Iterator[tuple[Path, Answer | RefusedFile]]:
        queries = [query for _, query in batch if isinstance(query, Query)]
        answers = iter(searcher.answer_many(queries, options))
        for path, query in batch:
            yield path, query if isinstance(query, RefusedFile) else next(answers)

    items = 0
    for file in files:
        path = Path(file)
        try:
            query = reader.read(folder / path, ask, options.want, named=path)
        except RefusedFile as refusal:
            batch.append((path, refusal))
        else:
            batch.append((path, query))
            items += len(query.media)
        if items >= BATCH_ITEMS or len(batch) >= BATCH_ITEMS:
            yield from flush()
            batch, items = [], 0
    yield from flush()


def _vector_query(vectors: Any, modality: Modality | None) -> Query:
    """Return the query of vectors from a user, (dim,) or (n, dim)."""
    require_one_of("modality", modality, MODALITIES)
    try:
        array = np.atleast_2d(np.asarray(vectors, np.float32))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"vectors are not an array of numbers: {error}.") from error
    if array.ndim != 2 or not len(array):
        raise BadRequest(f"vectors are of shape {array.shape}; give (dim,) or (n, dim).")
    return Query("face" if modality == "face" else "voice", vectors=array)


def _seconds(on_progress: OnProgress | None) -> Callable[[float], None]:
    """Return a callback that reports seconds as ``on_progress`` reports counts."""
    if on_progress is None:
        return lambda _: None
    return lambda seconds: on_progress(round(seconds), 0)
