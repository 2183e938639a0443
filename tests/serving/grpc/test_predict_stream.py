"""Many requests over one stream; the runtime is one that can be held still."""

import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hydrazoo.predict.v1 import predict_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.batching import Limits
from serving.grpc.alike import MAX_ALIKE
from serving.grpc.predict import MAX_STREAMED_REQUESTS, STREAM_WINDOW
from serving.server import Server, ServerLimits
from tests.support.fake_runtime import FakeRuntime, expected, loaded_plan, served
from tests.support.running_server import Running, running
from zoo import Zoo
from zoo.manifest import RegressAnswer

ANSWER = RegressAnswer(low=0, high=1, output="total_N1")
INTENT = served("intent", ["body/0", "body/1", "intent"], answer=ANSWER)
URGENCY = served("urgency", ["body/0", "body/1", "urgency"], answer=ANSWER)
LIMITS = ServerLimits(batching=Limits(max_rows=16, max_waiting_rows=STREAM_WINDOW * 8), drain_s=5)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def make(tmp_path: Path, runtime: FakeRuntime) -> Iterator[Callable[[Limits], Server]]:
    def server(batching: Limits = LIMITS.batching) -> Server:
        limits = ServerLimits(batching=batching, drain_s=5)
        load = lambda **_: loaded_plan([INTENT, URGENCY], runtime)  # noqa: E731
        return Server(zoo, runtime, address="localhost:0", limits=limits, load=load)

    with Zoo.open(tmp_path, create=True) as zoo:
        yield server


@pytest.fixture
def server(make: Callable[[], Server], runtime: FakeRuntime) -> Iterator[Running]:
    with running(make) as server:
        yield server
        runtime.released.set()


