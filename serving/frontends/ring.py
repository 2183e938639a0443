"""A bounded stream of bytes in shared memory: one process writes, another reads.

Neither side learns anything through the memory itself. How far the other one has come is told over a socket
(``serving.frontends.channel``), and what the kernel has handed over is in order: bytes that were written before a
position was sent are there when it arrives, on every processor.
"""

__all__ = ["RingReader", "RingWriter"]


class RingWriter:
    """Writes where the reader has read already.

    Args:
        memory: the ring; nothing else writes to it.

    >>> memory = memoryview(bytearray(4))
    >>> writer, reader = RingWriter(memory), RingReader(memory)
    >>> writer.write(memoryview(b"abcdef"))
    4
    >>> reader.arrived(writer.position)
    >>> found = bytearray(3)
    >>> reader.read_into(memoryview(found)), bytes(found)
    (3, b'abc')
    >>> writer.freed(reader.position)
    >>> writer.room
    3
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._freed = 0
        self.position = 0
        """How many bytes were ever written."""

    @property
    def room(self) -> int:
        """How many bytes can be written now."""
        return len(self._memory) - (self.position - self._freed)

    def freed(self, position: int) -> None:
        """Take note that the reader has read so many bytes in all."""
        assert self._freed <= position <= self.position, "the reader reads in order, and only what was written"
        self._freed = position

    def write(self, data: memoryview) -> int:
        """Write as much of ``data`` as there is room for; return how many bytes that were."""
        count = min(len(data), self.room)
        start = self.position % len(self._memory)
        first = min(count, len(self._memory) - start)
        self._memory[start : start + first] = data[:first]
        self._memory[: count - first] = data[first:count]
        self.position += count
        return count

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.release()


class RingReader:
    """Reads what the writer has written.

    Args:
        memory: the ring.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._arrived = 0
        self.position = 0
        """How many bytes were ever read."""

    @property
    def waiting(self) -> int:
        """How many bytes can be read now."""
        return self._arrived - self.position

    def arrived(self, position: int) -> None:
        """Take note that the writer has written so many bytes in all."""
        assert self._arrived <= position <= self.position + len(self._memory), "the writer overwrites nothing unread"
        self._arrived = position

    def read_into(self, target: memoryview) -> int:
        """Read as many bytes as there are and as ``target`` holds; return how many that were."""
        count = min(len(target), self.waiting)
        start = self.position % len(self._memory)
        first = min(count, len(self._memory) - start)
        target[:first] = self._memory[start : start + first]
        target[first:count] = self._memory[: count - first]
        self.position += count
        return count

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.release()
