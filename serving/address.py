"""Addresses to listen on, and why one cannot be listened on: gRPC itself only says that binding failed."""

import errno
import os
import socket
from typing import NamedTuple

from serving.errors import AddressUnavailable

__all__ = ["Address", "check_free", "parse_address"]

HIGHEST_PORT = 65535


class Address(NamedTuple):
    """A host and a port; port 0 stands for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``host:port``.

    Raises:
        AddressUnavailable: the text is no such thing.

    >>> parse_address("localhost:8701")
    Address(host='localhost', port=8701)
    >>> str(parse_address("[::1]:0"))
    '[::1]:0'
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_bracketed = host == f"[{bare}]"
    if not colon or not bare or (":" in bare) != is_bracketed or not port.isascii() or not port.isdecimal():
        raise AddressUnavailable(
            f"{text!r} is no address; expected host:port, for example localhost:8701 or [::1]:8701. Port 0 takes a "
            "free one."
        )
    if int(port) > HIGHEST_PORT:
        raise AddressUnavailable(f"{text!r} has the port {port}; ports end at {HIGHEST_PORT}.")
    return Address(bare, int(port))


def check_free(address: Address) -> None:
    """See that the address can be listened on.

    Raises:
        AddressUnavailable: the host is unknown or not this machine's, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressUnavailable(
            f"There is no host {address.host!r} ({error.strerror}). `localhost` serves this machine alone, "
            "`0.0.0.0` every network that it is on."
        ) from error
    tried = [_bind(family, place) for family, *_, place in found]
    failures = [failure for failure in tried if failure is not None]
    taken = [error for error in failures if error.errno == errno.EADDRINUSE]
    if taken or len(failures) == len(found):
        raise AddressUnavailable(_advice(address, (taken or failures)[0]))


def _bind(family: int, place: tuple[object, ...]) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":  # as gRPC does, so that a port in TIME_WAIT counts as free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error
    return None


def _advice(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            why = "another process listens there. Stop it, or choose another port; 0 takes a free one."
        case errno.EACCES | errno.EPERM:
            why = "this user may not. Choose a port from 1024 on."
        case _:
            why = f"{error.strerror}. Choose an address of this machine."
    return f"Cannot listen on {address}: {why}"
