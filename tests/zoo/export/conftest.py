import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="session")
def elsewhere() -> dict[str, Any]:
    """What one process exports for all files of tests: its import of torch takes as long as all its exports."""
    command = [sys.executable, "-m", "tests.support.exported_elsewhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "an export prints nothing"
    digests: dict[str, Any] = json.loads(done.stdout)
    return digests
