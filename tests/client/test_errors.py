"""Every way in which a call can end without an answer."""

import socket
import time

import grpc
import numpy as np
import pytest
from hydrazoo.client import HydrazooError, errors
from hydrazoo.client.errors import (
    Cancelled,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    Overloaded,
    ServerError,
    Unavailable,
    UnknownHead,
)

from tests.support.fake_server import Ask, Failure, FakeServer, fake_server

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (Code.NOT_FOUND, UnknownHead, False),
        (Code.INVALID_ARGUMENT, InvalidInput, False),
        (Code.OUT_OF_RANGE, InvalidInput, False),
        (Code.RESOURCE_EXHAUSTED, Overloaded, True),
        (Code.DEADLINE_EXCEEDED, DeadlineExceeded, False),
        (Code.UNAVAILABLE, Unavailable, True),
        (Code.CANCELLED, Cancelled, False),
        (Code.PERMISSION_DENIED, Forbidden, False),
        (Code.UNAUTHENTICATED, Forbidden, False),
        (Code.INTERNAL, ServerError, False),
        (Code.UNKNOWN, ServerError, False),
        (Code.DATA_LOSS, ServerError, False),
        (Code.UNIMPLEMENTED, ServerError, False),
        (Code.ABORTED, ServerError, False),
        (Code.FAILED_PRECONDITION, ServerError, False),
    ],
)
def test_a_status_is_an_error_of_its_kind_with_the_servers_message_and_code(
    server: FakeServer, ask: Ask, status: grpc.StatusCode, kind: type[HydrazooError], retryable: bool
) -> None:
    failure = Failure(status=status, message="Try 'intent'.", metadata=(("hydrazoo-error-code", "serving.why"),))
    server.failures.append(failure)
    with pytest.raises(HydrazooError) as caught:
        ask(server.target, "predict", {"retries": False}, text="x", heads="intnet")
    assert type(caught.value) is kind
    assert str(caught.value) == "Try 'intent'."
    assert caught.value.server_code == "serving.why"
    assert caught.value.retryable is retryable
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_every_kind_of_error_has_a_code_of_its_own() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    kinds = [kind for kind in kinds if issubclass(kind, HydrazooError)]
    assert len({kind.code for kind in kinds}) == len(kinds) == 9
    assert all(f"{kind.__name__}" in (errors.__doc__ or "") for kind in kinds)


def test_an_address_without_a_server_is_named_with_what_to_do(ask: Ask) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        target = f"localhost:{free.getsockname()[1]}"
    with pytest.raises(Unavailable, match=rf"Nobody answers at {target}.*`zoo serve`"):
        ask(target, "predict", text="x", heads="intent")


def test_a_deadline_is_kept_and_never_tried_again(server: FakeServer, ask: Ask) -> None:
    server.delay_s = 1.0
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s.*longer timeout_s"):
        ask(server.target, "predict", text="x", heads="intent", timeout_s=0.2)
    assert time.monotonic() - started < 0.9
    assert len(server.requests) == 1


def test_a_client_without_an_own_deadline_still_has_one(server: FakeServer, ask: Ask) -> None:
    server.delay_s = 1.0
    with pytest.raises(DeadlineExceeded):
        ask(server.target, "predict", {"timeout_s": 0.2}, text="x", heads="intent")


def test_a_message_over_the_servers_limit_is_the_inputs_fault_and_not_overload(ask: Ask) -> None:
    with fake_server(max_receive_bytes=1000) as server:
        with pytest.raises(InvalidInput, match="Send a smaller input"):
            ask(server.target, "predict", image=b"x" * 2000, heads="intent")
        assert not server.requests


def test_a_server_that_does_not_offer_the_call_is_named() -> None:
    """A gRPC server, but not of this protocol."""
    from concurrent.futures import ThreadPoolExecutor

    from hydrazoo.client import Client

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    with Client(f"localhost:{port}") as client, pytest.raises(ServerError, match="Is it a Hydrazoo server"):
        client.predict(text="x", heads="intent")
    server.stop(grace=None).wait()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of text, image and tensors; got none"),
        ({"text": "x", "image": b"x"}, "got text and image"),
        ({"text": "x", "heads": []}, "No head is asked"),
        ({"text": "x", "heads": ["intent@"]}, "'intent@' names no head"),
        ({"text": "x", "heads": ["@prod"]}, "'@prod' names no head"),
        ({"text": "x", "heads": ["intent@99999999999"]}, "too large"),
        ({"text": "\ud83d"}, "lone surrogate at position 0"),
        ({"text": b"x"}, "text is a str; got bytes"),
        ({"image": "cat.png"}, "image is the bytes.*got str"),
        ({"tensors": {"x": np.zeros(2)}}, "'x' has the element type float64"),
        ({"tensors": {"x": np.array(["a"])}}, "element type str"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(
    server: FakeServer, ask: Ask, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        ask(server.target, "predict", **{"heads": ["intent"], **arguments})
    assert not server.requests


def test_an_answer_of_an_unknown_kind_asks_for_a_newer_client(server: FakeServer, ask: Ask) -> None:
    with pytest.raises(ServerError, match="upgrade the client"):
        ask(server.target, "predict", text="x", heads="a-kind-from-the-future")
