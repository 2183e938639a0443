"""A zoo with a tiny backbone, built once for all tests of a session and copied for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.head_packages import TeamFolder, write_learnable_model
from zoo import Zoo


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_learnable_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def tiny_zoo_template(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from heads.base.backbones import add_backbone
    from heads.base.building.fingerprint import backbone_key

    folder = tmp_path_factory.mktemp("template") / "zoo"
    source = f"hf:{tiny_model}"
    with Zoo.open(folder, create=True) as zoo:
        add_backbone(zoo, source, split=(2,), name="tiny", key=backbone_key(source, (2,), "tiny"))
    return folder


@pytest.fixture(scope="session")
def mood_zoo_template(tiny_zoo_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from heads.base.building.build import build_head

    folder = tmp_path_factory.mktemp("mood")
    with Zoo.open(shutil.copytree(tiny_zoo_template, folder / "zoo")) as zoo:
        build_head(zoo, TeamFolder(folder / "mood").package, by="tests")
    return folder / "zoo"


@pytest.fixture
def mood_zoo(mood_zoo_template: Path, tmp_path: Path) -> Iterator[Zoo]:
    """A zoo in which ``team`` as it is was built once, as mood@1, and not promoted."""
    with Zoo.open(shutil.copytree(mood_zoo_template, tmp_path / "mood-zoo")) as opened:
        yield opened


@pytest.fixture
def zoo_folder(tiny_zoo_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_zoo_template, tmp_path / "zoo"))


@pytest.fixture
def zoo(zoo_folder: Path) -> Iterator[Zoo]:
    with Zoo.open(zoo_folder) as opened:
        yield opened


@pytest.fixture
def team(tmp_path: Path) -> TeamFolder:
    return TeamFolder(tmp_path / "mood")
