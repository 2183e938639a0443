"""What a call says beside its message: who makes it, what span it belongs to, and how it is routed."""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from serving.bounds import MAX_NAME, check_name
from serving.grpc.guard import Context
from serving.handlers.call import CallContext

__all__ = ["ROUTING_KEY", "TRACEPARENT_KEY", "Caller", "caller_of", "host_of"]

ROUTING_KEY = "hydrazoo-routing-key"
"""Metadata: who asks, for requests that do not say so themselves."""

TRACEPARENT_KEY = "traceparent"
"""Metadata: the caller's span, as W3C trace context writes it."""

LOCAL = "unix"
"""Stands for the host of a caller on a socket of this machine."""

REMEMBERED_PEERS = 4096


class Caller(NamedTuple):
    """Who calls."""

    context: CallContext
    routing_key: str
    """What requests count as that bring no key of their own: the metadata's, or else the host."""


def caller_of(context: Context) -> Caller:
    """Read who makes a call.

    Raises:
        InvalidRequest: the routing key of its metadata is too long.
    """
    host = host_of(context.peer())
    traceparent = routing_key = ""
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT_KEY and len(value) <= MAX_NAME:  # nobody can write down a span in as many characters
            traceparent = str(value)
        elif key == ROUTING_KEY:
            routing_key = check_name(f"metadata {ROUTING_KEY}", str(value))
    return Caller(CallContext(peer=host, traceparent=traceparent), routing_key or host)


@lru_cache(REMEMBERED_PEERS)
def host_of(peer: str) -> str:
    """Return the host of a caller as gRPC names its end of the connection, without the port.

    >>> host_of("ipv4:10.0.0.7:51234"), host_of("ipv6:%5B::1%5D:51234"), host_of("unix:/tmp/socket")
    ('10.0.0.7', '::1', 'unix')
    """
    kind, _, address = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return LOCAL if kind.startswith(LOCAL) else peer
    return unquote(address).rpartition(":")[0].strip("[]")
