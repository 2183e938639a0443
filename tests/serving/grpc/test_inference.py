from typing import Any

import grpc
import numpy as np
import pytest
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc

from serving.codec import array_of_bytes
from tests.support.running_server import Running
from tests.support.tiny_zoo import TinyZoo
from tests.support.wire import infer_request, outputs_of, padded, refused, text_request, texts

HELLO = "hello, i love you"


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> open_inference_pb2_grpc.GRPCInferenceServiceStub:
    return open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)


Stub = open_inference_pb2_grpc.GRPCInferenceServiceStub


def digest_of(server: Running, head: str, version: str = "") -> str:
    return server.engine.plan.resolve(head, version)[0].digest


def test_a_text_is_answered_with_what_its_path_computes(stub: Stub, server: Running, tiny: TinyZoo) -> None:
    response = stub.ModelInfer(text_request("intent", HELLO, id="mine"))
    scores = outputs_of(response)["scores_NC"]
    np.testing.assert_allclose(scores, [tiny.expected(digest_of(server, "intent"), HELLO)], rtol=1e-5)
    assert (response.model_name, response.model_version, response.id) == ("intent", "1", "mine")


def test_several_heads_answer_in_one_call_with_prefixed_outputs(stub: Stub, server: Running, tiny: TinyZoo) -> None:
    response = stub.ModelInfer(text_request("intent+urgency+pii", HELLO))
    outputs = outputs_of(response)
    assert list(outputs) == ["intent/scores_NC", "urgency/values_N1", "pii/scores_NTK"]
    for name, output in outputs.items():
        expected = tiny.expected(digest_of(server, name.partition("/")[0]), HELLO)
        np.testing.assert_allclose(output, [expected], rtol=1e-5)
    assert response.model_version == "1+1+1"


def test_every_answer_names_the_digest_and_the_alias_epoch_of_each_version(stub: Stub, server: Running) -> None:
    parameters = stub.ModelInfer(text_request("intent+urgency", HELLO)).parameters
    assert parameters["intent.version_digest"].string_param == digest_of(server, "intent")
    assert parameters["urgency.version_digest"].string_param == digest_of(server, "urgency")
    assert parameters["intent.alias"].string_param == "prod"
    assert parameters["intent.alias_epoch"].int64_param == 1


@pytest.mark.parametrize("version", ["2", "canary"])
def test_a_version_is_a_number_or_an_alias(stub: Stub, server: Running, tiny: TinyZoo, version: str) -> None:
    response = stub.ModelInfer(text_request("intent", HELLO, model_version=version))
    expected = tiny.expected(digest_of(server, "intent", "2"), HELLO)
    np.testing.assert_allclose(outputs_of(response)["scores_NC"], [expected], rtol=1e-5)
    assert response.model_version == "2"
    assert ("intent.alias" in response.parameters) == (version == "canary")


@pytest.mark.parametrize("column", [False, True], ids=["N", "N1"])
def test_rows_come_back_in_order_and_ragged_outputs_are_padded_with_zeros(
    stub: Stub, server: Running, tiny: TinyZoo, column: bool
) -> None:
    wanted = list(texts(11))
    array = array_of_bytes(text.encode() for text in wanted)
    request = infer_request("pii+intent", {"text": array[:, None] if column else array})
    outputs = outputs_of(stub.ModelInfer(request))
    for name, head in (("pii/scores_NTK", "pii"), ("intent/scores_NC", "intent")):
        expected = padded([tiny.expected(digest_of(server, head), text) for text in wanted])
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-6)


def test_ready_tensors_give_what_their_text_gives(stub: Stub, tiny: TinyZoo) -> None:
    row = tiny.row(HELLO)
    ready = infer_request("intent+pii", {name: array[None] for name, array in row.tensors.items()})
    from_text = outputs_of(stub.ModelInfer(text_request("intent+pii", HELLO)))
    for name, output in outputs_of(stub.ModelInfer(ready)).items():
        np.testing.assert_array_equal(output, from_text[name])


