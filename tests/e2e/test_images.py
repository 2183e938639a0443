"""An image head through a real server: encoded images and ready tensors, by client and inference protocol."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from hydrazoo.client import Client
from hydrazoo.client.errors import InvalidInput
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc

from serving.codec import array_of_bytes
from tests.support.image_zoo import LABELS, encoded, expected, make_image_zoo, ready
from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import make_tiny_zoo
from tests.support.wire import infer_request, outputs_of, refused

RED, GREEN, BLUE = (250, 30, 20), (20, 220, 60), (5, 40, 210)
PICTURES = {
    "red PNG": encoded(RED, "PNG"),
    "green PNG": encoded(GREEN, "PNG"),
    "blue JPEG": encoded(BLUE, "JPEG"),
    "red JPEG": encoded(RED, "JPEG"),
}
COLOUR_OF = dict(zip(PICTURES, ("red", "green", "blue", "red"), strict=True))

Stub = open_inference_pb2_grpc.GRPCInferenceServiceStub


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two front ends"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("zoo")
    make_tiny_zoo(folder, ["intent"])
    make_image_zoo(folder)
    with serving(folder, "--front-ends", request.param) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: Serving) -> Iterator[Stub]:
    with grpc.insecure_channel(server.address) as channel:
        yield Stub(channel)


@pytest.mark.parametrize("name", PICTURES)
def test_the_client_sends_an_encoded_image_and_gets_its_label(client: Client, name: str) -> None:
    found = client.predict(image=PICTURES[name], heads="colour")["colour"]
    assert found.label == COLOUR_OF[name]
    np.testing.assert_allclose([found.scores[label] for label in LABELS], expected(PICTURES[name]), rtol=1e-5)


def test_the_client_sends_an_image_as_the_ready_tensor_too(client: Client) -> None:
    image = PICTURES["blue JPEG"]
    found = client.predict(tensors=ready(image), heads="colour")["colour"]
    assert found.answer == client.predict(image=image, heads="colour")["colour"].answer


def test_the_inference_protocol_takes_images_of_different_kinds_in_one_request(stub: Stub) -> None:
    response = stub.ModelInfer(infer_request("colour", {"image": array_of_bytes(PICTURES.values())}))
    scores = outputs_of(response)["scores_NC"]
    np.testing.assert_allclose(scores, [expected(image) for image in PICTURES.values()], rtol=1e-5)
    assert not any(output.HasField("contents") for output in response.outputs)


def test_the_inference_protocol_takes_the_ready_tensor_raw_and_in_typed_contents(stub: Stub) -> None:
    images_NCHW = np.stack([ready(image)["images_NCHW"] for image in PICTURES.values()])
    wanted = [expected(image) for image in PICTURES.values()]
    raw = infer_request("colour", {"images_NCHW": images_NCHW})
    typed = pb.ModelInferRequest(model_name="colour", inputs=raw.inputs)
    typed.inputs[0].contents.fp32_contents.extend(images_NCHW.ravel().tolist())
    for request in (raw, typed):
        np.testing.assert_allclose(outputs_of(stub.ModelInfer(request))["scores_NC"], wanted, rtol=1e-5)


def test_an_image_model_says_that_it_takes_an_image(stub: Stub) -> None:
    (tensor,) = stub.ModelMetadata(pb.ModelMetadataRequest(name="colour")).inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "BYTES", [-1, 1])


@pytest.mark.parametrize(
    ("image", "message"),
    [(b"GIF89a", "not a whole JPEG or PNG image"), (PICTURES["red PNG"][:-30], "not a whole JPEG or PNG image")],
    ids=["another kind", "cut off"],
)
def test_bytes_that_are_no_image_are_refused_by_both_services(
    client: Client, stub: Stub, image: bytes, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        client.predict(image=image, heads="colour")
    assert caught.value.server_code == "zoo.undecodable"
    with refused() as found:
        stub.ModelInfer(infer_request("colour", {"image": array_of_bytes([PICTURES["red PNG"], image])}))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert found.message.startswith("Row 1 of 2: ")
    assert message in found.message


def test_pixels_of_another_size_or_type_are_refused_with_what_is_expected(client: Client, stub: Stub) -> None:
    images_HWC = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InvalidInput, match=r"images_NCHW.*\(3, 8, 8\) float32; got \(8, 8, 3\) uint8"):
        client.predict(tensors={"images_NCHW": images_HWC}, heads="colour")
    with refused() as found:
        stub.ModelInfer(infer_request("colour", {"images_NCHW": images_HWC[None]}))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "FP32 [N, 3, 8, 8]; got images_NCHW UINT8 [1, 8, 8, 3]" in found.message


def test_one_input_does_not_fit_heads_that_take_different_kinds(client: Client, stub: Stub) -> None:
    with pytest.raises(InvalidInput, match="takes text"):
        client.predict(image=PICTURES["red PNG"], heads=["colour", "intent"])
    with refused() as found:
        stub.ModelInfer(infer_request("colour+intent", {"image": array_of_bytes([PICTURES["red PNG"]])}))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "take different inputs (image, text); ask them apart" in found.message
