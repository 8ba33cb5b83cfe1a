"""A cache of decoded media in checksummed shards.

A shard is named by a hash of everything that decides its content: the files with their size and
time, the settings of the decoding, the size of a face. So a stopped run continues, a changed file
is decoded again with the few in its shard, and nothing is overwritten. A shard with a wrong
checksum is made again. Unused shards stay until the folder is deleted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file
from tqdm import tqdm

from avsearch.media import kind_of
from indexer.errors import BadRequest, RefusedFile, os_reason, printable
from indexer.runtime.atomic import absolute, replacing
from indexer.runtime.load_failures import load_failure
from indexer.runtime.threads import cores
from indexer.types import Media, Modality
from trainer.data.mmap_arrays import Arrays, map_safetensors
from trainer.data.pcm import pcm

FORMAT = "prepared-2"
USUAL_JOBS = 64  # of a shard; the number varies, so that a new file does not move all others
MOST_JOBS = 256
_OPEN_SHARDS = 256  # mapped at once, because each holds a file open


@dataclasses.dataclass(frozen=True, slots=True)
class PrepareJob:
    """Media to decode: the person, an identity of the content, and a function that reads it."""

    person: str
    origin: str  # a path
    identity: str  # equal only for the same content, decoded in the same way
    read: Callable[[], Iterator[Media]]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """The place of one item: its job, its shard, and its rows in the array of its modality."""

    job: PrepareJob
    shard: Path
    modality: Modality
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """The items of all jobs in the order of the jobs, and the rejected origins with reasons.

    ``left_out`` are the origins of images with several faces, and the number of smaller ones.
    """

    entries: Sequence[Entry]
    refused: Sequence[tuple[str, str]]
    left_out: Sequence[tuple[str, int]] = ()

    def of(self, modality: Modality) -> list[Entry]:
        """Return the items of one modality."""
        return [entry for entry in self.entries if entry.modality == modality]


class ShardItems:
    """Items of shards, mapped when asked for: faces (side, side, 3), voices (samples,)."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, row: int) -> NDArray[Any]:
        entry = self._entries[row]
        array = _arrays(entry.shard)[entry.modality]
        return array[entry.start] if entry.modality == "face" else array[entry.start : entry.stop]


def prepare(
    jobs: Sequence[PrepareJob], face_side: int, folder: Path, *, threads: int | None = None
) -> Prepared:
    """Decode all media that are not in the cache yet, and return the entries of all.

    Faces become (face_side, face_side, 3) uint8, voices (samples,) int16 at 16 kHz. An image gives
    its largest face.

    Raises:
        BadRequest: The folder cannot be written.
    """
    folder = absolute(folder)  # it is read later, during training
    groups = list(_groups(jobs))
    work = functools.partial(_shard, face_side=face_side, folder=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(threads or cores())
        try:
            done = pool.map(work, groups)
            parts = list(tqdm(done, "prepare", len(groups), unit="shard", disable=None))
        finally:
            pool.shutdown(cancel_futures=True)
    except OSError as error:
        raise BadRequest(
            load_failure(error)
            or f"The cache {printable(folder)} cannot be written: "
            f"{os_reason(error, 'name another folder')}."
        ) from error
    return Prepared(
        [entry for part in parts for entry in part.entries],
        [refusal for part in parts for refusal in part.refused],
        [left_out for part in parts for left_out in part.left_out],
    )


def _groups(jobs: Sequence[PrepareJob]) -> Iterator[list[PrepareJob]]:
    """Groups of consecutive jobs, divided where a job's hash says so."""
    group: list[PrepareJob] = []
    for job in jobs:
        group.append(job)
        place = hashlib.sha256(job.identity.encode()).digest()[0]
        if place % USUAL_JOBS == 0 or len(group) == MOST_JOBS:
            yield group
            group = []
    if group:
        yield group


def _shard(jobs: Sequence[PrepareJob], *, face_side: int, folder: Path) -> Prepared:
    """The items of some jobs, from their shard where it is valid."""
    name = json.dumps([FORMAT, face_side, [job.identity for job in jobs]])
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.safetensors"
    stored = read_valid_shard(path)
    index = _write_shard(path, jobs, face_side) if stored is None else json.loads(stored[1])
    items = [Entry(jobs[job], path, one, start, stop) for job, one, start, stop in index["items"]]
    refused = [(jobs[job].origin, reason) for job, reason in index["refused"]]
    left_out = [(jobs[job].origin, count) for job, count in index["left_out"]]
    return Prepared(items, refused, left_out)


def _write_shard(path: Path, jobs: Sequence[PrepareJob], face_side: int) -> dict[str, Any]:
    faces: list[NDArray[np.uint8]] = []
    voices: list[NDArray[np.int16]] = [np.empty(0, np.int16)]
    items: list[tuple[int, Modality, int, int]] = []
    refused: list[tuple[int, str]] = []
    left_out: dict[int, int] = {}
    samples = 0
    for at, job in enumerate(jobs):
        is_image = kind_of(Path(job.origin)) == "image"
        try:
            for media in job.read():
                data: Any = media.data
                if media.modality == "face" and is_image and items and items[-1][0] == at:
                    left_out[at] = left_out.get(at, 0) + 1  # the largest came first
                elif media.modality == "face":
                    items.append((at, "face", len(faces), len(faces) + 1))
                    faces.append(_face(data, face_side))
                else:
                    voices.append(pcm(data))
                    items.append((at, "voice", samples, samples + len(voices[-1])))
                    samples += len(voices[-1])
        except RefusedFile as refusal:
            refused.append((at, refusal.reason))
    arrays: Arrays = {
        "face": np.stack(faces) if faces else np.empty((0, face_side, face_side, 3), np.uint8),
        "voice": np.concatenate(voices),
    }
    index = {"items": items, "refused": refused, "left_out": list(left_out.items())}
    save_shard(path, arrays, json.dumps(index))
    return index


def save_shard(path: Path, arrays: Arrays, index: str) -> None:
    """Write arrays and their index with a checksum, whole or not at all."""
    with replacing(path) as partial:
        save_file(arrays, partial, {"index": index, "sha256": _checksum(arrays, index)})


def read_valid_shard(path: Path) -> tuple[Arrays, str] | None:
    """Return the mapped arrays and the index of a shard; None where the checksum is wrong."""
    if not path.exists():
        return None
    try:
        arrays, metadata = map_safetensors(path)
    except BadRequest:
        return None
    index = metadata.get("index", "")
    return (arrays, index) if metadata.get("sha256") == _checksum(arrays, index) else None


def _checksum(arrays: Arrays, index: str) -> str:
    digest = hashlib.sha256(index.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape}".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


@functools.lru_cache(_OPEN_SHARDS)
def _arrays(shard: Path) -> Arrays:
    return map_safetensors(shard)[0]


def _face(rgb: Any, side: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR))
