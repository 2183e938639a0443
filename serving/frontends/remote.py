"""The engine, as a front end has it: the same calls, answered by another process."""

import asyncio
import gc
import itertools
import json
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from pydantic import TypeAdapter

from serving.batching import Priority
from serving.errors import DeadlineExceeded, Overloaded, ServingError, Unavailable
from serving.frontends import messages
from serving.frontends.announcement import Announced, Known, understand
from serving.frontends.channel import Channel, Link
from serving.frontends.messages import Kind, Submission
from serving.frontends.settings import STATE, State
from serving.frontends.tally import Tally
from serving.plan import LoadedPlan, Plan, ServedVersion
from serving.request import Trace
from serving.runtimes.base import Arrays
from serving.statistics import VersionStatistics
from zoo.preprocessing import Row

__all__ = ["COUNTS", "RemoteEngine"]

_log = logging.getLogger(__name__)

COUNTS = TypeAdapter(list[VersionStatistics])
"""Reads and writes what versions did, as JSON."""

MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""Of rows that wait for room in the ring, because callers bring them faster than the engine takes them."""

RETRY_AFTER_S = 0.1
COLLECT_AFTER_S = 1.0
"""How long after a new plan what still keeps the old one alive, in cycles, is collected."""

AGAIN_S = 1.0
"""For how long a plan that could not be prepared, because the zoo could not be read, is left alone."""

LOADING = "This front end of the server has no plan yet; try again in a moment."
GONE = "The engine behind this front end is gone, and so the server stops; try again in a moment, or another server."


@dataclass(frozen=True, slots=True)
class _Call:
    """What waits for an answer."""

    future: "asyncio.Future[Sequence[Mapping[str, Arrays]]]"
    versions: tuple[str, ...]
    trace: Trace | None


class RemoteEngine:
    """Answers rows through the engine of another process; it is ``Answering``, and lives on one event loop.

    Args:
        link: the front end's end of what it shares with the engine.
        read_blob: gives verified bytes of the zoo, for preprocessing; called in a thread.
        clock: monotonic seconds, the same as the engine's.
        max_unsent_bytes: how much may wait for room in the ring before calls are refused.
    """

    def __init__(
        self,
        link: Link,
        read_blob: Callable[[str], bytes],
        clock: Callable[[], float],
        *,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
    ) -> None:
        self.has_plan = asyncio.Event()
        """Set once there is something to answer with."""
        self.states: asyncio.Queue[State] = asyncio.Queue()
        """What the engine says of the whole server, each time that changes."""
        self.told_to_leave = asyncio.Event()
        """Set when the engine says that the server stops."""
        self.gone = asyncio.Event()
        """Set when the engine's process is gone."""
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(link, writes_first=True, receive=self._receive, ended=self._end)
        self.statistics = Tally(lambda told: self._channel.send(messages.worded(Kind.COUNTED_HERE, told)))
        """What the handlers of this front end count; the engine adds it up."""
        self._read_blob = read_blob
        self._clock = clock
        self._max_unsent_bytes = max_unsent_bytes
        self._known = Known()
        self._loaded: LoadedPlan | None = None
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._counts: dict[int, asyncio.Future[Sequence[VersionStatistics]]] = {}
        self._taking: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> LoadedPlan:
        """What it answers with now; nothing in it can be run here."""
        if self._loaded is None:
            raise Unavailable(LOADING)
        return self._loaded

    @property
    def plan(self) -> Plan:
        """The plan that it answers with."""
        return self.loaded.plan

    @property
    def ready(self) -> bool:
        """Whether it takes rows."""
        return self._loaded is not None and self._channel.is_open and not self.told_to_leave.is_set()

    def admits(self) -> None:
        """Tell the engine that callers are let in from now on."""
        self._channel.send(messages.numbered(Kind.ADMITS))

    async def close(self) -> None:
        """Tell the engine what was counted, and let go of it."""
        if self._taking is not None:
            self._taking.cancel()
        self.statistics.tell()
        await self._channel.flushed()
        self._channel.close()

    def check_room(self, served: Sequence[ServedVersion], rows: int, deadline: float | None) -> None:  # noqa: ARG002
        """See what can be seen from here: that the engine is there, the deadline ahead, and room in the ring.

        Raises:
            Overloaded: too much waits for room in the ring.
            DeadlineExceeded: the deadline has passed.
            Unavailable: the engine is gone, or has no plan yet.
        """
        if not self._channel.is_open:
            raise Unavailable(GONE)
        if deadline is not None and deadline <= self._clock():
            raise DeadlineExceeded("The deadline had passed when the request came; allow more time.")
        if self._channel.unsent_bytes > self._max_unsent_bytes:
            raise Overloaded(
                f"{self._channel.unsent_bytes:,} bytes wait to be handed to the engine, and this front end keeps at "
                f"most {self._max_unsent_bytes:,}; try again in {RETRY_AFTER_S} s.",
                retry_after_s=RETRY_AFTER_S,
            )

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
    ) -> Sequence[Mapping[str, Arrays]]:
        """Answer several rows with several versions, all of them or none; ``Engine.submit_all`` says it in full.

        Raises:
            Overloaded: the ring, or the engine's queue, has no room for the rows.
            ServingError: whatever the engine refuses, and Unavailable if it is gone.
        """
        arrived_s = self._clock()
        try:
            self.check_room(served, len(rows), deadline)
        except ServingError:
            if trace is not None:
                trace.submitted = False  # the engine never hears of it, and does not count it
            raise
        plan = loaded.executables
        assert isinstance(plan, Announced), "a front end answers with the plans that the engine told it"
        number = next(self._numbers)
        asked = Submission(
            call=number,
            plan=plan.number,
            priority=priority,
            arrived_s=arrived_s,
            deadline_s=inf if deadline is None else deadline,
            served=tuple(plan.place[version.digest] for version in served),
            shadows=tuple(plan.place[version.digest] for version in shadows),
            rows=tuple(rows),
        )
        versions = tuple(version.digest for version in (*served, *shadows))
        call = self._calls[number] = _Call(self._loop.create_future(), versions, trace)
        self._channel.send(messages.submission(asked))
        try:
            return await call.future
        except asyncio.CancelledError:
            self._channel.send(messages.numbered(Kind.CANCEL, number))
            raise
        finally:
            # An error in the future knows this frame: without a way back, neither keeps the other, and the plan, alive.
            del self._calls[number], call

    async def counted(self, versions: Sequence[ServedVersion]) -> Sequence[VersionStatistics]:
        """Return what each version did since the server started, as the engine counts it.

        Raises:
            Unavailable: the engine is gone.
        """
        if not self._channel.is_open:
            raise Unavailable(GONE)
        number = next(self._numbers)
        future: asyncio.Future[Sequence[VersionStatistics]] = self._loop.create_future()
        self._counts[number] = future
        digests = json.dumps([version.digest for version in versions]).encode()
        self._channel.send(messages.worded(Kind.COUNT, digests, number))
        try:
            return await future
        finally:
            del self._counts[number]

    def _receive(self, message: memoryview) -> None:
        number = messages.read_number(message)
        match message[0]:
            case Kind.ANSWERS | Kind.FAILED:
                call = self._calls.get(number)
                if call is not None and not call.future.done():  # else whoever asked has left
                    _settle(call, message)
            case Kind.COUNTED:
                counted = self._counts.get(number)
                if counted is not None and not counted.done():
                    counted.set_result(COUNTS.validate_json(messages.read_worded(message)[1]))
            case Kind.PLAN:
                self._taking = asyncio.ensure_future(self._take(*messages.read_worded(message)))
            case Kind.STATE:
                self.states.put_nowait(STATE.validate_json(messages.read_worded(message)[1]))
            case Kind.DRAIN:
                self.told_to_leave.set()

    async def _take(self, number: int, words: bytes) -> None:
        """Answer with a plan from now on; the next one is told only when this one was taken."""
        while True:
            try:
                loaded = await asyncio.to_thread(understand, number, words, self._known, self._read_blob)
                break
            except Exception:
                _log.exception("a plan cannot be prepared, and the one before it serves on; next try in %g s", AGAIN_S)
                await asyncio.sleep(AGAIN_S)
        weakref.finalize(loaded.executables, self._release, number).atexit = False
        self._loaded = loaded
        if self.has_plan.is_set():
            self._loop.call_later(COLLECT_AFTER_S, gc.collect)
        self.has_plan.set()
        self._channel.send(messages.numbered(Kind.TAKEN, number))

    def _release(self, number: int) -> None:
        """Say that nothing here needs a plan any more; called by whichever thread drops the last reference to it."""
        with suppress(RuntimeError):  # the loop is closed, and the engine sees that this end is gone
            self._loop.call_soon_threadsafe(self._channel.send, messages.numbered(Kind.RELEASED, number))

    def _end(self) -> None:
        self.gone.set()
        waiting: list[asyncio.Future[Any]] = [call.future for call in self._calls.values()]
        for future in (*waiting, *self._counts.values()):
            if not future.done():
                future.set_exception(Unavailable(GONE))


def _settle(call: _Call, message: memoryview) -> None:
    if message[0] == Kind.ANSWERS:
        call.future.set_result(messages.read_answers(message, call.versions, call.trace))
    else:
        call.future.set_exception(messages.read_failed(message))
