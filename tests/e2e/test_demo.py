"""``make demo`` a second time: nothing is built again, the heads answer, and it stops when it is told to."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def demo_arguments(zoo: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "demo", "--zoo", str(zoo), "--port", "0", *flags]


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def test_second_demo_builds_nothing_and_answers_with_versions(sample_zoo: Path) -> None:
    done = subprocess.run(
        demo_arguments(sample_zoo, "--once"),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unchanged") == 5
    for head in ("intent", "urgency", "topics", "pii"):
        assert re.search(rf"{head}@1 \(prod, epoch 1\) [0-9a-f]{{12}}", done.stdout), done.stdout
    assert "4 heads in one call" in done.stdout


def test_demo_stays_up_says_what_to_try_and_stops_on_ctrl_c(sample_zoo: Path) -> None:
    with subprocess.Popen(
        demo_arguments(sample_zoo), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if "Ctrl-C stops it." in line:
                break
        assert "zoo predict --server localhost:" in seen
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
    assert "Stopped." in rest
