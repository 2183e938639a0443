"""What the wire says of a caller reaches the handlers: priority, routing key, peer and span."""

from typing import Any

import pytest
from hydrazoo.inference import open_inference_pb2 as inference
from hydrazoo.predict.v1 import predict_pb2 as predict

from serving.batching import Priority
from serving.errors import InvalidRequest
from serving.grpc.caller import Caller, caller_of, host_of
from serving.grpc.inference_messages import infer_request, timeout_s
from serving.grpc.predict_messages import predict_request
from serving.handlers.call import CallContext

SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SOMEBODY = Caller(CallContext(peer="10.0.0.7", traceparent=SPAN), "10.0.0.7")


class Call:
    """The part of a call's context that knows who calls."""

    def __init__(self, *metadata: tuple[str, str], peer: str = "ipv4:10.0.0.7:4242") -> None:
        self._metadata = metadata
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


def called(*metadata: tuple[str, str], peer: str = "ipv4:10.0.0.7:4242") -> Caller:
    context: Any = Call(*metadata, peer=peer)
    return caller_of(context)


def predicting(**fields: Any) -> predict.PredictRequest:
    return predict.PredictRequest(text="hi", heads=[{"name": "intent"}], **fields)


def inferring(**parameters: Any) -> inference.ModelInferRequest:
    return inference.ModelInferRequest(
        model_name="intent",
        parameters={name: inference.InferParameter(**{kind: value}) for name, (kind, value) in parameters.items()},
    )


def test_a_caller_is_its_host_and_the_span_that_it_sends() -> None:
    assert called(("user-agent", "x"), ("traceparent", SPAN)) == SOMEBODY
    assert called() == (CallContext(peer="10.0.0.7"), "10.0.0.7")


def test_a_routing_key_of_the_metadata_stands_before_the_host() -> None:
    assert called(("hydrazoo-routing-key", "ada")).routing_key == "ada"
    assert called(("hydrazoo-routing-key", "")).routing_key == "10.0.0.7"


def test_what_is_too_long_for_a_span_is_none_and_a_long_routing_key_is_refused() -> None:
    assert called(("traceparent", "0" * 1000)).context.traceparent == ""
    with pytest.raises(InvalidRequest, match="metadata hydrazoo-routing-key of 1,000 characters"):
        called(("hydrazoo-routing-key", "x" * 1000))


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:80", "127.0.0.1"),
        ("ipv6:[::1]:80", "::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:80", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("unix-abstract:name", "unix"),
        ("", ""),
        ("ipv4:", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_a_host_has_no_port(peer: str, host: str) -> None:
    assert host_of(peer) == host


@pytest.mark.parametrize("make", ["predict", "infer"])
def test_a_request_without_a_routing_key_counts_as_its_callers(make: str) -> None:
    if make == "predict":
        plain, keyed = predicting(), predicting(routing_key="mine")
        found = [predict_request(message, SOMEBODY) for message in (plain, keyed)]
        assert [(each.routing_key, each.call) for each in found] == [
            ("10.0.0.7", SOMEBODY.context),
            ("mine", SOMEBODY.context),
        ]
    else:
        bare, marked = inferring(), inferring(routing_key=("string_param", "mine"))
        answered = [infer_request(message, SOMEBODY, max_rows=1) for message in (bare, marked)]
        assert [each.routing_key for each in answered] == ["10.0.0.7", "mine"]
        assert answered[0].call == SOMEBODY.context
        assert "routing_key" not in bare.parameters


@pytest.mark.parametrize(
    ("sent", "meant"),
    [(0, Priority.NORMAL), (1, Priority.HIGH), (2, Priority.NORMAL), (3, Priority.LOW)],
)
def test_a_typed_priority_is_what_it_says(sent: int, meant: Priority) -> None:
    assert predict_request(predicting(priority=sent), SOMEBODY).priority is meant


@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
@pytest.mark.parametrize(
    ("sent", "meant"),
    [(0, Priority.NORMAL), (1, Priority.HIGH), (2, Priority.NORMAL), (3, Priority.LOW), (2**40, Priority.LOW)],
)
def test_tritons_priority_counts_down_from_one(kind: str, sent: int, meant: Priority) -> None:
    assert infer_request(inferring(priority=(kind, sent)), SOMEBODY, max_rows=1).priority is meant
    assert infer_request(inferring(), SOMEBODY, max_rows=1).priority is Priority.NORMAL


def test_a_priority_that_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match=r"priority 7; it is one of PRIORITY_UNSPECIFIED \(0\), PRIORITY_HIGH"):
        predict_request(predicting(priority=7), SOMEBODY)


WRONG: dict[str, tuple[dict[str, tuple[str, object]], str]] = {
    "a negative priority": ({"priority": ("int64_param", -1)}, "'priority' is int64_param '-1'; expected an int64"),
    "a word for a priority": ({"priority": ("string_param", "high")}, "'priority' is string_param 'high'; expected"),
    "a number for a routing key": ({"routing_key": ("int64_param", 3)}, "'routing_key' is int64_param '3'; expected"),
    "a long routing key": ({"routing_key": ("string_param", "x" * 300)}, "routing key of 300 characters"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_parameter_is_refused_with_what_was_found_and_expected(wrong: str) -> None:
    parameters, expected = WRONG[wrong]
    with pytest.raises(InvalidRequest, match=expected):
        infer_request(inferring(**parameters), SOMEBODY, max_rows=1)


def test_a_timeout_is_microseconds_and_nothing_else() -> None:
    assert timeout_s(inferring(timeout=("uint64_param", 1_500_000))) == 1.5
    assert timeout_s(inferring(timeout=("int64_param", 0))) is None
    with pytest.raises(InvalidRequest, match=r"'timeout' is double_param '0.5'; expected an int64_param"):
        timeout_s(inferring(timeout=("double_param", 0.5)))


def test_a_long_routing_key_of_a_typed_request_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="routing key of 300 characters"):
        predict_request(predicting(routing_key="x" * 300), SOMEBODY)
