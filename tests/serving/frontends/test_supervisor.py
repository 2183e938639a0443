"""Front ends that cannot start."""

import asyncio
from pathlib import Path

import grpc
import pytest
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc

from serving.errors import AddressUnavailable, Unavailable
from serving.frontends import FrontEndSettings
from serving.server import Server
from tests.support.fake_runtime import FakeRuntime, loaded_plan, served
from tests.support.running_server import running
from tests.support.wire import refused, text_request
from zoo import Zoo

INTENT = served("intent", ["body/0", "body/1", "intent"])


def test_front_ends_that_end_before_they_answer_fail_the_start_and_free_the_port(tmp_path: Path) -> None:
    runtime = FakeRuntime()

    def make(zoo: Zoo, folder: Path, address: str) -> Server:
        settings = FrontEndSettings(count=2, zoo=str(folder), access_log="off")
        return Server(
            zoo, runtime, address=address, load=lambda **_: loaded_plan([INTENT], runtime), front_ends=settings
        )

    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        with (
            pytest.raises(Unavailable, match="ended with code 1 before it answered"),
            running(lambda: make(zoo, tmp_path / "no zoo", "localhost:0")),
        ):
            pass
        with running(lambda: make(zoo, tmp_path / "zoo", "localhost:0")) as server:
            address = server.address
            with (
                pytest.raises(AddressUnavailable, match="another process listens"),
                running(lambda: make(zoo, tmp_path / "zoo", address)),
            ):
                pass
        with running(lambda: make(zoo, tmp_path / "zoo", address)) as server:
            assert server.address == address


def test_until_the_plan_is_loaded_front_ends_say_that_the_server_is_loading(tmp_path: Path) -> None:
    runtime, said = FakeRuntime(), []

    async def run(zoo: Zoo) -> None:
        def load(**_: object) -> object:
            said.append(_first_words(f"localhost:{server.address.rpartition(':')[2]}"))
            return loaded_plan([INTENT], runtime)

        settings = FrontEndSettings(count=1, zoo=str(tmp_path), access_log="off")
        server = Server(zoo, runtime, address="localhost:0", load=load, front_ends=settings)  # type: ignore[arg-type]
        await server.start()
        await server.stop()

    with Zoo.open(tmp_path, create=True) as zoo:
        asyncio.run(run(zoo))
    assert said == [(grpc.StatusCode.UNAVAILABLE, "serving.loading", False)]


def _first_words(address: str) -> tuple[grpc.StatusCode, str, bool]:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(20)
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with refused() as found:
            stub.ModelInfer(text_request("intent", "hello"))
        return found.status, found.code, stub.ServerReady(pb.ServerReadyRequest()).ready
