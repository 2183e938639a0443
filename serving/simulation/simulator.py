"""A server in virtual time: the real policy, admission, queues and cost model, and a device that only counts.

Deterministic: the same traffic, truth and seed give the same batches, to the last one.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from math import inf

from serving.batching import CostModel, Decision, Limits, Queues, admit, decide
from serving.errors import DeadlineExceeded, Overloaded
from serving.simulation.outcome import BatchRecord, Fate, Outcome, RequestRecord
from serving.simulation.traffic import Ask, ClosedLoop
from serving.simulation.truth import NodeTime, Truth

__all__ = ["simulate"]


class _Row:
    """A row of a simulated request: a ``WaitingRow``."""

    __slots__ = ("arrived_s", "deadline_s", "length", "nbytes", "paths", "priority", "request", "team")

    def __init__(self, ask: Ask, request: "_Request") -> None:
        self.length = ask.tokens
        self.nbytes = ask.nbytes
        self.arrived_s = ask.at_s
        self.deadline_s = ask.at_s + ask.timeout_s
        self.team = ask.team
        self.priority = ask.priority
        self.paths = ask.paths
        self.request = request


class _Request:
    """A request that waits for the last of its rows."""

    __slots__ = ("ask", "loop", "missing", "over", "rows")

    def __init__(self, ask: Ask, loop: ClosedLoop | None) -> None:
        self.ask = ask
        self.loop = loop
        self.rows = [_Row(ask, self) for _ in range(ask.rows)]
        self.missing = ask.rows
        self.over = False


@dataclass(slots=True)
class _Running:
    """A batch on a lane."""

    decision: Decision[_Row]
    times: Sequence[NodeTime]
    began_s: float
    left_s: float
    """What it still takes if nothing runs beside it."""
    waiting: int

    @property
    def due_s(self) -> float:
        """When it should end."""
        return self.began_s + self.decision.predicted_s


def simulate(
    traffic: Iterable[Ask | ClosedLoop],
    truth: Truth,
    limits: Limits,
    *,
    until_s: float,
    lanes: int = 1,
    seed: int = 0,
    costs: CostModel | None = None,
) -> Outcome:
    """Serve ``traffic`` in virtual time.

    Args:
        traffic: requests in any order, and callers in closed loops.
        truth: what batches really cost.
        limits: the policy's.
        until_s: when nobody asks any more; what waits then is still answered.
        lanes: how many batches run side by side.
        seed: of all that is drawn: lengths in closed loops, and noise.
        costs: what is known of the costs; nothing, if left out. It learns.

    Returns:
        Every request's fate and every batch.
    """
    return _Server(truth, limits, until_s, lanes, seed, costs or CostModel()).run(traffic)


class _Server:
    def __init__(self, truth: Truth, limits: Limits, until_s: float, lanes: int, seed: int, costs: CostModel) -> None:
        self._truth = truth
        self._limits = limits
        self._until_s = until_s
        self._chance = random.Random(seed)  # noqa: S311 - a simulation draws the same again
        self._costs = costs
        self._queues: Queues[_Row] = Queues(limits, costs, lanes)
        self._lanes: list[_Running | None] = [None] * lanes
        self._now_s = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Ask | _Request, ClosedLoop | None]] = []
        self._warm: set[str] = set()
        self._outcome = Outcome(until_s=until_s)

    def run(self, traffic: Iterable[Ask | ClosedLoop]) -> Outcome:
        for source in traffic:
            if isinstance(source, Ask):
                self._expect(source.at_s, source, None)
                continue
            for _ in range(source.callers):
                self._ask_again(source, source.like.at_s)
        while self._events or any(self._lanes):
            self._step()
        assert not len(self._queues), "a row still waits, and every lane is free"
        return self._outcome

    def _step(self) -> None:
        """Go to the next event, or to the next end of a batch, whichever comes first."""
        running = [batch for batch in self._lanes if batch]
        slowdown = 1 + self._truth.contention * (len(running) - 1)
        ends_s = self._now_s + min((batch.left_s for batch in running), default=inf) * slowdown
        event_s = self._events[0][0] if self._events else inf
        passed_s = min(ends_s, event_s) - self._now_s
        for batch in running:
            batch.left_s -= passed_s / slowdown
        self._now_s += passed_s
        if ends_s <= event_s:
            self._end(min(running, key=lambda batch: batch.left_s))
        else:
            self._now_s = event_s
            self._happen()
        self._dispatch()

    def _expect(self, at_s: float, what: Ask | _Request, loop: ClosedLoop | None) -> None:
        heappush(self._events, (at_s, next(self._order), what, loop))

    def _happen(self) -> None:
        """Let all that comes at this moment come, so that rows which come together run together."""
        while self._events and self._events[0][0] <= self._now_s:
            _, _, what, loop = heappop(self._events)
            if isinstance(what, Ask):
                self._come(what, loop)
            elif not what.over:
                self._finish(what, Fate.CANCELLED)

    def _come(self, ask: Ask, loop: ClosedLoop | None) -> None:
        request = _Request(ask, loop)
        try:
            admit(
                self._queues,
                request.rows,
                self._now_s,
                self._limits,
                self._costs,
                busy_s=self._busy_s(),
                lanes=len(self._lanes),
            )
        except Overloaded as refusal:
            self._finish(request, Fate.OVERLOADED, refusal.retry_after_s)
        except DeadlineExceeded:
            self._finish(request, Fate.REFUSED)
        else:
            for row in request.rows:
                self._queues.add(ask.start, row)
            if ask.cancel_s < inf:
                self._expect(self._now_s + ask.cancel_s, request, None)

    def _busy_s(self) -> float:
        """Return the predicted seconds until a lane is free."""
        return max(0.0, min(batch.due_s - self._now_s if batch else 0.0 for batch in self._lanes))

    def _dispatch(self) -> None:
        for lane, batch in enumerate(self._lanes):
            while batch is None:
                decision = decide(self._queues, self._now_s, self._limits, self._costs)
                waiting = len(self._queues)
                self._queues.settle(decision, self._now_s)
                for row in decision.expired:
                    self._finish(row.request, Fate.EXPIRED)
                if not decision.leave and not decision.expired:
                    return
                if decision.leave:
                    batch = self._lanes[lane] = self._begin(decision, waiting)

    def _begin(self, decision: Decision[_Row], waiting: int) -> _Running:
        times = self._truth.times(decision.leave, self._chance, lambda path: path not in self._warm)
        self._warm.update(time.path for time in times)
        return _Running(decision, times, self._now_s, sum(time.seconds for time in times), waiting)

    def _end(self, batch: _Running) -> None:
        lane = next(lane for lane, running in enumerate(self._lanes) if running is batch)
        self._lanes[lane] = None
        took_s = self._now_s - batch.began_s
        stretch = took_s / sum(time.seconds for time in batch.times)
        for time in batch.times:
            self._costs.observe(time.path, rows=time.rows, width=time.width, seconds=time.seconds * stretch)
        self._outcome.batches.append(BatchRecord.of(batch.decision, batch.began_s, took_s, lane, batch.waiting))
        for row in batch.decision.leave:
            request = row.request
            request.missing -= 1
            if not request.missing and not request.over:
                late = self._now_s > row.deadline_s
                self._finish(request, Fate.LATE if late else Fate.ANSWERED)

    def _finish(self, request: _Request, fate: Fate, retry_s: float = 0.0) -> None:
        if request.over:
            return
        request.over = True
        self._queues.discard(request.rows)
        self._outcome.requests.append(RequestRecord(ask=request.ask, fate=fate, ended_s=self._now_s))
        if request.loop is not None:
            self._ask_again(request.loop, self._now_s + request.loop.think_s + retry_s)

    def _ask_again(self, loop: ClosedLoop, at_s: float) -> None:
        if at_s < self._until_s:
            self._expect(at_s, replace(loop.like, at_s=at_s, tokens=loop.lengths(self._chance)), loop)
