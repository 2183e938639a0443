"""Many requests over one stream, from both clients, against a real gRPC server on loopback."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from hydrazoo.client import AsyncClient, AsyncStream, Client, HydrazooError, Stream
from hydrazoo.client.errors import Cancelled, DeadlineExceeded, InvalidInput, Overloaded, Unavailable, UnknownHead
from hydrazoo.client.streaming import MAX_MESSAGE_BYTES, MAX_MESSAGE_REQUESTS

from tests.support.fake_server import Failure, FakeServer, fake_server

Requests = Sequence[dict[str, Any]]
StreamAll = Callable[..., list[Any]]
"""Sends requests at once over one stream; returns answers, or the errors in their place, in the order of asking."""

PUSHED_BACK = Failure(status=grpc.StatusCode.RESOURCE_EXHAUSTED, metadata=(("grpc-retry-pushback-ms", "50"),))
UNKNOWN = Failure(
    status=grpc.StatusCode.NOT_FOUND,
    message="No head 'x' is loaded.",
    metadata=(("hydrazoo-error-code", "serving.unknown_model"),),
)


def text(number: int, **fields: Any) -> dict[str, Any]:
    return {"text": str(number), "heads": "intent", "request_id": str(number), **fields}


def blocking(target: str, *rounds: Requests, **options: Any) -> list[Any]:
    found: list[Any] = []
    with Client(target, **options) as client, client.stream() as stream:
        for requests in rounds:
            futures = [stream.submit(**request) for request in requests]
            found += [future.exception(20) or future.result() for future in futures]
    return found


def on_a_loop(target: str, *rounds: Requests, **options: Any) -> list[Any]:
    async def run() -> list[Any]:
        found: list[Any] = []
        async with AsyncClient(target, **options) as client, client.stream() as stream:
            for requests in rounds:
                found += await asyncio.gather(*(stream.predict(**each) for each in requests), return_exceptions=True)
        return found

    return asyncio.run(run())


@pytest.fixture(params=[blocking, on_a_loop])
def stream_all(request: pytest.FixtureRequest) -> StreamAll:
    found: StreamAll = request.param
    return found


def test_every_request_gets_its_own_answer_whatever_order_they_come_in(
    server: FakeServer, stream_all: StreamAll
) -> None:
    answers = stream_all(server.target, [text(number) for number in range(100)])
    assert [answer.request_id for answer in answers] == [str(number) for number in range(100)]
    assert all(answer["intent"].label == "b" for answer in answers)


def test_requests_of_one_turn_of_the_loop_go_in_one_message(server: FakeServer) -> None:
    on_a_loop(server.target, [text(number) for number in range(40)])
    assert server.streamed == [40]


def test_requests_made_while_a_message_is_on_its_way_go_together(server: FakeServer) -> None:
    blocking(server.target, [text(number) for number in range(200)])
    assert sum(server.streamed) == 200
    assert len(server.streamed) < 200


def test_a_message_holds_so_many_requests_and_no_more(server: FakeServer, stream_all: StreamAll) -> None:
    stream_all(server.target, [text(number) for number in range(MAX_MESSAGE_REQUESTS * 2 + 1)])
    assert max(server.streamed) <= MAX_MESSAGE_REQUESTS
    assert sum(server.streamed) == MAX_MESSAGE_REQUESTS * 2 + 1


def test_large_requests_go_alone(server: FakeServer) -> None:
    large = {"image": bytes(MAX_MESSAGE_BYTES // 2 + 1), "heads": "intent"}
    on_a_loop(server.target, [large] * 3)
    assert server.streamed == [1, 1, 1]


def test_a_request_fails_alone_with_the_error_that_its_own_call_would_have_ended_with(
    server: FakeServer, stream_all: StreamAll
) -> None:
    server.failures.append(UNKNOWN)
    failed, answered = stream_all(server.target, [text(1)], [text(2)])
    assert isinstance(failed, UnknownHead)
    assert (str(failed), failed.server_code) == ("No head 'x' is loaded.", "serving.unknown_model")
    assert answered["intent"].label == "b"


def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(
    server: FakeServer, stream_all: StreamAll
) -> None:
    if stream_all is on_a_loop:
        [error] = stream_all(server.target, [{"heads": "intent"}])
        assert isinstance(error, InvalidInput)
    else:
        with pytest.raises(InvalidInput, match="exactly one of text, image and tensors"):
            stream_all(server.target, [{"heads": "intent"}])
    assert server.streamed == []


def test_a_stream_that_was_cut_off_fails_what_was_on_it_and_the_next_request_opens_another(
    server: FakeServer, stream_all: StreamAll
) -> None:
    server.messages_until_cut = 2
    first, lost, answered = stream_all(server.target, [text(1)], [text(2)], [text(3)])
    assert first.request_id == "1"
    assert isinstance(lost, Unavailable)
    assert lost.retryable
    assert answered.request_id == "3"


def test_a_stream_that_breaks_before_its_first_answer_is_opened_again_by_grpc(
    server: FakeServer, stream_all: StreamAll
) -> None:
    server.messages_until_cut = 1
    assert stream_all(server.target, [text(1)])[0].request_id == "1"
    assert isinstance(stream_all(server.target, [text(2)])[0]["intent"].label, str)


def test_nobody_at_the_address_is_unavailable(stream_all: StreamAll) -> None:
    with fake_server() as gone:
        target = gone.target
    [error] = stream_all(target, [text(1)])
    assert isinstance(error, Unavailable)
    assert "zoo serve" in str(error)


def test_an_answer_that_does_not_come_in_time_is_not_waited_for_any_longer(server: FakeServer) -> None:
    server.delay_s = 1.0
    began = time.monotonic()
    with Client(server.target) as client:
        stream = client.stream()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
            stream.predict(**text(1, timeout_s=0.1))
    assert time.monotonic() - began < 0.9

    async def run() -> None:
        async with AsyncClient(server.target) as client:
            with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
                await client.stream().predict(**text(1, timeout_s=0.1))

    asyncio.run(run())


def test_the_server_is_told_how_long_each_answer_is_waited_for(server: FakeServer, stream_all: StreamAll) -> None:
    stream_all(server.target, [text(1, timeout_s=2.0)], [text(2)])
    short, long = server.timeouts_us
    assert 1_000_000 < short <= 2_000_000 < long <= 10_000_000


def test_an_overloaded_server_is_asked_again_when_it_said(server: FakeServer) -> None:
    server.failures.extend([PUSHED_BACK, PUSHED_BACK])
    with Client(server.target) as client, client.stream() as stream:
        began = time.monotonic()
        assert stream.predict(**text(1))["intent"].label == "b"
        assert time.monotonic() - began >= 0.1
    server.failures.append(PUSHED_BACK)
    [answer] = on_a_loop(server.target, [text(2)])
    assert answer.request_id == "2"
    assert len(server.requests) == 5


def test_what_is_submitted_is_not_tried_again_nor_is_anything_without_retries(server: FakeServer) -> None:
    server.failures.append(PUSHED_BACK)
    assert isinstance(blocking(server.target, [text(1)])[0], Overloaded)
    server.failures.append(PUSHED_BACK)
    assert isinstance(on_a_loop(server.target, [text(2)], retries=False)[0], Overloaded)


def test_a_closed_stream_takes_nothing_and_closing_twice_does_no_harm(server: FakeServer) -> None:
    with Client(server.target) as client:
        stream = client.stream()
        stream.predict(**text(1))
        stream.close()
        stream.close()
        with pytest.raises(Cancelled, match="The stream is closed"):
            stream.submit(**text(2))

    async def run() -> None:
        async with AsyncClient(server.target) as client:
            stream = client.stream()
            await stream.close()
            await stream.close()
            with pytest.raises(Cancelled, match="The stream is closed"):
                await stream.predict(**text(2))

    asyncio.run(run())


def test_leaving_the_block_waits_for_what_was_submitted(server: FakeServer) -> None:
    server.delay_s = 0.2
    with Client(server.target) as client, client.stream() as stream:
        futures = [stream.submit(**text(number)) for number in range(3)]
    assert [future.result(0).request_id for future in futures] == ["0", "1", "2"]


def test_leaving_the_block_by_an_error_ends_what_was_submitted(server: FakeServer) -> None:
    server.delay_s = 0.5
    futures: list[Any] = []

    def leave(stream: Stream) -> None:
        with stream:
            futures.append(stream.submit(**text(1)))
            raise KeyError

    began = time.monotonic()
    with Client(server.target) as client, pytest.raises(KeyError):
        leave(client.stream())
    assert isinstance(futures[0].exception(5), Cancelled)
    assert time.monotonic() - began < 0.4


def test_a_caller_who_leaves_takes_nobody_along(server: FakeServer) -> None:
    server.delay_s = 0.1

    async def run() -> Any:
        async with AsyncClient(server.target) as client, client.stream() as stream:
            leaver, stayer = (asyncio.ensure_future(stream.predict(**text(number))) for number in (1, 2))
            await asyncio.sleep(0.02)
            leaver.cancel()
            return await stayer, leaver.cancelled()

    answer, left = asyncio.run(run())
    assert (answer.request_id, left) == ("2", True)
    with Client(server.target) as client, client.stream() as stream:
        gone, stays = stream.submit(**text(3)), stream.submit(**text(4))
        assert gone.cancel()
        assert stays.result(5).request_id == "4"


def test_a_stream_belongs_to_the_span_that_it_was_opened_for(server: FakeServer) -> None:
    span = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Client(server.target) as client, client.stream(traceparent=span) as stream:
        stream.predict(**text(1))
    assert server.metadata["traceparent"] == span


def test_both_streams_take_the_arguments_of_predict() -> None:
    import inspect

    arguments = [inspect.signature(each.predict).parameters for each in (Stream, AsyncStream)]
    submit = inspect.signature(Stream.submit).parameters
    whole = dict(inspect.signature(Client.predict).parameters)
    del whole["traceparent"]
    assert {str(each) for each in submit.values()} == {str(each) for each in whole.values()}
    assert [list(each) for each in arguments] == [list(whole)] * 2
    assert issubclass(Cancelled, HydrazooError)
