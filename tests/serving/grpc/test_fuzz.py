"""No bytes that a caller sends crash or wedge the server, or pass for a failure of its own."""

import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.wire import infer_request, outputs_of, text_request

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT_STREAM = "/hydrazoo.predict.v1.PredictService/PredictStream"
PREDICT = "/hydrazoo.predict.v1.PredictService/Predict"
OTHERS = [
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelStatistics",
    "/inference.GRPCInferenceService/RepositoryIndex",
    "/hydrazoo.registry.v1.RegistryService/Resolve",
    "/hydrazoo.registry.v1.RegistryService/ListVersions",
    "/hydrazoo.registry.v1.RegistryService/ListHeads",
    "/grpc.health.v1.Health/Check",
]
FINE = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
"""Answered, or the caller's fault."""

fuzzed = settings(max_examples=150, deadline=None)

INTS = st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**31, 2**62, 2**63 - 1]))
NAMES = st.one_of(st.sampled_from(["text", "image", "ids_NT", "mask_NT", "scores_NC", ""]), st.text(max_size=6))
MODELS = st.one_of(
    st.sampled_from(["intent", "pii", "intent+pii", "intent+intent", "+", "intent+"]), st.text(max_size=9)
)
DATATYPES = st.one_of(st.sampled_from(["BYTES", "INT64", "INT32", "BOOL", "FP16", "FP32", "UINT8", "FP64"]), NAMES)
GOOD_BUFFERS = st.one_of(
    st.lists(INTS, max_size=6).map(lambda ints: np.array(ints, np.int64).tobytes()),
    st.lists(st.binary(max_size=6), max_size=3).map(
        lambda elements: b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    ),
)
BUFFERS = st.one_of(st.binary(max_size=40), GOOD_BUFFERS)
PARAMETERS = st.dictionaries(
    st.sampled_from(["timeout", "classification", "shared_memory_region", "binary_data", "priority", "routing_key"]),
    st.one_of(
        st.builds(pb.InferParameter, int64_param=INTS),
        st.builds(pb.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
        st.builds(pb.InferParameter, double_param=st.floats()),
        st.builds(pb.InferParameter, bool_param=st.booleans()),
        st.builds(pb.InferParameter, string_param=st.text(max_size=4)),
        st.builds(pb.InferParameter),
    ),
    max_size=1,
)
CONTENTS = st.builds(
    pb.InferTensorContents,
    int64_contents=st.lists(INTS, max_size=3),
    uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=2),
    fp32_contents=st.lists(st.floats(width=32), max_size=2),
    bytes_contents=st.lists(st.binary(max_size=4), max_size=3),
)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=NAMES,
    datatype=DATATYPES,
    shape=st.lists(INTS, max_size=4),
    parameters=PARAMETERS,
    contents=st.one_of(st.none(), CONTENTS),
)
INFER_REQUESTS = st.builds(
    pb.ModelInferRequest,
    model_name=MODELS,
    model_version=st.one_of(st.sampled_from(["", "1", "prod"]), st.text(max_size=4)),
    id=st.text(max_size=4),
    parameters=PARAMETERS,
    inputs=st.lists(INPUTS, max_size=3),
    outputs=st.lists(st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=NAMES), max_size=2),
    raw_input_contents=st.lists(BUFFERS, max_size=3),
)
TENSORS = st.builds(
    predict_pb2.Tensor,
    name=NAMES,
    dtype=st.one_of(st.sampled_from(["int64", "float32", "bool", "float16", "bytes"]), NAMES),
    shape=st.lists(INTS, max_size=4),
    data=BUFFERS,
)
HEADS = st.one_of(
    st.builds(predict_pb2.HeadSelector, name=MODELS),
    st.builds(predict_pb2.HeadSelector, name=MODELS, number=st.integers(0, 3)),
    st.builds(predict_pb2.HeadSelector, name=MODELS, alias=st.text(max_size=4)),
)
PREDICT_REQUESTS = st.one_of(
    st.builds(
        predict_pb2.PredictRequest,
        heads=st.lists(HEADS, max_size=3),
        text=st.text(),
        priority=st.integers(-(2**31), 2**31 - 1),
        routing_key=st.one_of(st.text(max_size=4), st.just("x" * 300)),
    ),
    st.builds(predict_pb2.PredictRequest, heads=st.lists(HEADS, max_size=3), text=st.text()),
    st.builds(predict_pb2.PredictRequest, heads=st.lists(HEADS, max_size=3), image=st.binary()),
    st.builds(
        predict_pb2.PredictRequest,
        heads=st.lists(HEADS, max_size=3),
        tensors=st.builds(predict_pb2.TensorInput, tensors=st.lists(TENSORS, max_size=3)),
    ),
)
READY = {"ids_NT": np.array([[2, 5, 3], [2, 3, 0]]), "mask_NT": np.array([[1, 1, 1], [1, 1, 0]])}
VALID = [
    text_request("intent+pii", "hello", "refund order 4711").SerializeToString(),
    infer_request("intent", READY).SerializeToString(),
    predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}, {"name": "pii"}]).SerializeToString(),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid request with a few of its bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@pytest.fixture(scope="module")
