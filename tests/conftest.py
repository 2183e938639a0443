"""What every test gets: quiet OpenMP threads, and the zoos of MiniLM and of the sample heads, built once."""

import os
import shutil

# Set before anything loads torch: OpenMP threads that spin make torch ten times slower where other processes compete.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest

from tests.support.sample_zoo import add_minilm, train_sample_heads


@pytest.fixture(scope="session")
def minilm_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a zoo with MiniLM and no head, to be copied: exporting it takes seconds."""
    folder = tmp_path_factory.mktemp("minilm") / "zoo"
    add_minilm(folder)
    return folder


@pytest.fixture(scope="session")
def sample_zoo(minilm_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a zoo with MiniLM and the four sample heads under ``prod``, built by the real commands."""
    folder = Path(shutil.copytree(minilm_zoo, tmp_path_factory.mktemp("sample") / "zoo"))
    train_sample_heads(folder)
    return folder
