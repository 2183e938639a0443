"""The engine: rows in, answers out, batches side by side in the lanes of one device.

``submit_all`` queues rows on the event loop, each with the plan that its request began with. A lane takes a batch
whenever it is free, runs it, and hands all its answers back to the loop at once. Nothing else touches the device.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TypeVar

from serving.batching import CostModel, Limits, Priority
from serving.board import TOO_LATE, Recorder
from serving.cache import NodeCache
from serving.deadlines import Deadlines
from serving.dispatch import Dispatch
from serving.errors import DeadlineExceeded, Unavailable
from serving.pinned import PinnedPlan
from serving.plan import LoadedPlan, Plan, Route, ServedVersion
from serving.request import Claim, Request, Trace
from serving.runtimes.base import Arrays, Runtime
from serving.statistics import Statistics, VersionStatistics, outcome
from serving.work import Answers
from zoo.preprocessing import Row

__all__ = ["Engine"]

T = TypeVar("T")

CACHE_BYTES = 256 * 1024 * 1024

RECORDED_WIDTH = 16
"""At which width a recorded trace says what a token costs: that of a short text."""

LOADING = "The server is still loading; try again in a moment."
STOPPING = "The server is stopping and takes nothing new; try again in a moment, or another one."
NOT_BEGUN = "The server stops, and the rows did not begin within {:g} s. Try again in a moment, or another server."


class Engine:
    """Answers rows with any versions of a plan, sharing batches and prefixes among all callers.

    All of it belongs to one event loop.

    Args:
        loaded: what to answer with.
        runtime: what runs it; from ``start`` on only the engine's lanes call it.
        limits: what bounds batches and the queue.
        clock: monotonic seconds; deadlines are in its terms.
        cache_bytes: how much of what the nodes gave is kept for inputs that come again; 0 for nothing.
        share: whether identical rows in flight run once; off to compare with.
        recorder: told of each row that is queued, and at the end what nodes cost, if there is one.
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
        recorder: Recorder | None = None,
    ) -> None:
        self.statistics = Statistics(time.time)
        self._runtime = runtime
        self._clock = clock
        self._cache = NodeCache(cache_bytes)
        self._current = PinnedPlan(loaded, runtime, clock, self._cache)
        self._plans = {loaded: self._current}
        self._prepared: PinnedPlan | None = None
        self._dispatch = Dispatch(
            runtime.lanes,
            limits or Limits(),
            clock,
            self.statistics,
            inline=runtime.inline,
            share=share,
            recorder=recorder,
        )
        self._recorder = recorder
        self._board = self._dispatch.board
        self._deadlines = Deadlines(clock, self._expire)
        self._loop: asyncio.AbstractEventLoop | None = None

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
        return self._loop is not None and not self._dispatch.draining

    @property
    def cache(self) -> NodeCache:
        """What nodes gave for inputs that were seen before."""
        return self._cache

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a batch."""
        return len(self._board.queues)

    def start(self) -> None:
        """Start the lanes; call it on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._dispatch.lanes.start()

    def prepare(self, loaded: LoadedPlan) -> None:
        """Make what answering with a plan needs, so that a swap is a moment; called in a thread, just before."""
        self._prepared = PinnedPlan(loaded, self._runtime, self._clock, self._cache)

    def swap(self, loaded: LoadedPlan) -> None:
        """Answer new requests with another plan; those that began with the old one finish on it."""
        before = self._current
        if self._prepared is not None and self._prepared.loaded is loaded:
            self._plans.setdefault(loaded, self._prepared)
        self._prepared = None
        self._current = self._pinned(loaded)
        self._release(before)
        versions = {version.digest for each in self._plans for version in each.plan.versions}
        paths = {node.path for each in self._plans for root in each.plan.roots for node in root.node.walk()}
        self.statistics.keep(versions, paths)
        with self._dispatch.lanes.lock:
            self._dispatch.costs.keep(paths)

    async def run_on_device(self, job: Callable[[], T]) -> T:
        """Run ``job`` where nothing else uses the device's lane: between two batches, one job at a time.

        Returns:
            What it returns; what it raises is raised here.

        Raises:
            Unavailable: the engine has not started, or drains.
        """
        self._check_open()
        return await self._dispatch.lanes.run(job)

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
            Overloaded: the queue has no room for it, or too much waits before it.
            DeadlineExceeded: its deadline has passed.
            Unavailable: the engine has not started, or drains.
        """
        self._check_open()
        if served:
            team = served[0].manifest.team
            deadline_s = inf if deadline is None else deadline
            self._check_deadline(deadline_s, team, rows)
            self._board.check_room(team, rows, deadline_s)

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
        since_s = trace.arrived_s if trace is not None and trace.arrived_s else arrived_s
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
            self.statistics.record_request(served, self._clock() - since_s, outcome(error))
            raise
        self.statistics.record_request(served, self._clock() - since_s)
        return answers

    async def close(self, grace_s: float = 10.0) -> None:
        """Refuse what is new, finish what waits, and stop; what still waits after ``grace_s`` seconds is refused too.

        A batch that runs cannot be interrupted, so this returns when it has ended, whatever the grace.
        """
        if self._loop is None:
            return
        self._dispatch.drain(STOPPING)
        try:
            async with asyncio.timeout(grace_s):
                await self._dispatch.stopped.wait()
        except TimeoutError:
            self._dispatch.give_up(Unavailable(NOT_BEGUN.format(grace_s)))
            await self._dispatch.stopped.wait()
        self._dispatch.lanes.join()
        self._deadlines.close()
        if self._recorder is not None:
            self._recorder.costs(_lines(self._dispatch.costs, self.plan))

    async def wait_until_stopped(self) -> None:
        """Return when the last lane has ended: after ``close``, or on an error of its own."""
        await self._dispatch.stopped.wait()

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
        if self._dispatch.draining:
            raise Unavailable(STOPPING)

    def _check_deadline(self, deadline_s: float, team: str, rows: int) -> None:
        if deadline_s <= self._clock():
            self.statistics.record_dropped("expired", team, rows)
            raise DeadlineExceeded("The deadline had passed when the request came; allow more time.")

    def _expire(self, request: Request) -> None:
        request.fail(DeadlineExceeded(TOO_LATE))


def _lines(costs: CostModel, plan: Plan) -> dict[str, tuple[float, float]]:
    """Return by path what each node costs: seconds for each run, and for each token of rows of a common width."""
    lines = {}
    for node in (node for root in plan.roots for node in root.node.walk()):
        fixed_s = costs.predict_s(node.path, 0, RECORDED_WIDTH)
        lines[node.path] = fixed_s, (costs.predict_s(node.path, 1, RECORDED_WIDTH) - fixed_s) / RECORDED_WIDTH
    return lines
