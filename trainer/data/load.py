"""Load a data set from galleries, VoxCeleb, feature files and the synthetic world."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from avsearch.media import SAMPLE_RATE, Faces, MediaExtractor
from indexer.errors import BadRequest, printable
from indexer.records import Person
from trainer.data.assemble import DataSource, SourceItems, assemble
from trainer.data.dataset import DataSet
from trainer.data.features import PICKLES, SUFFIXES, feature_source, with_private
from trainer.data.galleries import find_galleries, gallery_jobs, manifest_jobs
from trainer.data.onnx_features import OnnxEncoder, encode_entries
from trainer.data.prepared_cache import Entry, Prepared, PrepareJob, ShardItems, prepare
from trainer.data.sources import FaceSource, VoiceSource
from trainer.data.synthetic.dataset import NAME, parse_synthetic, synthetic_jobs
from trainer.data.voxceleb import find_table, voxceleb_jobs

_TABLES = (".csv", ".tsv", ".txt")  # of files
_MARGIN = 1.125  # a stored face is larger than a model takes it, for augmentation

Jobs = tuple[list[PrepareJob], Mapping[str, Person]]


class InputSizes(Protocol):
    """The settings of a model that decide how media are prepared."""

    @property
    def face_size(self) -> int:
        """The side of a face, in pixels."""

    @property
    def voice_seconds(self) -> float:
        """The length of a voice, in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataOptions:
    """The face detector, and files with further data about the media."""

    faces: Faces = "detect"
    face_private: Path | None = None  # feature files of P2VANet's attributes, by path
    voice_private: Path | None = None
    face_encoder: Path | None = None  # ONNX files: media become frozen features
    voice_encoder: Path | None = None


def read_data(
    specs: Sequence[str | Path],
    sizes: InputSizes,
    cache: Path,
    options: DataOptions | None = None,
    *,
    on_warning: Callable[[str], None] = lambda _: None,
) -> DataSet:
    """Load all data sources as one data set.

    Args:
        specs: The sources: ``synthetic`` with its settings, a feature file, a table of files, a
            root of VoxCeleb, a gallery, or a folder of galleries with a people.csv each.
        sizes: The input sizes of the model.
        cache: The folder of prepared media.
        options: The face detector, and further files.
        on_warning: Called with sentences about rejected files.

    Raises:
        BadRequest: The data cannot be trained on.
    """
    options = options or DataOptions()
    sources = [
        source
        for spec in specs
        for source in _sources(str(spec), sizes, cache, options, on_warning)
    ]
    data = assemble(sources)
    if options.face_private is not None:
        data = with_private(data, "face", options.face_private)
    if options.voice_private is not None:
        data = with_private(data, "voice", options.voice_private)
    return data


def _sources(
    spec: str,
    sizes: InputSizes,
    cache: Path,
    options: DataOptions,
    on_warning: Callable[[str], None],
) -> list[DataSource]:
    if spec.partition(":")[0] == NAME:
        found = {spec: synthetic_jobs(parse_synthetic(spec))}
    elif Path(spec).suffix in (*SUFFIXES, *PICKLES):
        return [feature_source(Path(spec))]
    else:
        found = _media_jobs(Path(spec), MediaExtractor(options.faces), on_warning)
    return [_source(name, jobs, sizes, cache, options, on_warning) for name, jobs in found.items()]


def _media_jobs(
    path: Path, extractor: MediaExtractor, on_warning: Callable[[str], None]
) -> dict[str, Jobs]:
    if path.suffix.lower() in _TABLES:
        return {str(path): manifest_jobs(path, extractor)}
    if not path.is_dir():
        raise BadRequest(
            f"{printable(path)} is no data source: name a folder, a table (.csv), a feature file "
            f"({', '.join(SUFFIXES)}), or {NAME!r}."
        )
    if find_table(path) is not None:
        return {str(path): voxceleb_jobs(path, extractor)}
    return {str(one): gallery_jobs(one, extractor, on_warning) for one in find_galleries(path)}


def _source(
    name: str,
    jobs: Jobs,
    sizes: InputSizes,
    cache: Path,
    options: DataOptions,
    on_warning: Callable[[str], None],
) -> DataSource:
    decoding, known = jobs
    face_encoder, voice_encoder = (
        None if path is None else OnnxEncoder(path)
        for path in (options.face_encoder, options.voice_encoder)
    )
    size = (face_encoder and face_encoder.length) or sizes.face_size
    samples = voice_encoder and voice_encoder.length
    seconds = samples / SAMPLE_RATE if samples else sizes.voice_seconds
    prepared = prepare(decoding, round(size * _MARGIN), cache)
    _warn(name, prepared, on_warning)
    faces, voices = prepared.of("face"), prepared.of("voice")
    return DataSource(
        name,
        _items(faces, FaceSource(ShardItems(faces), _origins(faces), size), face_encoder),
        _items(voices, VoiceSource(ShardItems(voices), _origins(voices), seconds), voice_encoder),
        known,
    )


def _items(
    entries: Sequence[Entry], source: FaceSource | VoiceSource, encoder: OnnxEncoder | None
) -> SourceItems | None:
    if not entries:
        return None
    people = [entry.job.person for entry in entries]
    return SourceItems(
        source if encoder is None else encode_entries(entries, source, encoder), people
    )


def _origins(entries: Sequence[Entry]) -> list[str]:
    return [entry.job.origin for entry in entries]


def _warn(name: str, prepared: Prepared, on_warning: Callable[[str], None]) -> None:
    if prepared.refused:
        origin, reason = prepared.refused[0]
        on_warning(
            f"{name}: {len(prepared.refused)} files were rejected; the first, {origin}: {reason}"
        )
    if prepared.left_out:
        origin, _ = prepared.left_out[0]
        count = sum(faces for _, faces in prepared.left_out)
        on_warning(
            f"{name}: {len(prepared.left_out)} images show several faces; the largest were taken "
            f"and {count} left out. The first is {origin}."
        )
