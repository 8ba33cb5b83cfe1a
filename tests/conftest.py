"""Fixtures of all tests."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.helpers import plain_opens

# No test times anything: how long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _catalogs_are_opened_by_sqlite_alone() -> Iterator[None]:
    plain_opens.watch()
    yield
    assert plain_opens.taken() == []


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real media; tests that ask for it are skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("AVSEARCH_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real media: {folder} is absent; set AVSEARCH_TEST_DATA to its folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crash-seed", type=int, help="Draw the moments of the crash tests again.")


@pytest.fixture(scope="session")
def crash_seed(pytestconfig: pytest.Config) -> int:
    """The seed of the moments at which processes are killed."""
    said = pytestconfig.getoption("--crash-seed")
    return random.randrange(1 << 32) if said is None else int(said)
