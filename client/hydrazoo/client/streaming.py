"""What streams share, whether they block or not: how requests are gathered into messages, and how one of them fails."""

from collections import deque
from itertools import count
from typing import Final

from grpc import StatusCode
from hydrazoo.client.calls import Metadata
from hydrazoo.client.errors import Cancelled
from hydrazoo.predict.v1 import predict_pb2 as pb

__all__ = ["CLOSED", "Outbox", "StreamedFailure", "late", "left_behind"]

MAX_MESSAGE_REQUESTS: Final = 256
"""Requests in one message; the server takes four times as many, and works on about so many of a stream at once."""

MAX_MESSAGE_BYTES: Final = 1 << 20
"""From how many bytes on a message takes no further request; a larger request goes alone."""

CLOSED: Final = "The stream is closed; open another with `client.stream()`."

_STATUSES: Final = {status.value[0]: status for status in StatusCode}


class Outbox:
    """Requests that are to be sent. Whatever is in it when a message can go, goes with it: nothing waits for more."""

    def __init__(self) -> None:
        self._waiting: deque[pb.StreamedRequest] = deque()
        self._ids = count(1)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, request: pb.PredictRequest, timeout_s: float) -> int:
        """Add a request, which waits for its answer ``timeout_s``; return the id that its answer will have."""
        streamed = pb.StreamedRequest(id=next(self._ids), timeout_us=max(1, round(timeout_s * 1_000_000)))
        streamed.request.CopyFrom(request)
        self._waiting.append(streamed)
        return streamed.id

    def take(self) -> pb.PredictStreamRequest:
        """Take out as many requests as one message holds: at least one."""
        taken = [self._waiting.popleft()]
        size = taken[0].ByteSize()
        while self._waiting and len(taken) < MAX_MESSAGE_REQUESTS:
            size += self._waiting[0].ByteSize()
            if size > MAX_MESSAGE_BYTES:
                break
            taken.append(self._waiting.popleft())
        return pb.PredictStreamRequest(requests=taken)

    def clear(self) -> None:
        """Forget what was not sent."""
        self._waiting.clear()


class StreamedFailure(Exception):
    """A request of a stream that failed, told as gRPC's errors tell of a call: a ``FailedCall``."""

    def __init__(self, status: StatusCode, message: str, metadata: Metadata = ()) -> None:
        super().__init__(message)
        self._status = status
        self._message = message
        self._metadata = metadata

    @classmethod
    def of(cls, error: pb.StreamedError) -> "StreamedFailure":
        """Return the failure that a server's answer tells of."""
        pushback = (("grpc-retry-pushback-ms", str(error.retry_after_ms)),) if error.retry_after_ms else ()
        status = _STATUSES.get(error.status, StatusCode.UNKNOWN)
        return cls(status, error.message, (("hydrazoo-error-code", error.code), *pushback))

    def code(self) -> StatusCode:
        """Return its status."""
        return self._status

    def details(self) -> str:
        """Return its text."""
        return self._message

    def trailing_metadata(self) -> Metadata:
        """Return its code, and when to try again."""
        return self._metadata


def late() -> StreamedFailure:
    """Return what a request fails with whose answer did not come in time."""
    return StreamedFailure(StatusCode.DEADLINE_EXCEEDED, "no answer came over the stream")


def left_behind(failure: BaseException | None) -> BaseException:
    """Return what the requests fail with that a stream left unanswered when it ended."""
    if failure is None:
        return StreamedFailure(StatusCode.UNAVAILABLE, "the server ended the stream without an answer")
    return failure if isinstance(failure, Exception) else Cancelled(CLOSED)
