import struct

import grpc
import numpy as np
import pytest
from hydrazoo.predict.v1 import predict_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2_grpc

from tests.support.running_server import Running
from tests.support.tiny_zoo import ANSWERS, TinyZoo
from tests.support.wire import refused
from zoo.answers import Tagging, decode

TEXT = "Hello, I am Ada; refund order 4711 please"

Stub = predict_pb2_grpc.PredictServiceStub


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Stub:
    return predict_pb2_grpc.PredictServiceStub(channel)


def ask(stub: Stub, *heads: str, **fields: object) -> pb.PredictResponse:
    request = pb.PredictRequest(heads=[pb.HeadSelector(name=head) for head in heads], **({"text": TEXT} | fields))  # type: ignore[arg-type]
    response = stub.Predict(request)
    assert isinstance(response, pb.PredictResponse)
    return response


def test_every_kind_of_head_gives_its_typed_answer_in_one_call(stub: Stub, server: Running, tiny: TinyZoo) -> None:
    response = ask(stub, "urgency", "intent", "topics", "pii")
    assert [prediction.head for prediction in response.predictions] == ["urgency", "intent", "topics", "pii"]
    expected = {
        head: tiny.expected(server.engine.plan.resolve(head)[0].digest, TEXT)
        for head in ("urgency", "intent", "topics")
    }
    urgency, intent, topics, _ = response.predictions
    assert urgency.regression.value == pytest.approx(expected["urgency"].item(), rel=1e-4)
    assert (urgency.regression.low, urgency.regression.high) == (0, 10)
    scores = [score.score for score in intent.classification.scores]
    np.testing.assert_allclose(scores, expected["intent"], rtol=1e-4)
    assert intent.classification.label == intent.classification.scores[int(np.argmax(scores))].label
    wanted = [
        label
        for label, score, least in zip(("billing", "delivery"), expected["topics"], (0.5, 0.4), strict=True)
        if score >= least
    ]
    assert list(topics.multilabel.labels) == wanted


def test_spans_say_where_they_stand_in_the_text(stub: Stub, server: Running, tiny: TinyZoo) -> None:
    (prediction,) = ask(stub, "pii").predictions
    scores = tiny.expected(server.engine.plan.resolve("pii")[0].digest, TEXT)
    expected = decode(ANSWERS["pii"], {"scores_NTK": scores}, tiny.row(TEXT))
    assert isinstance(expected, Tagging)
    found = [(span.label, span.start, span.end, span.text) for span in prediction.tagging.spans]
    assert found == [(span.label, span.start, span.end, span.text) for span in expected.spans]
    assert found, "the text was chosen so that there is a span"
    assert all(TEXT[start:end] == text for _, start, end, text in found)


def test_every_answer_names_its_version_digest_and_alias_epoch(stub: Stub, server: Running) -> None:
    (prediction,) = ask(stub, "intent").predictions
    served, alias, epoch = server.engine.plan.resolve("intent")
    version = prediction.version
    assert (version.number, version.digest, version.alias, version.alias_epoch) == (1, served.digest, alias, epoch)


def test_two_versions_of_one_head_answer_in_one_call(stub: Stub) -> None:
    heads = [pb.HeadSelector(name="intent", number=1), pb.HeadSelector(name="intent", alias="canary")]
    first, second = stub.Predict(pb.PredictRequest(text=TEXT, heads=heads)).predictions
    assert (first.version.number, first.version.alias) == (1, "")
    assert (second.version.number, second.version.alias, second.version.alias_epoch) == (2, "canary", 1)
    assert first.classification.scores[0].score != second.classification.scores[0].score


def test_ready_tensors_answer_as_their_text_does(stub: Stub, tiny: TinyZoo) -> None:
    tensors = [
        pb.Tensor(name=name, dtype="int64", shape=array.shape, data=array.tobytes())
        for name, array in tiny.row(TEXT).tensors.items()
    ]
    request = pb.PredictRequest(tensors={"tensors": tensors}, heads=[{"name": "intent"}])
    assert stub.Predict(request).predictions[0].classification == ask(stub, "intent").predictions[0].classification


def test_the_request_id_is_the_callers_or_one_that_the_server_makes(stub: Stub) -> None:
    assert ask(stub, "intent", request_id="mine").request_id == "mine"
    assert len(ask(stub, "intent").request_id) == 32


def test_the_time_taken_is_told(stub: Stub) -> None:
    assert 0 < ask(stub, "intent").server_time_us < 10_000_000


ODD = struct.pack("<q", 2)
BAD: dict[str, tuple[pb.PredictRequest, str]] = {
    "no input": (pb.PredictRequest(heads=[{"name": "intent"}]), "has no input; set text, image or tensors"),
    "no head": (pb.PredictRequest(text="hi"), "asks no head"),
    "twice": (pb.PredictRequest(text="hi", heads=[{"name": "intent"}] * 2), "asks a head twice"),
    "image": (pb.PredictRequest(image=b"hi", heads=[{"name": "intent"}]), "takes text"),
    "empty": (
        pb.PredictRequest(text="hi", heads=[{"name": "intent"}], tensors={}),
        "Missing ids_NT, mask_NT",
    ),
    "dtype": (
        pb.PredictRequest(tensors={"tensors": [{"name": "ids_NT", "dtype": "INT64"}]}, heads=[{"name": "intent"}]),
        "has the dtype 'INT64'; it is one of",
    ),
    "size": (
        pb.PredictRequest(
            tensors={"tensors": [{"name": "ids_NT", "dtype": "int64", "shape": [1 << 60], "data": ODD}]},
            heads=[{"name": "intent"}],
        ),
        "has 8 bytes",
    ),
    "name twice": (
        pb.PredictRequest(
            tensors={"tensors": [{"name": "ids_NT", "dtype": "int64", "shape": [1], "data": ODD}] * 2},
            heads=[{"name": "intent"}],
        ),
        "two tensors of one name",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_request_that_does_not_fit_is_invalid(stub: Stub, bad: str) -> None:
    request, expected = BAD[bad]
    with refused() as found:
        stub.Predict(request)
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in found.message


def test_spans_of_ready_tensors_are_refused_with_what_to_send(stub: Stub, tiny: TinyZoo) -> None:
    tensors = [
        pb.Tensor(name=name, dtype="int64", shape=array.shape, data=array.tobytes())
        for name, array in tiny.row(TEXT).tensors.items()
    ]
    with refused() as found:
        stub.Predict(pb.PredictRequest(tensors={"tensors": tensors}, heads=[{"name": "pii"}]))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "Send the text itself" in found.message


def test_an_unknown_head_is_not_found_and_the_closest_is_named(stub: Stub) -> None:
    with refused() as found:
        ask(stub, "intent", "urgncy")
    assert found.status is grpc.StatusCode.NOT_FOUND
    assert "Did you mean 'urgency'?" in found.message


def test_a_text_that_is_too_long_is_invalid(stub: Stub) -> None:
    with refused() as found:
        ask(stub, "intent", text="please " * 100)
    assert (found.status, found.code) == (grpc.StatusCode.INVALID_ARGUMENT, "zoo.too_long")


def test_a_message_that_is_too_big_is_refused_by_size(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(stub, "intent", text="a" * (1 << 21))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
