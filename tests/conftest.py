"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real media; tests that ask for it are skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AVSEARCH_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real media: {folder} is absent; set AVSEARCH_TEST_DATA to its folder")
    return folder
