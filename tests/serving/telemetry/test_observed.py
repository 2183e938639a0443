"""What operators see of a real server: its log, and its end."""

import json
import threading
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc

from tests.support.running_server import Running
from tests.support.scraping import scrape
from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import TinyZoo
from tests.support.wire import refused
from zoo import Zoo
from zoo.registry.records import Resolved

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def ask(server: Serving) -> None:
    """Make a call that is answered, one that is refused and one of the registry."""
    with grpc.insecure_channel(server.address) as channel:
        stub = predict_pb2_grpc.PredictServiceStub(channel)
        request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}], request_id="mine")
        stub.Predict(request, metadata=[("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-00")])
        with refused():
            stub.Predict(predict_pb2.PredictRequest(heads=[{"name": "intent"}], request_id="empty\nrpc=Forged"))
        registry_pb2_grpc.RegistryServiceStub(channel).Resolve(registry_pb2.ResolveRequest(reference="pii@prod"))


@pytest.mark.parametrize("front_ends", ["0", "2"])
def test_json_lines_say_what_became_of_each_request(tiny: TinyZoo, front_ends: str) -> None:
    with serving(tiny.folder, "--access-log", "json", "--front-ends", front_ends) as server:
        ask(server)
        assert server.stop() == 0
        lines: list[dict[str, Any]] = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    answered, refused_one, resolved = lines
    (version,) = (version for version in server.started["versions"] if version["head"] == "intent")
    assert answered["versions"] == [
        {"head": "intent", "number": 1, "digest": version["digest"], "alias": "prod", "epoch": 1}
    ]
    assert (answered["id"], answered["status"], answered["trace"]) == ("mine", "ok", TRACE_ID)
    assert answered["ms"] >= answered["queue_ms"] + answered["run_ms"] > 0
    assert (refused_one["status"], refused_one["versions"][0]["head"]) == ("serving.invalid_request", "intent")
    assert (resolved["rpc"], resolved["heads"], resolved["status"]) == ("Resolve", "pii@prod", "ok")


def test_text_lines_are_one_a_request_whatever_a_caller_wrote(tiny: TinyZoo) -> None:
    with serving(tiny.folder) as server:
        ask(server)
        assert server.stop() == 0
        lines = [line for line in server.log().splitlines() if "rpc=" in line]
    assert [line.split("rpc=")[1].split()[0] for line in lines] == ["Predict", "Predict", "Resolve"]
    assert all(" INFO serving.access rpc=" in line for line in lines)


@pytest.mark.parametrize("words", [("--access-log", "off"), ("--no-access-log",)])
def test_a_log_that_is_off_has_no_line_of_a_request(tiny: TinyZoo, words: tuple[str, ...]) -> None:
    with serving(tiny.folder, *words) as server:
        ask(server)
        assert server.stop() == 0
        assert "rpc=" not in server.log()


def test_a_server_process_tells_where_its_metrics_are(tiny: TinyZoo) -> None:
    with serving(tiny.folder, "--metrics-address", "localhost:0", "--front-ends", "2") as server:
        ask(server)
        address = server.started["metrics_address"]
        while (
            scrape(address).samples.get(("hydrazoo_rpcs_total", frozenset({("rpc", "Resolve"), ("code", "ok")}))) != 1
        ):
            pass  # front ends tell what they counted after a moment
        with urlopen(f"http://{address}/metrics", timeout=10) as response:
            assert response.headers["Content-Type"].startswith("text/plain")
        assert server.stop() == 0


def test_a_registry_call_in_flight_is_waited_for_and_metrics_see_the_end(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, entered, released = server.server.metrics_address, threading.Event(), threading.Event()
    resolve = Zoo.resolve

    def slowly(zoo: Zoo, reference: str) -> Resolved:
        entered.set()
        assert released.wait(10)
        return resolve(zoo, reference)

    monkeypatch.setattr(Zoo, "resolve", slowly)
    with grpc.insecure_channel(server.address) as channel:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)
        call = stub.Resolve.future(registry_pb2.ResolveRequest(reference="pii@prod"))
        assert entered.wait(10)
        stopping = server.stop()
        with refused() as late:
            while True:
                stub.ListHeads(registry_pb2.ListHeadsRequest())
        assert late.status is grpc.StatusCode.UNAVAILABLE
        seen = scrape(address)
        assert seen.value("rpcs_total", rpc="ListHeads", code="serving.unavailable") == 1
        assert not stopping.done()
        released.set()
        assert call.result(timeout=10).alias == "prod"
        stopping.result(30)