class Stream:
    """One stream: what is put into it is sent, and what comes back is read as it comes."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: queue.Queue[pb.PredictStreamRequest | None] = queue.Queue()
        self.call: Any = predict_pb2_grpc.PredictServiceStub(channel).PredictStream(iter(self._messages.get, None))

    def send(self, *requests: pb.StreamedRequest) -> None:
        self._messages.put(pb.PredictStreamRequest(requests=requests))

    def end(self) -> None:
        self._messages.put(None)

    def answers(self, count: int) -> list[pb.StreamedAnswer]:
        found: list[pb.StreamedAnswer] = []
        while len(found) < count:
            found.extend(next(self.call).answers)
        return found

    def status(self) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError):
            next(self.call)
        return self.call.code(), self.call.details()


@contextmanager
def opened(server: Running) -> Iterator[Stream]:
    with grpc.insecure_channel(server.address) as channel:
        stream = Stream(channel)
        yield stream
        stream.end()


def asking(number: int, *ids: int, head: str = "intent", **fields: Any) -> pb.StreamedRequest:
    array = np.array(ids or (number,), np.int64)
    tensors = [
        pb.Tensor(name=name, dtype="int64", shape=each.shape, data=each.tobytes())
        for name, each in {"ids_NT": array, "mask_NT": np.ones_like(array)}.items()
    ]
    request = pb.PredictRequest(heads=[{"name": head}], tensors={"tensors": tensors})
    return pb.StreamedRequest(id=number, request=request, **fields)


def value_of(answer: pb.StreamedAnswer) -> float:
    assert answer.WhichOneof("outcome") == "response", answer
    return answer.response.predictions[0].regression.value


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def hold(runtime: FakeRuntime, stream: Stream, number: int = 1) -> None:
    """Send a request, and return when the device holds it."""
    while runtime.entered.acquire(blocking=False):  # what ran before, to warm up
        pass
    runtime.released.clear()
    stream.send(asking(number))
    assert runtime.entered.acquire(timeout=10)


def test_every_request_of_every_message_is_answered_under_its_id(server: Running) -> None:
    with opened(server) as stream:
        stream.send(*(asking(number, head="urgency" if number % 2 else "intent") for number in range(40)))
        stream.send(asking(40))
        answers = {answer.id: answer for answer in stream.answers(41)}
        stream.end()
        assert list(stream.call) == []
    assert sorted(answers) == list(range(41))
    for number, answer in answers.items():
        version = URGENCY if number % 2 else INTENT
        assert value_of(answer) == expected(version, [number])
        assert len(answer.response.request_id) == 32
        assert answer.response.predictions[0].version.digest == version.digest


def test_requests_that_differ_in_their_input_alone_are_logged_and_counted_as_one(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    alike = [asking(number) for number in range(MAX_ALIKE)]
    named = asking(50)
    named.request.request_id = "mine"
    with caplog.at_level(logging.INFO, "serving.access"), opened(server) as stream:
        stream.send(*alike, named, asking(60, head="urgency"))
        answers = {answer.id: answer.response.request_id for answer in stream.answers(MAX_ALIKE + 2)}
    lines = [record.getMessage() for record in caplog.records if record.name == "serving.access"]
    assert len(lines) == 3
    assert sum(f" rows={MAX_ALIKE} " in line for line in lines) == 1
    assert len(set(answers.values())) == 3
    assert answers[50] == "mine"
    assert all(any(f'id="{made}"' in line for line in lines) for made in answers.values())


def test_one_of_many_alike_that_does_not_fit_fails_alone(server: Running) -> None:
    bad = asking(3)
    bad.request.tensors.tensors[1].name = "mask"
    with opened(server) as stream:
        stream.send(asking(1), asking(2), bad, asking(4))
        answers = {answer.id: answer for answer in stream.answers(4)}
    assert answers[3].error.status == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "No tensor is called 'mask'" in answers[3].error.message
    assert "Row" not in answers[3].error.message
    for number in (1, 2, 4):
        assert value_of(answers[number]) == expected(INTENT, [number])


def test_answers_of_a_batch_share_messages(server: Running, runtime: FakeRuntime) -> None:
    with opened(server) as stream:
        hold(runtime, stream)
        stream.send(*(asking(number) for number in range(2, 18)))
        until(lambda: server.engine.waiting_rows == 16)
        runtime.released.set()
        found: list[int] = []
        while sum(found) < 17:
            found.append(len(next(stream.call).answers))
    assert len(found) < 17


def test_a_request_that_fails_is_answered_with_its_error_and_the_stream_goes_on(server: Running) -> None:
    with opened(server) as stream:
        stream.send(
            asking(1, head="nobody"),
            pb.StreamedRequest(id=2),
            pb.StreamedRequest(id=3, request={"text": "hi", "heads": [{"name": "intent"}], "priority": 9}),
            asking(4),
        )
        answers = {answer.id: answer for answer in stream.answers(4)}
        stream.send(asking(5))
        assert value_of(stream.answers(1)[0]) == expected(INTENT, [5])
    errors = {number: answers[number].error for number in (1, 2, 3)}
    assert (errors[1].status, errors[1].code) == (grpc.StatusCode.NOT_FOUND.value[0], "serving.unknown_model")
    assert "nobody" in errors[1].message
    assert (errors[2].status, errors[2].code) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "serving.invalid_request")
    assert "priority 9" in errors[3].message
    assert all(error.retry_after_ms == 0 for error in errors.values())
    assert value_of(answers[4]) == expected(INTENT, [4])


def test_what_finds_no_room_is_told_when_to_come_back_and_the_rest_is_answered(
    make: Callable[[Limits], Server], runtime: FakeRuntime
) -> None:
    few = Limits(max_rows=2, max_waiting_rows=2)
    with running(lambda: make(few)) as server, opened(server) as stream:
        hold(runtime, stream)
        stream.send(*(asking(number) for number in range(2, 6)))
        found = stream.answers(1)  # whoever finds room is held
        runtime.released.set()
        found += stream.answers(5 - len(found))
    assert sorted(answer.id for answer in found) == [1, 2, 3, 4, 5]
    refused = [answer for answer in found if answer.WhichOneof("outcome") == "error"]
    assert 2 <= len(refused) < 5
    for answer in refused:
        assert answer.error.status == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert answer.error.retry_after_ms > 0
    assert all(value_of(answer) == expected(INTENT, [answer.id]) for answer in found if answer not in refused)


def test_a_deadline_is_its_requests_own(server: Running, runtime: FakeRuntime) -> None:
    with opened(server) as stream:
        hold(runtime, stream)
        stream.send(asking(2, timeout_us=1), asking(3, timeout_us=10_000_000), asking(4))
        late = stream.answers(1)[0]
        runtime.released.set()
        answered = stream.answers(3)
    assert late.id == 2
    assert late.error.status == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert sorted(answer.id for answer in answered) == [1, 3, 4]
    assert {answer.WhichOneof("outcome") for answer in answered} == {"response"}


def test_a_stream_that_is_cancelled_withdraws_its_rows(server: Running, runtime: FakeRuntime) -> None:
    with opened(server) as stream:
        hold(runtime, stream)
        stream.send(*(asking(number) for number in range(2, 30)))
        until(lambda: server.engine.waiting_rows == 28)
        stream.call.cancel()
        until(lambda: server.engine.waiting_rows == 0)
        runtime.released.set()
    with opened(server) as another:
        another.send(asking(1))
        assert value_of(another.answers(1)[0]) == expected(INTENT, [1])


def test_no_more_is_read_than_the_window_has_room_for(server: Running, runtime: FakeRuntime) -> None:
    with opened(server) as stream:
        hold(runtime, stream)
        stream.send(*(asking(number) for number in range(2, STREAM_WINDOW + 102)))
        until(lambda: server.engine.waiting_rows >= STREAM_WINDOW - 1)
        assert server.engine.waiting_rows < STREAM_WINDOW + MAX_ALIKE
        runtime.released.set()
        answers = stream.answers(STREAM_WINDOW + 101)
    assert sorted(answer.id for answer in answers) == list(range(1, STREAM_WINDOW + 102))


def test_a_draining_server_answers_what_it_has_read_and_ends_the_stream(
    make: Callable[[], Server], runtime: FakeRuntime
) -> None:
    with running(make) as server, opened(server) as stream, opened(server) as idle:
        idle.send(asking(9))
        assert value_of(idle.answers(1)[0]) == expected(INTENT, [9])
        hold(runtime, stream)
        stopping = server.stop()
        assert idle.status()[0] is grpc.StatusCode.UNAVAILABLE
        runtime.released.set()
        assert value_of(stream.answers(1)[0]) == expected(INTENT, [1])
        status, details = stream.status()
        stopping.result(10)
    assert status is grpc.StatusCode.UNAVAILABLE
    assert "open another stream" in details


WRONG: dict[str, tuple[Sequence[bytes], str]] = {
    "bytes of no kind": ([b"\xff\xff\xff"], "are not the message that this call takes"),
    "no requests": ([b""], "has no requests"),
    "requests without end": (
        [pb.PredictStreamRequest(requests=[{}] * (MAX_STREAMED_REQUESTS + 1)).SerializeToString()],
        "1,025 requests in a message; send at most 1,024",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_message_that_cannot_be_answered_ends_the_stream(server: Running, wrong: str) -> None:
    messages, expected_message = WRONG[wrong]
    with grpc.insecure_channel(server.address) as channel:
        call: Any = channel.stream_stream("/hydrazoo.predict.v1.PredictService/PredictStream")
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter(messages), timeout=10))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert expected_message in str(caught.value.details())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(
        st.lists(st.tuples(st.booleans(), st.integers(1, 5)), min_size=1, max_size=20), min_size=1, max_size=4
    )
)
def test_whatever_is_mixed_every_id_comes_back_once_with_its_own_answer(
    server: Running, messages: list[list[tuple[bool, int]]]
) -> None:
    with opened(server) as stream:
        sent: dict[int, tuple[bool, int]] = {}
        for message in messages:
            requests = []
            for known, tokens in message:
                number = len(sent)
                sent[number] = known, tokens
                requests.append(asking(number, *range(tokens), head="intent" if known else "nobody"))
            stream.send(*requests)
        found = {answer.id: answer for answer in stream.answers(len(sent))}
    assert sorted(found) == sorted(sent)
    for number, (known, tokens) in sent.items():
        assert (found[number].WhichOneof("outcome") == "response") is known
        if known:
            assert value_of(found[number]) == expected(INTENT, list(range(tokens)))
