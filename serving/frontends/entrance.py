"""Where callers come in: one process or several, the server treats them alike."""

from typing import Protocol

from serving.address import Address
from serving.engine import Engine
from serving.plan import LoadedPlan

__all__ = ["Entrance"]


class Entrance(Protocol):
    """Takes an address, answers there with an engine, and leaves in order: a ``Front``, or a ``Supervisor``."""

    def bind(self, address: Address) -> Address:
        """Take an address, on which nobody is answered yet; return it with the port that was taken.

        Raises:
            AddressUnavailable: it cannot be listened on.
        """
        ...

    async def open(self, engine: Engine, *, runtime: str, device: str, loading: bool) -> None:
        """Answer.

        Args:
            engine: what answers; it has started.
            runtime: the name of what runs the stages.
            device: where they run.
            loading: answer that the server is loading, until ``admit``.
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
