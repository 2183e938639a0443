"""The Python client against ``zoo serve``, on each runtime: right answers, whoever else asks."""

import asyncio
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from hydrazoo.client import AsyncClient, Client, Prediction, Predictions, Tagging
from hydrazoo.client.errors import InvalidInput, UnknownHead
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc
from numpy.typing import NDArray

from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import ANSWERS, TinyZoo
from zoo.answers import Tagging as ExpectedTagging
from zoo.answers import decode

pytest.importorskip("torch", reason="torch is not installed, and the zoo's stages are traced with it")

HEADS = ("intent", "pii", "topics", "urgency")
TEXTS = [
    "Hello, I am Ada; refund order 4711 please",
    "thanks",
    "My card is LATE!! Not the parcel. " * 4,
    "mail bob @ the address - it was broken",
]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    from tests.support.traced_zoo import make_traced_zoo

    return make_traced_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(traced: TinyZoo, runtime: str) -> Iterator[Serving]:
    with serving(traced.folder, "--runtime", runtime, "--no-access-log") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Client]:
    with Client(server.address, timeout_s=30) as client:
        yield client


def values_of(prediction: Prediction) -> list[float]:
    return [prediction.value] if prediction.head == "urgency" else list(prediction.scores.values())


def check(answers: Predictions, text: str, traced: TinyZoo) -> None:
    """See that each answer is what its version's networks compute in numpy for this text alone."""
    for head, prediction in answers.items():
        outputs: NDArray[np.float32] = traced.expected(prediction.version.digest, text)
        if isinstance(prediction.answer, Tagging):
            wanted = decode(ANSWERS[head], {ANSWERS[head].output: outputs}, traced.row(text))
            assert isinstance(wanted, ExpectedTagging)
            found = [(span.label, span.start, span.end, span.text) for span in prediction.spans]
            assert found == [(span.label, span.start, span.end, span.text) for span in wanted.spans]
        else:
            np.testing.assert_allclose(values_of(prediction), outputs, rtol=1e-4, atol=1e-6)


def test_the_runtime_is_the_one_that_was_asked_for(server: Serving, runtime: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ModelMetadata(pb.ModelMetadataRequest(name="intent")).platform == f"hydrazoo_{runtime}"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_kind_of_head_answers_as_its_networks_do(client: Client, traced: TinyZoo, text: str) -> None:
    answers = client.predict(text=text, heads=HEADS)
    assert tuple(answers) == HEADS
    check(answers, text, traced)


def test_sixty_four_callers_each_get_their_own_answer(server: Serving, traced: TinyZoo) -> None:
    texts = [f"refund order {number}" + " please" * (number % 13) for number in range(64)]
    asked = [HEADS[number % 4 :] for number in range(64)]

    async def ask() -> list[Predictions]:
        async with AsyncClient(server.address, timeout_s=60) as client:
            return await asyncio.gather(
                *(client.predict(text=text, heads=heads) for text, heads in zip(texts, asked, strict=True))
            )

    for text, heads, answers in zip(texts, asked, asyncio.run(ask()), strict=True):
        assert tuple(answers) == heads
        check(answers, text, traced)


def test_ready_tensors_answer_as_their_text_does(client: Client, traced: TinyZoo) -> None:
    heads = ("intent", "topics", "urgency")
    ready = client.predict(tensors=traced.row(TEXTS[0]).tensors, heads=heads)
    check(ready, TEXTS[0], traced)


def test_every_answer_names_the_version_that_the_registry_resolves(client: Client) -> None:
    answers = client.predict(text="hello", heads=["intent", "pii@1", "urgency@prod"])
    for reference, alias in (("intent", "prod"), ("pii@1", ""), ("urgency@prod", "prod")):
        resolved, version = client.resolve(reference), answers[reference].version
        assert (version.number, version.digest) == (resolved.version.number, resolved.version.digest)
        assert (version.alias, version.alias_epoch) == (alias, resolved.alias_epoch)


def test_the_registry_can_be_read(client: Client) -> None:
    assert [head.name for head in client.heads()] == list(HEADS)
    assert [version.number for version in client.versions("intent")] == [1]
    assert client.manifest("intent@prod")["head"] == "intent"
    assert [(move.alias, move.number) for move in client.history("intent")] == [("prod", 1)]


def test_refusals_are_errors_of_their_kind(client: Client) -> None:
    assert client.ready()
    with pytest.raises(UnknownHead, match=r"Did you mean 'intent'\?"):
        client.predict(text="hello", heads="intnet")
    with pytest.raises(InvalidInput, match=r"at most 64.* split it") as caught:
        client.predict(text="please " * 100, heads="intent")
    assert caught.value.server_code == "zoo.too_long"
