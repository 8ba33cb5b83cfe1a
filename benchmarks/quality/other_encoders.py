"""Vectors of other encoders as feature files: Resemblyzer for voices, dlib for faces.

They are no dependencies. Their licences are Apache 2.0, and Boost with weights in the public
domain. A file of vectors is named by the content of all media, so that it is computed once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from avsearch.media import SAMPLE_RATE, read_audio, read_image
from indexer.errors import BadRequest
from indexer.ingest.read_file import file_sha256
from indexer.types import Modality, Vectors
from trainer.data.features import FeatureTable, write_feature_file
from trainer.recipes.pretrained_trunks import FACE_FILE, teacher_file

Encode = Callable[[Path], NDArray[np.float32]]

RESEMBLYZER, DLIB = "Resemblyzer", "dlib"
_NEEDS = {
    RESEMBLYZER: {"resemblyzer": "resemblyzer"},
    DLIB: {
        "dlib": "dlib (or dlib-bin, built already)",
        "face_recognition_models": "face_recognition_models",
    },
}
_LEAST_S = 0.4  # of speech that Resemblyzer's own detector leaves; else it hears everything
# Where a face lies in a crop of LFW, in shares of its side: left, top, right and bottom; medians
# of what dlib's own detector finds in 149 of them.
_BOX = 0.225, 0.2875, 0.7875, 0.85
_DOUBLED = 1  # times that a crop is enlarged before dlib looks for a face of 80 pixels or more
_LANDMARKS = "models/shape_predictor_5_face_landmarks.dat"


def write_features(name: str, media: Mapping[str, Path], folder: Path) -> Path:
    """Write the vectors of an encoder for all media, by name; return the file.

    Raises BadRequest if the encoder is not installed.
    """
    if (absent := missing(name)) is not None:
        raise BadRequest(absent)
    modality, load = _ENCODERS[name]
    path = folder / f"{name.lower()}-{_digest(media)[:16]}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        encode = load()
        shown = tqdm(media.values(), name, unit="file", disable=None)
        vectors: Vectors = np.stack([encode(file) for file in shown])
        people = [item.partition("/")[0] for item in media]
        write_feature_file(path, {modality: FeatureTable(vectors, list(media), people)})
    return path


def missing(name: str) -> str | None:
    """Return a sentence that names the missing package and its installation, or None."""
    for module, how in _NEEDS[name].items():
        if importlib.util.find_spec(module) is None:
            return f"{name} needs {module}, which is not installed: pip install {how}."
    return None


def _digest(media: Mapping[str, Path]) -> str:
    """The hash of all names and contents."""
    parts = [f"{name} {file_sha256(path)}" for name, path in sorted(media.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def resemblyzer() -> Encode:
    """Return Resemblyzer (Wan et al., ICASSP 2018, by CorentinJ): 256 values of a voice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from resemblyzer import VoiceEncoder, preprocess_wav

    encoder: Any = VoiceEncoder("cpu", verbose=False)

    def encode(path: Path) -> NDArray[np.float32]:
        samples = read_audio(path)
        heard = preprocess_wav(samples)
        if len(heard) < _LEAST_S * SAMPLE_RATE:
            heard = samples
        return np.asarray(encoder.embed_utterance(heard), np.float32)

    return encode


def dlib_faces() -> Encode:
    """Return dlib's ResNet (King, 2017): 128 values of a crop of LFW, aligned by five landmarks.

    The landmarks are searched where dlib's own detector finds a face, or else where the face lies
    in most crops.
    """
    import dlib

    package, weights = FACE_FILE
    detector: Any = dlib.get_frontal_face_detector()
    landmarks: Any = dlib.shape_predictor(str(teacher_file(package, _LANDMARKS)))
    network: Any = dlib.face_recognition_model_v1(str(teacher_file(package, weights)))

    def encode(path: Path) -> NDArray[np.float32]:
        rgb = np.ascontiguousarray(read_image(path))
        sides = [round(share * len(rgb)) for share in _BOX]
        box = next(iter(detector(rgb, _DOUBLED)), dlib.rectangle(*sides))
        return np.asarray(network.compute_face_descriptor(rgb, landmarks(rgb, box)), np.float32)

    return encode


_ENCODERS: Mapping[str, tuple[Modality, Callable[[], Encode]]] = {
    RESEMBLYZER: ("voice", resemblyzer),
    DLIB: ("face", dlib_faces),
}
OF: Mapping[Modality, str] = {modality: name for name, (modality, _) in _ENCODERS.items()}
