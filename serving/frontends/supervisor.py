"""Starts front ends, tells them what is served, starts another one for each that dies, and sees them out."""

import asyncio
import itertools
import logging
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace

from serving.address import Address
from serving.engine import Engine
from serving.errors import Unavailable
from serving.frontends.channel import Link
from serving.frontends.desk import Desk
from serving.frontends.front import LAST_WORDS_S, ServerLimits
from serving.frontends.port import reserve
from serving.frontends.process import ASSIGNMENT, Assignment
from serving.frontends.settings import FrontEndSettings, State
from serving.plan import LoadedPlan

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
STEADY_S = 30.0
"""Whoever lived as long did not die of how it was started; its successor starts after the first pause again."""

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 5.0
"""How long a process may live on after it let go of its engine; then it is killed."""


class Supervisor:
    """Keeps front ends alive that share one address; an ``Entrance``, which lives on the engine's event loop.

    Args:
        settings: how many, and what they read.
        limits: of each of them.
    """

    def __init__(self, settings: FrontEndSettings, limits: ServerLimits) -> None:
        self._settings = settings
        self._limits = limits
        self._numbers = itertools.count(1)
        self._desks: dict[int, Desk] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._admitting = asyncio.Semaphore(0)
        self._keepers: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()
        self._state = State()
        self._held = ExitStack()

    @property
    def processes(self) -> tuple[int, ...]:
        """Ids of the processes that run."""
        return tuple(process.pid for process in self._processes.values())

    @property
    def desks(self) -> tuple[Desk, ...]:
        """The engine's side of each that runs."""
        return tuple(self._desks.values())

    def bind(self, address: Address) -> Address:
        """Take an address for all of them; see ``Entrance``."""
        self._address = reserve(address, self._held)
        return self._address

    async def open(self, engine: Engine, *, runtime: str, device: str) -> None:
        """Start all of them; they answer that the server is loading, until ``admit``."""
        self._engine = engine
        self._newest = (next(self._numbers), engine.loaded)
        self._assignment = Assignment(
            settings=self._settings,
            address=str(self._address),
            limits=self._limits,
            runtime=runtime,
            device=device,
        )
        self._keepers = [asyncio.ensure_future(self._keep(slot)) for slot in range(self._settings.count)]

    async def admit(self) -> None:
        """Let requests in, and return when all of them do.

        Raises:
            Unavailable: one ended before, or they took too long.
        """
        self._say(replace(self._state, admits=True))
        try:
            async with asyncio.timeout(STARTS_WITHIN_S):
                for _ in range(self._settings.count):
                    await self._one_admits()
        except TimeoutError:
            raise Unavailable(
                f"Not all of {self._settings.count} front ends answered within {STARTS_WITHIN_S:g} s; the log says why."
            ) from None

    async def say(self, service: str, *, serving: bool) -> None:
        """Let the health service of each say of one service whether it serves."""
        self._say(replace(self._state, health={**self._state.health, service: serving}))

    def announce(self, loaded: LoadedPlan) -> None:
        """Have all of them answer with the engine's new plan."""
        self._newest = (next(self._numbers), loaded)
        for desk in self._desks.values():
            desk.announce(*self._newest)

    async def drain(self) -> None:
        """Tell them to finish what is in flight; return when they have left, or should have."""
        self._leaving.set()
        for desk in self._desks.values():
            desk.drain()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=self._limits.drain_s + LAST_WORDS_S + ENDS_WITHIN_S)

    async def close(self) -> None:
        """Kill those that are left."""
        self._leaving.set()
        for process in self._processes.values():
            process.kill()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._held.close()

    def _say(self, state: State) -> None:
        self._state = state
        for desk in self._desks.values():
            desk.say(state)

    async def _one_admits(self) -> None:
        admits = asyncio.ensure_future(self._admitting.acquire())
        done, _ = await asyncio.wait([admits, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
        if admits not in done:
            admits.cancel()
            for keeper in done:
                keeper.result()

    async def _keep(self, slot: int) -> None:
        """Start a front end, and another one whenever it ends."""
        pause_s, has_admitted = FIRST_PAUSE_S, False
        loop = asyncio.get_running_loop()
        while not self._leaving.is_set():
            began_s = loop.time()
            admitted, code = await self._run(slot)
            if self._leaving.is_set():
                return
            has_admitted = has_admitted or admitted
            if not has_admitted:
                raise Unavailable(f"Front end {slot} ended with code {code} before it answered; the log says why.")
            pause_s = FIRST_PAUSE_S if loop.time() - began_s > STEADY_S else pause_s
            _log.error("front end %d ended with code %d; another one starts in %.1f s", slot, code, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._leaving.wait()
            self._engine.statistics.record_restart()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run(self, slot: int) -> tuple[bool, int]:
        """Run one process to its end; return whether it ever answered, and its exit code."""
        admitted = False

        def now_admits() -> None:
            nonlocal admitted
            admitted = True
            self._admitting.release()

        ours, theirs = Link.pair()
        desk = self._desks[slot] = Desk(ours, self._engine, now_admits)
        desk.announce(*self._newest)
        desk.say(self._state)
        process = self._processes[slot] = _spawn(theirs, self._assignment)
        try:
            await desk.ended.wait()
            return admitted, await asyncio.to_thread(_reap, process)
        finally:
            del self._desks[slot], self._processes[slot]
            desk.close()
            process.kill()
            process.wait()


def _spawn(link: Link, assignment: Assignment) -> "subprocess.Popen[bytes]":
    """Start a process that has the other end of ``link``, which is closed here."""
    descriptors = (link.socket.fileno(), link.memory)
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "serving.frontends.process", *map(str, descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # what is said there is the engine's
        pass_fds=descriptors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    link.close()
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # whoever ended at once is noticed by its silence
        pipe.write(ASSIGNMENT.dump_json(assignment))
    return process


def _reap(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
