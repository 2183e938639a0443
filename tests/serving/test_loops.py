import asyncio
import logging
import signal
import sys
from pathlib import Path

import pytest

from serving import loops
from tests.support.serve_command import serving
from tests.support.tiny_zoo import make_tiny_zoo


async def name_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on Windows")
def test_servers_run_on_uvloop() -> None:
    assert loops.run(name_of_loop()) == "uvloop"


def test_without_uvloop_the_log_says_so_and_asyncio_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setattr(sys, "platform", "linux")
    with caplog.at_level(logging.WARNING):
        assert loops.run(name_of_loop()).startswith("asyncio")
    assert "pip install uvloop" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_heeds_signals_on_this_loop_too(tmp_path: Path, number: signal.Signals) -> None:
    make_tiny_zoo(tmp_path, heads=["intent"])
    with serving(tmp_path) as server:
        assert server.stop(number) == 0
