"""The one place where errors become gRPC statuses."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from grpc import StatusCode

import serving.errors
import zoo.errors
from serving.errors import Loading, Overloaded, ServingError, StageFailed
from zoo.errors import ZooError

__all__ = ["ERROR_CODE_KEY", "PUSHBACK_KEY", "STATUS_OF", "Refusal", "refusal"]

logger = logging.getLogger(__name__)

ERROR_CODE_KEY = "hydrazoo-error-code"
"""Trailing metadata: the error's stable code, for programs."""

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata that gRPC's own retries obey: how long to wait before the next try."""

MAX_MESSAGE_BYTES = 2000
"""Of a message; gRPC takes up to three for each that is not ASCII, and its clients drop trailers of more than 8 KiB."""

STATUS_OF: Mapping[type[Exception], StatusCode] = {
    ServingError: StatusCode.INTERNAL,
    serving.errors.UnknownModel: StatusCode.NOT_FOUND,
    serving.errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    serving.errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    serving.errors.Cancelled: StatusCode.CANCELLED,
    serving.errors.Unavailable: StatusCode.UNAVAILABLE,
    Loading: StatusCode.UNAVAILABLE,
    StageFailed: StatusCode.INTERNAL,
    serving.errors.NotFinite: StatusCode.OUT_OF_RANGE,
    serving.errors.DeviceUnavailable: StatusCode.FAILED_PRECONDITION,
    serving.errors.AddressUnavailable: StatusCode.FAILED_PRECONDITION,
    ZooError: StatusCode.INTERNAL,
    zoo.errors.NotFound: StatusCode.NOT_FOUND,
    zoo.errors.Conflict: StatusCode.ABORTED,
    zoo.errors.Corrupt: StatusCode.DATA_LOSS,
    zoo.errors.InvalidReference: StatusCode.INVALID_ARGUMENT,
    zoo.errors.InvalidManifest: StatusCode.FAILED_PRECONDITION,
    zoo.errors.IncompatibleSchema: StatusCode.FAILED_PRECONDITION,
    zoo.errors.Unavailable: StatusCode.UNAVAILABLE,
    zoo.errors.InvalidLabels: StatusCode.FAILED_PRECONDITION,
    zoo.errors.InvalidConfig: StatusCode.FAILED_PRECONDITION,
    zoo.errors.InvalidInput: StatusCode.INVALID_ARGUMENT,
    zoo.errors.TooLong: StatusCode.INVALID_ARGUMENT,
    zoo.errors.Undecodable: StatusCode.INVALID_ARGUMENT,
    zoo.errors.InvalidOutput: StatusCode.OUT_OF_RANGE,
    zoo.errors.ExportFailed: StatusCode.FAILED_PRECONDITION,
    zoo.errors.ParityMissed: StatusCode.FAILED_PRECONDITION,
    zoo.errors.GateMissed: StatusCode.FAILED_PRECONDITION,
}
"""Every domain error's status; a test finds the one that is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How a call ends that was not answered."""

    status: StatusCode
    message: str
    code: str
    """The error's stable code."""
    retry_after_ms: int | None = None
    """How long to wait before the next try; None if waiting does not help, or nobody knows how long."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes into the trailing metadata."""
        pushback = () if self.retry_after_ms is None else ((PUSHBACK_KEY, str(self.retry_after_ms)),)
        return ((ERROR_CODE_KEY, self.code), *pushback)


def refusal(error: Exception) -> Refusal:
    """Return how a call that raised ``error`` ends; what nobody foresaw is logged, and the caller gets the log's id."""
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), StatusCode.INTERNAL)
    if status is not StatusCode.INTERNAL or isinstance(error, StageFailed):  # which has its log's id already
        return Refusal(
            status=status, message=_shortened(str(error)), code=_code(error), retry_after_ms=_retry_after_ms(error)
        )
    incident = secrets.token_hex(6)
    logger.error("%s: a call failed", incident, exc_info=error)
    message = f"The server failed on this call. Its log has the cause under {incident}; tell its operators that id."
    return Refusal(status=status, message=message, code=_code(error))


def _retry_after_ms(error: Exception) -> int | None:
    """Return the wait that an error asks for: at least 1 ms, since gRPC's clients retry after 0 at once."""
    return max(1, ceil(error.retry_after_s * 1000)) if isinstance(error, Overloaded | Loading) else None


def _shortened(message: str) -> str:
    data = message.encode(errors="replace")
    return message if len(data) <= MAX_MESSAGE_BYTES else f"{data[:MAX_MESSAGE_BYTES].decode(errors='ignore')}…"


def _code(error: Exception) -> str:
    return error.code if isinstance(error, ServingError | ZooError) else "serving.internal"
