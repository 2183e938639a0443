"""The engine: rows in, answers out, one thread on the device.

``submit`` queues rows on the event loop; the device thread takes a batch whenever it is free, runs it through the
plan, and hands all its answers back to the loop at once. Nothing else ever touches the device.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from math import inf
from threading import Condition, Thread
from typing import ParamSpec

from serving.batching import Limits, Priority, Queues, decide
from serving.errors import DeadlineExceeded, InvalidRequest, Overloaded, ServingError, StageFailed, Unavailable
from serving.execution import Answers, BatchResult, Execution
from serving.plan import LoadedPlan, Plan, ServedVersion
from serving.request import Item, Request, Trace
from serving.runtimes.base import Arrays, Runtime
from serving.statistics import Statistics
from zoo.preprocessing import Row

__all__ = ["Engine"]

P = ParamSpec("P")

_log = logging.getLogger(__name__)

REMEMBERED_ROUTES = 4096
"""For how many sets of heads the way through the plan is kept; finding it anew costs microseconds."""

STOPPING = "The server is stopping and takes nothing new; try again in a moment, or another one."


class Engine:
    """Answers rows with any versions of its plan, sharing batches and prefixes among all callers.

    ``start``, ``submit``, ``submit_all`` and ``close`` belong to one event loop.

    Args:
        loaded: what to answer with.
        runtime: what runs it; from ``start`` on only the engine's thread calls it.
        limits: what bounds batches and the queue.
        clock: monotonic seconds; deadlines are in its terms.
    """

    def __init__(
        self,
        loaded: LoadedPlan,
        runtime: Runtime,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.statistics = Statistics(time.time)
        self._loaded = loaded
        self._limits = limits or Limits()
        self._clock = clock
        self._execution = Execution(loaded, runtime, clock)
        self._routes = lru_cache(REMEMBERED_ROUTES)(loaded.plan.routes)
        self._queues: Queues[Item] = Queues()
        self._work = Condition()
        self._thread = Thread(target=self._serve, name="hydrazoo-device", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._waking = False
        self._draining = False
        self._running: Sequence[Item] = ()

    @property
    def loaded(self) -> LoadedPlan:
        """What it answers with now. A request reads it once, and hands it back to ``submit_all``."""
        return self._loaded

    @property
    def plan(self) -> Plan:
        """The plan that it answers with."""
        return self._loaded.plan

    @property
    def ready(self) -> bool:
        """Whether it takes rows: started, and not draining."""
        return self._loop is not None and not self._draining

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a batch."""
        return len(self._queues)

    def start(self) -> None:
        """Start the device thread; call it on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit_all(
        self,
        rows: Sequence[Row],
        served: Sequence[ServedVersion],
        *,
        loaded: LoadedPlan,  # noqa: ARG002 - next
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
        shadows: Sequence[ServedVersion] = (),  # noqa: ARG002 - next
        trace: Trace | None = None,  # noqa: ARG002 - next
    ) -> Sequence[Mapping[str, Arrays]]:
        """Answer several rows with several versions: all of them, or none.

        Whoever is cancelled while waiting leaves the queue at once.

        Args:
            rows: made by the preprocessor that all of ``served`` declare.
            served: versions of ``loaded``.
            loaded: what the request began with: ``Engine.loaded`` then. It answers, whatever is promoted meanwhile.
            deadline: by the engine's clock, in seconds; rows that have not begun by then are dropped.
            priority: the rows' place among those of their team.
            shadows: versions of ``loaded`` that run beside ``served`` on the same features, if they can; what they
                give is among the answers if they ran, and nothing else depends on them.
            trace: gets to know when what happened.

        Returns:
            For each row, by version digest, its outputs without the N axis; axes named ``T`` end at the row's length.

        Raises:
            InvalidRequest: nothing is asked, or the versions take differently preprocessed rows.
            UnknownModel: a version is not of this plan.
            Overloaded: the queue has no room for the rows.
            DeadlineExceeded: the deadline passed before they began.
            StageFailed: a stage that they need did not run.
            Unavailable: the engine has not started, or drains.
        """
        arrived_s = self._clock()
        try:
            answers = await self._answers(rows, served, arrived_s, inf if deadline is None else deadline, priority)
        except ServingError:
            self.statistics.record_request(served, self._clock() - arrived_s, answered=False)
            raise
        self.statistics.record_request(served, self._clock() - arrived_s, answered=True)
        return answers

    async def close(self, grace_s: float = 10.0) -> None:
        """Refuse what is new, finish what waits, and stop; what still waits after ``grace_s`` seconds is refused too.

        A batch that runs cannot be interrupted, so this returns when it has ended, whatever the grace.
        """
        if self._loop is None:
            return
        with self._work:
            self._draining = True
            self._work.notify()
        try:
            async with asyncio.timeout(grace_s):
                await self._stopped.wait()
        except TimeoutError:
            with self._work:
                left = self._queues.clear()
            self._refuse(left, f"The server stops, and the rows did not begin within {grace_s:g} s.")
            await self._stopped.wait()
        self._thread.join()

    async def wait_until_stopped(self) -> None:
        """Return when the device thread has ended: after ``close``, or on an error of its own."""
        await self._stopped.wait()

    async def _answers(
        self,
        rows: Sequence[Row],
        served: Sequence[ServedVersion],
        arrived_s: float,
        deadline_s: float,
        priority: Priority,
    ) -> list[Answers]:
        if self._loop is None:
            raise Unavailable("The server is still loading; try again in a moment.")
        routes = self._routes(tuple(served))
        request = Request(self._loop.create_future(), len(rows), len(routes))
        items = [
            Item(
                request=request,
                index=index,
                row=row,
                route=route,
                arrived_s=arrived_s,
                deadline_s=deadline_s,
                priority=priority,
            )
            for index, row in enumerate(rows)
            for route in routes
        ]
        self._enqueue(items, arrived_s, deadline_s)
        try:
            return await request.future
        except BaseException:
            self._withdraw(items)
            raise

    def _enqueue(self, items: Sequence[Item], now_s: float, deadline_s: float) -> None:
        assert items, "a request has at least one row"
        if deadline_s <= now_s:
            self.statistics.record_dropped("expired", len(items))
            raise DeadlineExceeded("The deadline had passed when the request came; allow more time.")
        most = self._limits.max_waiting_rows
        if len(items) > most:
            raise InvalidRequest(f"The request has {len(items)} rows; the server queues at most {most}. Split it.")
        with self._work:
            if self._draining:
                raise Unavailable(STOPPING)
            waiting = len(self._queues)
            if waiting + len(items) <= most:
                for item in items:
                    self._queues.add(item.route.root, item)
        if waiting + len(items) > most:
            self.statistics.record_dropped("overloaded", len(items))
            raise Overloaded(f"{waiting} rows are waiting and the server keeps at most {most}; try again in a moment.")
        self._wake_soon()

    def _wake_soon(self) -> None:
        """Wake the device thread when this turn of the loop is over, so that rows which came together run together."""
        if not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        with self._work:
            self._work.notify()

    def _withdraw(self, items: Sequence[Item]) -> None:
        with self._work:
            before = len(self._queues)
            self._queues.discard(items)
            withdrawn = before - len(self._queues)
        self.statistics.record_dropped("withdrawn", withdrawn)

    # From here on: the device thread.

    def _serve(self) -> None:
        try:
            while batch := self._next_batch():
                self._run(batch)
        except Exception:
            # A stage that fails never comes here, so this is a bug of ours: say so, and leave nobody waiting.
            _log.exception("the engine stopped")
            with self._work:
                self._draining = True
                left = [*self._running, *self._queues.clear()]
            self._hand_back(self._refuse, left, "The engine stopped on an internal error.")
        finally:
            self._hand_back(self._stopped.set)

    def _next_batch(self) -> list[Item]:
        """Wait for the next batch; empty once the engine drains and nothing waits."""
        with self._work:
            while True:
                decision = decide(self._queues, self._clock(), self._limits)
                self._queues.discard(decision.expired)
                self._queues.discard(decision.leave)
                if decision.expired:
                    self._hand_back(self._expire, decision.expired)
                # A caller who left a moment ago may not have withdrawn its rows yet.
                batch = [item for item in decision.leave if not item.request.future.done()]
                if batch:
                    return batch
                if self._draining and not self._queues:
                    return []
                if not decision.leave:
                    self._work.wait()

    def _run(self, batch: list[Item]) -> None:
        self._running = batch
        began_s = self._clock()
        result = self._execution.run(batch[0].route.root, batch)
        self.statistics.record_batch(result, [began_s - item.arrived_s for item in batch])
        self._hand_back(self._deliver, batch, result)
        self._running = ()

    def _hand_back(self, callback: Callable[P, None], *arguments: P.args, **_: P.kwargs) -> None:
        """Call ``callback`` on the event loop; if that is closed, nobody is left who waits."""
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    # From here on: the event loop again, with what the device thread hands back.

    def _deliver(self, batch: Sequence[Item], result: BatchResult) -> None:
        for position, item in enumerate(batch):
            failure = result.failures.get(position)
            if failure is None:
                item.request.answer(item.index, result.answers[position])
            else:
                # An exception of its own for each request: raising one adds to its traceback.
                item.request.fail(StageFailed(*failure.args))

    def _expire(self, items: Sequence[Item]) -> None:
        self.statistics.record_dropped("expired", len(items))
        for item in items:
            item.request.fail(
                DeadlineExceeded(
                    "The deadline passed while the request waited for the device. "
                    "Allow more time, or ask again when the server is less busy."
                )
            )

    def _refuse(self, items: Sequence[Item], why: str) -> None:
        for item in items:
            item.request.fail(Unavailable(f"{why} Try again in a moment, or another server."))
