"""The detectors' ONNX files, written again, beside those that are shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsearch.media.detectors.silero import CONTEXT, FILE, FRAME, HIDDEN
from avsearch.runtime.onnx_session import Session
from avsearch.runtime.weights import WEIGHTS

pytest.importorskip("facenet_pytorch")
pytest.importorskip("silero_vad")
recipe = pytest.importorskip("trainer.recipes.write_detectors")


def assert_same_outputs(file: Path, shipped: Path, *inputs: np.ndarray) -> None:
    for ours, theirs in zip(Session(file).run(*inputs), Session(shipped).run(*inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_shipped_networks_are_those_of_the_packages(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for file, side in zip(recipe.write_mtcnn(tmp_path), (40, 24, 48), strict=True):
        pictures = rng.uniform(-1, 1, (3, 3, side, side)).astype(np.float32)
        assert_same_outputs(file, WEIGHTS / file.name, pictures)
    samples = rng.normal(0, 0.1, 8 * FRAME).astype(np.float32)
    state = np.zeros((1, 1, HIDDEN), np.float32)
    file = recipe.write_silero(tmp_path)
    assert_same_outputs(file, FILE, samples, np.zeros(CONTEXT, np.float32), state, state)
