"""Messages between two processes: bytes in two rings of shared memory, positions and the end over a socket.

A message of any length passes: what finds no room waits in the sender and follows piece by piece. So nothing ever
blocks the event loop, and whoever sends looks at ``unsent_bytes`` and stops before that grows without bound.
"""

import asyncio
import mmap
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from serving.frontends.ring import RingReader, RingWriter

__all__ = ["RING_BYTES", "Channel", "Link"]

RING_BYTES = 4 * 1024 * 1024
"""Of each of the two rings: some thousand texts, or a few images, under way at once."""

_POSITIONS = struct.Struct("<QQ")
"""How many bytes the sender has written to its ring, and read from the other, in all."""

_LENGTH = struct.Struct("<Q")
_SOCKET_BYTES = 64 * 1024
_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One end of what two processes share: a socket, and memory that holds a ring for each direction."""

    socket: socket.socket
    memory: int
    """A descriptor of the shared memory; the first ring is the front end's, the second one the engine's."""

    @classmethod
    def pair(cls, ring_bytes: int = RING_BYTES) -> tuple[Self, Self]:
        """Make both ends; the memory is freed when neither is open nor mapped any more."""
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("hydrazoo-rings", os.MFD_CLOEXEC)
        os.ftruncate(memory, 2 * ring_bytes)
        return cls(socket=ours, memory=memory), cls(socket=theirs, memory=os.dup(memory))

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
        os.close(self.memory)


class Channel:
    """Sends and receives messages on the event loop that runs when it is made.

    Args:
        link: this end; it belongs to the channel from now on.
        writes_first: whether this end writes to the first ring: the front end's does.
        receive: called with each message that came whole.
        ended: called once when the other end is gone.
    """

    def __init__(
        self,
        link: Link,
        *,
        writes_first: bool,
        receive: Callable[[memoryview], None],
        ended: Callable[[], None],
    ) -> None:
        self._socket = link.socket
        self._socket.setblocking(False)
        self._mapped = mmap.mmap(link.memory, 0)
        os.close(link.memory)
        self._rings = memoryview(self._mapped)
        half = len(self._rings) // 2
        ours, theirs = (0, half) if writes_first else (half, 0)
        self._writer = RingWriter(self._rings[ours : ours + half])
        self._reader = RingReader(self._rings[theirs : theirs + half])
        self._receive = receive
        self._ended = ended
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        """How many bytes of messages found no room yet."""
        self._told = (0, 0)
        self._telling = b""
        self._heard = b""
        self._arriving = _Arriving()
        self._flushing = False
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._hear)

    @property
    def is_open(self) -> bool:
        """Whether the other end is there."""
        return self._is_open

    def send(self, message: bytes) -> None:
        """Send a message when this turn of the loop is over, or as soon as there is room; once closed, nowhere."""
        if not self._is_open:
            return
        self._unsent.append(memoryview(_LENGTH.pack(len(message)) + message))
        self.unsent_bytes += len(message) + _LENGTH.size
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    async def flushed(self, within_s: float = 1.0) -> None:
        """Return when everything is in the ring and the other end knows, or is gone, or takes too long."""
        until_s = self._loop.time() + within_s
        while self._is_open and (self._unsent or self._flushing or self._telling) and self._loop.time() < until_s:
            await asyncio.sleep(_LOOK_AGAIN_S if self._unsent or self._telling else 0)

    def close(self) -> None:
        """Let go of the socket and the memory; what is unsent is lost."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._unsent.clear()
        self.unsent_bytes = 0
        self._writer.close()
        self._reader.close()
        self._rings.release()
        self._mapped.close()

    def _flush(self) -> None:
        self._flushing = False
        if not self._is_open:
            return
        while self._unsent:
            written = self._writer.write(self._unsent[0])
            self.unsent_bytes -= written
            if written < len(self._unsent[0]):
                self._unsent[0] = self._unsent[0][written:]
                break
            self._unsent.popleft()
        self._tell()

    def _tell(self) -> None:
        """Tell the other end how far this one has come, unless it knows."""
        reached = (self._writer.position, self._reader.position)
        if not self._telling and reached != self._told:
            self._telling, self._told = _POSITIONS.pack(*reached), reached
        if not self._telling:
            return
        try:
            sent = self._socket.send(self._telling)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        self._telling = self._telling[sent:]
        if self._telling:
            self._loop.add_writer(self._socket, self._tell_again)

    def _tell_again(self) -> None:
        self._loop.remove_writer(self._socket)
        self._tell()
        if self._is_open and not self._telling:
            self._tell()  # what has happened since the first try

    def _hear(self) -> None:
        try:
            data = self._socket.recv(_SOCKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        data = self._heard + data
        whole = len(data) - len(data) % _POSITIONS.size
        self._heard = data[whole:]
        if not whole:
            return
        written, read = _POSITIONS.unpack_from(data, whole - _POSITIONS.size)
        self._writer.freed(read)
        self._reader.arrived(written)
        while self._is_open and (message := self._arriving.take(self._reader)) is not None:
            self._receive(message)
        self._flush()

    def _end(self) -> None:
        if self._is_open:
            self.close()
            self._ended()


class _Arriving:
    """The message that is coming in, as far as it has come."""

    def __init__(self) -> None:
        self._target = memoryview(bytearray(_LENGTH.size))
        self._filled = 0
        self._is_length = True

    def take(self, reader: RingReader) -> memoryview | None:
        """Return the next message if it is whole by now."""
        while True:
            self._filled += reader.read_into(self._target[self._filled :])
            if self._filled < len(self._target):
                return None
            came = self._target
            size = _LENGTH.unpack(came)[0] if self._is_length else _LENGTH.size
            self._target, self._filled, self._is_length = memoryview(bytearray(size)), 0, not self._is_length
            if self._is_length:
                return came
