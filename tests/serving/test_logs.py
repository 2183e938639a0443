import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from serving.logs import BackgroundLog, LineFormatter, write_to


class Reader:
    """Takes bytes once it is let."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.entered = threading.Event()
        self.found = b""

    def write(self, data: bytes) -> None:
        self.entered.set()
        self.reads.wait()
        self.found += data


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.reads.set()


def line(number: int) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, __file__, 1, "line %d", (number,), None)


def test_lines_are_written_in_order_and_all_of_them_before_the_log_closes(reader: Reader) -> None:
    reader.reads.set()
    log = BackgroundLog(reader.write)
    for number in range(500):
        log.handle(line(number))
    log.close()
    assert reader.found.decode().splitlines() == [f"line {number}" for number in range(500)]


def test_lines_that_come_one_after_the_other_are_written_together() -> None:
    written: list[bytes] = []
    log = BackgroundLog(written.append, gather_s=60)
    for number in range(3):
        log.handle(line(number))
        time.sleep(0.01)  # a thread that wakes for each line would write it now
    log.close()
    assert written == [b"line 0\nline 1\nline 2\n"]


def test_lines_that_find_no_room_are_counted_where_they_are_missing(reader: Reader) -> None:
    log = BackgroundLog(reader.write, max_waiting_lines=3)
    log.handle(line(0))
    assert reader.entered.wait(10)
    for number in range(1, 8):
        log.handle(line(number))
    reader.reads.set()
    while b"lost" not in reader.found:
        time.sleep(0.001)
    log.handle(line(8))
    log.close()
    assert reader.found.decode().splitlines() == [
        "line 0",
        "line 1",
        "line 2",
        "line 3",
        "4 log lines were lost here: they came faster than they were read.",
        "line 8",
    ]


def test_a_log_that_nobody_reads_still_closes(reader: Reader) -> None:
    log = BackgroundLog(reader.write, max_waiting_lines=1, last_words_s=0.05)
    for number in range(5):
        log.handle(line(number))
    started_s = time.monotonic()
    log.close()
    assert time.monotonic() - started_s < 1


def test_a_closed_log_that_never_had_a_line_has_no_thread(reader: Reader) -> None:
    before = threading.active_count()
    BackgroundLog(reader.write).close()
    assert threading.active_count() == before


def test_a_full_pipe_that_does_not_block_is_written_in_the_end() -> None:
    read, written = os.pipe()
    os.set_blocking(written, False)
    data = b"x" * 200_000
    writer = threading.Thread(target=write_to(written), args=(data,))
    writer.start()
    found = b""
    while len(found) < len(data):
        found += os.read(read, 65_536)
    writer.join()
    os.close(read)
    assert found == data
    write_to(written)(b"nobody is left, and nothing is raised")
    os.close(written)


def test_a_line_that_is_whole_is_left_alone_and_any_other_says_when_and_who() -> None:
    formatter = LineFormatter(["whole"])
    assert formatter.format(logging.makeLogRecord({"name": "whole", "msg": "{}"})) == "{}"
    other = logging.makeLogRecord({"name": "other", "levelname": "INFO", "msg": "line %d", "args": (1,)})
    assert formatter.format(other).endswith(" INFO other line 1")
