"""``zoo serve`` as a process of its own."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

STOPS_WITHIN_S = 30


@dataclass(frozen=True)
class Serving:
    """The process, and the line that it printed when it answered."""

    process: "subprocess.Popen[str]"
    started: dict[str, Any]
    log_file: IO[str]

    @property
    def address(self) -> str:
        return str(self.started["address"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOPS_WITHIN_S)

    def log(self) -> str:
        """Return what was logged; ask when it has stopped, since reading moves the place where it writes."""
        assert self.process.returncode is not None
        self.log_file.seek(0)
        return self.log_file.read()


def serve_arguments(zoo: Path, *options: str) -> list[str]:
    command = "from zoo.commands import main; main()"
    return [sys.executable, "-c", command, "serve", "--zoo", str(zoo), "--device", "cpu", *options]


@contextmanager
def serving(zoo: Path, *options: str, log_to_pipe: bool = False) -> Iterator[Serving]:
    """Run ``zoo serve`` on a free port until the block ends; its log goes to a file, or to a pipe that nobody reads."""
    arguments = serve_arguments(zoo, "--address", "localhost:0", "--json", *options)
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE if log_to_pipe else log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                process.wait(STOPS_WITHIN_S)
                log.seek(0)
                raise AssertionError(f"zoo serve did not start: {log.read()}")
            yield Serving(process, json.loads(line), log)
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=STOPS_WITHIN_S)
