"""What a server can refuse, on one page. ``serving/grpc/status.py`` maps each to a gRPC status.

::

    ServingError
    ├── UnknownModel        no such head, version or alias is loaded
    ├── InvalidRequest      wrong names, shapes, element types or bytes
    ├── Overloaded          the queue is full
    ├── DeadlineExceeded    the caller's deadline passed, or cannot be met
    ├── Cancelled           the caller left
    ├── Unavailable         draining, or broken
    │   └── Loading         not ready yet
    ├── StageFailed         a stage did not load or did not run
    ├── NotFinite           a head gave a NaN or an infinity
    ├── DeviceUnavailable   the device that was asked for cannot be used
    └── AddressUnavailable  the address that was asked for cannot be listened on
"""

__all__ = [
    "AddressUnavailable",
    "Cancelled",
    "DeadlineExceeded",
    "DeviceUnavailable",
    "InvalidRequest",
    "Loading",
    "NotFinite",
    "Overloaded",
    "ServingError",
    "StageFailed",
    "Unavailable",
    "UnknownModel",
]


class ServingError(Exception):
    """The root of everything the server raises on purpose; its text is written for the caller who reads it."""

    code = "serving"


class UnknownModel(ServingError):
    """No such head, version or alias is loaded; the text names the closest that is."""

    code = "serving.unknown_model"


class InvalidRequest(ServingError):
    """The request does not fit the head's signature; the text says what was found and what is expected."""

    code = "serving.invalid_request"


class Overloaded(ServingError):
    """More waits than the server keeps, or can do in time; the text says how much.

    Args:
        message: what a caller reads.
        retry_after_s: after how many seconds another try may succeed.
    """

    code = "serving.overloaded"

    def __init__(self, message: str, *, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServingError):
    """The caller's deadline passed before the answer was ready."""

    code = "serving.deadline_exceeded"


class Cancelled(ServingError):
    """The caller left before the answer was ready."""

    code = "serving.cancelled"


class Unavailable(ServingError):
    """The server is loading or draining; another try may succeed."""

    code = "serving.unavailable"


class Loading(Unavailable):
    """The server has not loaded yet what it will answer with; another try will succeed."""

    code = "serving.loading"
    retry_after_s = 1.0


class StageFailed(ServingError):
    """A stage did not load, or did not run; the log has the cause."""

    code = "serving.stage_failed"


class NotFinite(ServingError):
    """A head gave a NaN or an infinity for this input, and no answer is one. No head can declare that it may."""

    code = "serving.not_finite"


class DeviceUnavailable(ServingError):
    """The device that was asked for cannot be used, and falling back to another would be a silent lie."""

    code = "serving.device_unavailable"


class AddressUnavailable(ServingError):
    """The address is none, is taken, or is not this machine's; the text says which."""

    code = "serving.address_unavailable"
