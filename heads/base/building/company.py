"""Several processes for one build: the first builds, the others take part in its training, at its word.

They talk through the store at which ``torchrun`` gathers them, which needs no process group and knows no deadline: the
first may compute features for hours. A process that is lost is noticed twice, by the operation that waits for it and by
``torchrun``, which then sends SIGTERM; either becomes ``ProcessLost`` in the first process.
"""

import functools
import json
import math
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from heads.base.errors import FirstProcessFailed, ProcessLost
from heads.base.launch import GRACE_S, Launch, launched

if TYPE_CHECKING:  # it brings torch
    from torch.distributed.distributed_c10d import Store

__all__ = ["Company", "Word", "company"]

Word = dict[str, Any]
"""What the first process says: JSON, with ``what`` it is about."""

_POLL_S = 0.05
_JOINING = timedelta(minutes=5)
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited", "gloo")


class Company:
    """The processes of a build, as one of them sees them.

    Args:
        launch: which of them this is.
        store: where they meet.
    """

    def __init__(self, launch: Launch, store: "Store") -> None:
        self.rank, self.count = launch.rank, launch.count
        self._store = store
        self._said = 0

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Tell the others if the body, in which this process builds, fails; and be told if one of them is gone.

        Raises:
            ProcessLost: this process was told to end, as ``torchrun`` does when another one is gone.
        """

        def told_to_end(number: int, _frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_IGN)
            raise ProcessLost(self._why_lost())

        before = signal.signal(signal.SIGTERM, told_to_end)
        try:
            yield
        except BaseException as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may still say why; torchrun waits a while
            with suppress(RuntimeError):  # the store may be gone as well
                self._set({"what": "failed", "message": str(error)})
            raise
        signal.signal(signal.SIGTERM, before)

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Say that a process is lost where the body, which works with the others, finds out.

        Raises:
            ProcessLost: the text says which, and why if it could still say so.
        """
        try:
            yield
        except RuntimeError as error:
            if not any(words in str(error) for words in _LOST):
                raise
            raise ProcessLost(self._why_lost()) from error

    def say(self, what: Literal["train", "built"], **more: Any) -> None:
        """Tell the others something, and wait a while until they have heard it: the store may end with this process."""
        self._set({"what": what, **more})
        self._poll(lambda: self._store.add(f"heard/{self._said}", 0) >= self.count - 1, within_s=GRACE_S)

    def follow(self, take_part: Callable[[Word], None]) -> Word:
        """Do as the first process says until its build is done, and return what it then says.

        Args:
            take_part: trains with the others.

        Raises:
            FirstProcessFailed: the first process failed.
            SystemExit: this one failed; the first process was told why, and says it.
        """
        while True:
            word = self._hear(within_s=math.inf)
            if word["what"] != "train":
                return word
            try:
                take_part(word)
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> NoReturn:
        """End this process. What failed in all processes alike, the first one says by itself."""
        expected = hasattr(error, "code")
        self._store.set(f"failed/{self.rank}", str(error) if expected else f"{type(error).__name__}: {error}")
        self._hear(within_s=GRACE_S if expected else 1.0)
        if not expected:
            traceback.print_exception(error)
        raise SystemExit(1) from error

    def _hear(self, *, within_s: float) -> Word:
        """Return the next word, or an empty one if there is none in time."""
        name = f"word/{self._said + 1}"
        try:
            if not self._poll(lambda: self._store.check([name]), within_s=within_s):
                return {}
            word: Word = json.loads(self._store.get(name))
            self._said += 1
            self._store.add(f"heard/{self._said}", 1)
        except RuntimeError as error:
            raise FirstProcessFailed("The first process is gone, and its store with it.") from error
        if word["what"] == "failed":
            raise FirstProcessFailed(word["message"])
        return word

    def _set(self, word: Word) -> None:
        self._said += 1
        self._store.set(f"word/{self._said}", json.dumps(word))

    def _why_lost(self) -> str:
        names = {rank: f"failed/{rank}" for rank in range(1, self.count)}
        with suppress(RuntimeError):
            for rank, name in names.items():
                if self._store.check([name]):
                    return f"Process {rank + 1} of {self.count} failed: {self._store.get(name).decode()}"
        return (
            f"One of the {self.count} processes of this build ended without a word, as one does that is killed; memory "
            "that ran out is a common reason. Nothing was published. The same command goes on from the last checkpoint."
        )

    @staticmethod
    def _poll(found: Callable[[], bool], *, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while not found():
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        return True


@functools.cache
def company() -> Company | None:
    """Return the processes that build together, or None if this one builds alone."""
    launch = launched()
    if launch.count == 1:
        return None
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=_JOINING))
    return Company(launch, PrefixStore("hydrazoo-build", store))
