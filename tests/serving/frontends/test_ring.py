from hypothesis import given
from hypothesis import strategies as st

from serving.frontends.ring import RingReader, RingWriter

STEPS = st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 40)), max_size=60)
"""Bytes to write, or how many to read."""


@given(size=st.integers(1, 17), steps=STEPS, told_late=st.booleans())
def test_what_is_read_is_what_was_written_in_order_however_it_wraps(
    size: int, steps: list[bytes | int], told_late: bool
) -> None:
    memory = memoryview(bytearray(size))
    writer, reader = RingWriter(memory), RingReader(memory)
    written, read = bytearray(), bytearray()
    for number, step in enumerate(steps):
        if isinstance(step, bytes):
            count = writer.write(memoryview(step))
            assert count == min(len(step), size - (len(written) - len(read))) or told_late
            written += step[:count]
        else:
            target = bytearray(step)
            count = reader.read_into(memoryview(target))
            read += target[:count]
        if not told_late or number % 3 == 0:
            reader.arrived(writer.position)
            writer.freed(reader.position)
        assert len(written) - len(read) <= size
    assert read == written[: len(read)]


def test_a_full_ring_takes_nothing_until_something_was_read() -> None:
    memory = memoryview(bytearray(4))
    writer, reader = RingWriter(memory), RingReader(memory)
    assert writer.write(memoryview(b"abcd")) == 4
    assert writer.write(memoryview(b"e")) == 0
    reader.arrived(4)
    assert reader.read_into(memoryview(bytearray(1))) == 1
    assert writer.write(memoryview(b"e")) == 0, "nobody told the writer yet"
    writer.freed(1)
    assert writer.write(memoryview(b"ef")) == 1
