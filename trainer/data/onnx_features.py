"""Frozen features of prepared media by an ONNX encoder of the user.

The features of a shard are stored beside it with a checksum, under a name made of the encoder's
hash and its input size, so that a stopped run continues.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from indexer.errors import BadRequest, printable
from indexer.ingest.read_file import file_sha256
from indexer.runtime import optional_libraries
from trainer.data.prepared_cache import Entry, ShardItems, read_valid_shard, save_shard
from trainer.data.sources import FaceSource, FeatureSource, VoiceSource

_AT_A_TIME = 32


class Encoder(Protocol):
    """A frozen network that turns model inputs into vectors or maps."""

    @property
    def identity(self) -> str:
        """A string that is equal only for networks with the same features."""

    def encode(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return features (n, ...) of faces (n, 3, size, size) uint8 or voices (n, samples)."""


class OnnxEncoder:
    """A network in an ONNX file, run on the CPU.

    It takes faces (n, 3, size, size) float32 in [-1, 1], RGB, or voices (n, samples) or
    (n, 1, samples) float32 in [-1, 1] at 16 kHz, and its first output is (n, d) or (n, c, h, w).

    Raises:
        BadRequest: onnxruntime is missing, or the file is no such network.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = _open(path)
        self._input = self._session.get_inputs()[0]
        self.identity = file_sha256(path)

    @property
    def length(self) -> int | None:
        """The side in pixels, or the samples, where the network takes only one length."""
        last = self._input.shape[-1]
        return last if isinstance(last, int) else None

    def encode(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the features of a batch, (n, ...) float32."""
        if isinstance(self._input.shape[0], int) and len(inputs) > 1:  # a network for single items
            return np.concatenate([self.encode(one[None]) for one in inputs])
        scaled = inputs.astype(np.float32)
        if inputs.dtype == np.uint8:
            scaled = scaled * np.float32(2 / 255) - 1
        while scaled.ndim < len(self._input.shape):
            scaled = scaled[:, None]
        try:
            output = self._session.run(None, {self._input.name: scaled})[0]
        except Exception as error:  # onnxruntime's errors have no common base class
            raise _unusable(self._path, error) from error
        features = np.asarray(output, np.float32)
        if features.ndim not in (2, 4) or len(features) != len(inputs):
            raise BadRequest(
                f"{printable(self._path)} gives {features.shape} for {len(inputs)} items; its "
                "first output must be (n, d) or (n, c, h, w)."
            )
        return features


def encode_entries(
    entries: Sequence[Entry], source: FaceSource | VoiceSource, encoder: Encoder
) -> FeatureSource:
    """Return the features of all entries in their order, stored beside their shards."""
    size = source.size if isinstance(source, FaceSource) else source.seconds
    name = hashlib.sha256(f"{encoder.identity} {size}".encode()).hexdigest()[:16]
    shards = [list(own) for _, own in itertools.groupby(entries, lambda entry: entry.shard)]
    parts = [
        _encode_shard(own, source, encoder, name)
        for own in tqdm(shards, "encode", unit="shard", disable=None)
    ]
    return FeatureSource(np.concatenate(parts), source.paths)


def _encode_shard(
    entries: Sequence[Entry], source: FaceSource | VoiceSource, encoder: Encoder, name: str
) -> NDArray[np.float32]:
    shard, modality = entries[0].shard, entries[0].modality
    path = shard.with_name(f"{shard.stem}.{name}.{modality}.safetensors")
    stored = read_valid_shard(path)
    if stored is not None:
        return np.asarray(stored[0]["features"])
    own = dataclasses.replace(source, items=ShardItems(entries))
    parts = [
        encoder.encode(own.gather(rows, None))
        for rows in np.array_split(np.arange(len(entries)), -(-len(entries) // _AT_A_TIME))
    ]
    features = np.concatenate(parts)
    save_shard(path, {"features": features}, "{}")
    return features


def _open(path: Path) -> Any:
    onnxruntime = optional_libraries.load("onnxruntime", printable(path), "onnx")
    if not path.is_file():
        raise BadRequest(f"There is no encoder {printable(path)}; check the name.")
    make = functools.partial(onnxruntime.InferenceSession, providers=["CPUExecutionProvider"])
    try:
        return make(str(path))
    except Exception as error:  # onnxruntime's errors have no common base class
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> BadRequest:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadRequest(f"{printable(path)} cannot be used as an encoder: {first}")
