import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_manifests import add_body
from zoo import Backbone, Zoo


@pytest.fixture(scope="session")
def empty_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty zoo, to be copied: running the migrations for every test would take longer."""
    folder = tmp_path_factory.mktemp("empty-zoo")
    Zoo.open(folder, create=True).close()
    return folder


@pytest.fixture
def zoo(empty_zoo: Path, tmp_path: Path) -> Iterator[Zoo]:
    shutil.copytree(empty_zoo, tmp_path / "zoo")
    with Zoo.open(tmp_path / "zoo") as opened:
        yield opened


@pytest.fixture
def body(zoo: Zoo) -> Backbone:
    return add_body(zoo)
