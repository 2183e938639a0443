"""How calls are made, whether they block or not: the channel's options, and when a call is made again.

Calls only read, so making one twice does no harm. gRPC itself tries again when the server cannot be reached or says
UNAVAILABLE. An overloaded server is asked again only if it says when (``grpc-retry-pushback-ms``); gRPC's own policy
cannot tell the two apart, so that is done here. A deadline covers all tries, and nothing is tried again after it.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

from grpc import StatusCode
from hydrazoo.client.errors import FailedCall, InvalidInput, from_call, metadata_value
from hydrazoo.client.version import __version__

__all__ = [
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT_S",
    "HEALTH_METHOD",
    "HEALTH_REQUEST",
    "READY_POLL_S",
    "SERVING",
    "Metadata",
    "Tries",
    "channel_options",
    "metadata_of",
    "patience_s",
]

DEFAULT_TARGET: Final = "localhost:8701"
DEFAULT_TIMEOUT_S: Final = 10.0

Metadata = tuple[tuple[str, str], ...]
"""What goes beside a call's message."""

MAX_ATTEMPTS: Final = 4
"""Tries of one call, the first included."""

_PREDICT: Final = "hydrazoo.predict.v1.PredictService"
_REGISTRY: Final = "hydrazoo.registry.v1.RegistryService"

HEALTH_METHOD: Final = "/grpc.health.v1.Health/Check"
# Two protobuf messages of one field each, written by hand: a package for them would be a dependency more.
HEALTH_REQUEST: Final = bytes([0x0A, len(_PREDICT)]) + _PREDICT.encode()
SERVING: Final = b"\x08\x01"
READY_POLL_S: Final = 0.05
READY_ANSWER_S: Final = 1.0
"""How long one question whether the server is ready waits for its answer."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[0-9a-f-]*)?")

_RETRY_BUFFER_BYTES: Final = 64 << 20
"""gRPC forgets a request that is larger, and cannot send it again; its own default is less than a photo."""


def channel_options(*, retries: bool) -> list[tuple[str, Any]]:
    """Return gRPC's channel options."""
    return [
        ("grpc.service_config", json.dumps(_service_config(retries=retries))),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.max_send_message_length", -1),  # the server's limit is the one that counts
        ("grpc.max_receive_message_length", -1),
        # Notice a peer that is gone without a word, while calls wait for it.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # Find a server that comes back within a second; gRPC's own default backs off to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.primary_user_agent", f"hydrazoo-client/{__version__}"),
    ]


def metadata_of(traceparent: str) -> Metadata:
    """Return the metadata of a call that belongs to a span, or to none.

    Raises:
        InvalidInput: it is not what W3C trace context writes; gRPC would refuse the call without saying why.
    """
    if traceparent and not _TRACEPARENT.fullmatch(traceparent):
        raise InvalidInput(f"{traceparent[:80]!r} is no traceparent; expected 00-<32 hex digits>-<16>-<2>.")
    return (("traceparent", traceparent),) if traceparent else ()


def patience_s(left_s: float) -> float:
    """Return how long to wait for one answer when ``left_s`` is left in all.

    >>> patience_s(30), patience_s(0.2), patience_s(-1)
    (1.0, 0.2, 0.05)
    """
    return min(READY_ANSWER_S, max(READY_POLL_S, left_s))


def _service_config(*, retries: bool) -> dict[str, Any]:
    policy = {
        "maxAttempts": MAX_ATTEMPTS,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    method: dict[str, Any] = {"name": [{"service": _PREDICT}, {"service": _REGISTRY}]}
    return {"methodConfig": [{**method, "retryPolicy": policy} if retries else method]}


class Tries:
    """The tries of one call, under one deadline.

    Args:
        target: who is asked.
        timeout_s: until the deadline, from now.
        retries: whether to try again at all.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, target: str, timeout_s: float, *, retries: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline = clock() + timeout_s
        self._left = MAX_ATTEMPTS if retries else 1

    def left_s(self) -> float:
        """Return the time until the deadline."""
        return self._deadline - self._clock()

    def pause_after(self, call: FailedCall) -> float:
        """Decide what follows a failed try.

        Returns:
            How long to wait before the next one, in seconds.

        Raises:
            HydrazooError: there is no next one.
        """
        self._left -= 1
        pushback = metadata_value(call, "grpc-retry-pushback-ms")
        told_when = call.code() is StatusCode.RESOURCE_EXHAUSTED and pushback.isdecimal()
        if told_when and self._left > 0 and int(pushback) / 1000 < self.left_s():
            return int(pushback) / 1000
        assert isinstance(call, Exception)
        raise from_call(call, target=self._target, timeout_s=self._timeout_s) from call
