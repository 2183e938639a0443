"""What callers meet when the server is full, slow, or leaving; the runtime is one that can be held still."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc

from serving.batching import Limits
from serving.errors import AddressUnavailable, UnknownModel
from serving.frontends import FrontEndSettings
from serving.plan import LoadedPlan
from serving.server import Server, ServerLimits
from tests.support.fake_runtime import FakeRuntime, expected, loaded_plan, served
from tests.support.running_server import Running, running
from tests.support.wire import infer_request, outputs_of, refused
from zoo import Zoo

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
LIMITS = ServerLimits(batching=Limits(max_rows=4, max_waiting_rows=4), drain_s=5)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture(params=[0, 2], ids=["one process", "two front ends"])
def make(request: pytest.FixtureRequest, tmp_path: Path, runtime: FakeRuntime) -> Iterator[Callable[[], Server]]:
    with Zoo.open(tmp_path, create=True) as zoo:
        yield lambda: Server(
            zoo,
            runtime,
            address="localhost:0",
            limits=LIMITS,
            load=lambda **_: loaded_plan([INTENT, URGENCY], runtime),
            front_ends=FrontEndSettings(count=request.param, zoo=str(tmp_path)),
        )


@pytest.fixture
def server(make: Callable[[], Server], runtime: FakeRuntime) -> Iterator[Running]:
    with running(make) as server:
        yield server
        runtime.released.set()


Stub = open_inference_pb2_grpc.GRPCInferenceServiceStub


@pytest.fixture
def stub(server: Running) -> Iterator[Stub]:
    with grpc.insecure_channel(server.address) as channel:
        yield open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(*ids: int, rows: int = 1, model: str = "intent") -> pb.ModelInferRequest:
    """Return a request of rows that all differ; the first has these token ids."""
    array = np.array([ids] * rows) + 1000 * np.arange(rows)[:, None]
    return infer_request(model, {"ids_NT": array, "mask_NT": np.ones_like(array)})


def hold(runtime: FakeRuntime, stub: Stub) -> "grpc.Future[pb.ModelInferResponse]":
    """Send a request, and return when the device holds it; what warmed it up before does not count."""
    while runtime.entered.acquire(blocking=False):
        pass
    runtime.calls.clear()
    runtime.released.clear()
    future: grpc.Future[pb.ModelInferResponse] = stub.ModelInfer.future(request(1))
    assert runtime.entered.acquire(timeout=10)
    return future


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_full_queue_is_resource_exhausted_and_says_when_to_try_again(
    stub: Stub, server: Running, runtime: FakeRuntime
) -> None:
    first = hold(runtime, stub)
    waiting = stub.ModelInfer.future(request(1, 2, rows=4))
    until(lambda: server.engine.waiting_rows == 4)
    with refused() as found:
        stub.ModelInfer(request(3, 4, rows=2))
    assert found.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found.code == "serving.overloaded"
    assert found.metadata is not None
    assert int(found.metadata["grpc-retry-pushback-ms"]) > 0
    assert "at most 4" in found.message
    runtime.released.set()
    assert outputs_of(first.result())["total_N1"].shape == (1, 1)
    assert outputs_of(waiting.result())["total_N1"].shape == (4, 1)


def test_a_deadline_that_passes_in_the_queue_is_exceeded_and_costs_no_run(stub: Stub, runtime: FakeRuntime) -> None:
    first = hold(runtime, stub)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request(7, rows=3), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    runtime.released.set()
    first.result()
    stub.ModelInfer(request(8))
    assert [rows for name, rows in runtime.calls if name == "body/0"] == [1, 1]


def test_a_cancelled_call_leaves_the_queue(stub: Stub, server: Running, runtime: FakeRuntime) -> None:
    first = hold(runtime, stub)
    leaver = stub.ModelInfer.future(request(7, rows=3))
    until(lambda: server.engine.waiting_rows == 3)
    leaver.cancel()
    until(lambda: server.engine.waiting_rows == 0)
    runtime.released.set()
    first.result()


def test_a_stage_that_breaks_is_internal_with_an_id_and_nothing_of_the_cause(stub: Stub, runtime: FakeRuntime) -> None:
    runtime.broken.add("urgency")
    with refused() as found:
        stub.ModelInfer(request(1, model="urgency"))
    assert found.status is grpc.StatusCode.INTERNAL
    assert found.code == "serving.stage_failed"
    assert "the fake stage is broken" not in found.message
    assert "log" in found.message
    stub.ModelInfer(request(1))


def test_sixty_four_callers_at_once_each_get_their_own_answer(tmp_path: Path, runtime: FakeRuntime) -> None:
    def one(stub: Stub, number: int) -> None:
        ids = list(range(number, number + 1 + number % 7))
        outputs = outputs_of(stub.ModelInfer(request(*ids, model="intent+urgency")))
        for version in (INTENT, URGENCY):
            np.testing.assert_array_equal(outputs[f"{version.head}/total_N1"], [expected(version, ids)])

    with (
        Zoo.open(tmp_path, create=True) as zoo,
        running(
            lambda: Server(
                zoo, runtime, address="localhost:0", load=lambda **_: loaded_plan([INTENT, URGENCY], runtime)
            )
        ) as server,
        grpc.insecure_channel(server.address) as channel,
        ThreadPoolExecutor(64) as callers,
    ):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        list(callers.map(one, [stub] * 256, range(256)))


def test_a_draining_server_finishes_what_is_in_flight_and_refuses_what_is_new(
    make: Callable[[], Server], runtime: FakeRuntime
) -> None:
    with running(make) as server, grpc.insecure_channel(server.address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        inside = hold(runtime, stub)
        stopping = server.stop()
        until(lambda: not stub.ServerReady(pb.ServerReadyRequest()).ready)
        with refused() as found:
            stub.ModelInfer(request(1))
        assert (found.status, found.code) == (grpc.StatusCode.UNAVAILABLE, "serving.unavailable")
        assert "stopping" in found.message
        status = health.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        runtime.released.set()
        assert outputs_of(inside.result())["total_N1"].shape == (1, 1)
        stopping.result(10)


def test_a_taken_port_is_refused_before_anything_is_loaded(server: Running, tmp_path: Path) -> None:
    def load(**_: object) -> LoadedPlan:
        raise AssertionError("the plan was loaded")

    with (
        Zoo.open(tmp_path, create=True) as zoo,
        pytest.raises(AddressUnavailable, match="another process listens"),
        running(lambda: Server(zoo, FakeRuntime(), address=server.address, load=load)),
    ):
        pass


def test_a_plan_that_does_not_load_frees_the_port_again(tmp_path: Path, runtime: FakeRuntime) -> None:
    with socket.create_server(("localhost", 0)) as probe:
        address = f"localhost:{probe.getsockname()[1]}"
    with Zoo.open(tmp_path, create=True) as zoo:
        with (
            pytest.raises(UnknownModel, match="Nothing is live"),
            running(lambda: Server(zoo, runtime, address=address)),
        ):
            pass
        make = partial(Server, zoo, runtime, address=address, load=lambda **_: loaded_plan([INTENT], runtime))
        with running(make) as server:
            assert server.address == address