def test_typed_contents_are_taken_as_well_as_raw_ones(stub: Stub) -> None:
    request = pb.ModelInferRequest(
        model_name="intent",
        inputs=[{"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [HELLO.encode()]}}],
    )
    raw = outputs_of(stub.ModelInfer(text_request("intent", HELLO)))
    np.testing.assert_array_equal(outputs_of(stub.ModelInfer(request))["scores_NC"], raw["scores_NC"])


def test_only_the_wanted_outputs_come_in_the_order_in_which_they_were_wanted(stub: Stub) -> None:
    wanted = [{"name": "urgency/values_N1"}, {"name": "intent/scores_NC"}]
    response = stub.ModelInfer(text_request("intent+pii+urgency", HELLO, outputs=wanted))
    assert [output.name for output in response.outputs] == ["urgency/values_N1", "intent/scores_NC"]


def test_an_unknown_head_is_not_found_and_the_closest_is_named(stub: Stub) -> None:
    with refused() as found:
        stub.ModelInfer(text_request("intnet", HELLO))
    assert found.status is grpc.StatusCode.NOT_FOUND
    assert "Did you mean 'intent'?" in found.message
    assert found.code == "serving.unknown_model"


@pytest.mark.parametrize("version", ["7", "prud"])
def test_an_unknown_version_is_not_found_and_those_that_are_loaded_are_named(stub: Stub, version: str) -> None:
    with refused() as found:
        stub.ModelInfer(text_request("intent", HELLO, model_version=version))
    assert found.status is grpc.StatusCode.NOT_FOUND
    assert version in found.message
    assert "prod" in found.message


IDS = np.array([[2, 5, 3]])
BAD_INPUTS = {
    "rank": ({"ids_NT": IDS[0], "mask_NT": IDS[0]}, "takes text BYTES [N] or [N, 1], or ids_NT INT64 [N, T]"),
    "type": ({"ids_NT": IDS.astype(np.int32), "mask_NT": IDS}, "got ids_NT INT32 [1, 3]"),
    "name": ({"idz_NT": IDS, "mask_NT": IDS}, "no input 'idz_NT'. Did you mean 'ids_NT'?"),
    "missing": ({"ids_NT": IDS}, "the request has no mask_NT"),
    "nothing": ({}, "the request has no ids_NT and no mask_NT"),
    "rows": ({"ids_NT": IDS, "mask_NT": np.ones((2, 3), np.int64)}, "different numbers of rows"),
    "vocabulary": ({"ids_NT": IDS * 1000, "mask_NT": np.ones((1, 3), np.int64)}, "the vocabulary has 0 to"),
    "lengths": ({"ids_NT": IDS, "mask_NT": np.ones((1, 4), np.int64)}, "with T = 3"),
    "text shape": ({"text": array_of_bytes([b"a", b"b"])[None]}, "takes BYTES [N] or [N, 1], a row each"),
    "text type": ({"text": np.zeros((1, 1), np.uint8)}, "Input 'text' is UINT8 [1, 1]"),
    "text and more": ({"text": array_of_bytes([b"a"]), "mask_NT": IDS}, "no input 'text'"),
    "not utf-8": ({"text": array_of_bytes([b"a", b"\xff"])}, "Row 1 is not UTF-8"),
}


@pytest.mark.parametrize("inputs", BAD_INPUTS)
def test_an_input_that_does_not_fit_is_invalid_and_the_text_says_what_would(stub: Stub, inputs: str) -> None:
    arrays, expected = BAD_INPUTS[inputs]
    with refused() as found:
        stub.ModelInfer(infer_request("intent", arrays))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in found.message


def test_a_text_that_is_too_long_is_invalid_and_the_text_says_the_limit_and_what_to_do(stub: Stub) -> None:
    with refused() as found:
        stub.ModelInfer(text_request("intent", "short", "please " * 100))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert found.code == "zoo.too_long"
    assert found.message.startswith("Row 1 of 2: ")
    assert "102 tokens" in found.message
    assert "at most 64" in found.message
    assert "split it" in found.message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"raw_input_contents": [b"", b""]}, "1 inputs and 2 raw_input_contents"),
        ({"raw_input_contents": [b"\5\0\0\0abc"]}, "cut off"),
        ({"inputs": [{"name": "text", "datatype": "FP64", "shape": [1]}]}, "datatype 'FP64'"),
        ({"inputs": [{"name": "text", "datatype": "BYTES", "shape": []}]}, "has no axes"),
        ({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}]}, "has the shape [-1]"),
        ({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1 << 40]}]}, "at most 16 rows"),
        ({"inputs": [{"name": "ids_NT", "datatype": "INT64", "shape": [1, 1 << 62]}]}, "bytes of raw contents"),
        ({"outputs": [{"name": "scores"}]}, "has no output 'scores'. Did you mean 'scores_NC'?"),
        ({"outputs": [{"name": "scores_NC", "parameters": {"classification": {"int64_param": 1}}}]}, "rank scores"),
        ({"model_name": "intent+intent"}, "asks a head twice"),
    ],
)
def test_a_request_that_contradicts_itself_is_invalid(stub: Stub, change: dict[str, object], expected: str) -> None:
    request = text_request("intent", HELLO)
    for field in change:
        request.ClearField(field)
    request.MergeFrom(pb.ModelInferRequest(**change))  # type: ignore[arg-type]
    if "inputs" in change and not request.inputs[0].shape:
        request.raw_input_contents[:] = [b"\0\0\0\0"]
    with refused() as found:
        stub.ModelInfer(request)
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in found.message


