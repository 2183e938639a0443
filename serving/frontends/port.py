"""One port for several processes."""

import os
import socket
from contextlib import ExitStack

from serving.address import Address
from serving.errors import AddressUnavailable

__all__ = ["reserve"]


def reserve(address: Address, stack: ExitStack) -> Address:
    """Take an address for processes that will listen on it together, and hold it without listening.

    A socket that is bound and does not listen gets no connections, and keeps everybody out who does not share.

    Args:
        address: where to listen, found to be free; port 0 takes one that is free on every family that the host has.
        stack: gives the address back.

    Returns:
        The address with its port.

    Raises:
        AddressUnavailable: somebody else took it in this moment.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    port, causes = address.port, []
    for family, kind, _, _, place in found:
        held = socket.socket(family, kind)
        try:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                held.setsockopt(socket.SOL_SOCKET, option, 1)
            held.bind((place[0], port, *place[2:]))
        except OSError as error:
            held.close()
            causes.append(error)
            continue
        stack.enter_context(held)
        port = held.getsockname()[1]
    if len(causes) == len(found):
        raise AddressUnavailable(f"Cannot listen on {address}: {os.strerror(causes[0].errno or 0)}. Choose another.")
    return address._replace(port=port)
