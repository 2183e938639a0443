"""How this process was launched: alone, or by ``torchrun`` as one of several. Imports no torch."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["GRACE_S", "Launch", "launched", "one_voice"]

GRACE_S = 10.0
"""How long a process whose work failed waits for the first one to say why, before it speaks itself."""

_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Which of several processes this one is.

    Attributes:
        rank: from 0; the first process has rank 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1


def launched() -> Launch:
    """Return what the environment says, as ``torchrun`` and ``accelerate launch`` set it."""
    return Launch(rank=int(os.environ.get("RANK", "0")), count=int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def one_voice(launch: Launch) -> Iterator[None]:
    """Let the first process alone say why the body failed; whatever fails in all of them is said once.

    ``torchrun`` ends all processes as soon as one of them fails. So the others wait until the first one's failure ends
    them, and speak only if it does not fail. They end with exit code 1, too.

    Args:
        launch: which process this is.
    """
    try:
        yield
    except Exception:
        if launch.rank:
            _wait_to_be_ended()
        raise


def _wait_to_be_ended() -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until:
        time.sleep(_POLL_S)
