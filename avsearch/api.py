"""The public interface: an index that takes media in and is asked with media.

Every method does what the verb of the command line does; the verbs call these methods. Modules
that only some of them need are imported inside of those, because a query has to begin at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from avsearch.index_model import IndexModel, Model, index_calibrations, index_record, noted_model
from avsearch.media import Faces, MediaExtractor
from avsearch.query_file import QueryReader, asking_modality
from avsearch.runtime.weights import find_weights, model_address
from avsearch.search import (
    Answer,
    By,
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

OnProgress = Callable[[int, int], None]  # receives what is done and the total; 0 where unknown

BATCH_ITEMS = 128  # queries are embedded together once they have so many faces and stretches


def open(  # noqa: A001 - used as avsearch.open
    index: str | Path | None = None, *, model: Model | None = None, device: str = "auto"
) -> MediaIndex:
    """Open an index, or name the place where :meth:`MediaIndex.add` makes one.

    Args:
        index: The folder of the index, or the folder it lies in, as ``--index``. Without it the
            environment's AVSEARCH_INDEX is used, else ``.avsearch`` in the working folder or a
            folder above it.
        model: The model of the index if it has moved, or the model of a new index: a shipped
            model's name, a checkpoint file, or an object with the two members of
            :class:`indexer.types.Embedder`.
        device: "auto", "cpu" or "cuda"; where the model runs.

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
    """Faces and voices of people in one folder, to be searched with media.

    Made by :func:`avsearch.open`; a context manager. The model is loaded when it is first needed
    and kept. Threads may share one object; so may processes one folder, of which one writes at a
    time.

    Args:
        folder: The folder of the index, which need not be there yet.
        model: The model, as :func:`avsearch.open` takes it.
        device: "auto", "cpu" or "cuda"; where the model runs.
        upgrade: Bring the catalog of an index of an earlier version to this one, after a backup;
            otherwise such an index is refused, and nothing is written.
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
        self._lock = threading.RLock()  # of what is opened and loaded once
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
        """The catalog and the vectors below, for what has no method here.

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
        """An index is true, also an empty one."""
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

    # Taking in

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
        """Take the faces and voices of galleries into the index, made if there is none.

        Only what is new or changed is looked at. A file that cannot be read is listed in the
        report and stops nothing.

        Args:
            galleries: Folders with one folder per person.
            manifest: A table that names the files of the one gallery.
            faces: "detect" finds and crops faces, "whole" takes pictures that are crops already.
            prune: Remove files that are gone from the galleries.
            confirm: Receives a question, and returns the answer, before more than half of a
                gallery's files are removed; without it so many are never removed.
            approximate: "hnsw" for an approximate index beside the exact one, "none"
                to remove it; None leaves it as it is.
            dry_run: Write nothing, and report what can be told without reading a file.
            on_progress: Receives the files done and their total.

        Returns:
            Counts, refusals and notes.

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
            self._check_space()
            answer = confirm or (lambda _: True)
            report = plan(self._store, scans, extractor, prune=prune, confirm=answer)
            report.index = self.folder
            return report
        notes = {"faces": faces} | ({} if approximate is None else {NOTE: approximate})
        store, model = self._made(notes)
        calibrations, plda = self._worth(store, None)
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
        """Take the vectors of a Parquet file into the index, made if there is none.

        Args:
            file: An export of an index, or a table with the columns person, modality and vector.
            space: A name for the vectors of a model that is none of avsearch's.
            metric: How vectors of ``space`` are compared: "cosine" or "l2".
            dry_run: Write nothing, and say what would be taken.
            on_progress: Receives the rows done and their total.

        Raises:
            BadRequest: The file is wrong, or does not say which model made its vectors and
                neither ``space`` nor the ``model`` of :func:`avsearch.open` does.
            ForeignSpace: The vectors are of another space than the index's.
        """
        from indexer.exchange.exchange import import_file, plan_import, vector_size

        require_one_of("metric", metric, ("cosine", "l2"))
        if self._named is not None and space is not None:
            raise BadRequest("The vectors are of --model or of --space; name one of the two.")
        told, notes = None, dict[str, str]()
        if space is not None:
            told = Space(space, "unknown", vector_size(Path(file)), metric)
        elif self._named is not None:
            model = IndexModel(self._named, "cpu")
            model.load()  # says what is wrong with it
            told, notes = model.space, model.notes
        if dry_run:
            return plan_import(file, self.folder, space=told, progress=on_progress)
        return import_file(file, self.folder, space=told, notes=notes, progress=on_progress)

    # Asking

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
            vectors: (dim,) or (n, dim) vectors of one person, made by the index's model; their
                mean is searched with.
            modality: Of ``vectors``: "face" or "voice".
            top: How many hits at most.
            want: "face", "voice" or "any"; None is the modality that does not ask.
            by: "person" returns the best item of each person, "item" every item.
            where: Values that columns of the person must have, such as ``{"gender": "f"}``.
            ask: "face" or "voice": the modality a video asks with. None is the one that is
                wanted, else its voice.
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
        reranker = self._reranker(rerank)
        if file is not None:
            query = self._file_query(Path(file), ask, want)
            return self._searcher(reranker).answer(query, options)
        if person is not None:
            query = person_query(self.store, person, want)
        else:
            query = _vector_query(vectors, modality)
        return self._searcher(reranker, embeds=False).answer(query, options)

    def query_many(
        self,
        files: Iterable[str | Path],
        *,
        top: int = 10,
        want: Want | None = None,
        by: By = "person",
        where: Mapping[str, Any] | None = None,
        ask: Modality | None = None,
        rerank: str | Path | None = None,
        approximate: bool = False,
    ) -> list[Answer | RefusedFile]:
        """Search the index with each of many files, embedded and searched for together.

        Args are those of :meth:`query`.

        Returns:
            The answers in the order of the files; a :class:`RefusedFile` in place of the answer
            to a file that cannot be asked with.
        """
        options = HitOptions(top, want, by, where, approximate)
        return [answer for _, answer in self.answers(files, options, ask, rerank)]

    def answers(
        self,
        files: Iterable[str | Path],
        options: HitOptions | None = None,
        ask: Modality | None = None,
        rerank: str | Path | None = None,
    ) -> Iterator[tuple[Path, Answer | RefusedFile]]:
        """Return each file with its answer or refusal, as :meth:`query_many`, some at a time."""
        searcher, reader = self._searcher(self._reranker(rerank)), self._reader()
        here = Path.cwd()  # of this call, whatever it is when the next answer is wanted
        return _batches(searcher, reader, files, here, options or HitOptions(), ask)

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
        """Name the speakers of a recording by the people of the index.

        Args:
            recording: A recording or video, or ``{"waveform", "sample_rate"}``.
            turns: Who speaks when: a file of any format that ``docs/annotate.md`` names, a
                pyannote ``Annotation``, or segments. None has speech found and grouped.
            recording_id: The recording to take, where the turns are of several; by default the
                one that is called as the file.
            speakers: How many speakers there are, where there are no ``turns``.
            faces: Look at the faces of a video too.
            at_least: How probable a name must be, from 0 to 1; None is 0.5.
            calibration: A JSON file in place of the model's own calibration.
            out: A folder for the results in every format; a run that was stopped goes on there.
            on_progress: Receives the seconds read, and 0.

        Raises:
            RefusedFile: The recording cannot be read.
            BadRequest: The turns are of no known format, or of another recording.
        """
        from avsearch.annotation.identification.identify import MIN_PROBABILITY
        from avsearch.annotation.pipeline import AnnotateOptions, annotate_recording

        store = self.store
        calibrations, plda = self._worth(store, calibration)
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
            recording: A recording with its ``turns``, or the result of :meth:`annotate`, whose
                named speakers count as named.
            names: The person, by key or by name, of speakers whom the turns do not name or name
                wrongly: ``{"SPEAKER_00": "ada"}``.
            turns, recording_id: Who speaks when, as :meth:`annotate` takes it.
            dry_run: Write nothing, and say what the turns and names alone tell.
            on_progress: Receives the seconds read, and 0.

        Raises:
            BadRequest: Nobody is named, or a name is that of several people.
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
            path, said = recording.path, Diarization(recording.turns, recording.recording)
        elif turns is None:
            raise BadRequest("Enrolling needs to know who speaks when; give the turns.")
        else:
            path = Path(recording)
            # Before an index is made for it.
            said = read_diarization(turns, path.stem, recording_id)
        if dry_run:
            return plan_enrolment(path, said, self._store, names)
        store, model = self._made({})
        calibrations = self._calibrations(store)
        return enrol_recording(path, said, store, model, names, calibrations, _seconds(on_progress))

    # Keeping

    def forget(self, person: str) -> Receipt:
        """Delete a person for good, and search every byte of the index for what is left.

        Raises:
            BadRequest: Nobody in the index has this key.
        """
        return self.store.forget(person)

    def forgettable(self, person: str) -> DeletionPlan:
        """Return what :meth:`forget` would delete; nothing is deleted.

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
            BadRequest: The file cannot be written, or is there and no Parquet file.
        """
        from indexer.exchange.exchange import export_index

        return export_index(self.store, file, on_progress)

    def _made(self, notes: Mapping[str, str]) -> tuple[Index, IndexModel]:
        """The index, made if there is none, with its model; the notes are written to it."""
        with self._lock:
            if self._store is None:
                with contextlib.suppress(NoIndex):
                    self._store = Index.open(self.folder)
            if self._store is None:
                model = IndexModel(self._named, self._device)
                model.load()  # says what is wrong with it before an index is made
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

    def _check_space(self) -> None:
        """Compare the model with the index, as far as that is told without loading it."""
        if self._store is not None and (self._named is not None or noted_model(self._store)):
            self._store.check_space(self._model_of(self._store).space)

    def _model_of(self, store: Index) -> IndexModel:
        """The model of the index, the same object each time."""
        with self._lock:
            if self._model is None:
                self._model = IndexModel.of_index(store, self._named, self._device)
            return self._model

    def _calibrations(self, store: Index) -> Calibrations:
        return index_calibrations(store, self._named)

    def _worth(self, store: Index, file: str | Path | None) -> tuple[Calibrations, PLDA | None]:
        """The worth of scores: by a file alone, or by all that the model's record says."""
        from avsearch.annotation.identification.evidence_matrix import read_calibrations
        from avsearch.annotation.identification.plda import plda_from_record
        from avsearch.calibration import calibrations_of

        if file is not None:
            return read_calibrations(Path(file)), None
        record = index_record(store, self._named)
        return calibrations_of(record), plda_from_record(record, store.space.dim)

    def _reader(self) -> QueryReader:
        return QueryReader(whole_faces=self.store.notes().get("faces") == "whole")

    def _file_query(self, path: Path, ask: Modality | None, want: Want | None) -> Query:
        """Read a file into a query; the model is loaded beside that, as far as it can be."""
        if ask is not None:
            require_one_of("ask", ask, MODALITIES)
        if file_fault(path) is None:
            self._model_of(self.store).begin(asking_modality(path, ask, want))
        with timed(logger, f"read {printable(path)}"):
            return self._reader().read(path, ask, want)

    def _searcher(self, reranker: Reranker | None, *, embeds: bool = True) -> Searcher:
        store = self.store
        model = self._model_of(store) if embeds else None
        return Searcher(store, model, reranker, calibrations=self._calibrations(store))

    def _reranker(self, name: str | Path | None) -> Reranker | None:
        if name is None:
            return None
        from avsearch.models import load_reranker

        with self._lock:
            key = find_weights(name, kind="re-ranker").absolute()
            if key not in self._rerankers:
                self._rerankers[key] = load_reranker(key, self._device)
            return self._rerankers[key]


