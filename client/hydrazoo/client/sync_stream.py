"""A stream of the blocking client."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self

import grpc
from hydrazoo.client import calls, codec
from hydrazoo.client.answers import Predictions
from hydrazoo.client.codec import Priority
from hydrazoo.client.errors import Cancelled, HydrazooError, from_call
from hydrazoo.client.streaming import CLOSED, Outbox, StreamedFailure, late, left_behind
from hydrazoo.predict.v1 import predict_pb2 as pb
from numpy.typing import NDArray

__all__ = ["Stream"]

Open = Callable[[Iterator[pb.PredictStreamRequest]], Any]


class Stream:
    """Many requests over one stream. A context manager, safe to share between threads; made by ``Client.stream``.

    ``submit`` sends a request and returns at once; ``predict`` waits for its answer. Requests that are made while an
    earlier message is on its way go together in one message, and so do their answers: each then costs a fraction of
    a call. None of them waits for others to come, each has its own deadline, and each fails alone. A connection that
    broke fails the requests on it, and the next one opens it anew.
    """

    def __init__(self, call: Open, *, target: str, timeout_s: float, retries: bool) -> None:
        self._open = call
        self._target = target
        self._timeout_s = timeout_s
        self._retries = retries
        self._changed = Condition()
        self._session: _Session | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._session is not None:
            self._session.cancel()
        self.close()

    def close(self) -> None:
        """Take no further requests, wait for the answers that are on their way, and end the stream."""
        with self._changed:
            self._closed = True
            session = self._session
        if session is not None:
            session.finish()

    def submit(
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
    ) -> "Future[Predictions]":
        """Send a request, and return without waiting for its answer. It is not tried again.

        Returns:
            What will hold the answers, or a ``HydrazooError``. The server keeps the deadline; that it is gone itself
            is noticed within 35 s.

        Raises:
            HydrazooError: the arguments do not fit together, or the stream is closed.
        """
        asked, request = _encoded(heads, text, image, tensors, request_id, priority, routing_key)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        answered: Future[Predictions] = Future()

        def settle(done: "Future[pb.PredictResponse]") -> None:
            with suppress(InvalidStateError):  # it was cancelled
                try:
                    answered.set_result(codec.decode_predictions(asked, done.result()))
                except (grpc.RpcError, StreamedFailure) as error:
                    answered.set_exception(from_call(error, target=self._target, timeout_s=limit_s))
                except HydrazooError as error:
                    answered.set_exception(error)

        self._send(request, limit_s).add_done_callback(settle)
        return answered

    def predict(
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
        """Ask one or several heads about one input, as ``Client.predict`` does.

        Raises:
            HydrazooError: see ``hydrazoo.client.errors``; ``Cancelled`` if the stream is closed.
        """
        asked, request = _encoded(heads, text, image, tensors, request_id, priority, routing_key)
        tries = calls.Tries(self._target, self._timeout_s if timeout_s is None else timeout_s, retries=self._retries)
        while True:
            try:
                return codec.decode_predictions(asked, self._ask(request, tries.left_s()))
            except (grpc.RpcError, StreamedFailure) as error:
                pause_s = tries.pause_after(error)
            time.sleep(pause_s)

    def _ask(self, request: pb.PredictRequest, timeout_s: float) -> pb.PredictResponse:
        future = self._send(request, timeout_s)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise late() from None

    def _send(self, request: pb.PredictRequest, timeout_s: float) -> "Future[pb.PredictResponse]":
        with self._changed:
            if self._closed:
                raise Cancelled(CLOSED)
            if self._session is None or self._session.ended:
                self._session = _Session(self._open, self._changed)
            return self._session.send(request, timeout_s)


def _encoded(
    heads: str | Sequence[str],
    text: str | None,
    image: bytes | None,
    tensors: Mapping[str, NDArray[Any]] | None,
    request_id: str,
    priority: Priority,
    routing_key: str,
) -> tuple[tuple[str, ...], pb.PredictRequest]:
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
    return asked, request


class _Session:
    """One call, from its first request to its end: gRPC's thread takes messages, and one of ours reads answers."""

    def __init__(self, call: Open, changed: Condition) -> None:
        self.ended = False
        self._changed = changed
        self._outbox = Outbox()
        self._pending: dict[int, Future[pb.PredictResponse]] = {}
        self._finishing = False
        self._call = call(self._messages())
        self._reader = Thread(target=self._read, name="hydrazoo-stream", daemon=True)
        self._reader.start()

    def send(self, request: pb.PredictRequest, timeout_s: float) -> "Future[pb.PredictResponse]":
        """Send a request; with the lock held."""
        future: Future[pb.PredictResponse] = Future()
        self._pending[self._outbox.put(request, timeout_s)] = future
        self._changed.notify_all()
        return future

    def finish(self) -> None:
        """Wait for what was asked, and end the call."""
        with self._changed:
            pending = tuple(self._pending.values())
        wait(pending)
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
        self._reader.join()

    def cancel(self) -> None:
        """End the call at once."""
        self._call.cancel()

    def _messages(self) -> Iterator[pb.PredictStreamRequest]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outbox or self._finishing or self.ended)
                if self.ended or not self._outbox:
                    return
                message = self._outbox.take()
            yield message

    def _read(self) -> None:
        failure: BaseException | None = None
        try:
            for response in self._call:
                for answer in response.answers:
                    self._settle(answer)
        except grpc.RpcError as error:
            failure = error
        with self._changed:
            self.ended = True
            pending = tuple(self._pending.values())
            self._pending.clear()
            self._changed.notify_all()
        for future in pending:
            with suppress(InvalidStateError):
                future.set_exception(left_behind(failure))

    def _settle(self, answer: pb.StreamedAnswer) -> None:
        with self._changed:
            future = self._pending.pop(answer.id, None)
        if future is None:
            return
        with suppress(InvalidStateError):  # its caller has left
            if answer.WhichOneof("outcome") == "error":
                future.set_exception(StreamedFailure.of(answer.error))
            else:
                future.set_result(answer.response)
