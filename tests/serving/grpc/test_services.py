import logging
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc

from serving.grpc.services import SERVICES
from tests.support.wire import refused


def raw_call(channel: grpc.Channel, method: str) -> Any:
    """Return what calls a method with bytes as they are."""
    return channel.unary_unary(method)


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_is_serving_for_the_server_and_for_each_service(channel: grpc.Channel, service: str) -> None:
    found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_every_service_field_by_field(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {*SERVICES, "grpc.health.v1.Health"} <= set(database.get_services())
    pool = DescriptorPool(database)
    for service in SERVICES:
        assert pool.FindServiceByName(service).methods
    tensor = pool.FindMessageTypeByName("inference.ModelInferRequest.InferInputTensor")
    assert tensor.fields_by_name["shape"].number == 3


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelReady",
        "/hydrazoo.predict.v1.PredictService/Predict",
        "/hydrazoo.registry.v1.RegistryService/Resolve",
        "/grpc.health.v1.Health/Check",
    ],
)
def test_bytes_that_are_no_message_are_invalid(channel: grpc.Channel, method: str) -> None:
    with refused() as found:
        raw_call(channel, method)(b"\xff\xff\xff")
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "The 3 bytes of the request are not the message that this call takes" in found.message


def test_bytes_that_are_no_message_end_a_strict_stream_as_invalid(channel: grpc.Channel) -> None:
    call: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    with refused() as found:
        list(call(iter([b"\xff\xff"])))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("/inference.GRPCInferenceService/RepositoryModelLoad", "zoo promote"),
        ("/inference.GRPCInferenceService/CudaSharedMemoryStatus", "Send tensors in the message"),
        ("/inference.GRPCInferenceService/ModelInferr", "Did you mean '/inference.GRPCInferenceService/ModelInfer'?"),
        ("/elsewhere.Service/Call", "reflection service lists what there is"),
    ],
)
def test_an_rpc_that_does_not_exist_is_unimplemented_with_advice(
    channel: grpc.Channel, method: str, advice: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        raw_call(channel, method)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert advice in str(caught.value.details())


def test_every_request_leaves_one_log_line_that_no_caller_can_forge(
    channel: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stub = predict_pb2_grpc.PredictServiceStub(channel)
    with caplog.at_level(logging.INFO, "serving.access"):
        stub.Predict(
            predict_pb2.PredictRequest(
                text="hello", heads=[{"name": "intent"}, {"name": "pii"}], request_id="a\nrpc=Forged"
            )
        )
        with refused():
            stub.Predict(predict_pb2.PredictRequest(text="hello", heads=[{"name": "ocr"}], request_id="b"))
    good, bad = (record.getMessage() for record in caplog.records if record.name == "serving.access")
    assert good.startswith(r'rpc=Predict id="a\nrpc=Forged" peer=')
    assert 'heads="intent+pii" versions="intent@1:' in good
    assert "rows=1 status=ok ms=" in good
    assert 'heads="ocr" versions="" rows=0 status=serving.unknown_model' in bad
