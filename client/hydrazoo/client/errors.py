"""Everything that a call can end with instead of an answer, on one page.

::

    HydrazooError
    ├── UnknownHead        no such head, version, alias or reference
    ├── InvalidInput       the input or the arguments do not fit
    ├── Overloaded         the server has too much to do; it was asked again as it said
    ├── DeadlineExceeded   no answer in time
    ├── Unavailable        nobody answers there, or the server is starting or stopping
    ├── Cancelled          the call was given up
    ├── Forbidden          the server does not let this caller in
    └── ServerError        the server failed, or speaks another protocol
"""

from typing import Final, Protocol

from grpc import StatusCode

__all__ = [
    "Cancelled",
    "DeadlineExceeded",
    "FailedCall",
    "Forbidden",
    "HydrazooError",
    "InvalidInput",
    "Overloaded",
    "ServerError",
    "Unavailable",
    "UnknownHead",
    "from_call",
    "metadata_value",
]


class HydrazooError(Exception):
    """The root of everything that the client raises on purpose.

    Attributes:
        code: which kind of error, for programs; it does not change.
        retryable: whether the same call may succeed a little later.
        server_code: the server's own, finer code, such as "zoo.too_long"; empty if it sent none.
    """

    code = "client"
    retryable = False

    def __init__(self, message: str, *, server_code: str = "") -> None:
        super().__init__(message)
        self.server_code = server_code


class UnknownHead(HydrazooError):
    """The server has no such head, version or alias; the text names the closest."""

    code = "client.unknown_head"


class InvalidInput(HydrazooError):
    """The input does not fit the head, or the arguments do not fit together."""

    code = "client.invalid_input"


class Overloaded(HydrazooError):
    """The server's queue is full."""

    code = "client.overloaded"
    retryable = True


class DeadlineExceeded(HydrazooError):
    """The deadline passed first; a longer ``timeout_s`` may help, the same one most likely not."""

    code = "client.deadline_exceeded"


class Unavailable(HydrazooError):
    """Nobody answers at that address, or the server is starting or stopping."""

    code = "client.unavailable"
    retryable = True


class Cancelled(HydrazooError):
    """The call was cancelled, here or by the server."""

    code = "client.cancelled"


class Forbidden(HydrazooError):
    """The server does not know this caller, or does not allow the call."""

    code = "client.forbidden"


class ServerError(HydrazooError):
    """The server failed; its text has an id that its operators find in their log."""

    code = "client.server_error"


_KINDS: Final[dict[StatusCode, type[HydrazooError]]] = {
    StatusCode.NOT_FOUND: UnknownHead,
    StatusCode.INVALID_ARGUMENT: InvalidInput,
    StatusCode.OUT_OF_RANGE: InvalidInput,
    StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.UNAVAILABLE: Unavailable,
    StatusCode.CANCELLED: Cancelled,
    StatusCode.PERMISSION_DENIED: Forbidden,
    StatusCode.UNAUTHENTICATED: Forbidden,
}
"""Every other status is a ``ServerError``."""


class FailedCall(Protocol):
    """What gRPC's errors, of blocking and of asyncio calls alike, tell about a call."""

    def code(self) -> StatusCode:
        """Return its status."""
        ...

    def details(self) -> str | None:
        """Return its text."""
        ...

    def trailing_metadata(self) -> object:
        """Return pairs of a key and a value, or nothing."""
        ...


def metadata_value(call: FailedCall, key: str) -> str:
    """Return a value of the trailing metadata; empty if there is none."""
    pairs = call.trailing_metadata() or ()
    assert hasattr(pairs, "__iter__")
    return next((str(value) for name, value in pairs if name == key), "")


def from_call(call: FailedCall, *, target: str, timeout_s: float) -> HydrazooError:
    """Return the error that a failed call means.

    Args:
        call: gRPC's error.
        target: who was asked.
        timeout_s: the deadline that was set.
    """
    details = call.details() or "no details"
    server_code = metadata_value(call, "hydrazoo-error-code")
    kind = _KINDS.get(call.code(), ServerError)
    if kind is Overloaded and "larger than max" in details:  # gRPC's own limit of a message has the same status
        return InvalidInput(f"{details}. Send a smaller input, or raise the server's limit.")
    if server_code or kind in (UnknownHead, InvalidInput):
        return kind(details, server_code=server_code)
    return kind(_explain(kind, call.code(), details, target, timeout_s))


def _explain(kind: type[HydrazooError], status: StatusCode, details: str, target: str, timeout_s: float) -> str:
    """Say in our words what gRPC itself reports."""
    if kind is Unavailable:
        return f"Nobody answers at {target} ({details}). Is a server running there? `zoo serve` starts one."
    if kind is DeadlineExceeded:
        return (
            f"No answer from {target} within {timeout_s:g} s ({details}). Set a longer timeout_s, or ask fewer heads."
        )
    if status is StatusCode.UNIMPLEMENTED:
        return f"{target} does not offer this call ({details}). Is it a Hydrazoo server of this client's version?"
    return f"{target} ended the call with {status.name}: {details}"
