"""The server as the unmodified client of Triton sees it: a real process, and a client in another one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import triton_calls as calls
from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from tests.support.triton_calls import OtherProcess, texts_of
from tests.support.wire import padded

pytest.importorskip("tritonclient", reason="tritonclient[grpc] is not installed")

TEXTS = ("hello, i love you", "refund order 4711 please", "my card is late!", "thanks")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two front ends"])
def server(request: pytest.FixtureRequest, tiny: TinyZoo) -> Iterator[Serving]:
    with serving(tiny.folder, "--front-ends", request.param) as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[OtherProcess]:
    process = OtherProcess()
    yield process
    process.close()


@pytest.fixture(scope="module")
def digests(server: Serving) -> dict[str, str]:
    return {version["head"]: version["digest"] for version in server.started["versions"]}


def expected(tiny: TinyZoo, digests: dict[str, str], head: str, *texts: str) -> NDArray[Any]:
    return padded([tiny.expected(digests[head], text) for text in texts])


def close_to(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_infer_answers_text(elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]) -> None:
    found = elsewhere(calls.infer, server.address, "intent", texts_of(*TEXTS), request_id="mine")
    close_to(found["outputs"]["scores_NC"], expected(tiny, digests, "intent", *TEXTS))
    assert (found["id"], found["version"]) == ("mine", "1")
    assert found["parameters"]["intent.version_digest"] == {"string_param": digests["intent"]}


def test_infer_asks_several_heads_in_one_call(
    elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]
) -> None:
    found = elsewhere(calls.infer, server.address, "intent+pii+urgency+topics", texts_of(*TEXTS))
    assert len(found["outputs"]) == 4
    for name, output in found["outputs"].items():
        close_to(output, expected(tiny, digests, name.partition("/")[0], *TEXTS))


def test_infer_returns_only_the_wanted_outputs(elsewhere: OtherProcess, server: Serving) -> None:
    found = elsewhere(calls.infer, server.address, "intent+pii", texts_of("hello"), outputs=["pii/scores_NTK"])
    assert list(found["outputs"]) == ["pii/scores_NTK"]


def test_infer_takes_ready_tensors(
    elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]
) -> None:
    ready = {name: array[None] for name, array in tiny.row(TEXTS[0]).tensors.items()}
    found = elsewhere(calls.infer, server.address, "urgency", ready)
    close_to(found["outputs"]["values_N1"], expected(tiny, digests, "urgency", TEXTS[0]))


@pytest.mark.parametrize("version", ["1", "prod", ""])
def test_infer_takes_a_number_an_alias_or_nothing_as_the_version(
    elsewhere: OtherProcess, server: Serving, version: str
) -> None:
    found = elsewhere(calls.infer, server.address, "intent", texts_of("hello"), model_version=version)
    assert found["version"] == "1"


def test_async_infer_answers_each_request_with_its_own(
    elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]
) -> None:
    texts = [f"order {number}" + " please" * (number % 4) for number in range(32)]
    found = elsewhere(calls.async_infer, server.address, "intent", [texts_of(text) for text in texts])
    for text, answer in zip(texts, found, strict=True):
        close_to(answer["outputs"]["scores_NC"], expected(tiny, digests, "intent", text))


def test_stream_infer_answers_in_order_and_outlives_a_refusal(
    elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]
) -> None:
    requests = [("ocr" if number == 2 else "topics", texts_of(f"order {number}")) for number in range(8)]
    found = elsewhere(calls.stream_infer, server.address, requests)
    assert "No head 'ocr'" in found.pop(2)["message"]
    assert [answer["id"] for answer in found] == ["0", "1", "3", "4", "5", "6", "7"]
    for answer in found:
        close_to(answer["outputs"]["scores_NC"], expected(tiny, digests, "topics", f"order {answer['id']}"))


def test_the_asyncio_client_works_too(
    elsewhere: OtherProcess, server: Serving, tiny: TinyZoo, digests: dict[str, str]
) -> None:
    found = elsewhere(calls.aio, server.address, "intent", texts_of("hello"), 8)
    assert found["ready"]
    assert [answer["id"] for answer in found["streamed"]] == [str(number) for number in range(8)]
    for answer in (*found["answers"], *found["streamed"]):
        close_to(answer["outputs"]["scores_NC"], expected(tiny, digests, "intent", "hello"))


def test_everything_that_describes_the_server_can_be_asked(elsewhere: OtherProcess, server: Serving) -> None:
    found = elsewhere(calls.describe, server.address, "intent+pii")
    assert (found["live"], found["ready"], found["model_ready"], found["other_ready"]) == (True, True, True, False)
    assert found["server"]["name"] == "hydrazoo"
    assert [tensor["name"] for tensor in found["metadata"]["inputs"]] == ["text"]
    assert [tensor["name"] for tensor in found["metadata"]["outputs"]] == ["intent/scores_NC", "pii/scores_NTK"]
    assert found["config"]["max_batch_size"] == 1024
    assert [tensor["name"] for tensor in found["config"]["input"]] == ["text", "ids_NT", "mask_NT"]
    assert [(model["name"], model["state"]) for model in found["index"]] == [
        ("intent", "READY"),
        ("pii", "READY"),
        ("topics", "READY"),
        ("urgency", "READY"),
    ]


def test_statistics_count_what_was_asked(elsewhere: OtherProcess, server: Serving) -> None:
    def rows() -> int:
        (found,) = elsewhere(calls.statistics, server.address, "urgency")
        return int(found.get("inference_count", 0))

    before = rows()
    fresh = [f"{text} (counted)" for text in TEXTS]  # what is cached infers nothing
    elsewhere(calls.infer, server.address, "urgency", texts_of(*fresh))
    assert rows() - before == len(fresh)


@pytest.mark.parametrize(
    ("model", "arrays", "status", "message"),
    [
        ("intnet", texts_of("hello"), "StatusCode.NOT_FOUND", "Did you mean 'intent'?"),
        ("intent", texts_of("please " * 100), "StatusCode.INVALID_ARGUMENT", "at most 64"),
        ("intent", {"ids_NT": np.ones((1, 3), np.int32)}, "StatusCode.INVALID_ARGUMENT", "INT32 [1, 3]"),
        ("intent", {"text": np.ones((1, 1), np.float64)}, "StatusCode.INVALID_ARGUMENT", "datatype 'FP64'"),
    ],
)
def test_a_refusal_has_its_status_and_helps(
    elsewhere: OtherProcess, server: Serving, model: str, arrays: calls.Arrays, status: str, message: str
) -> None:
    found = elsewhere(calls.infer, server.address, model, arrays)
    assert found["status"] == status
    assert message in found["message"]


def test_a_call_that_only_triton_has_is_unimplemented_and_says_what_to_do(
    elsewhere: OtherProcess, server: Serving
) -> None:
    found = elsewhere(calls.load_model, server.address, "intent")
    assert found["status"] == "StatusCode.UNIMPLEMENTED"
    assert "zoo promote" in found["message"]
