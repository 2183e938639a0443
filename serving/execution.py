"""Runs batches through a plan: each node once, on the rows that want anything at or below it.

What nodes give is kept, so that an input that was seen before starts below them: ``lookup`` says where.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from serving.batch_result import BatchResult, NodeRun, VersionRun
from serving.buffers import LaneBuffers
from serving.cache import CacheKey, NodeCache
from serving.places import Places
from serving.plan import LoadedPlan, Route, ServedVersion
from serving.runtimes.base import Runtime
from serving.walk import Means, Walk
from serving.work import Answers, Found, Start, Work
from zoo.preprocessing import Row

__all__ = ["Answers", "BatchResult", "Execution", "Found", "NodeRun", "Start", "VersionRun", "Work"]

REMEMBERED_WAYS = 4096
"""For how many sets of versions the ways to answer them are kept; finding them anew costs microseconds a version."""


class Execution:
    """Runs batches of one loaded plan on one runtime. Safe to call from several lanes at once.

    Args:
        loaded: the plan.
        runtime: what loaded it.
        clock: monotonic seconds.
        cache: keeps what nodes give; plans may share it.
    """

    def __init__(self, loaded: LoadedPlan, runtime: Runtime, clock: Callable[[], float], cache: NodeCache) -> None:
        self._cache = cache
        self._places = Places(loaded)
        self._rest = lru_cache(REMEMBERED_WAYS)(self._places.rest)
        self._means = Means(
            loaded=loaded, runtime=runtime, clock=clock, cache=cache, places=self._places, buffers=LaneBuffers()
        )

    def lookup(self, route: Route, row: Row) -> Found:
        """Find what the cache has for a row: answers, and else the node that is nearest to them.

        Shadows run beside an answer that has to be computed, and never for themselves.

        Args:
            route: what is wanted of it.
            row: the preprocessed input; one without a digest is never found.

        Returns:
            The answers, and where the rest starts.
        """
        if not (self._cache.on and row.digest):
            return Found(answers={}, start=Start(root=route.root), route=route)
        answers: Answers = {}
        versions = tuple(each for each in route.versions if not self._find(each, row, answers))
        if not versions:
            return Found(answers=answers, start=Start(root=route.root), route=None)
        shadows = tuple(each for each in route.shadows if not self._find(each, row, answers))
        *ways, raw = self._rest(versions, shadows)
        for way in ways:
            if features := self._cache.get(CacheKey(route.root.preprocessing, way.start.path, row.digest), way.needs):
                return Found(answers=answers, start=way.start, route=way.route, features=features)
        return Found(answers=answers, start=raw.start, route=raw.route if answers else route)

    def run(self, start: Start, works: Sequence[Work]) -> BatchResult:
        """Run rows that start at the same place as one batch.

        A row that a stage fails on fails alone, and only for the versions at or below that stage. A row that nobody
        wants any more leaves before the next stage.

        Args:
            start: where all of them enter the plan.
            works: at least one row.

        Returns:
            An answer or a failure for each row that was not dropped, and what ran.
        """
        return Walk(self._means, works).run(start)

    def _find(self, version: ServedVersion, row: Row, answers: Answers) -> bool:
        """Add what the cache has of a version's answer to ``answers``; return whether it has it."""
        place = self._places.end_of(version)
        names = place.versions[version.digest]
        found = self._cache.get(CacheKey(place.root.preprocessing, place.node.path, row.digest), frozenset(names))
        if found:
            answers[version.digest] = {name: found[name] for name in names}
        return bool(found)
