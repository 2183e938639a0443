"""What the engine keeps for each plan that it answers with, as long as anybody is answered with it."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from serving.cache import NodeCache
from serving.execution import Execution
from serving.flights import Flight, FlightKey
from serving.plan import LoadedPlan, Route, ServedVersion
from serving.runtimes.base import Runtime
from serving.work import Found, Start
from zoo.preprocessing import Row

__all__ = ["PinnedPlan"]

REMEMBERED_ROUTES = 4096
"""For how many sets of heads the way through the plan is kept; finding it anew costs microseconds."""


class PinnedPlan:
    """A loaded plan, what runs it, and its rows in flight. Used on the event loop; the lanes only run it.

    Args:
        loaded: the plan.
        runtime: what runs it.
        clock: monotonic seconds.
        cache: what its nodes gave before, and those of other plans on the same path.
    """

    def __init__(self, loaded: LoadedPlan, runtime: Runtime, clock: Callable[[], float], cache: NodeCache) -> None:
        self.loaded = loaded
        self.clock = clock
        self.execution = Execution(loaded, runtime, clock, cache)
        self.flights: dict[FlightKey, Flight] = {}
        """The newest flight of each input."""
        self.caches = cache.on
        """Whether what a row gives on its way is found by the next one like it."""
        self.requests = 0
        """How many requests are being answered with it."""
        self._routes = lru_cache(REMEMBERED_ROUTES)(loaded.plan.routes)
        self._nothing = lru_cache(REMEMBERED_ROUTES)(_nothing)

    def routes(self, served: Sequence[ServedVersion], shadows: Sequence[ServedVersion]) -> tuple[Route, ...]:
        """Return ``Plan.routes``, which is looked up once for each set of versions."""
        return self._routes(tuple(served), tuple(shadows))

    def find(self, route: Route, row: Row) -> Found:
        """Return what the cache has for a row."""
        return self.execution.lookup(route, row) if self.caches and row.digest else self._nothing(route)

    def unite(self, one: Route, other: Route) -> Route:
        """Return the way that answers what two ways of one tree answer; ``one`` itself if it does already."""
        versions = dict.fromkeys((*one.versions, *other.versions))
        shadows = [each for each in dict.fromkeys((*one.shadows, *other.shadows)) if each not in versions]
        if len(versions) == len(one.versions) and len(shadows) == len(one.shadows):
            return one
        (route,) = self.routes(tuple(versions), shadows)
        return route

    def land(self, flight: Flight) -> None:
        """Let nobody else join a flight."""
        if flight.key is not None and self.flights.get(flight.key) is flight:
            del self.flights[flight.key]


def _nothing(route: Route) -> Found:
    return Found(answers={}, start=Start(root=route.root), route=route)
