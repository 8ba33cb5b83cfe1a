"""From what a user names to a data set: galleries, VoxCeleb, feature files, the synthetic world."""

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
from trainer.data.prepared_cache import Entry, Job, Prepared, ShardItems, prepare
from trainer.data.sources import FaceSource, VoiceSource
from trainer.data.synthetic.dataset import NAME, parse_synthetic, synthetic_jobs
from trainer.data.voxceleb import find_table, voxceleb_jobs

_TABLES = (".csv", ".tsv", ".txt")  # of files
_ROOM = 1.125  # a stored face is so much larger than a model takes it, to be shifted and turned

Jobs = tuple[list[Job], Mapping[str, Person]]


class InputSizes(Protocol):
    """What of a model's settings decides how media are prepared."""

    @property
    def face_size(self) -> int:
        """Pixels a side."""

    @property
    def voice_seconds(self) -> float:
        """Seconds of a voice."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataOptions:
    """How media are looked into, and files that say more of them."""

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
    say: Callable[[str], None] = lambda _: None,
) -> DataSet:
    """The data of every place named, as one set; what is prepared is kept in ``cache``.

    A place is ``synthetic`` with its settings, a feature file, a table of files, a root of
    VoxCeleb, a gallery, or a folder of galleries with a people.csv each. ``say`` is told what
    was refused. Raises BadRequest, in a sentence, for anything that cannot be trained on.
    """
    options = options or DataOptions()
    places = [place for spec in specs for place in _places(str(spec), sizes, cache, options, say)]
    data = assemble(places)
    if options.face_private is not None:
        data = with_private(data, "face", options.face_private)
    if options.voice_private is not None:
        data = with_private(data, "voice", options.voice_private)
    return data


def _places(
    spec: str, sizes: InputSizes, cache: Path, options: DataOptions, say: Callable[[str], None]
) -> list[DataSource]:
    if spec.partition(":")[0] == NAME:
        found = {spec: synthetic_jobs(parse_synthetic(spec))}
    elif Path(spec).suffix in (*SUFFIXES, *PICKLES):
        return [feature_source(Path(spec))]
    else:
        found = _media_jobs(Path(spec), MediaExtractor(options.faces), say)
    return [_place(name, jobs, sizes, cache, options, say) for name, jobs in found.items()]


def _media_jobs(
    path: Path, extractor: MediaExtractor, say: Callable[[str], None]
) -> dict[str, Jobs]:
    if path.suffix.lower() in _TABLES:
        return {str(path): manifest_jobs(path, extractor)}
    if not path.is_dir():
        raise BadRequest(
            f"{printable(path)} is no data: name a folder, a table (.csv), a feature file "
            f"({', '.join(SUFFIXES)}), or {NAME!r}."
        )
    if find_table(path) is not None:
        return {str(path): voxceleb_jobs(path, extractor)}
    return {str(one): gallery_jobs(one, extractor, say) for one in find_galleries(path)}


def _place(
    name: str,
    jobs: Jobs,
    sizes: InputSizes,
    cache: Path,
    options: DataOptions,
    say: Callable[[str], None],
) -> DataSource:
    wanted, known = jobs
    face_encoder, voice_encoder = map(_encoder, (options.face_encoder, options.voice_encoder))
    size = (face_encoder and face_encoder.length) or sizes.face_size
    samples = voice_encoder and voice_encoder.length
    seconds = samples / SAMPLE_RATE if samples else sizes.voice_seconds
    prepared = prepare(wanted, round(size * _ROOM), cache)
    _tell(name, prepared, say)
    faces, voices = prepared.of("face"), prepared.of("voice")
    return DataSource(
        name,
        _items(faces, FaceSource(ShardItems(faces), _origins(faces), size), face_encoder),
        _items(voices, VoiceSource(ShardItems(voices), _origins(voices), seconds), voice_encoder),
        known,
    )


def _encoder(path: Path | None) -> OnnxEncoder | None:
    return None if path is None else OnnxEncoder(path)


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


def _tell(name: str, prepared: Prepared, say: Callable[[str], None]) -> None:
    if prepared.refused:
        origin, reason = prepared.refused[0]
        say(f"{name}: {len(prepared.refused)} files were refused; the first, {origin}: {reason}")
    if prepared.left_out:
        origin, _ = prepared.left_out[0]
        count = sum(faces for _, faces in prepared.left_out)
        say(
            f"{name}: {len(prepared.left_out)} pictures show several faces; the largest were taken "
            f"and {count} left out. The first is {origin}."
        )
