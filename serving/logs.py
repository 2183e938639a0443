"""Log lines, written by a thread of their own: whoever logs, most of all the event loop, never waits for the reader.

The standard library's ``QueueHandler`` and ``QueueListener`` do not bound what waits, and their end waits for the
writer, which a full pipe can hold for ever.
"""

import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

__all__ = ["BackgroundLog", "LineFormatter", "write_to"]

RETRY_S = 0.05
"""How long a stream that takes nothing now, and does not block either, is left alone."""


class BackgroundLog(logging.Handler):
    """Formats records where they are logged, and hands the lines to a thread; lines that find no room are counted.

    Args:
        write: writes bytes; may block for as long as it likes, in the thread.
        max_waiting_lines: how many lines wait for it.
        last_words_s: how long ``close`` waits for what is not written yet.
        gather_s: how long a line waits for further ones, so that the thread does not take the interpreter from the
            event loop for each of them; ``close`` does not wait for it.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        max_waiting_lines: int = 10_000,
        last_words_s: float = 1.0,
        gather_s: float = 0.02,
    ) -> None:
        super().__init__()
        self._write = write
        self._last_words_s = last_words_s
        self._gather_s = gather_s
        self._closing = Event()
        self._lines: Queue[str | None] = Queue(max_waiting_lines)
        self._lost = 0
        self._lock = Lock()
        self._thread: Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line, or count it as lost."""
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            with self._lock:
                self._lost += 1
        except Exception:
            self.handleError(record)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="hydrazoo-log", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait a moment for what is not written yet, and no longer."""
        super().close()
        thread, self._thread = self._thread, None
        self._closing.set()
        if thread is not None:
            with suppress(Full):  # then it writes what it can until the process is gone
                self._lines.put_nowait(None)
            thread.join(self._last_words_s)

    def _run(self) -> None:
        ended = False
        while not ended:
            lines, ended = self._gathered()
            self._write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))

    def _gathered(self) -> tuple[list[str], bool]:
        """Wait for a line and a moment more; return all that wait then, and whether they are the last."""
        lines: list[str] = []
        line = self._lines.get()
        self._closing.wait(self._gather_s)
        with suppress(Empty):
            while line is not None:
                lines.append(line)
                line = self._lines.get_nowait()
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            lines.append(f"{lost} log lines were lost here: they came faster than they were read.")
        return lines, line is None


class LineFormatter(logging.Formatter):
    """Puts time, level and logger before a message, but for loggers whose messages are whole lines already.

    Args:
        whole: the names of these.
    """

    def __init__(self, whole: Collection[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._whole = whole

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return record.getMessage() if record.name in self._whole else super().format(record)


def write_to(descriptor: int) -> Callable[[bytes], None]:
    """Return what writes to an open file; once that is closed or broken, bytes go nowhere.

    Python's own streams hold a lock while they block, and the interpreter could not end without it.
    """

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                time.sleep(RETRY_S)
            except OSError:
                return

    return write
