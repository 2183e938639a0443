from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.runtimes import open_runtime
from serving.server import Server
from tests.support.running_server import Running, running
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Zoo


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    return make_tiny_zoo(tmp_path, heads=("intent", "urgency", "pii"))


@pytest.fixture
def server(tiny: TinyZoo) -> Iterator[Running]:
    """A server of three heads that nobody has asked anything yet, with metrics."""
    with (
        Zoo.open(tiny.folder) as zoo,
        running(
            lambda: Server(
                zoo, open_runtime("onnx", "cpu"), address="localhost:0", metrics_address="localhost:0", watch_s=0.02
            )
        ) as server,
    ):
        yield server
