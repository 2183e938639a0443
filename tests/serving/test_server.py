"""How a server's life ends, seen from within its process."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from hydrazoo.inference import open_inference_pb2_grpc

from serving.errors import StageFailed
from serving.server import Server
from tests.support.fake_runtime import FakeRuntime, loaded_plan, served
from tests.support.wire import infer_request
from zoo import Zoo

INTENT = served("intent", ["body/0", "body/1", "intent"])
IDS = np.array([[1, 2]])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    runtime = FakeRuntime()
    with Zoo.open(tmp_path, create=True) as zoo:
        yield lambda: Server(zoo, runtime, address="localhost:0", load=lambda **_: loaded_plan([INTENT], runtime))


def live(make: Callable[[], Server], work: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        server = make()
        await server.start()
        await asyncio.wait_for(work(server), 20)

    asyncio.run(run())


def test_a_signal_that_comes_as_soon_as_the_server_says_that_it_listens_stops_it(make: Callable[[], Server]) -> None:
    told: list[str] = []

    async def work(server: Server) -> None:
        def tell() -> None:
            told.append(server.address)
            os.kill(os.getpid(), signal.SIGTERM)

        await server.run_until_signalled(tell)

    live(make, work)
    assert told


def a_bug(*_: object, **__: object) -> None:
    """Stands for a bug of ours in a lane of the device."""
    raise RuntimeError("a bug")


def test_a_server_whose_engine_stopped_does_not_live_on(make: Callable[[], Server]) -> None:
    async def work(server: Server) -> None:
        server.engine.statistics.record_batch = a_bug  # type: ignore[method-assign]
        ends = asyncio.ensure_future(server.run_until_signalled())
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                await stub.ModelInfer(infer_request("intent", {"ids_NT": IDS, "mask_NT": np.ones_like(IDS)}))
            with pytest.raises(StageFailed, match="The engine stopped on an internal error"):
                await ends

    live(make, work)
