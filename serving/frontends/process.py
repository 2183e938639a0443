"""A front end as a process of its own: what ``python -m serving.frontends.process`` runs.

Its settings come as JSON on standard input, its two descriptors are named on the command line. Whoever started it is
its engine: it leaves when that says so, and when that is gone.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from dataclasses import dataclass

from pydantic import TypeAdapter

from serving.address import parse_address
from serving.frontends.channel import Link
from serving.frontends.front import Front, ServerLimits
from serving.frontends.remote import RemoteEngine
from serving.frontends.settings import FrontEndSettings
from serving.frontends.turns import in_turn
from serving.handlers.access import ACCESS_LOGGER
from serving.logs import BackgroundLog, LineFormatter, write_to
from serving.loops import run
from zoo import Zoo

__all__ = ["STDERR", "Assignment"]

STDERR = 2

LEFT, LOST = 0, 1
"""Exit codes: it was told to leave; its engine is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a front end is told when it starts."""

    settings: FrontEndSettings
    address: str
    limits: ServerLimits
    runtime: str
    """The name of what runs the stages."""
    device: str


ASSIGNMENT = TypeAdapter(Assignment)


async def serve(assignment: Assignment, link: Link) -> int:
    """Answer until the engine says stop, is gone, or SIGTERM comes; return the exit code."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    place = assignment.settings
    with Zoo.open(place.zoo, database_url=place.database_url, blobs_url=place.blobs_url) as zoo:
        engine = RemoteEngine(link, zoo.blobs.get, time.monotonic)
        leave = [asyncio.ensure_future(event.wait()) for event in (ends, engine.told_to_leave, engine.gone)]
        first = asyncio.ensure_future(engine.has_plan.wait())
        await asyncio.wait([first, *leave], return_when=asyncio.FIRST_COMPLETED)
        if engine.has_plan.is_set():
            front = Front(
                zoo,
                assignment.limits,
                share_port=True,
                access_log=place.access_log,
                trace_endpoint=place.trace_endpoint,
            )
            front.bind(parse_address(assignment.address))
            await front.open(engine, runtime=assignment.runtime, device=assignment.device)
            following = asyncio.ensure_future(_follow(engine, front))
            await asyncio.wait([following, *leave], return_when=asyncio.FIRST_COMPLETED)
            following.cancel()
            await front.drain()
            await front.close()
        await engine.close()
    return LOST if engine.gone.is_set() else LEFT


async def _follow(engine: RemoteEngine, front: Front) -> None:
    """Say what the engine says of the whole server."""
    admits = False
    while True:
        state = await engine.states.get()
        if state.admits and not admits:
            admits = True
            await front.admit()
            engine.admits()
        for service, serving in state.health.items():
            await front.say(service, serving=serving)


def main(descriptors: list[str]) -> int:
    """Read the assignment, and answer."""
    # Ctrl-C reaches every process of a terminal; the engine decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # modules stay: whoever collects later need not look at them
    ours, memory = map(int, descriptors)
    assignment = ASSIGNMENT.validate_json(sys.stdin.buffer.read())
    log = BackgroundLog(in_turn(STDERR, write_to(STDERR)))
    log.setFormatter(LineFormatter([ACCESS_LOGGER] if assignment.settings.access_log == "json" else ()))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    return run(serve(assignment, Link(socket=socket.socket(fileno=ours), memory=memory)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
