"""Who flies with what: finds each claim a flight, lets claims leave, and hands out what flights brought."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import inf
from threading import Condition
from typing import Protocol

from serving.batching import CostModel, Limits, Queues, WaitingRow, admit, check_room, check_wait
from serving.errors import DeadlineExceeded, Overloaded, ServingError
from serving.execution import BatchResult
from serving.flights import Flight
from serving.pinned import PinnedPlan
from serving.plan import Route, ServedVersion
from serving.request import Claim, Request, Trace
from serving.statistics import Statistics
from serving.work import Found

__all__ = ["TOO_LATE", "Board", "Recorder"]

TOO_LATE = (
    "The deadline passed, or too little of it was left to run, while the request waited for the device. "
    "Allow more time, or ask again when the server is less busy."
)

Stages = list[tuple[str, float, float]]


class Recorder(Protocol):
    """Keeps what came and what it cost, to be replayed later."""

    def arrival(self, start: Hashable, row: WaitingRow) -> None:
        """Keep a row that is queued."""
        ...

    def costs(self, costs: Mapping[str, tuple[float, float]]) -> None:
        """Keep what nodes cost: by path digest, seconds for each run and for each token."""
        ...


class Board:
    """The rows in flight and the claims on them. Used on the event loop; lanes take from ``queues``.

    Args:
        lock: guards ``queues`` and the flights in them.
        limits: what bounds the queue.
        costs: predicts what rows take.
        clock: monotonic seconds.
        statistics: counts.
        lanes: how many batches run side by side.
        busy_s: gives, for a time, the predicted seconds until a lane is free.
        wake: called when rows were queued.
        share: whether identical rows fly together.
        recorder: told of each row that is queued, if there is one.
    """

    def __init__(
        self,
        lock: Condition,
        limits: Limits,
        costs: CostModel,
        clock: Callable[[], float],
        statistics: Statistics,
        lanes: int,
        busy_s: Callable[[float], float],
        wake: Callable[[], None],
        *,
        share: bool,
        recorder: Recorder | None,
    ) -> None:
        self.queues: Queues[Flight] = Queues(limits, costs, lanes)
        self.closed: ServingError | None = None
        """What those are told who were let in and find no flight any more; None as long as they do."""
        self._lock = lock
        self._limits = limits
        self._costs = costs
        self._lanes = lanes
        self._busy_s = busy_s
        self._clock = clock
        self._statistics = statistics
        self._wake = wake
        self._share = share
        self._recorder = recorder

    def check_room(self, team: str, rows: int, deadline_s: float) -> None:
        """See that the queue has room for ``rows`` more of a team, and not already more than there is time for.

        Raises:
            InvalidRequest: it never has room.
            Overloaded: it has none now, or too much waits for the deadline.
        """
        try:
            check_room(self.queues, team, rows, self._limits)
            if deadline_s < inf:
                with self._lock:
                    now_s = self._clock()
                    left_s, busy_s = deadline_s - now_s, self._busy_s(now_s)
                    check_wait(self.queues, team, left_s, self._limits, busy_s=busy_s)
        except Overloaded:
            self._statistics.record_dropped("overloaded", team, rows)
            raise

    def board(self, plan: PinnedPlan, claims: Sequence[Claim], *, let_in: bool = False) -> None:
        """Answer claims from the cache, let them join rows in flight, or queue rows for them.

        If it raises, the caller has to let all of ``claims`` leave.

        Args:
            plan: what their request is answered with.
            claims: of one request.
            let_in: whether they were let in before, so that there is room for them.

        Raises:
            Overloaded: the queue has no room for the rows that would be queued, or too much waits before them.
            DeadlineExceeded: even an idle server could not meet the deadline.
        """
        left = (
            self._look_up(plan, claims) if plan.caches else [(each, plan.find(each.route, each.row)) for each in claims]
        )
        if not left:
            return
        with self._lock:
            fresh = [flight for claim, found in left if (flight := self._flight(plan, claim, found)) is not None]
            if fresh:
                if not let_in:
                    self._admit(fresh)
                for flight in fresh:
                    self.queues.add(flight.start, flight)
        if fresh:
            self._wake()
            if self._recorder is not None:
                for flight in fresh:
                    self._recorder.arrival(flight.start, flight)

    def leave(self, claims: Sequence[Claim], why: BaseException) -> None:
        """Let claims go whose request is over before its answers came; a row that nobody claims leaves its queue."""
        with self._lock:
            waiting, team = len(self.queues), ""
            for claim in claims:
                flight = claim.flight
                if flight is None:
                    continue
                team = flight.team
                flight.remove(claim)
                if not flight.claims:
                    flight.plan.land(flight)
                    if flight.waits:
                        self.queues.discard((flight,))
            dropped = waiting - len(self.queues)
        if dropped:
            self._statistics.record_dropped(_reason(why), team, dropped)

    def land(self, flights: Sequence[Flight], result: BatchResult, began_s: float, ended_s: float) -> None:
        """Hand out what a batch brought.

        Args:
            flights: its rows, in order.
            result: what came of them.
            began_s: when it began, by the engine's clock.
            ended_s: when it ended.
        """
        stages: dict[Route, Stages] = {}
        for position, flight in enumerate(flights):
            flight.plan.land(flight)
            claims, parked = flight.release()
            answers = result.answers[position]
            for claim in claims:
                request = claim.request
                if request.future.done():
                    continue
                if request.trace is not None:
                    if flight.route not in stages:
                        stages[flight.route] = _stages(flight.route, result)
                    _note(request.trace, stages[flight.route], len(flights), began_s, ended_s)
                mine = flight.answer_for(claim, answers)
                if mine is not None:
                    request.answer(claim.index, mine)
                elif (failure := _failure(claim, position, result)) is not None:
                    request.fail_row(claim.index, failure)
                else:  # dropped, since nobody wanted it before this one joined
                    parked.append(claim)
            self._rebook(flight.plan, parked)

    def give_back(self, expired: Sequence[Flight], unwanted: Sequence[Flight]) -> None:
        """Tell those who wait in vain, and queue anew what somebody else still wants.

        Args:
            expired: rows of which the policy says that their deadline cannot be met any more.
            unwanted: rows that nobody wanted when their turn had come.
        """
        now_s = self._clock()
        for flight in expired:
            self._end(flight, max(now_s, flight.deadline_s))
        for flight in unwanted:
            self._end(flight, now_s)

    def refuse(self, flights: Sequence[Flight], error: ServingError) -> None:
        """Tell all who wait for these flights that none will come."""
        for flight in flights:
            self._statistics.record_dropped("refused", flight.team, 1)
            flight.plan.land(flight)
            claims, parked = flight.release()
            for claim in (*claims, *parked):
                _fail(claim.request, error)

    def _end(self, flight: Flight, until_s: float) -> None:
        """End a flight that does not run, for those whose deadline is ``until_s`` at the latest."""
        flight.plan.land(flight)
        claims, parked = flight.release()
        late = [claim.request for claim in claims if claim.request.deadline_s <= until_s]
        for request in late:
            request.fail(DeadlineExceeded(TOO_LATE))
        live = [claim for claim in (*claims, *parked) if not claim.request.future.done()]
        if not live:
            self._statistics.record_dropped("expired" if late else "withdrawn", flight.team, 1)
        self._rebook(flight.plan, live)

    def _admit(self, fresh: Sequence[Flight]) -> None:
        now_s = self._clock()
        try:
            admit(
                self.queues,
                fresh,
                now_s,
                self._limits,
                self._costs,
                busy_s=self._busy_s(now_s),
                lanes=self._lanes,
            )
        except (Overloaded, DeadlineExceeded) as error:
            reason = "overloaded" if isinstance(error, Overloaded) else "expired"
            self._statistics.record_dropped(reason, fresh[0].team, len(fresh))
            raise

    def _rebook(self, plan: PinnedPlan, claims: Sequence[Claim]) -> None:
        """Find each of these another flight; their requests may be over."""
        for claim in claims:
            if claim.request.future.done():
                continue
            if self.closed is not None:
                _fail(claim.request, self.closed)
            else:
                self.board(plan, (claim,), let_in=True)

    def _look_up(self, plan: PinnedPlan, claims: Sequence[Claim]) -> list[tuple[Claim, Found]]:
        """Answer what the cache has, and return the claims of which something is left, with what it had of them."""
        began_s = self._clock()
        left: list[tuple[Claim, Found]] = []
        hits: list[ServedVersion] = []
        misses: list[ServedVersion] = []
        at_node = 0
        for claim in claims:
            found = plan.find(claim.route, claim.row)
            if claim.row.digest:
                for version in claim.route.versions:
                    (hits if version.digest in found.answers else misses).append(version)
            if found.route is None:
                _count_cached(claim, len(claim.route.paths))
                claim.request.answer(claim.index, found.answers)
            else:
                at_node += found.start.path != ""
                left.append((claim, found))
        seconds = (self._clock() - began_s) / max(1, len(hits) + len(misses))
        self._statistics.record_answers(hits, misses, seconds)
        self._statistics.record_cache(at_node, len(left) - at_node)
        return left

    def _flight(self, plan: PinnedPlan, claim: Claim, found: Found) -> Flight | None:
        """Let a claim join a flight; or return a new one, which is to be queued."""
        digest = claim.row.digest
        key = (claim.route.root, digest) if digest and self._share else None
        if key is not None:
            flight = plan.flights.get(key)
            if flight is not None and self._join(flight, claim):
                return None
        flight = Flight(plan, claim, found, key)
        if key is not None:
            plan.flights[key] = flight
        if flight.paths is not claim.route.paths:
            _count_cached(claim, len(claim.route.paths) - len(flight.paths))
        return flight

    def _join(self, flight: Flight, claim: Claim) -> bool:
        """Let a claim have what a flight brings, or park it behind one that it comes too late for; or do neither."""
        if flight.waits:
            return self._widen(flight, claim)
        if flight.brings(claim.route):
            flight.add(claim)
        elif flight.plan.caches:
            flight.park(claim)
        else:
            return False
        return True

    def _widen(self, flight: Flight, claim: Claim) -> bool:
        """Let a waiting flight bring what one more claim wants, as urgently as that is."""
        plan, request = flight.plan, claim.request
        whole = plan.unite(flight.whole, claim.route)
        if whole is not flight.whole:
            found = plan.find(whole, flight.row)
            if found.route is None:
                return False
        elif request.deadline_s >= flight.deadline_s and request.priority >= flight.priority:
            flight.add(claim)
            return True
        self.queues.discard((flight,))
        if whole is not flight.whole:
            flight.head_for(whole, found)
        flight.deadline_s = min(flight.deadline_s, request.deadline_s)
        flight.priority = min(flight.priority, request.priority)
        flight.add(claim)
        self.queues.add(flight.start, flight)
        return True


def _count_cached(claim: Claim, nodes: int) -> None:
    if claim.request.trace is not None:
        claim.request.trace.cached += nodes


def _fail(request: Request, error: ServingError) -> None:
    """Fail a request with an exception of its own: raising one adds to its traceback."""
    request.fail(type(error)(*error.args))


def _failure(claim: Claim, position: int, result: BatchResult) -> ServingError | None:
    """Return what failed of what ``claim`` wants of a row."""
    if position not in result.failures:
        return None
    failures = result.version_failures
    keys = ((position, version.digest) for version in claim.route.versions)
    return next((failures[key] for key in keys if key in failures), result.failures[position])


def _reason(why: BaseException) -> str:
    return "expired" if isinstance(why, DeadlineExceeded) else "withdrawn"


def _stages(route: Route, result: BatchResult) -> Stages:
    """Return what ran of a batch on one route."""
    return [(run.stage, run.began_s, run.ended_s) for run in result.runs if run.path in route.paths]


def _note(trace: Trace, stages: Stages, rows: int, began_s: float, ended_s: float) -> None:
    """Write down a batch that a request had a row in."""
    trace.stages.extend(stages)
    trace.batch_rows = max(trace.batch_rows, rows)
    trace.began_s = min(trace.began_s, began_s) if trace.began_s else began_s
    trace.ended_s = max(trace.ended_s, ended_s)