def test_contents_and_raw_contents_together_are_invalid(stub: Stub) -> None:
    request = text_request("intent", HELLO)
    request.inputs[0].contents.bytes_contents.append(b"other")
    with refused() as found:
        stub.ModelInfer(request)
    assert "send one of them" in found.message


def test_elements_in_the_wrong_field_are_invalid(stub: Stub) -> None:
    inputs = [{"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"fp32_contents": [1.0]}}]
    with refused() as found:
        stub.ModelInfer(pb.ModelInferRequest(model_name="intent", inputs=inputs))
    assert "has elements in fp32_contents; send contents.bytes_contents" in found.message


def test_more_rows_than_a_request_may_hold_are_invalid(stub: Stub) -> None:
    with refused() as found:
        stub.ModelInfer(text_request("intent", *texts(17)))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 16 rows" in found.message


def test_a_deadline_that_cannot_be_met_is_exceeded(stub: Stub) -> None:
    timeout = {"timeout": pb.InferParameter(int64_param=1)}
    with refused() as found:
        stub.ModelInfer(text_request("intent", HELLO, parameters=timeout))
    assert found.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert found.code == "serving.deadline_exceeded"


def test_a_stream_answers_in_order_and_outlives_bad_requests(stub: Stub) -> None:
    requests = [text_request("intent" if number % 3 else "ocr", HELLO, id=str(number)) for number in range(40)]
    responses = list(stub.ModelStreamInfer(iter(requests)))
    assert [response.infer_response.id for response in responses] == [str(number) for number in range(40)]
    for number, response in enumerate(responses):
        if number % 3:
            assert not response.error_message
            assert outputs_of(response.infer_response)["scores_NC"].shape == (1, 3)
        else:
            assert "No head 'ocr'" in response.error_message
            assert response.infer_response.parameters["error_code"].string_param == "serving.unknown_model"


def test_a_stream_outlives_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    call: Any = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    first, second = call(iter([b"\xff\xff", text_request("intent", HELLO).SerializeToString()]))
    assert "are not the message that this call takes" in first.error_message
    assert second.infer_response.model_name == "intent"


def test_metadata_lists_the_text_input_and_prefixed_outputs(stub: Stub) -> None:
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="intent+pii"))
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("text", "BYTES", [-1, 1])]
    assert [(t.name, t.datatype, list(t.shape)) for t in model.outputs] == [
        ("intent/scores_NC", "FP32", [-1, 3]),
        ("pii/scores_NTK", "FP32", [-1, -1, 5]),
    ]
    assert (model.platform, list(model.versions)) == ("hydrazoo_onnx", ["1"])
    assert list(stub.ModelMetadata(pb.ModelMetadataRequest(name="intent")).versions) == ["1", "2"]


def test_the_configuration_lists_ready_tensors_as_optional_and_the_labels(stub: Stub) -> None:
    config = stub.ModelConfig(pb.ModelConfigRequest(name="intent")).config
    inputs = [(tensor.name, pb.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in config.input]
    assert inputs == [("text", "TYPE_STRING", [1]), ("ids_NT", "TYPE_INT64", [-1]), ("mask_NT", "TYPE_INT64", [-1])]
    assert all(tensor.optional for tensor in config.input)
    assert config.max_batch_size == 16
    assert config.parameters["intent.labels"].string_value == '["refund", "greeting", "complaint"]'


@pytest.mark.parametrize("rpc", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_what_describes_models_says_not_found_too(stub: Stub, rpc: str) -> None:
    with refused() as found:
        getattr(stub, rpc)(getattr(pb, f"{rpc}Request")(name="ocr"))
    assert found.status is grpc.StatusCode.NOT_FOUND


def test_statistics_count_rows_and_requests(stub: Stub) -> None:
    def topics() -> pb.ModelStatistics:
        (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="topics")).model_stats
        assert isinstance(found, pb.ModelStatistics)
        return found

    before = topics()
    stub.ModelInfer(text_request("topics", *texts(5)))
    after = topics()
    assert after.inference_count - before.inference_count == 5
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert after.last_inference > 1_600_000_000_000


def test_statistics_without_a_name_are_those_of_every_version(stub: Stub) -> None:
    listed = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    assert [(model.name, model.version) for model in listed] == [
        ("intent", "1"),
        ("intent", "2"),
        ("pii", "1"),
        ("topics", "1"),
        ("urgency", "1"),
    ]


def test_the_index_lists_every_version_as_ready(stub: Stub) -> None:
    models = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    assert [(model.name, model.version, model.state) for model in models][:2] == [
        ("intent", "1", "READY"),
        ("intent", "2", "READY"),
    ]


def test_readiness_is_false_and_no_error_for_what_is_not_loaded(stub: Stub) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="intent+pii")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="ocr")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="intent", version="9")).ready


def test_the_server_names_itself_and_its_extensions(stub: Stub) -> None:
    server = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert server.name == "hydrazoo"
    assert server.version
    assert "statistics" in server.extensions
