"""The threads that own a device together, and take turns at one queue."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from serving.errors import Unavailable
from serving.runtimes.cores import step_back

__all__ = ["Lanes", "Traffic"]

T = TypeVar("T")
P = ParamSpec("P")
BatchT = TypeVar("BatchT")


class Traffic(Protocol[BatchT]):
    """What lanes run. A lane calls these; those that say so with the lanes' lock held."""

    def take(self, lane: int) -> BatchT | None:
        """Take the next batch, with the lock held; None if nothing waits."""
        ...

    def pending(self) -> bool:
        """Return, with the lock held, whether there is something to take."""
        ...

    def over(self) -> bool:
        """Return, with the lock held, whether nothing more will come."""
        ...

    def run(self, batch: BatchT, lane: int) -> None:
        """Run a batch."""
        ...

    def broke(self, lane: int) -> None:
        """Hear, in the ``except`` of its error, that a lane ends for a bug of ours."""
        ...

    def ended(self) -> None:
        """Hear that the last lane has ended."""
        ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    """Something that is to run on the device, and who waits for it."""

    call: Callable[[], T]
    future: "asyncio.Future[T]"


class Lanes(Generic[BatchT]):
    """Threads that run batches and jobs until there will be no more.

    A lane that is free runs a waiting job, or else the next batch. Of two things in a row at most one is a job, and at
    most one lane runs one, so jobs never hold up the traffic by more than one batch.

    Args:
        count: how many threads.
        traffic: what they run.
    """

    def __init__(self, count: int, traffic: Traffic[BatchT]) -> None:
        self.lock = Condition()
        """Guards all that the lanes and the event loop share."""
        self._traffic = traffic
        self._threads = [
            Thread(target=self._serve, args=(lane,), name=f"hydrazoo-device-{lane}", daemon=True)
            for lane in range(count)
        ]
        self._alive = count
        self._idle = 0
        self._jobs: deque[_Job[Any]] = deque()
        self._job_runs = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def idle(self) -> int:
        """How many lanes wait for something to run."""
        return self._idle

    def start(self) -> None:
        """Start the threads; they call back on the event loop that this is called on."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let an idle lane look what there is."""
        with self.lock:
            self.lock.notify()

    def wake_all(self) -> None:
        """Let every idle lane look what there is, or that it is over."""
        with self.lock:
            self.lock.notify_all()

    def join(self) -> None:
        """Wait for the end of the threads."""
        for thread in self._threads:
            thread.join()

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` between two batches of one lane; return what it returns, or raise what it raises."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        with self.lock:
            self._jobs.append(_Job(call, future))
            self.lock.notify()
        return await future

    def refuse_jobs(self, why: str) -> None:
        """Refuse the jobs that have not begun; call it on the event loop."""
        with self.lock:
            jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            _settle(job.future, None, Unavailable(why))

    def hand_back(self, callback: Callable[P, None], *arguments: P.args, **_: P.kwargs) -> None:
        """Call ``callback`` on the event loop; if that is closed, nobody is left who waits."""
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _serve(self, lane: int) -> None:
        step_back()
        after_job = False
        try:
            while True:
                turn = self._next(lane, after_job)
                if turn is None:
                    return
                after_job = isinstance(turn, _Job)
                if isinstance(turn, _Job):
                    self._run_job(turn)
                else:
                    self._traffic.run(turn, lane)
                del turn  # what ran is not to live on until something else runs
        except Exception:
            self._traffic.broke(lane)
        finally:
            with self.lock:
                self._alive -= 1
                last = not self._alive
                self.lock.notify_all()
            if last:
                self._traffic.ended()

    def _next(self, lane: int, after_job: bool) -> _Job[Any] | BatchT | None:
        """Wait for the next thing to run; None once there will be nothing more."""
        with self.lock:
            while True:
                job = None if after_job else self._next_job()
                turn = job or self._traffic.take(lane) or self._next_job()
                if turn is not None:
                    if self._idle and (self._jobs or self._traffic.pending()):
                        self.lock.notify()
                    return turn
                if self._traffic.over():
                    return None
                self._idle += 1
                self.lock.wait()
                self._idle -= 1
                after_job = False

    def _next_job(self) -> _Job[Any] | None:
        while self._jobs and not self._job_runs:
            job = self._jobs.popleft()
            if not job.future.cancelled():
                self._job_runs = True
                return job
        return None

    def _run_job(self, job: _Job[Any]) -> None:
        result, error = None, None
        try:
            result = job.call()
        except Exception as raised:
            error = raised
        self._job_runs = False
        self.hand_back(_settle, job.future, result, error)


def _settle(future: "asyncio.Future[T]", result: T, error: Exception | None) -> None:
    if future.done():  # whoever waited has left
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
