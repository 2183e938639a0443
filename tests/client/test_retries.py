"""When a call is made again, and when it is not."""

import threading
import time
from typing import Any

import grpc
import pytest
from hydrazoo.client import Client, HydrazooError
from hydrazoo.client.errors import DeadlineExceeded, Overloaded, Unavailable

from tests.support.fake_server import Ask, Failure, FakeServer, fake_server

UNAVAILABLE = Failure(status=grpc.StatusCode.UNAVAILABLE, message="draining")
PUSHED_BACK = Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata=(("grpc-retry-pushback-ms", "50"),))
OVERLOADED = Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED)


def predict(ask: Ask, server: FakeServer, options: dict[str, Any] | None = None, **arguments: Any) -> Any:
    return ask(server.target, "predict", options, **{"text": "x", "heads": "intent", **arguments})


@pytest.mark.parametrize("failure", [UNAVAILABLE, PUSHED_BACK], ids=["unavailable", "pushed back"])
def test_a_call_that_fails_twice_and_may_be_repeated_gets_its_answer(
    server: FakeServer, ask: Ask, failure: Failure
) -> None:
    server.failures.extend([failure, failure])
    assert predict(ask, server)["intent"].label == "b"
    assert len(server.requests) == 3


def test_a_large_image_is_sent_again_too(server: FakeServer, ask: Ask) -> None:
    server.failures.append(UNAVAILABLE)
    predict(ask, server, text=None, image=b"x" * 3_000_000)
    assert [len(request.image) for request in server.requests] == [3_000_000, 3_000_000]


def test_look_ups_are_tried_again_too(server: FakeServer, ask: Ask) -> None:
    server.failures.append(UNAVAILABLE)
    assert ask(server.target, "resolve", None, "intent").version.number == 6


@pytest.mark.parametrize("failure", [UNAVAILABLE, PUSHED_BACK], ids=["unavailable", "pushed back"])
def test_tries_come_to_an_end(server: FakeServer, ask: Ask, failure: Failure) -> None:
    server.failures.extend([failure] * 20)
    with pytest.raises((Unavailable, Overloaded)):
        predict(ask, server)
    assert len(server.requests) == 4


def test_the_pushback_is_waited_for(server: FakeServer, ask: Ask) -> None:
    metadata = (("grpc-retry-pushback-ms", "300"),)
    server.failures.append(Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata=metadata))
    started = time.monotonic()
    predict(ask, server)
    assert 0.3 <= time.monotonic() - started < 2


def test_overload_without_a_pushback_is_not_tried_again(server: FakeServer, ask: Ask) -> None:
    server.failures.append(OVERLOADED)
    with pytest.raises(Overloaded):
        predict(ask, server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("pushback", ["-1", "soon", ""])
def test_a_pushback_that_says_never_is_obeyed(server: FakeServer, ask: Ask, pushback: str) -> None:
    metadata = (("grpc-retry-pushback-ms", pushback),)
    server.failures.append(Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata=metadata))
    with pytest.raises(Overloaded):
        predict(ask, server)
    assert len(server.requests) == 1


def test_a_pushback_past_the_deadline_fails_at_once(server: FakeServer, ask: Ask) -> None:
    metadata = (("grpc-retry-pushback-ms", "5000"),)
    server.failures.append(Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata=metadata))
    started = time.monotonic()
    with pytest.raises(Overloaded):
        predict(ask, server, timeout_s=1.0)
    assert time.monotonic() - started < 0.9


@pytest.mark.parametrize(
    "status",
    [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.NOT_FOUND,
    ],
)
def test_other_failures_are_not_tried_again(server: FakeServer, ask: Ask, status: grpc.StatusCode) -> None:
    server.failures.append(Failure(status=status))
    with pytest.raises(HydrazooError):
        predict(ask, server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [UNAVAILABLE, PUSHED_BACK], ids=["unavailable", "pushed back"])
def test_retries_can_be_switched_off(server: FakeServer, ask: Ask, failure: Failure) -> None:
    server.failures.append(failure)
    with pytest.raises(HydrazooError):
        predict(ask, server, {"retries": False})
    assert len(server.requests) == 1


def test_the_deadline_covers_all_tries(server: FakeServer, ask: Ask) -> None:
    server.delay_s = 0.5
    server.failures.extend([PUSHED_BACK] * 2)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        predict(ask, server, timeout_s=0.4)
    assert time.monotonic() - started < 1.0


def test_a_client_that_waits_for_the_server_gets_its_answer_once_it_is_there() -> None:
    with fake_server() as first:
        target = first.target
    answers: list[Any] = []

    def call() -> None:
        with Client(target, wait_for_ready=True, timeout_s=20) as client:
            answers.append(client.predict(text="x", heads="intent"))

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.3)
    with fake_server(port=int(target.rpartition(":")[2])):
        caller.join(timeout=15)
    assert len(answers) == 1
