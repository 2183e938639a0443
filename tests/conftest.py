"""What every test gets: quiet OpenMP threads, and the zoo of the sample heads, built once."""

import os

# Set before anything loads torch: OpenMP threads that spin make torch ten times slower where other processes compete.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest

from tests.support.sample_zoo import build_sample_zoo


@pytest.fixture(scope="session")
def sample_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a zoo with MiniLM and the four sample heads under ``prod``, built by the real commands."""
    folder = tmp_path_factory.mktemp("sample") / "zoo"
    build_sample_zoo(folder)
    return folder