def _batches(
    searcher: Searcher,
    reader: QueryReader,
    files: Iterable[str | Path],
    here: Path,
    options: HitOptions,
    ask: Modality | None,
) -> Iterator[tuple[Path, Answer | RefusedFile]]:
    """Yield files, which are relative to ``here``, with their answers or refusals."""
    some: list[tuple[Path, Query | RefusedFile]] = []
    items = 0
    for file in files:
        path = Path(file)
        try:
            query = reader.read(here / path, ask, options.want, named=path)
        except RefusedFile as refusal:
            some.append((path, refusal))
        else:
            some.append((path, query))
            items += len(query.media)
        if items >= BATCH_ITEMS or len(some) >= BATCH_ITEMS:
            yield from _answered(searcher, some, options)
            some, items = [], 0
    yield from _answered(searcher, some, options)


def _answered(
    searcher: Searcher, some: list[tuple[Path, Query | RefusedFile]], options: HitOptions
) -> Iterator[tuple[Path, Answer | RefusedFile]]:
    """Yield some files with their answers or refusals."""
    queries = [query for _, query in some if isinstance(query, Query)]
    answers = iter(searcher.answer_many(queries, options))
    for path, query in some:
        yield path, query if isinstance(query, RefusedFile) else next(answers)


def _vector_query(vectors: Any, modality: Modality | None) -> Query:
    require_one_of("modality", modality, MODALITIES)
    try:
        array = np.atleast_2d(np.asarray(vectors, np.float32))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"vectors are not an array of numbers: {error}.") from error
    if array.ndim != 2 or not len(array):
        raise BadRequest(f"vectors are of shape {array.shape}; give (dim,) or (n, dim).")
    return Query("face" if modality == "face" else "voice", vectors=array)


def _seconds(on_progress: OnProgress | None) -> Callable[[float], None]:
    """Pass on how many seconds were read."""
    if on_progress is None:
        return lambda _: None
    return lambda seconds: on_progress(round(seconds), 0)
