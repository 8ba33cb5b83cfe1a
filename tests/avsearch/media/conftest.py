"""Real media to test with, and the detectors, loaded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avsearch.media import MediaExtractor, read_audio, read_image


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch's threads wait for each other busily; beside other tests that takes seconds."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def extractor() -> MediaExtractor:
    return MediaExtractor()


@pytest.fixture(scope="session")
def portrait(test_data: Path) -> NDArray[np.uint8]:
    """A real picture with one face, uint8 (250, 250, 3)."""
    return read_image(min((test_data / "lfw_full").glob("*/*.jpg")))


@pytest.fixture(scope="session")
def sentence(test_data: Path) -> NDArray[np.float32]:
    """About 3 s of real speech at 16 kHz."""
    return read_audio(min((test_data / "ravdess" / "Actor_01").glob("*.ogg")))
