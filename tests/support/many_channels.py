"""Callers that do not share a connection, so that the kernel deals them out among the processes of one port."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc

__all__ = ["many_channels"]


@contextmanager
def many_channels(address: str, count: int = 8) -> Iterator[list[grpc.Channel]]:
    """Open ``count`` connections; all eight go to the same one of two processes once in 128 times."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        yield [stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(count)]
