"""Messages that are small in bytes and dear in work: each is refused at once, with a status that arrives."""

import time

import grpc
import pytest
from google.protobuf.message import Message
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2
from hydrazoo.registry.v1 import registry_pb2

from tests.support.wire import refused, text_request

AT_ONCE_S = 1.0
LONG = "x" * 900_000
WIDE = "ж" * 400_000
INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/hydrazoo.predict.v1.PredictService/Predict"
METADATA = "/inference.GRPCInferenceService/ModelMetadata"
REGISTRY = "/hydrazoo.registry.v1.RegistryService"


def with_inputs(*inputs: object) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(model_name="intent", inputs=inputs)  # type: ignore[arg-type]


def with_tensors(*tensors: object) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(heads=[{"name": "intent"}], tensors={"tensors": tensors})


def asking(*heads: object) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(text="hi", heads=heads)  # type: ignore[arg-type]


HOSTILE: dict[str, tuple[str, Message]] = {
    "axes without end": (INFER, with_inputs({"name": "text", "datatype": "BYTES", "shape": [1 << 62] * 95_000})),
    "a name that asks many heads": (INFER, text_request("intent+" * 100_000, "hi")),
    "different heads without end": (INFER, text_request("+".join(map(str, range(100_000))), "hi")),
    "a long name": (INFER, text_request(LONG, "hi")),
    "a long name beyond ASCII": (INFER, text_request(WIDE, "hi")),
    "a long version": (INFER, text_request("intent", "hi", model_version=LONG)),
    "a long datatype": (INFER, with_inputs({"name": "text", "datatype": LONG, "shape": [1]})),
    "a long input": (INFER, with_inputs({"name": LONG, "datatype": "INT64", "shape": [1, 1]})),
    "inputs without end": (INFER, with_inputs(*({"name": str(n), "datatype": "INT64"} for n in range(50_000)))),
    "a long output": (INFER, text_request("intent", "hi", outputs=[{"name": LONG}])),
    "outputs without end": (INFER, text_request("intent", "hi", outputs=[{"name": str(n)} for n in range(80_000)])),
    "buffers without end": (INFER, pb.ModelInferRequest(model_name="intent", raw_input_contents=[b""] * 400_000)),
    "selectors without end": (PREDICT, asking(*({"name": str(n)} for n in range(80_000)))),
    "a long head": (PREDICT, asking({"name": LONG})),
    "a long alias": (PREDICT, asking({"name": "intent", "alias": WIDE})),
    "tensors without end": (PREDICT, with_tensors(*({"name": str(n), "dtype": "int64"} for n in range(60_000)))),
    "a long tensor": (PREDICT, with_tensors({"name": LONG, "dtype": "int64", "shape": [1], "data": bytes(8)})),
    "a long dtype": (PREDICT, with_tensors({"name": "ids_NT", "dtype": LONG})),
    "a long model": (METADATA, pb.ModelMetadataRequest(name=LONG)),
    "many models": (METADATA, pb.ModelMetadataRequest(name="intent+" * 100_000)),
    "a long reference": (f"{REGISTRY}/Resolve", registry_pb2.ResolveRequest(reference=LONG)),
    "a long reference to get": (f"{REGISTRY}/GetVersion", registry_pb2.GetVersionRequest(reference=f"intent@{LONG}")),
    "a long head to list": (f"{REGISTRY}/ListVersions", registry_pb2.ListVersionsRequest(head=LONG)),
    "a long token": (f"{REGISTRY}/ListHeads", registry_pb2.ListHeadsRequest(page_token=WIDE)),
    "a long alias to list": (
        f"{REGISTRY}/ListPromotions",
        registry_pb2.ListPromotionsRequest(head="intent", alias=LONG),
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_message_that_is_dear_to_read_is_refused_at_once(channel: grpc.Channel, hostile: str) -> None:
    method, message = HOSTILE[hostile]
    call = channel.unary_unary(method)  # type: ignore[var-annotated]
    started_s = time.monotonic()
    with refused() as found:
        call(message.SerializeToString(), timeout=60)
    assert found.status in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}, found.message
    assert 0 < len(found.message) < 2500
    assert time.monotonic() - started_s < AT_ONCE_S
