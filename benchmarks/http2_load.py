"""A load generator that costs next to nothing: gRPC's own frames, written by hand over a few sockets.

A gRPC client in Python takes as long for a call as a server does, and on a small machine the two share the cores: it
would measure itself. Here every frame is made before the clock starts, and of what comes back only as much is read
as tells that a call was answered. So it knows nothing of TLS, of errors beyond that there was one, or of a server
that is not on this machine. How much of a core it took is among its results.
"""

import asyncio
import itertools
import json
import resource
import struct
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

__all__ = ["Load", "LoadSeen"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
HEADER_BYTES = 9
MAX_FRAME_BYTES = 16_384
LARGE_WINDOW = (1 << 31) - 1
FIRST_WINDOW = 65_535
REFRESH_BYTES = 1 << 29
METHOD_POST, SCHEME_HTTP, PATH, AUTHORITY, CONTENT_TYPE = 3, 6, 4, 1, 31
FIRST_DYNAMIC = 62
"""The static tables of HPACK end before this index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send.

    Attributes:
        port: of the server on this machine.
        path: the rpc, as ``/package.Service/Method``.
        bodies: messages in base64, sent in turn; with ``coalesce`` entries of one message.
        callers: requests in flight at any time, over all connections together.
        seconds: how long new ones are sent.
        connections: how many there are.
        streamed: over one stream a connection, and not in a call each.
        coalesce: whether the requests that are due at once go in one message, one entry each, and the answers come so.
        warm_up_s: how long it runs before it counts.
    """

    port: int
    path: str
    bodies: Sequence[str]
    callers: int
    seconds: float
    connections: int = 1
    streamed: bool = False
    coalesce: bool = False
    warm_up_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSeen:
    """What came back."""

    answers: int
    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    """Calls that ended without an answer."""
    messages: int
    """Messages that the answers came in."""
    own_share: float
    """Of one core, what the generator itself used."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame.

    >>> frame(SETTINGS, ACK, 0, b"").hex()
    '000000040100000000'
    """
    return struct.pack(">I", len(payload) << 8 | kind)[0:4] + bytes([flags]) + struct.pack(">I", stream) + payload


def message(body: bytes) -> bytes:
    """Return a gRPC message: not compressed, its length, its bytes."""
    return b"\0" + struct.pack(">I", len(body)) + body


def _text(value: str) -> bytes:
    assert len(value) < 127, "a longer text has a longer length"
    return bytes([len(value)]) + value.encode()


def _integer(value: int, bits: int, first: int) -> bytes:
    most = (1 << bits) - 1
    return bytes([first | value]) if value < most else bytes([first | most, value - most])


def header_blocks(path: str) -> tuple[bytes, bytes]:
    """Return the headers of a connection's first call, which the server remembers, and those of all others."""
    indexed = [bytes([0x80 | METHOD_POST, 0x80 | SCHEME_HTTP])]
    remembered = [
        _integer(PATH, 6, 0x40) + _text(path),
        _integer(AUTHORITY, 6, 0x40) + _text("localhost"),
        _integer(CONTENT_TYPE, 6, 0x40) + _text("application/grpc"),
        _integer(0, 6, 0x40) + _text("te") + _text("trailers"),
        _integer(0, 6, 0x40) + _text("user-agent") + _text("grpc-python/1.0 (a benchmark)"),
        _integer(0, 6, 0x40) + _text("grpc-timeout") + _text("60S"),
    ]
    references = [bytes([0x80 | (FIRST_DYNAMIC + age)]) for age in reversed(range(len(remembered)))]
    return b"".join(indexed + remembered), b"".join(indexed + references)


class Connection(asyncio.Protocol):
    """One connection, and the calls or the stream on it."""

    def __init__(self, load: Load, callers: int, bodies: Iterator[bytes]) -> None:
        self._load = load
        self._callers = callers
        self._bodies = bodies
        self._first, self._rest = header_blocks(load.path)
        self._buffer = b""
        self._received = b""
        self._stream = -1
        self._answered: set[int] = set()
        self._sent_s: dict[int, float] = {}
        self._unread = 0
        self._window = FIRST_WINDOW
        self._stream_window = FIRST_WINDOW
        self._held: list[bytes] = []
        self._in_turn: list[float] = []
        self._oldest = 0
        self.stopped = False
        self.latencies_s: list[float] = []
        self.failed = 0
        self.messages = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, and send as much as may be in flight."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their type
        settings = struct.pack(">HIHI", 2, 0, 4, LARGE_WINDOW)
        window = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGE_WINDOW - FIRST_WINDOW))
        self._transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + window)
        if self._load.streamed:
            self._stream = 1
            self._transport.write(frame(HEADERS, END_HEADERS, 1, self._first))
        self._send(self._callers)

    def data_received(self, data: bytes) -> None:
        """Read frames, and send a request for every answer."""
        buffer = self._buffer + data
        at, end, done = 0, len(buffer), 0
        while end - at >= HEADER_BYTES:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if end - at < HEADER_BYTES + length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            done += self._take(kind, flags, stream, buffer[at + 9 : at + 9 + length])
            at += HEADER_BYTES + length
        self._buffer = buffer[at:]
        if done and not self.stopped:
            self._send(done)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> int:
        """Take one frame; return how many requests it finished."""
        if kind == DATA:
            self._count_window(len(payload))
            if self._load.streamed:
                return self._take_answers(payload)
            self._answered.add(stream)
            return 0
        if (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
            return self._end(stream)
        if kind == WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                setting, value = struct.unpack_from(">HI", payload, at)
                if setting == 4:
                    self._widen(1, value - FIRST_WINDOW)
            self._transport.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == GOAWAY and not self.stopped:
            raise ConnectionError(f"the server went away: {payload[8:]!r}")
        return 0

    def _end(self, stream: int) -> int:
        if self._load.streamed:
            self.failed += not self.stopped
            return 0
        self.messages += 1
        if stream in self._answered:
            self._answered.discard(stream)
            self.latencies_s.append(time.perf_counter() - self._sent_s.pop(stream))
        else:
            self.failed += 1
        return 1

    def _take_answers(self, payload: bytes) -> int:
        """Count the answers in what came of a stream; ids are not looked at: equal requests take equally long."""
        received = self._received + payload
        at, end, done = 0, len(received), 0
        while end - at >= 5:
            length = int.from_bytes(received[at + 1 : at + 5], "big")
            if end - at < 5 + length:
                break
            done += _entries(received, at + 5, at + 5 + length) if self._load.coalesce else 1
            self.messages += 1
            at += 5 + length
        self._received = received[at:]
        now = time.perf_counter()
        oldest = self._oldest
        self.latencies_s.extend(now - sent for sent in self._in_turn[oldest : oldest + done])
        self._oldest += done
        return done

    def _send(self, count: int) -> None:
        now = time.perf_counter()
        if not self._load.streamed:
            self._transport.write(b"".join(self._call(now) for _ in range(count)))
            return
        self._in_turn.extend([now] * count)
        bodies = list(itertools.islice(self._bodies, count))
        for body in [b"".join(bodies)] if self._load.coalesce else bodies:
            self._held.append(message(body))
        self._flush()

    def _call(self, now: float) -> bytes:
        self._stream += 2
        self._sent_s[self._stream] = now
        block = self._first if self._stream == 1 else self._rest
        data = message(next(self._bodies))
        self._window -= len(data)
        assert self._window >= 0, "fewer callers, or smaller bodies"
        return frame(HEADERS, END_HEADERS, self._stream, block) + frame(DATA, END_STREAM, self._stream, data)

    def _flush(self) -> None:
        """Send what the server has room for."""
        frames = []
        while self._held and len(self._held[0]) <= min(self._window, self._stream_window):
            data = self._held.pop(0)
            self._window -= len(data)
            self._stream_window -= len(data)
            starts = range(0, len(data), MAX_FRAME_BYTES)
            frames += [frame(DATA, 0, 1, data[start : start + MAX_FRAME_BYTES]) for start in starts]
        self._transport.write(b"".join(frames))

    def _widen(self, stream: int, by: int) -> None:
        if stream == 0:
            self._window += by
        elif self._load.streamed:
            self._stream_window += by
        self._flush()

    def _count_window(self, length: int) -> None:
        self._unread += length
        if self._unread > REFRESH_BYTES:
            more = struct.pack(">I", self._unread)
            streams = (0, 1) if self._load.streamed else (0,)
            self._transport.write(b"".join(frame(WINDOW_UPDATE, 0, stream, more) for stream in streams))
            self._unread = 0


def _entries(data: bytes, at: int, end: int) -> int:
    """Count the entries of a message whose field 1 is repeated and alone."""
    count = 0
    while at < end:
        length, shift = 0, 0
        while True:
            at += 1
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                break
        at += 1 + length
        count += 1
    return count


async def run(load: Load) -> LoadSeen:
    """Send for ``warm_up_s`` and then for ``seconds``, and count the latter."""
    bodies = itertools.cycle([b64decode(body) for body in load.bodies])
    loop = asyncio.get_running_loop()
    connections = [
        Connection(load, len(range(number, load.callers, load.connections)), bodies)
        for number in range(load.connections)
    ]
    for connection in connections:
        await loop.create_connection(lambda connection=connection: connection, "localhost", load.port)  # type: ignore[misc]
    await asyncio.sleep(load.warm_up_s)
    for connection in connections:
        connection.latencies_s.clear()
        connection.messages = 0
    began_s, used_s = time.perf_counter(), _used_s()
    await asyncio.sleep(load.seconds)
    took_s, used_s = time.perf_counter() - began_s, _used_s() - used_s
    for connection in connections:
        connection.stopped = True
    latencies_s = sorted(itertools.chain.from_iterable(connection.latencies_s for connection in connections))
    assert latencies_s, "nothing was answered"
    return LoadSeen(
        answers=len(latencies_s),
        per_s=len(latencies_s) / took_s,
        p50_ms=1000 * latencies_s[len(latencies_s) // 2],
        p99_ms=1000 * latencies_s[len(latencies_s) * 99 // 100],
        failed=sum(connection.failed for connection in connections),
        messages=sum(connection.messages for connection in connections),
        own_share=used_s / took_s,
    )


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read a ``Load`` as JSON from standard input and print what was seen as JSON."""
    load = Load(**json.load(sys.stdin))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(run(load)))))


if __name__ == "__main__":
    main()
