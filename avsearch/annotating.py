"""What the verbs annotate and enrol do, each as one call."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from avsearch.annotation.enrolling import Enrolled, enrol_with
from avsearch.annotation.naming import LEAST_PROBABILITY
from avsearch.annotation.plda import PLDA, plda_of
from avsearch.annotation.reading import read_diarization
from avsearch.annotation.recording import Heard
from avsearch.annotation.result import Annotated
from avsearch.annotation.run import How, annotate_with
from avsearch.annotation.strength import Calibrations, read_calibrations
from avsearch.evidence import calibrations_of
from avsearch.library import index_calibrations, index_model, index_record, known_model
from avsearch.spaces import model_address
from indexer.errors import NoIndex
from indexer.index import Index
from indexer.locate import new_index, open_index
from indexer.types import Embedder


def annotate(
    recording: Any,
    diarization: Any = None,
    index: Path | str | Index | None = None,
    *,
    recording_id: str | None = None,
    model: str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    speakers: int | None = None,
    faces: bool = True,
    calibration: Path | str | None = None,
    least_probability: float = LEAST_PROBABILITY,
    heard: Heard = lambda _: None,
) -> Annotated:
    """Name the speakers of a recording by the people of an index.

    ``recording`` is a file, or ``{"waveform", "sample_rate"}``. ``diarization`` is whatever
    :func:`avsearch.annotation.reading.read_diarization` takes: a file, an ``Annotation`` or a
    pipeline's output, or segments; None has speech found and grouped, into so many ``speakers``
    where that is known. ``recording_id`` chooses among turns of several recordings. ``faces``
    looks at those of a video. ``out`` is a folder for the results; a run that was stopped goes on
    from there. ``calibration`` is a file in place of what the model says of its scores. ``heard``
    is told the seconds that were read. Raises BadRequest, RefusedFile and ForeignSpace as
    :func:`avsearch.annotation.run.annotate_with`.
    """
    folder = None if out is None else Path(out)
    with _at_hand(index) as opened:
        calibrations, plda = _worth(opened, model, calibration)
        how = How(
            calibrations=calibrations,
            plda=plda,
            least_probability=least_probability,
            speakers=speakers,
            faces=faces,
            kept=folder,
            heard=heard,
            recording_id=recording_id,
        )
        embedder = index_model(opened, model, device)
        annotated = annotate_with(recording, diarization, opened, embedder, how)
    if folder is not None:
        annotated.write(folder)
    return annotated


def enrol(
    recording: Path | str,
    diarization: Any,
    index: Path | str | None = None,
    *,
    recording_id: str | None = None,
    names: Mapping[str, str] | None = None,
    model: str | None = None,
    device: str = "auto",
    heard: Heard = lambda _: None,
) -> tuple[Path, Enrolled]:
    """Add the named speakers of a recording to an index, made if there is none; its folder.

    ``diarization`` and ``recording_id`` as :func:`annotate` takes them; ``names`` says who a label
    is. Raises as :func:`avsearch.annotation.enrolling.enrol_with`.
    """
    # Before an index is made for it.
    said = read_diarization(diarization, Path(recording).stem, recording_id)
    folder = new_index(None if index is None else Path(index))
    embedder = _model_of(folder, model, device)
    notes = {"model": model_address(model or known_model(folder))}
    with Index.open_or_create(folder, embedder.space, notes=notes) as opened:
        known = index_calibrations(opened, model)
        return folder, enrol_with(Path(recording), said, opened, embedder, names, known, heard)


def _worth(
    index: Index, model: str | None, file: Path | str | None
) -> tuple[Calibrations, PLDA | None]:
    """What scores are worth: by a file alone, or by all that the model's record says."""
    if file is not None:
        return read_calibrations(Path(file)), None
    record = index_record(index, model)
    return calibrations_of(record), plda_of(record, index.space.dim)


def _model_of(folder: Path, model: str | None, device: str) -> Embedder:
    """The model of an index, or of one to be made."""
    try:
        with Index.open(folder) as opened:
            return index_model(opened, model, device)
    except NoIndex:
        from avsearch.models import load_model

        return load_model(model, device)


def _at_hand(index: Path | str | Index | None) -> AbstractContextManager[Index]:
    """An index that is open already, and stays so, or one to be opened."""
    if isinstance(index, Index):
        return contextlib.nullcontext(index)
    return open_index(None if index is None else Path(index))
