"""Where callers come in: one process or several, the server treats them alike."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from serving.address import Address
from serving.engine import Engine
from serving.plan import LoadedPlan

__all__ = ["AnnouncedSwaps", "Entrance"]

T = TypeVar("T")


class Entrance(Protocol):
    """Takes an address, answers there with an engine, and leaves in order: a ``Front``, or a ``Supervisor``."""

    def bind(self, address: Address) -> Address:
        """Take an address, on which nobody is answered yet; return it with the port that was taken.

        Raises:
            AddressUnavailable: it cannot be listened on.
        """
        ...

    async def open(self, engine: Engine, *, runtime: str, device: str) -> None:
        """Answer that the server is loading, until ``admit``.

        Args:
            engine: what answers; it has started.
            runtime: the name of what runs the stages.
            device: where they run.
        """
        ...

    async def admit(self) -> None:
        """Let requests in: the engine has a plan."""
        ...

    async def say(self, service: str, *, serving: bool) -> None:
        """Let the health service say of one service whether it serves."""
        ...

    def announce(self, loaded: LoadedPlan) -> None:
        """Answer with another plan of the engine from now on."""
        ...

    async def drain(self) -> None:
        """Say that nothing is served here any more, refuse new requests, and finish those in flight."""
        ...

    async def close(self) -> None:
        """Leave at once; whatever is still in flight is cut off."""
        ...


class AnnouncedSwaps:
    """An engine whose plans are swapped, and an entrance that is told of each.

    Args:
        engine: answers.
        entrance: where its callers come in.
    """

    def __init__(self, engine: Engine, entrance: Entrance) -> None:
        self._engine = engine
        self._entrance = entrance

    @property
    def loaded(self) -> LoadedPlan:
        """The plan that runs."""
        return self._engine.loaded

    def prepare(self, loaded: LoadedPlan) -> None:
        """Make what answering with a plan needs; in a thread."""
        self._engine.prepare(loaded)

    def swap(self, loaded: LoadedPlan) -> None:
        """Answer new requests with another plan, wherever they come in."""
        self._engine.swap(loaded)
        self._entrance.announce(loaded)

    async def run_on_device(self, job: Callable[[], T]) -> T:
        """Run something on the device, between two batches."""
        return await self._engine.run_on_device(job)
