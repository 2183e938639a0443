"""Promotions are picked up while serving: a watcher of the promotion log keeps the plan at what is live.

The next plan is loaded beside the one that runs, in a thread; what is new in it runs once, on the device between
batches; then one reference is swapped. Whatever fails on the way leaves what served before, and is said.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from serving.errors import StageFailed
from serving.loader import empty_plan
from serving.memory import give_back_memory
from serving.plan import LoadedPlan
from serving.plan_text import changes, failure_line, idle_shadows
from serving.runtimes.base import Runtime
from serving.warming import warm_up_jobs
from zoo.errors import Unavailable

__all__ = ["Load", "PlanWatcher", "Progress", "Swapping", "must_load"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

RETRY_S = 30.0
"""How long until what failed is tried again, if nothing is promoted before."""


class Load(Protocol):
    """Loads what is live now; ``serving.loader.load_plan`` with its zoo, runtime and filters."""

    def __call__(self, *, before: LoadedPlan | None, broken: Mapping[str, Exception]) -> LoadedPlan:
        """Load the next plan; with ``before``, what fails is left as it is there."""
        ...


class Swapping(Protocol):
    """What runs the plan, as the watcher sees it; ``serving.engine.Engine`` does."""

    @property
    def loaded(self) -> LoadedPlan:
        """The plan that runs."""
        ...

    def prepare(self, loaded: LoadedPlan) -> None:
        """Make what answering with a plan needs; called in a thread."""
        ...

    def swap(self, loaded: LoadedPlan) -> None:
        """Answer new requests with another plan."""
        ...

    async def run_on_device(self, job: Callable[[], T]) -> T:
        """Run something on the device, between two batches."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the watcher is: everything that it decides by."""

    seen: int = 0
    """Id of the newest promotion that it has tried to load."""
    complete: bool = True
    """Whether all of that is served."""
    tried_s: float = 0.0
    """When it tried."""


def must_load(progress: Progress, newest: int, now_s: float, retry_s: float = RETRY_S) -> bool:
    """Say whether to load again: something was promoted (or the log was replaced), or a failure has rested enough.

    >>> must_load(Progress(seen=7), 7, 100.0), must_load(Progress(seen=7), 8, 100.0)
    (False, True)
    >>> failed = Progress(seen=8, complete=False, tried_s=100.0)
    >>> must_load(failed, 8, 129.0), must_load(failed, 8, 130.0)
    (False, True)
    """
    return newest != progress.seen or (not progress.complete and now_s - progress.tried_s >= retry_s)


async def _tell_nobody(_: bool) -> None:
    """Say it to nobody."""


class PlanWatcher:
    """Keeps an engine at what is live. Lives on one event loop.

    Args:
        newest: gives the id of the newest promotion; called in a thread.
        load: loads a plan; called in a thread.
        engine: what runs it.
        runtime: what warms it up.
        clock: monotonic seconds.
        sleep: waits so many seconds.
        watch_s: how often the log is looked at.
        tell: is told whether everything that is promoted is served, whenever that may have changed.
        record: is told the epoch that is served, how many seconds the attempt took, and whether all of it is served.
    """

    def __init__(
        self,
        newest: Callable[[], int],
        load: Load,
        engine: Swapping,
        runtime: Runtime,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        watch_s: float = 0.5,
        tell: Callable[[bool], Awaitable[None]] = _tell_nobody,
        record: Callable[[int, float, bool], None] = lambda *_: None,
    ) -> None:
        self._newest = newest
        self._load = load
        self._engine = engine
        self._runtime = runtime
        self._clock = clock
        self._sleep = sleep
        self._watch_s = watch_s
        self._tell = tell
        self._record = record
        self._progress = Progress()
        self._said: frozenset[str] = frozenset()
        self._is_away = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hydrazoo-plan")

    async def begin(self) -> None:
        """Load and warm up the first plan, and let the engine answer with it.

        Raises:
            ServingError: something that is live does not load, or does not run.
            ZooError: likewise.
        """
        began_s = self._clock()
        loaded = await self._in_thread(partial(self._load, before=None, broken={}))
        for job in warm_up_jobs(loaded, self._runtime, empty_plan()):
            await self._engine.run_on_device(job.run)
        await self._swap(loaded, began_s)

    async def follow(self) -> None:
        """Look at the log for ever, and load what is new; ends by being cancelled."""
        while True:
            await self._sleep(self._watch_s)
            await self.look()

    async def look(self) -> None:
        """Look at the log once, and load the next plan if there is a reason to; nothing that goes wrong is raised."""
        try:
            newest = await self._in_thread(self._newest)
        except Exception as error:
            self._say_away(error)
            return
        self._say_back()
        began_s = self._clock()
        if must_load(self._progress, newest, began_s):
            try:
                await self._swap(await self._loaded_and_warm(), began_s)
                await self._in_thread(give_back_memory)
            except Unavailable as error:
                self._say_away(error)
            except Exception as error:
                await self._say_failed(newest, error, began_s)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _loaded_and_warm(self) -> LoadedPlan:
        """Load the next plan without what does not run; each round finds at least one version more that does not."""
        before = self._engine.loaded
        broken: dict[str, Exception] = {}
        while True:
            loaded = await self._in_thread(partial(self._load, before=before, broken=broken))
            failed = await self._warm_up(loaded, before)
            if not failed:
                return loaded
            broken = {**broken, **failed}

    async def _warm_up(self, loaded: LoadedPlan, before: LoadedPlan) -> dict[str, Exception]:
        """Run what is new; return the versions that the first stage which does not run costs."""
        for job in warm_up_jobs(loaded, self._runtime, before):
            try:
                await self._engine.run_on_device(job.run)
            except StageFailed as error:
                return dict.fromkeys(job.versions, error)
        return {}

    async def _swap(self, loaded: LoadedPlan, began_s: float) -> None:
        before = self._engine.loaded
        await self._in_thread(partial(self._engine.prepare, loaded))
        self._engine.swap(loaded)
        now_s = self._clock()
        complete = not loaded.failures
        self._progress = Progress(seen=loaded.epoch, complete=complete, tried_s=now_s)
        self._record(loaded.epoch, now_s - began_s, complete)
        for line in changes(before.plan, loaded.plan):
            logger.info("promotion %d: %s, after %.3f s", loaded.epoch, line, now_s - began_s)
        self._say([*(failure_line(each, loaded.plan, RETRY_S) for each in loaded.failures), *idle_shadows(loaded.plan)])
        await self._tell(complete)

    def _say(self, lines: Sequence[str]) -> None:
        """Warn of what is wrong now, and was not when it was last said."""
        for line in lines:
            if line not in self._said:
                logger.warning("%s", line)
        self._said = frozenset(lines)

    async def _say_failed(self, newest: int, error: Exception, began_s: float) -> None:
        """Say that nothing of what is new is served; the whole plan could not be loaded."""
        if self._progress.seen != newest or self._progress.complete:
            logger.error("promotion %d cannot be served; what was served before goes on", newest, exc_info=error)
        now_s = self._clock()
        self._progress = Progress(seen=newest, complete=False, tried_s=now_s)
        self._record(self._engine.loaded.epoch, now_s - began_s, False)
        await self._tell(False)

    def _say_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            logger.warning(
                "The promotion log cannot be read: %s What is loaded is served on; promotions are picked up once it "
                "can be read again.",
                error,
            )

    def _say_back(self) -> None:
        if self._is_away:
            self._is_away = False
            logger.info("the promotion log can be read again")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
