"""What the READMEs show runs as it stands there, against the sample heads."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serve_command import Serving, serving

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
DEFAULT_ADDRESS = "localhost:8701"
READ_ONLY = ("ls", "show", "log", "readings", "verify", "predict")
"""The `zoo` commands of the README that change nothing; the others have tests of their own."""
READMES = ("README.md", *(f"heads/{head}/README.md" for head in ("intent", "pii", "topics", "urgency")))


@pytest.fixture(scope="module")
def server(sample_zoo: Path) -> Iterator[Serving]:
    with serving(sample_zoo) as server:
        yield server


def blocks(readme: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall((ROOT / readme).read_text()) if kind == language]


def commands() -> list[str]:
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    found = [line.partition("  #")[0].strip() for line in lines if line.startswith(".venv/bin/zoo ")]
    return [line for line in found if line.split()[1] in READ_ONLY]


@pytest.mark.parametrize("readme", READMES)
def test_python_of_a_readme_runs(readme: str, server: Serving) -> None:
    found = blocks(readme, "python")
    assert found
    for code in found:
        code = code.replace(DEFAULT_ADDRESS, server.address)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.mark.parametrize("command", commands())
def test_reading_command_of_the_readme_runs(command: str, server: Serving, sample_zoo: Path) -> None:
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).with_name("zoo"))
    environment = os.environ | {"HYDRAZOO_ZOO": str(sample_zoo), "HYDRAZOO_SERVER": server.address}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_readme_shows_every_kind_of_reading_command() -> None:
    assert {command.split()[1] for command in commands()} == set(READ_ONLY)
