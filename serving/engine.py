"""The engine: rows in, answers out, batches side by side in the lanes of one device.

``submit_all`` queues rows on the event loop, each with the plan that its request began with. A lane takes a batch
whenever it is free, runs it, and hands all its answers back to the loop at once. Nothing else touches the device.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from serving.batching import CostModel, Decision, Limits, Priority, decide
from serving.board import TOO_LATE, Board
from serving.cache import NodeCache
from serving.deadlines import Deadlines
from serving.errors import DeadlineExceeded, ServingError, Unavailable
from serving.execution import Answers, BatchResult, NodeRun
from serving.flights import Flight
from serving.lanes import Lanes
from serving.pinned import PinnedPlan
from serving.plan import LoadedPlan, Plan, Route, ServedVersion
from serving.request import Claim, Request, Trace
from serving.runtimes.base import Arrays, Runtime
from serving.statistics import Statistics, VersionStatistics, outcome
from zoo.preprocessing import Row

__all__ = ["Engine"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

CACHE_BYTES = 256 * 1024 * 1024

LOADING = "The server is still loading; try again in a moment."
STOPPING = "The server is stopping and takes nothing new; try again in a moment, or another one."
NOT_BEGUN = "The server stops, and the rows did not begin within {:g} s. Try again in a moment, or another server."
BROKEN = "The engine stopped on an internal error. Try again in a moment, or another server."


@dataclass(frozen=True, slots=True)
class _Batch:
    flights: Sequence[Flight]
    decision: Decision[Flight]
    began_s: float


class Engine:
    """Answers rows with any versions of a plan, sharing batches and prefixes among all callers.

    All of it belongs to one event loop, but for what it does as the ``Traffic`` of its lanes.

    Args:
        loaded: what to answer with.
        runtime: what runs it; from ``start`` on only the engine's lanes call it.
        limits: what bounds batches and the queue.
        clock: monotonic seconds; deadlines are in its terms.
        cache_bytes: how much of what the nodes gave is kept for inputs that come again; 0 for nothing.
        share: whether identical rows in flight run once; off to compare with.
    """

    def __init__(
        self,
        loaded: LoadedPlan,
        runtime: Runtime,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        cache_bytes: int = CACHE_BYTES,
        share: bool = True,
    ) -> None:
        self.statistics = Statistics(time.time)
        self._runtime = runtime
        self._limits = limits or Limits()
        self._clock = clock
        self._cache = NodeCache(cache_bytes)
        self._current = PinnedPlan(loaded, runtime, clock, self._cache)
        self._plans = {loaded: self._current}
        self._lanes: Lanes[_Batch] = Lanes(runtime.lanes, self)
        self._costs = CostModel()
        self._board = Board(
            self._lanes.lock,
            self._limits,
            self._costs,
            clock,
            self.statistics,
            runtime.lanes,
            self._busy_s,
            self._wake_soon,
            share=share,
        )
        self._running: list[Sequence[Flight]] = [()] * runtime.lanes
        self._ran: list[Sequence[NodeRun]] = [()] * runtime.lanes
        self._free_s = [0.0] * runtime.lanes
        """When each lane should have run what it took last."""
        self._deadlines = Deadlines(clock, self._expire)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._waking = False
        self._draining = False
        self._handed_out = 0
        self._handed_back = 0

    @property
    def loaded(self) -> LoadedPlan:
        """What it answers with now. A request reads it once, and hands it back to ``submit_all``."""
        return self._current.loaded

    @property
    def plan(self) -> Plan:
        """The plan that it answers with."""
        return self._current.loaded.plan

    @property
    def ready(self) -> bool:
        """Whether it takes rows: started, and not draining."""
        return self._loop is not None and not self._draining

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a batch."""
        return len(self._board.queues)

    def start(self) -> None:
        """Start the lanes; call it on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._lanes.start()

    def swap(self, loaded: LoadedPlan) -> None:
        """Answer new requests with another plan; those that began with the old one finish on it."""
        before = self._current
        self._current = self._pinned(loaded)
        self._release(before)
        versions = {version.digest for each in self._plans for version in each.plan.versions}
        paths = {node.path for each in self._plans for root in each.plan.roots for node in root.node.walk()}
        self.statistics.keep(versions, paths)
        with self._lanes.lock:
            self._costs.keep(paths)

    async def run_on_device(self, job: Callable[[], T]) -> T:
        """Run ``job`` where nothing else uses the device's lane: between two batches, one job at a time.

        Returns:
            What it returns; what it raises is raised here.

        Raises:
            Unavailable: the engine has not started, or drains.
        """
        self._check_open()
        return await self._lanes.run(job)

    async def counted(self, versions: Sequence[ServedVersion]) -> Sequence[VersionStatistics]:
        """Return what each version did since the server started."""
        return [self.statistics.version(version.digest) for version in versions]

    def check_room(self, served: Sequence[ServedVersion], rows: int, deadline: float | None) -> None:
        """See that a request would not be refused at once, before work goes into its rows.

        Args:
            served: what it asks.
            rows: how many rows it brings.
            deadline: by the engine's clock, in seconds.

        Raises:
            Overloaded: the queue has no room for it.
            DeadlineExceeded: its deadline has passed.
            Unavailable: the engine has not started, or drains.
        """
        self._check_open()
        if served:
            team = served[0].manifest.team
            if deadline is not None:
                self._check_deadline(deadline, team, rows)
            self._board.check_room(team, rows)

    async def submit_all(
        self,
        rows: Sequence[Row],
        served: Sequence[ServedVersion],
        *,
        loaded: LoadedPlan,
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
        shadows: Sequence[ServedVersion] = (),
        trace: Trace | None = None,
        arrived_s: float | None = None,
    ) -> Sequence[Mapping[str, Arrays]]:
        """Answer several rows with several versions: all of them, or none.

        A row that is in flight already, for this request or another, does not run again. Whoever is cancelled leaves
        at once, and so does what nobody else wants.

        Args:
            rows: made by the preprocessor that all of ``served`` declare.
            served: versions of ``loaded``.
            loaded: what the request began with: ``Engine.loaded`` then. It answers, whatever is promoted meanwhile.
            deadline: by the engine's clock, in seconds; nobody waits longer.
            priority: the rows' place among those of their team.
            shadows: versions of ``loaded`` that run beside ``served`` on the same features, if they can; what they
                give is among the answers if they ran, and nothing else depends on them.
            trace: gets to know when what happened.
            arrived_s: when the rows came, by the engine's clock, if that was in another process; now by default.

        Returns:
            For each row, by version digest, its outputs without the N axis; axes named ``T`` end at the row's length.

        Raises:
            InvalidRequest: nothing is asked, or the versions take differently preprocessed rows.
            UnknownModel: a version is not of this plan.
            Overloaded: the queue has no room for the rows; the error says when to try again.
            DeadlineExceeded: the deadline passed before they were answered.
            StageFailed: a stage that they need did not run; of several rows, the text says which failed.
            Unavailable: the engine has not started, or drains.
        """
        arrived_s = self._clock() if arrived_s is None else arrived_s
        try:
            self._check_open()
            plan = self._pinned(loaded)
            plan.requests += 1
            try:
                routes = plan.routes(served, shadows)
                request = Request(
                    asyncio.get_running_loop().create_future(),
                    len(rows),
                    len(routes),
                    arrived_s=arrived_s,
                    deadline_s=inf if deadline is None else deadline,
                    priority=priority,
                    trace=trace,
                )
                answers = await self._answers(plan, rows, routes, request)
            finally:
                plan.requests -= 1
                self._release(plan)
        except BaseException as error:
            self.statistics.record_request(served, self._clock() - arrived_s, outcome(error))
            raise
        self.statistics.record_request(served, self._clock() - arrived_s)
        return answers

    async def close(self, grace_s: float = 10.0) -> None:
        """Refuse what is new, finish what waits, and stop; what still waits after ``grace_s`` seconds is refused too.

        A batch that runs cannot be interrupted, so this returns when it has ended, whatever the grace.
        """
        if self._loop is None:
            return
        self._draining = True
        self._lanes.refuse_jobs(STOPPING)
        self._lanes.wake_all()
        try:
            async with asyncio.timeout(grace_s):
                await self._stopped.wait()
        except TimeoutError:
            self._give_up(Unavailable(NOT_BEGUN.format(grace_s)))
            await self._stopped.wait()
        self._lanes.join()
        self._deadlines.close()

    async def wait_until_stopped(self) -> None:
        """Return when the last lane has ended: after ``close``, or on an error of its own."""
        await self._stopped.wait()

    async def _answers(
        self,
        plan: PinnedPlan,
        rows: Sequence[Row],
        routes: Sequence[Route],
        request: Request,
    ) -> list[Answers]:
        assert rows, "a request has at least one row"
        self._check_deadline(request.deadline_s, routes[0].versions[0].manifest.team, len(rows))
        claims = [Claim(request, index, row, route) for index, row in enumerate(rows) for route in routes]
        if request.trace is not None:
            request.trace.queued_s = self._clock()
        try:
            self._board.board(plan, claims)
            self._deadlines.add(request)
            return await request.future
        except BaseException as error:
            self._board.leave(claims, error)
            raise
        finally:
            self._deadlines.discard(request)

    def _pinned(self, loaded: LoadedPlan) -> PinnedPlan:
        plan = self._plans.get(loaded)
        if plan is None:
            plan = self._plans[loaded] = PinnedPlan(loaded, self._runtime, self._clock, self._cache)
        return plan

    def _release(self, plan: PinnedPlan) -> None:
        if not plan.requests and plan is not self._current:
            self._plans.pop(plan.loaded, None)

    def _check_open(self) -> None:
        if self._loop is None:
            raise Unavailable(LOADING)
        if self._draining:
            raise Unavailable(STOPPING)

    def _check_deadline(self, deadline_s: float, team: str, rows: int) -> None:
        if deadline_s <= self._clock():
            self.statistics.record_dropped("expired", team, rows)
            raise DeadlineExceeded("The deadline had passed when the request came; allow more time.")

    def _expire(self, request: Request) -> None:
        request.fail(DeadlineExceeded(TOO_LATE))

    def _busy_s(self, now_s: float) -> float:
        """Return the predicted seconds until a lane is free; with the lock held."""
        return 0.0 if self._lanes.idle else max(0.0, min(self._free_s) - now_s)

    def _wake_soon(self) -> None:
        """Wake a lane when this turn of the loop is over, so that rows which came together run together."""
        if not self._waking and self._lanes.idle and self._loop is not None:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._lanes.wake()

    def _give_up(self, error: ServingError, running: Sequence[Flight] = ()) -> None:
        """Refuse whatever waits, and these that will not end."""
        self._board.closed = error
        with self._lanes.lock:
            waiting = self._board.queues.clear()
            self._lanes.lock.notify_all()
        self._board.refuse([*running, *waiting], error)

    def _land(self, batch: _Batch, result: BatchResult, ended_s: float) -> None:
        self._board.land(batch.flights, result, batch.began_s, ended_s)
        self._came_back()

    def _give_back(self, expired: Sequence[Flight], unwanted: Sequence[Flight]) -> None:
        self._board.give_back(expired, unwanted)
        self._came_back()

    def _came_back(self) -> None:
        self._handed_back += 1
        if self._draining:
            self._lanes.wake_all()

    # From here on: what the lanes call, in threads of their own.

    def take(self, lane: int) -> _Batch | None:
        """See ``Traffic``."""
        for run in self._ran[lane]:  # here, where the lock is held anyway
            self._costs.observe(run.path, rows=run.rows, width=run.width, seconds=run.seconds)
        self._ran[lane] = ()
        while True:
            now_s = self._clock()
            decision = decide(self._board.queues, now_s, self._limits, self._costs)
            if not decision.leave and not decision.expired:
                return None
            self._running[lane] = (*decision.leave, *decision.expired)
            self._board.queues.settle(decision)
            for flight in self._running[lane]:
                flight.waits = False
            # A caller who left a moment ago may not have withdrawn its rows yet.
            wanted = [flight for flight in decision.leave if flight.wanted()]
            if decision.expired or len(wanted) < len(decision.leave):
                unwanted = [flight for flight in decision.leave if flight not in wanted]
                self._handed_out += 1
                self._lanes.hand_back(self._give_back, decision.expired, unwanted)
            if wanted:
                self._handed_out += 1
                self._free_s[lane] = now_s + decision.predicted_s
                return _Batch(wanted, decision, now_s)

    def pending(self) -> bool:
        """See ``Traffic``."""
        return len(self._board.queues) > 0

    def over(self) -> bool:
        """See ``Traffic``."""
        if self._board.closed is not None:
            return True
        return self._draining and not self.pending() and self._handed_out == self._handed_back

    def run(self, batch: _Batch, lane: int) -> None:
        """See ``Traffic``."""
        flights, decision = batch.flights, batch.decision
        shares = [len(flight.claims) for flight in flights]
        result = flights[0].plan.execution.run(flights[0].start, flights)
        ended_s = self._clock()
        self.statistics.record_batch(
            result,
            [batch.began_s - flight.arrived_s for flight in flights],
            teams=[flight.team for flight in flights],
            shares=shares if max(shares) > 1 else (),
            predicted_s=decision.predicted_s,
            began_s=batch.began_s,
            ended_s=ended_s,
            lane=lane,
            reason=decision.reason,
        )
        self._lanes.hand_back(self._land, batch, result, ended_s)
        self._running[lane] = ()
        self._ran[lane] = result.runs

    def broke(self, lane: int) -> None:
        """See ``Traffic``."""
        # A stage that fails never comes here, so this is a bug of ours: say so, and leave nobody waiting.
        _log.exception("the engine stopped")
        self._draining = True
        self._board.closed = Unavailable(BROKEN)
        self._lanes.hand_back(self._give_up, self._board.closed, self._running[lane])

    def ended(self) -> None:
        """See ``Traffic``."""
        self._lanes.hand_back(self._stopped.set)
