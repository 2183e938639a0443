"""A stream of the asyncio client."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from hydrazoo.client import calls, codec
from hydrazoo.client.answers import Predictions
from hydrazoo.client.codec import Priority
from hydrazoo.client.errors import Cancelled
from hydrazoo.client.streaming import CLOSED, Outbox, StreamedFailure, late, left_behind
from hydrazoo.predict.v1 import predict_pb2 as pb
from numpy.typing import NDArray

__all__ = ["AsyncStream"]


class AsyncStream:
    """Many requests over one stream. An asynchronous context manager; made by ``AsyncClient.stream``.

    Requests that are made in one turn of the event loop, and those that are made while an earlier message is on its
    way, go together in one message, and so do their answers: each then costs a fraction of a call. None of them
    waits for others to come, each has its own deadline, and each fails alone. A connection that broke fails the
    requests on it, and the next one opens it anew.
    """

    def __init__(self, call: Callable[[], Any], *, target: str, timeout_s: float, retries: bool) -> None:
        self._open = call
        self._target = target
        self._timeout_s = timeout_s
        self._retries = retries
        self._outbox = Outbox()
        self._pending: dict[int, asyncio.Future[pb.PredictResponse]] = {}
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._give_up()
        await self.close()

    async def close(self) -> None:
        """Take no further requests, wait for the answers that are on their way, and end the stream."""
        self._closed = True
        if self._pending:
            await asyncio.wait(self._pending.values())
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def predict(
        self,
        *,
        heads: str | Sequence[str],
        text: str | None = None,
        image: bytes | None = None,
        tensors: Mapping[str, NDArray[Any]] | None = None,
        timeout_s: float | None = None,
        request_id: str = "",
        priority: Priority = "normal",
        routing_key: str = "",
    ) -> Predictions:
        """Ask one or several heads about one input, as ``AsyncClient.predict`` does.

        Raises:
            HydrazooError: see ``hydrazoo.client.errors``; ``Cancelled`` if the stream is closed.
        """
        asked = codec.references(heads)
        request = codec.encode_request(
            asked,
            text=text,
            image=image,
            tensors=tensors,
            request_id=request_id,
            priority=priority,
            routing_key=routing_key,
        )
        tries = calls.Tries(self._target, self._timeout_s if timeout_s is None else timeout_s, retries=self._retries)
        while True:
            try:
                return codec.decode_predictions(asked, await self._ask(request, tries.left_s()))
            except (grpc.RpcError, StreamedFailure) as error:
                pause_s = tries.pause_after(error)
            await asyncio.sleep(pause_s)

    async def _ask(self, request: pb.PredictRequest, timeout_s: float) -> pb.PredictResponse:
        if self._closed:
            raise Cancelled(CLOSED)
        number = self._outbox.put(request, timeout_s)
        future: asyncio.Future[pb.PredictResponse] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise late() from None
        finally:
            self._pending.pop(number, None)

    async def _run(self) -> None:
        """Send and receive over one call until it ends, and leave nobody behind who waits for it."""
        failure: BaseException | None = None
        call = self._open()
        sender = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                self._receive(response)
        except BaseException as error:
            failure = error
        finally:
            sender.cancel()
            call.cancel()
            self._fail(left_behind(failure))
        if isinstance(failure, asyncio.CancelledError):
            raise failure

    async def _send(self, call: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                try:
                    await call.write(self._outbox.take())
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # the call has ended, and its reader says how

    def _receive(self, response: pb.PredictStreamResponse) -> None:
        for answer in response.answers:
            future = self._pending.get(answer.id)
            if future is None or future.done():
                continue  # its caller has left
            if answer.WhichOneof("outcome") == "error":
                future.set_exception(StreamedFailure.of(answer.error))
            else:
                future.set_result(answer.response)

    def _give_up(self) -> None:
        self._fail(Cancelled(CLOSED))

    def _fail(self, failure: BaseException) -> None:
        self._outbox.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(failure)
