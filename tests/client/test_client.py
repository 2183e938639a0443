"""What callers of the client get, against a real gRPC server on loopback; the same from both clients."""

import inspect
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hydrazoo.client import (
    Alias,
    AsyncClient,
    Classification,
    Client,
    Embedding,
    Head,
    ModelVersion,
    Multilabel,
    Regression,
    Segmentation,
    Span,
    Tagging,
    calls,
)
from hydrazoo.client.errors import InvalidInput, Unavailable
from hydrazoo.predict.v1 import predict_pb2

from tests.support.fake_server import DIGEST, Ask, FakeServer

HEADS = ["intent", "topics", "urgency@7", "pii@canary"]


def test_several_heads_answer_one_text_in_one_call_with_typed_answers(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", text="I was charged twice!", heads=HEADS)
    assert len(server.requests) == 1
    assert server.requests[0].text == "I was charged twice!"
    assert list(answers) == ["intent", "topics", "urgency", "pii"]
    assert answers["intent"].answer == Classification(label="b", scores={"a": 0.25, "b": 0.75})
    assert answers["topics"].answer == Multilabel(labels=("b",), scores={"a": 0.25, "b": 0.75})
    assert answers["urgency"].answer == Regression(value=7.5, low=0, high=10)
    assert answers["pii"].answer == Tagging(spans=(Span(label="email", start=1, end=4, text="x@y", score=0.5),))
    assert answers.server_time_ms == 1.5
    assert answers.request_id == "made-here"


def test_what_an_answer_holds_can_be_read_from_the_prediction(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", text="x", heads=HEADS)
    assert answers["intent"].label == "b"
    assert answers["topics"].labels == ("b",)
    assert answers["topics"].scores == answers["intent"].scores == {"a": 0.25, "b": 0.75}
    assert answers["urgency"].value == 7.5
    assert answers["pii"].spans[0].text == "x@y"
    with pytest.raises(AttributeError, match=r"'urgency' answered with a Regression, which has value, low, high"):
        _ = answers["urgency"].label


def test_a_vector_and_a_mask_come_as_typed_answers_too(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", image=b"PNG", heads=["similar", "mask"])
    assert answers["similar"].answer == Embedding(vector=(0.5, -0.5, 0.5, 0.5))
    assert answers["similar"].vector == (0.5, -0.5, 0.5, 0.5)
    mask = answers["mask"].answer
    assert isinstance(mask, Segmentation)
    assert (mask.height, mask.width, mask.labels) == (2, 2, ("ground", "glyph"))
    assert answers["mask"].shares == {"ground": 0.75, "glyph": 0.25}
    assert answers["mask"].mask.tolist() == [[0, 0], [0, 1]]
    with pytest.raises(AttributeError, match=r"'mask' answered with a Segmentation, which has mask_png, .* no vector"):
        _ = answers["mask"].vector


def test_every_answer_names_the_version_that_gave_it(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", text="x", heads=HEADS)
    assert answers["intent"].version == ModelVersion(number=6, digest=DIGEST, alias="prod", alias_epoch=3)
    assert answers["urgency"].version == ModelVersion(number=7, digest=DIGEST, alias="", alias_epoch=0)
    assert answers["pii"].version.alias == "canary"


def test_a_head_asked_for_two_versions_is_found_by_what_was_asked(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", text="x", heads=["intent@1", "intent@2", "urgency"])
    assert list(answers) == ["intent@1", "intent@2", "urgency"]
    assert [answers[key].version.number for key in answers] == [1, 2, 6]
    with pytest.raises(KeyError, match=r"'pii' was not asked; there are answers of intent@1, intent@2, urgency"):
        _ = answers["pii"]
    assert "pii" not in answers


def test_one_head_may_be_given_as_a_string(server: FakeServer, ask: Ask) -> None:
    answers = ask(server.target, "predict", text="x", heads="intent@prod")
    assert answers["intent"] is answers["intent@prod"]
    assert len(answers) == 1


def test_an_image_is_sent_as_its_bytes(server: FakeServer, ask: Ask) -> None:
    ask(server.target, "predict", image=b"\x89PNG", heads="intent", request_id="mine")
    assert server.requests[0].image == b"\x89PNG"
    assert server.requests[0].request_id == "mine"


def test_tensors_are_sent_little_endian_in_row_major_order(server: FakeServer, ask: Ask) -> None:
    ids = np.arange(6, dtype=">i8").reshape(2, 3).T
    ask(server.target, "predict", tensors={"ids_NT": ids, "on_N": np.array([True])}, heads="intent")
    first, second = server.requests[0].tensors.tensors
    assert (first.name, first.dtype, list(first.shape)) == ("ids_NT", "int64", [3, 2])
    np.testing.assert_array_equal(np.frombuffer(first.data, "<i8").reshape(3, 2), ids)
    assert (second.dtype, second.data) == ("bool", b"\x01")


def test_lists_are_gathered_over_all_pages(server: FakeServer, ask: Ask) -> None:
    heads = ask(server.target, "heads")
    assert [head.name for head in heads] == ["a", "b", "c", "d", "e"]
    assert heads[0] == Head(name="a", latest_number=7, aliases=(Alias(name="prod", number=6, epoch=3),))
    assert len(server.requests) == 3
    assert [version.number for version in ask(server.target, "versions", None, "intent")] == [3, 2, 1]
    history = ask(server.target, "history", None, "intent", "canary")
    assert [(move.alias, move.epoch) for move in history] == [("canary", 3), ("canary", 2), ("canary", 1)]


def test_a_reference_is_resolved_to_its_version(server: FakeServer, ask: Ask) -> None:
    found = ask(server.target, "resolve", None, "intent@prod")
    assert (found.version.head, found.version.number, found.alias, found.alias_epoch) == ("intent", 6, "prod", 3)
    assert found.version.created_at == datetime.fromtimestamp(1_700_000_006, UTC)
    assert server.requests[0].reference == "intent@prod"


def test_a_manifest_is_read_as_json(server: FakeServer, ask: Ask) -> None:
    assert ask(server.target, "manifest", None, "intent@7") == {"head": "intent"}


def test_priority_routing_key_and_span_go_with_the_request(server: FakeServer, ask: Ask) -> None:
    span = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ask(server.target, "predict", text="x", heads="intent", priority="high", routing_key="ada", traceparent=span)
    assert (server.requests[0].priority, server.requests[0].routing_key) == (predict_pb2.PRIORITY_HIGH, "ada")
    assert server.metadata["traceparent"] == span
    ask(server.target, "predict", text="x", heads="intent")
    assert (server.requests[1].priority, server.requests[1].routing_key) == (predict_pb2.PRIORITY_UNSPECIFIED, "")
    assert "traceparent" not in server.metadata


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"priority": "urgent"}, "'urgent' is no priority; expected one of high, normal, low"),
        ({"routing_key": "x" * 300}, "has 300 characters; at most 256"),
        ({"traceparent": "00-yes"}, "'00-yes' is no traceparent"),
    ],
)
def test_what_the_wire_would_refuse_is_refused_here(
    server: FakeServer, ask: Ask, wrong: dict[str, str], expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected):
        ask(server.target, "predict", text="x", heads="intent", **wrong)
    assert server.requests == []


def test_the_client_says_what_it_is(server: FakeServer, ask: Ask) -> None:
    ask(server.target, "resolve", None, "intent")
    assert server.user_agent.startswith("hydrazoo-client/0.")


def test_a_server_without_health_is_not_ready_and_waiting_for_it_ends(server: FakeServer, ask: Ask) -> None:
    assert ask(server.target, "ready") is False
    started = time.monotonic()
    with pytest.raises(Exception, match=r"not ready within 0\.2 s"):
        ask(server.target, "wait_until_ready", timeout_s=0.2)
    assert time.monotonic() - started < 3


def test_waiting_for_a_server_that_never_says_a_word_ends_in_its_time(ask: Ask) -> None:
    with socket.create_server(("localhost", 0)) as silent:
        target = f"localhost:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"not ready within 0\.2 s"):
            ask(target, "wait_until_ready", timeout_s=0.2)
    assert time.monotonic() - started < 0.8


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    def methods(kind: type) -> dict[str, str]:
        public = inspect.getmembers(kind, inspect.isfunction)
        found = {name: str(inspect.signature(each)) for name, each in public if not name.startswith("_")}
        return found | {"stream": found["stream"].partition(" -> ")[0]}  # each has a stream of its own kind

    assert methods(Client) == methods(AsyncClient)
    assert str(inspect.signature(Client)) == str(inspect.signature(AsyncClient))


def test_the_hand_written_health_messages_are_those_of_the_health_protocol() -> None:
    request = health_pb2.HealthCheckRequest(service="hydrazoo.predict.v1.PredictService")
    answer = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    assert request.SerializeToString() == calls.HEALTH_REQUEST
    assert answer.SerializeToString() == calls.SERVING


def test_a_server_is_ready_once_it_says_that_it_serves_predictions(ask: Ask) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    target = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    assert ask(target, "ready") is False
    servicer.set("hydrazoo.predict.v1.PredictService", health_pb2.HealthCheckResponse.SERVING)
    assert ask(target, "ready") is True
    ask(target, "wait_until_ready", timeout_s=5)
    servicer.enter_graceful_shutdown()
    assert ask(target, "ready") is False
    server.stop(grace=None).wait()


def test_the_readmes_examples_run(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "client" / "README.md").read_text()
    alone, streamed = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(alone.replace("localhost:8701", server.target), {})
    assert capsys.readouterr().out.splitlines()[:2] == ["b {'a': 0.25, 'b': 0.75}", "7.5"]
    exec(streamed.replace("localhost:8701", server.target), {})
    assert capsys.readouterr().out.splitlines() == ["['b', 'b', 'b']"] * 2
