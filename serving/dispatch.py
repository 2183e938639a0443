"""What the lanes run: batches by the policy's choice, each on the plan of its rows."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.batching import CostModel, Decision, Gathering, Limits, decide
from serving.board import Board, Recorder
from serving.errors import ServingError, Unavailable
from serving.execution import BatchResult, NodeRun
from serving.flights import Flight
from serving.lanes import Lanes
from serving.statistics import Statistics

__all__ = ["Dispatch"]

_log = logging.getLogger(__name__)

BRIEF_S = 200e-6
"""What a batch may be predicted to take that runs on the event loop. Two threads that take turns at the interpreter
slow each other down by more: each finds its objects in the other core's cache (docs/decisions/0020)."""

BROKEN = "The engine stopped on an internal error. Try again in a moment, or another server."


@dataclass(frozen=True, slots=True)
class _Batch:
    flights: Sequence[Flight]
    decision: Decision[Flight]
    began_s: float


class Dispatch:
    """Takes rows from the board when a lane is free, runs them, and hands them back to the event loop.

    It is the ``Traffic`` of its lanes: they call ``take``, ``pending``, ``over``, ``run``, ``broke`` and ``ended``, in
    threads of their own. All else belongs to the event loop.

    Args:
        lanes: how many batches run side by side.
        limits: what bounds batches and the queue.
        clock: monotonic seconds.
        statistics: counts.
        inline: whether batches that take next to no time run on the event loop, when a lane is free for them.
        share: whether identical rows in flight run once.
        recorder: told of each row that is queued, and at the end what nodes cost, if there is one.
    """

    def __init__(
        self,
        lanes: int,
        limits: Limits,
        clock: Callable[[], float],
        statistics: Statistics,
        *,
        inline: bool,
        share: bool,
        recorder: Recorder | None,
    ) -> None:
        self.costs = CostModel()
        """What the nodes of all plans cost, by path digest; guarded by the lanes' lock."""
        self.lanes: Lanes[_Batch] = Lanes(lanes, self)
        self.board = Board(
            self.lanes.lock,
            limits,
            self.costs,
            clock,
            statistics,
            lanes,
            self._busy_s,
            self._wake_soon,
            share=share,
            recorder=recorder,
        )
        self.stopped = asyncio.Event()
        """Set when the last lane has ended."""
        self.draining = False
        """Whether nothing new may come."""
        self._limits = limits
        self._clock = clock
        self._statistics = statistics
        self._inline = inline
        self._briefly = False
        """Whether the last batch that the event loop saw leave ran there."""
        self._gathering = Gathering()
        self._gathers: asyncio.TimerHandle | None = None
        """What ends the wait for more rows, while there is one."""
        self._here = lanes
        """Stands for the event loop where lanes are numbered."""
        self._running: list[Sequence[Flight]] = [()] * (lanes + 1)
        self._ran: list[Sequence[NodeRun]] = [()] * (lanes + 1)
        self._free_s = [0.0] * lanes
        """When each lane should have run what it took last."""
        self._waking = False
        self._handed_out = 0
        self._handed_back = 0

    def drain(self, why: str) -> None:
        """Let nothing new come: refuse the jobs that have not begun, and end when nothing waits any more."""
        self.draining = True
        self.lanes.refuse_jobs(why)
        self.lanes.wake_all()

    def give_up(self, error: ServingError, running: Sequence[Flight] = ()) -> None:
        """Refuse whatever waits, and these that will not end."""
        self.board.closed = error
        with self.lanes.lock:
            waiting = self.board.queues.clear()
            self.lanes.lock.notify_all()
        self.board.refuse([*running, *waiting], error)

    def _busy_s(self, now_s: float) -> float:
        """Return the predicted seconds until a lane is free; with the lock held."""
        return 0.0 if self.lanes.idle else max(0.0, min(self._free_s) - now_s)

    def _wake_soon(self) -> None:
        """Wake a lane when this turn of the loop is over, so that rows which came together run together."""
        if self._gathers is not None:
            if self.board.queues.last_alone_s > BRIEF_S:  # which is nothing to wait with
                self._gathers.cancel()
                self._gathers = None
                asyncio.get_running_loop().call_soon(self._wake)
        elif not self._waking and self.lanes.idle:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._gather)

    def _gather(self) -> None:
        if self._briefly and (wait_s := self._gathering.wait_s(len(self.board.queues))):
            self._gathers = asyncio.get_running_loop().call_later(wait_s, self._gathered)
        else:
            self._wake()

    def _gathered(self) -> None:
        self._gathers = None
        self._gathering.ended(len(self.board.queues))
        self._wake()

    def _wake(self) -> None:
        self._waking = False
        self._briefly = self._inline and self._run_here()
        if not self._briefly:
            self.lanes.wake()

    def _run_here(self) -> bool:
        """Run the next batch on the event loop, if handing it to a lane would take longer; return whether it did so."""
        with self.lanes.lock:
            if self.board.queues.first_alone_s > BRIEF_S:  # nearly always so for a real body, and cheap to know
                return False
            self._learn(self._here)
            now_s = self._clock()
            decision = self._decide(now_s)
            if not (decision.leave and self._is_brief(decision)):
                return False
            batch = self._depart(decision, self._here, now_s)
        if batch is not None:
            try:
                result, ended_s = self._compute(batch, self._here)
            except Exception:
                self.broke(self._here)
                return True
            self._land(batch, result, ended_s)
        if self.pending():
            self._wake_soon()
        return True

    def _is_brief(self, decision: Decision[Flight]) -> bool:
        return decision.predicted_s <= BRIEF_S and all(
            self.costs.is_sure(path) for flight in decision.leave for path in flight.paths
        )

    def _land(self, batch: _Batch, result: BatchResult, ended_s: float) -> None:
        self.board.land(batch.flights, result, batch.began_s, ended_s)
        self._came_back()

    def _give_back(self, expired: Sequence[Flight], unwanted: Sequence[Flight]) -> None:
        self.board.give_back(expired, unwanted)
        self._came_back()

    def _came_back(self) -> None:
        self._handed_back += 1
        if self.draining:
            self.lanes.wake_all()

    # From here on: what the lanes call, in threads of their own.

    def take(self, lane: int) -> _Batch | None:
        """See ``Traffic``."""
        self._learn(lane)
        while True:
            now_s = self._clock()
            decision = self._decide(now_s)
            if not (decision.leave or decision.expired):
                return None
            batch = self._depart(decision, lane, now_s)
            if batch is not None:
                self._free_s[lane] = now_s + decision.predicted_s
                return batch

    def _learn(self, lane: int) -> None:
        """Count what a lane ran last, now that the lock is held anyway."""
        for run in self._ran[lane]:
            self.costs.observe(run.path, rows=run.rows, width=run.width, seconds=run.seconds)
        self._ran[lane] = ()

    def _decide(self, now_s: float) -> Decision[Flight]:
        return decide(self.board.queues, now_s, self._limits, self.costs)

    def _depart(self, decision: Decision[Flight], lane: int, now_s: float) -> _Batch | None:
        """Take rows out of the queues; return those that anybody still wants, or None."""
        self._running[lane] = (*decision.leave, *decision.expired)
        self.board.queues.settle(decision, now_s)
        for flight in self._running[lane]:
            flight.waits = False
        # A caller who left a moment ago may not have withdrawn its rows yet.
        wanted = [flight for flight in decision.leave if flight.wanted()]
        if decision.expired or len(wanted) < len(decision.leave):
            unwanted = [flight for flight in decision.leave if flight not in wanted]
            self._handed_out += 1
            self.lanes.hand_back(self._give_back, decision.expired, unwanted)
        if not wanted:
            return None
        self._handed_out += 1
        return _Batch(wanted, decision, now_s)

    def pending(self) -> bool:
        """See ``Traffic``."""
        return len(self.board.queues) > 0

    def over(self) -> bool:
        """See ``Traffic``."""
        if self.board.closed is not None:
            return True
        return self.draining and not self.pending() and self._handed_out == self._handed_back

    def run(self, batch: _Batch, lane: int) -> None:
        """See ``Traffic``."""
        result, ended_s = self._compute(batch, lane)
        self.lanes.hand_back(self._land, batch, result, ended_s)

    def _compute(self, batch: _Batch, lane: int) -> tuple[BatchResult, float]:
        """Run a batch and count it; return what came of it, and when it ended."""
        flights, decision = batch.flights, batch.decision
        shares = [len(flight.claims) for flight in flights]
        result = flights[0].plan.execution.run(flights[0].start, flights)
        ended_s = self._clock()
        self._statistics.record_batch(
            result,
            [batch.began_s - flight.arrived_s for flight in flights],
            teams=[flight.team for flight in flights],
            shares=shares if max(shares) > 1 else (),
            predicted_s=decision.predicted_s,
            began_s=batch.began_s,
            ended_s=ended_s,
            lane=lane,
            reason=decision.reason,
            stop=decision.stop,
        )
        self._running[lane] = ()
        self._ran[lane] = result.runs
        return result, ended_s

    def broke(self, lane: int) -> None:
        """See ``Traffic``."""
        # A stage that fails never comes here, so this is a bug of ours: say so, and leave nobody waiting.
        _log.exception("the engine stopped")
        self.draining = True
        self.board.closed = Unavailable(BROKEN)
        self.lanes.hand_back(self.give_up, self.board.closed, self._running[lane])

    def ended(self) -> None:
        """See ``Traffic``."""
        self.lanes.hand_back(self.stopped.set)