def survives(channel: grpc.Channel) -> Callable[[str, bytes], None]:
    """Send bytes, check how the call ended, and see that the server still answers everybody else."""
    good = text_request("intent", "hello").SerializeToString()
    infer: Any = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
    expected = outputs_of(infer(good))["scores_NC"]

    def send(method: str, data: bytes) -> None:
        call: Any = channel.unary_unary(method)
        ended = call.future(data, timeout=10)
        allowed = {*FINE, grpc.StatusCode.DEADLINE_EXCEEDED} if b"timeout" in data else FINE
        assert ended.code() in allowed, f"{ended.code()} {ended.details()}"
        np.testing.assert_allclose(outputs_of(infer(good, timeout=10))["scores_NC"], expected, rtol=1e-6)

    return send


@fuzzed
@given(data=st.binary(max_size=64), method=st.sampled_from([INFER, PREDICT, *OTHERS]))
def test_bytes_of_no_kind(survives: Callable[[str, bytes], None], data: bytes, method: str) -> None:
    survives(method, data)


@fuzzed
@given(data=mutated(), method=st.sampled_from([INFER, PREDICT]))
def test_valid_requests_with_a_few_bytes_changed(
    survives: Callable[[str, bytes], None], data: bytes, method: str
) -> None:
    survives(method, data)


@fuzzed
@given(request=INFER_REQUESTS)
def test_inference_requests_of_any_shape(survives: Callable[[str, bytes], None], request: pb.ModelInferRequest) -> None:
    survives(INFER, request.SerializeToString())


@fuzzed
@given(request=PREDICT_REQUESTS)
def test_predictions_of_any_shape(survives: Callable[[str, bytes], None], request: predict_pb2.PredictRequest) -> None:
    survives(PREDICT, request.SerializeToString())


@settings(max_examples=40, deadline=None)
@given(
    messages=st.lists(
        st.one_of(st.binary(max_size=40), mutated(), INFER_REQUESTS.map(lambda request: request.SerializeToString())),
        max_size=5,
    )
)
def test_a_stream_answers_every_message_whatever_it_holds(channel: grpc.Channel, messages: list[bytes]) -> None:
    call: Any = channel.stream_stream(STREAM, response_deserializer=pb.ModelStreamInferResponse.FromString)
    good = text_request("intent", "hello", id="last").SerializeToString()
    responses = list(call(iter([*messages, good]), timeout=20))
    assert len(responses) == len(messages) + 1
    assert not responses[-1].error_message
    assert responses[-1].infer_response.id == "last"
    assert not any("The server failed" in response.error_message for response in responses)


STREAMED = st.builds(
    predict_pb2.StreamedRequest,
    id=st.integers(0, 2**64 - 1),
    request=PREDICT_REQUESTS,
    timeout_us=st.one_of(st.just(0), st.integers(10_000_000, 2**64 - 1)),
)


@settings(max_examples=40, deadline=None)
@given(messages=st.lists(st.lists(STREAMED, min_size=1, max_size=4), max_size=4))
def test_a_stream_of_predictions_answers_every_request_once(
    channel: grpc.Channel, messages: list[list[predict_pb2.StreamedRequest]]
) -> None:
    call: Any = channel.stream_stream(
        PREDICT_STREAM, response_deserializer=predict_pb2.PredictStreamResponse.FromString
    )
    sent = [predict_pb2.PredictStreamRequest(requests=requests).SerializeToString() for requests in messages]
    answers = [answer for response in call(iter(sent), timeout=20) for answer in response.answers]
    assert sorted(answer.id for answer in answers) == sorted(one.id for requests in messages for one in requests)
    fine = {status.value[0] for status in FINE}
    assert all(answer.error.status in fine for answer in answers if answer.WhichOneof("outcome") == "error")


@fuzzed
@given(data=st.binary(max_size=40))
def test_a_stream_of_predictions_survives_bytes_of_no_kind(channel: grpc.Channel, data: bytes) -> None:
    call: Any = channel.stream_stream(PREDICT_STREAM)
    ended = call(iter([data]), timeout=10)
    with contextlib.suppress(grpc.RpcError):
        list(ended)
    assert ended.code() in FINE
