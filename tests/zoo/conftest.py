from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_manifests import add_body
from zoo import Backbone, Zoo


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    with Zoo.open(tmp_path / "zoo", create=True) as opened:
        yield opened


@pytest.fixture
def body(zoo: Zoo) -> Backbone:
    return add_body(zoo)
