"""The event loop that servers run on: uvloop, which takes two thirds of asyncio's time for a call, or asyncio's own."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["loop_factory", "run"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own, as ``asyncio.run`` does, and return its result."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop; None is asyncio's own, where there is no uvloop, which the log then says."""
    if sys.platform == "win32":
        return None  # there is none for it
    try:
        import uvloop
    except ImportError as error:
        logger.warning("Serving on asyncio's own event loop, which is slower: %s. `pip install uvloop`.", error)
        return None
    return uvloop.new_event_loop
