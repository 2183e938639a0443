"""The engine's side of one front end: its calls, and the plans that it may still ask with."""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.engine import Engine
from serving.errors import ServingError, StageFailed
from serving.frontends import messages
from serving.frontends.announcement import announce, manifests_of
from serving.frontends.channel import Channel, Link
from serving.frontends.messages import Kind, Submission
from serving.frontends.remote import COUNTS
from serving.frontends.settings import STATE, State
from serving.frontends.tally import add_up
from serving.plan import LoadedPlan, ServedVersion
from serving.request import Trace

__all__ = ["Desk"]

_log = logging.getLogger(__name__)


class Desk:
    """Asks the engine on behalf of one front end; lives on the engine's event loop.

    Args:
        link: the engine's end of what they share.
        engine: answers.
        admits: called when callers are let in.
    """

    def __init__(self, link: Link, engine: Engine, admits: Callable[[], None]) -> None:
        self.ended = asyncio.Event()
        """Set when the front end is gone."""
        self._engine = engine
        self._admits = admits
        self._channel = Channel(link, writes_first=False, receive=self._receive, ended=self._end)
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._plans: dict[int, LoadedPlan] = {}
        self._news = _News()
        self._state = State()
        self._announcing = asyncio.ensure_future(self._announce())

    @property
    def plans(self) -> int:
        """How many plans the front end keeps alive."""
        return len(self._plans)

    @property
    def calls(self) -> int:
        """How many of its calls the engine has."""
        return len(self._calls)

    def announce(self, number: int, loaded: LoadedPlan) -> None:
        """Have the front end answer with another plan, when it has taken the one before; the newest one wins."""
        self._news.number, self._news.loaded = number, loaded
        self._news.came.set()

    def say(self, state: State) -> None:
        """Have the front end say what is true of the server, as soon as it answers with the newest plan."""
        self._state = state
        self._say()

    def drain(self) -> None:
        """Tell the front end to finish and leave."""
        self._channel.send(messages.numbered(Kind.DRAIN))

    def close(self) -> None:
        """Withdraw its calls, and let its plans and its memory go."""
        self._announcing.cancel()
        for task in self._calls.values():
            task.cancel()
        self._plans.clear()
        self._channel.close()

    async def _announce(self) -> None:
        known: set[str] = set()
        while True:
            await self._news.came.wait()
            self._news.came.clear()
            number, loaded = self._news.number, self._news.loaded
            assert loaded is not None
            self._plans[number] = loaded
            words = await asyncio.to_thread(announce, loaded, known)
            known = set(manifests_of(loaded))
            self._news.taken.clear()
            self._channel.send(messages.worded(Kind.PLAN, words, number))
            await self._news.taken.wait()

    def _say(self) -> None:
        # Whoever is let in before would be told that what was just loaded does not exist.
        if self._news.taken.is_set() and not self._news.came.is_set():
            self._channel.send(messages.worded(Kind.STATE, STATE.dump_json(self._state)))

    def _receive(self, message: memoryview) -> None:
        match message[0]:
            case Kind.SUBMIT:
                asked = messages.read_submission(message)
                task = self._calls[asked.call] = asyncio.ensure_future(self._answer(asked))
                task.add_done_callback(lambda _: self._calls.pop(asked.call))
            case Kind.CANCEL:
                call = self._calls.get(messages.read_number(message))
                if call is not None:
                    call.cancel()
            case Kind.TAKEN:
                self._news.taken.set()
                self._say()
            case Kind.RELEASED:
                del self._plans[messages.read_number(message)]
            case Kind.COUNT:
                self._count(*messages.read_worded(message))
            case Kind.COUNTED_HERE:
                add_up(messages.read_worded(message)[1], self._versions(), self._engine.statistics)
            case Kind.ADMITS:
                self._admits()

    async def _answer(self, asked: Submission) -> None:
        loaded = self._plans[asked.plan]
        versions = loaded.plan.versions
        served = [versions[place] for place in asked.served]
        shadows = [versions[place] for place in asked.shadows]
        trace = Trace()
        try:
            answers = await self._engine.submit_all(
                asked.rows,
                served,
                loaded=loaded,
                deadline=asked.deadline_s,
                priority=asked.priority,
                shadows=shadows,
                trace=trace,
                arrived_s=asked.arrived_s,
            )
            digests = [version.digest for version in (*served, *shadows)]
            message = messages.answers(asked.call, digests, answers, trace)
        except ServingError as error:
            message = messages.failed(asked.call, error)
        except Exception as error:
            message = messages.failed(asked.call, _unforeseen(error))
        self._channel.send(message)

    def _count(self, number: int, words: bytes) -> None:
        statistics = self._engine.statistics
        counted = COUNTS.dump_json([statistics.version(digest) for digest in json.loads(words)])
        self._channel.send(messages.worded(Kind.COUNTED, counted, number))

    def _versions(self) -> dict[str, ServedVersion]:
        """Return every version that the front end may have answered with, by digest."""
        plans = [loaded.plan for loaded in self._plans.values()]
        return {version.digest: version for plan in (*plans, self._engine.plan) for version in plan.versions}

    def _end(self) -> None:
        self.close()
        self.ended.set()


@dataclass(slots=True)
class _News:
    """The newest plan, and whether the front end has taken what it was told last."""

    number: int = 0
    loaded: LoadedPlan | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)
    taken: asyncio.Event = field(default_factory=asyncio.Event)


def _unforeseen(error: Exception) -> StageFailed:
    incident = secrets.token_hex(6)
    _log.error("%s: a call of a front end failed", incident, exc_info=error)
    return StageFailed(
        f"The engine failed on this call. The server's log has the cause under {incident}; tell its operators that id."
    )
