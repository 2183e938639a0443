"""Heads that embed and heads that segment through a real server: both clients, streams, the command and Triton's."""

import asyncio
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from hydrazoo.client import AsyncClient, Client, Embedding, Predictions, Segmentation
from numpy.typing import NDArray
from PIL import Image

from tests.support import triton_calls as calls
from tests.support.image_zoo import (
    LABELS,
    SIDE,
    add_vector_and_mask,
    areas,
    encoded,
    hue,
    make_image_zoo,
    pooling,
    ready,
)
from tests.support.serve_command import Serving, serving
from tests.support.triton_calls import OtherProcess
from zoo.commands import main

PICTURE = encoded((30, 220, 60), "PNG")
HEADS = ["hue", "areas", "colour"]


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two front ends"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("zoo")
    add_vector_and_mask(folder, make_image_zoo(folder))
    with serving(folder, "--front-ends", request.param) as server:
        yield server


def expected() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the vector (D,) and the scores (C, H, W) that the heads give."""
    known = {name: array[None] for name, array in ready(PICTURE).items()}
    known["pixels_NC"] = pooling().compute(known)
    return hue().compute(known)[0], areas().compute(known)[0]


def check(answers: Predictions) -> None:
    vector_D, scores_CHW = expected()
    embedding, segmentation = answers["hue"].answer, answers["areas"].answer
    assert isinstance(embedding, Embedding)
    np.testing.assert_allclose(embedding.vector, vector_D, rtol=1e-5)
    assert np.linalg.norm(answers["hue"].vector) == pytest.approx(1)
    assert isinstance(segmentation, Segmentation)
    assert (segmentation.height, segmentation.width, segmentation.labels) == (SIDE, SIDE, LABELS)
    mask_HW = scores_CHW.argmax(0)
    assert np.array_equal(answers["areas"].mask, mask_HW)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(segmentation.mask_png))), mask_HW)
    shares = {label: (mask_HW == place).mean() for place, label in enumerate(LABELS)}
    assert answers["areas"].shares == pytest.approx(shares)
    assert answers["colour"].label == "green"


def test_vectors_and_masks_come_beside_other_answers_to_one_image(server: Serving) -> None:
    with Client(server.address) as client:
        check(client.predict(image=PICTURE, heads=HEADS))
        with client.stream() as stream:
            check(stream.submit(image=PICTURE, heads=HEADS, timeout_s=10).result())


def test_the_async_client_gets_the_same(server: Serving) -> None:
    async def ask() -> tuple[Predictions, Predictions]:
        async with AsyncClient(server.address) as client, client.stream() as stream:
            alone = await client.predict(image=PICTURE, heads=HEADS)
            return alone, await stream.predict(image=PICTURE, heads=HEADS)

    for answers in asyncio.run(ask()):
        check(answers)


def test_tritons_client_gets_the_tensors_and_what_they_mean(server: Serving) -> None:
    pytest.importorskip("tritonclient", reason="tritonclient[grpc] is not installed")
    elsewhere = OtherProcess()
    try:
        pictures = np.array([[PICTURE], [encoded((250, 10, 10), "JPEG")]], dtype=object)
        found = elsewhere(calls.infer, server.address, "hue+areas", {"image": pictures})
        parameters = found["parameters"]
    finally:
        elsewhere.close()
    vector_D, scores_CHW = expected()
    np.testing.assert_allclose(found["outputs"]["hue/vectors_ND"][0], vector_D, rtol=1e-5)
    np.testing.assert_allclose(found["outputs"]["areas/scores_NCHW"][0], scores_CHW, rtol=1e-5)
    assert parameters["hue.version_digest"] != parameters["areas.version_digest"]


def test_the_model_says_what_its_answers_are(server: Serving) -> None:
    import grpc
    from hydrazoo.inference import open_inference_pb2 as pb
    from hydrazoo.inference import open_inference_pb2_grpc

    with grpc.insecure_channel(server.address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        both = {name: stub.ModelConfig(pb.ModelConfigRequest(name=name)).config for name in ("hue", "areas")}
        shapes = {name: list(stub.ModelMetadata(pb.ModelMetadataRequest(name=name)).outputs[0].shape) for name in both}
    assert shapes == {"hue": [-1, 3], "areas": [-1, 3, SIDE, SIDE]}
    assert both["hue"].parameters["hue.answer"].string_value == "embed"
    assert json.loads(both["areas"].parameters["areas.labels"].string_value) == list(LABELS)
    assert "hue.labels" not in both["hue"].parameters


def test_the_command_says_both_in_a_line(server: Serving, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("picture") / "green.png"
    file.write_bytes(PICTURE)
    options = ["--image", str(file), "--heads", "hue,areas", "--server", server.address]
    lines = CliRunner().invoke(main, ["predict", *options]).output.splitlines()
    assert "3 numbers: " in lines[0]
    assert f"{SIDE} × {SIDE} pixels: red" in lines[1]
