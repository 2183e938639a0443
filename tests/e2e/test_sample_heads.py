"""The four sample heads on real MiniLM, fine-tuned, published and served: answers are those of the torch model."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hydrazoo.client import Client
from hydrazoo.inference import open_inference_pb2_grpc
from numpy.typing import NDArray

from tests.support.sample_zoo import SAMPLE_HEADS, TorchHead, texts_of_head
from tests.support.serve_command import Serving, serving
from tests.support.wire import outputs_of, text_request

CALLERS = 64


@pytest.fixture(scope="module")
def torch_heads(sample_zoo: Path) -> dict[str, TorchHead]:
    return {name: TorchHead(sample_zoo, name) for name in SAMPLE_HEADS}


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def server(request: pytest.FixtureRequest, sample_zoo: Path) -> Iterator[Serving]:
    with serving(sample_zoo, "--runtime", request.param) as server:
        yield server


async def ask_all_at_once(address: str, asked: list[tuple[str, str]]) -> list[NDArray[Any]]:
    """Ask every (head, text) in a call of its own, all at the same time."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        responses = await asyncio.gather(*(stub.ModelInfer(text_request(head, text)) for head, text in asked))
    return [next(iter(outputs_of(response).values()))[0] for response in responses]


def test_concurrent_callers_of_all_heads_each_get_what_torch_answers(
    server: Serving, torch_heads: dict[str, TorchHead]
) -> None:
    texts = {head: texts_of_head(head, "test", CALLERS // len(SAMPLE_HEADS)) for head in SAMPLE_HEADS}
    asked = [(head, text) for position in range(len(texts["intent"])) for head, text in _column(texts, position)]
    assert len(asked) == CALLERS
    answers = asyncio.run(ask_all_at_once(server.address, asked))
    for (head, text), answer in zip(asked, answers, strict=True):
        expected = torch_heads[head](text)
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= max(torch_heads[head].tolerances), f"{head}: {text!r}"


def _column(texts: dict[str, list[str]], position: int) -> list[tuple[str, str]]:
    return [(head, texts[head][position]) for head in SAMPLE_HEADS]


def test_all_heads_in_one_call_answer_as_they_do_alone(server: Serving) -> None:
    text = texts_of_head("pii", "test", 1)[0]
    with Client(server.address) as client:
        together = client.predict(text=text, heads=SAMPLE_HEADS)
        alone = {head: client.predict(text=text, heads=[head])[head] for head in SAMPLE_HEADS}
    for head in SAMPLE_HEADS:
        assert together[head].version == alone[head].version
    assert together["intent"].label == alone["intent"].label
    assert together["topics"].labels == alone["topics"].labels
    assert together["urgency"].value == pytest.approx(alone["urgency"].value, abs=1e-3)
    spans = [[(span.label, span.text) for span in answers["pii"].spans] for answers in (together, alone)]
    assert spans[0] == spans[1]


def test_heads_share_the_stages_of_the_body_in_the_zoo(sample_zoo: Path) -> None:
    from zoo import Zoo

    with Zoo.open(sample_zoo) as zoo:
        paths = {head: zoo.manifest(zoo.resolve(head).version).stages for head in SAMPLE_HEADS}
        body = zoo.backbone("minilm").manifest.stages
        scripts = [zoo.blobs.get(zoo.stage(stage.digest).artifacts["torchscript"].blob) for stage in body]
        assert zoo.verify() == []
    assert not any(b"torch.device(" in script for script in scripts), "it would keep a stage from running elsewhere"
    for path in paths.values():
        assert path[:-1] == body[: len(path) - 1]
    assert len({path[-1].digest for path in paths.values()}) == len(SAMPLE_HEADS)
