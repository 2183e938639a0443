from collections.abc import Iterator

import grpc
import pytest

from serving.batching import Limits
from serving.runtimes import open_runtime
from serving.server import Server, ServerLimits
from tests.support.running_server import Running, running
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo

LIMITS = ServerLimits(batching=Limits(max_rows=8, max_waiting_rows=64), max_request_rows=16, max_message_bytes=1 << 20)


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    """A zoo of four heads; `intent` has a second version under `canary`."""
    tiny = make_tiny_zoo(tmp_path_factory.mktemp("zoo"))
    with Zoo.open(tiny.folder) as zoo:
        tiny.publish(zoo, "intent", seed=1, promote_to=())
        zoo.promote([Move("intent", "canary", 2)], by="someone", reason="to compare")
    return tiny


@pytest.fixture(scope="package")
def server(tiny: TinyZoo) -> Iterator[Running]:
    with (
        Zoo.open(tiny.folder) as zoo,
        running(lambda: Server(zoo, open_runtime("onnx", "cpu"), address="localhost:0", limits=LIMITS)) as server,
    ):
        yield server


@pytest.fixture(scope="package")
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel
