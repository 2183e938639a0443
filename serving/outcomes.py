"""Who wants what of a batch, and how it went: answers and failures by row."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.batch_result import BatchResult, VersionRun
from serving.cache import CacheKey, NodeCache
from serving.errors import NotFinite, ServingError, StageFailed
from serving.places import Place, Tensor
from serving.plan import Node, ServedVersion
from serving.runtimes.base import Arrays
from serving.work import Work

__all__ = ["Outcomes", "Spent"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent on rows on their way to a node, in seconds of the whole batch."""

    input_s: float
    infer_s: float = 0.0

    def then(self, infer_s: float) -> "Spent":
        """Return it with one more node."""
        return replace(self, infer_s=self.infer_s + infer_s)


class Outcomes:
    """Fills a ``BatchResult``.

    Args:
        result: what to fill.
        works: the rows.
        cache: keeps the answers.
    """

    def __init__(self, result: BatchResult, works: Sequence[Work], cache: NodeCache) -> None:
        self._result = result
        self._works = works
        self._cache = cache
        self._wanting: dict[str, set[int]] = {}
        self._shadows: set[tuple[int, str]] = set()
        self._incidents: dict[tuple[str, str], str] = {}
        for position, work in enumerate(works):
            for version in work.route.versions:
                self._wanting.setdefault(version.digest, set()).add(position)
            for shadow in work.route.shadows:
                self._wanting.setdefault(shadow.digest, set()).add(position)
                self._shadows.add((position, shadow.digest))

    def wanted(self, node: Node, rows: Sequence[int]) -> list[tuple[ServedVersion, list[int]]]:
        """Return the versions that end at ``node`` and that some of ``rows`` want, each with these."""
        pairs = []
        for version in node.versions:
            wanting = self._wanting.get(version.digest)
            if wanting and (positions := [position for position in rows if position in wanting]):
                pairs.append((version, positions))
        return pairs

    def answer(
        self,
        place: Place,
        version: ServedVersion,
        arrays: Arrays,
        index_of: Mapping[int, int],
        positions: Sequence[int],
    ) -> list[int]:
        """Give rows their part of a version's outputs.

        Args:
            place: where the version ends.
            version: whose outputs they are.
            arrays: the outputs of a batch.
            index_of: which of its rows a position has.
            positions: that are to be answered.

        Returns:
            The positions that got no answer, since an output of theirs is a NaN or an infinity.
        """
        outputs = place.versions[version.digest]
        suspect = [name for name in outputs if not _all_finite(arrays, name)]
        unanswered = []
        for position in positions:
            row = self._works[position].row
            answer = _cut(outputs, arrays, index_of[position], row.length)
            if not all(_all_finite(answer, name) for name in suspect):
                unanswered.append(position)
                continue
            self._result.answers[position][version.digest] = answer
            self._cache.put(CacheKey(place.root.preprocessing, place.node.path, row.digest), answer)
        return unanswered

    def keep(self, place: Place, arrays: Arrays, index_of: Mapping[int, int], positions: Sequence[int]) -> None:
        """Keep what ``place`` gave, for rows that will be seen again."""
        for position in positions:
            row = self._works[position].row
            key = CacheKey(place.root.preprocessing, place.node.path, row.digest)
            self._cache.put(key, _cut(place.features, arrays, index_of[position], row.length))

    def record(
        self, version: ServedVersion, positions: Sequence[int], spent: Spent, output_s: float = 0.0, *, failed: bool
    ) -> None:
        """Note what the batch meant for a version."""
        run = VersionRun(
            version=version,
            works=tuple(positions),
            failed=failed,
            input_s=spent.input_s,
            infer_s=spent.infer_s,
            output_s=output_s,
        )
        self._result.version_runs.append(run)

    def fail_below(self, node: Node, rows: Sequence[int], what: str, error: Exception, spent: Spent) -> None:
        """Fail what ``rows`` want at ``node`` or below it; the rest of the batch goes on."""
        failure = self._stage_failure(node, rows, what, error)
        for each in node.walk():
            for version, positions in self.wanted(each, rows):
                self._fail(version, positions, failure, spent)

    def fail_outputs(
        self, node: Node, wanted: Sequence[tuple[ServedVersion, list[int]]], error: Exception, spent: Spent
    ) -> None:
        """Fail rows that want versions which end at ``node``, but not what they want below it."""
        rows = sorted({position for _, positions in wanted for position in positions})
        failure = self._stage_failure(node, rows, "the output of stage", error)
        for version, positions in wanted:
            self._fail(version, positions, failure, spent)

    def fail_not_finite(self, node: Node, version: ServedVersion, positions: Sequence[int], spent: Spent) -> None:
        """Fail rows that a version answered with a NaN or an infinity."""
        incident, first = self._incident(node, f"not finite {version.digest}")
        if first:
            _log.error("%s: %s gave a NaN or an infinity on %d rows", incident, version, len(positions))
        failure = NotFinite(
            f"{version} computed a NaN or an infinity for this input, which is no answer. Other inputs are not "
            f"affected. The server's log has it under {incident}; tell the head's team, or ask another version."
        )
        self._fail(version, positions, failure, spent)

    def _fail(self, version: ServedVersion, positions: Sequence[int], failure: ServingError, spent: Spent) -> None:
        for position in positions:
            if (position, version.digest) not in self._shadows:
                self._result.failures.setdefault(position, failure)
                self._result.version_failures[position, version.digest] = failure
        self.record(version, positions, spent, failed=True)

    def _stage_failure(self, node: Node, rows: Sequence[int], what: str, error: Exception) -> StageFailed:
        """Log the cause, once for a node of a batch, and return what a caller may know of it."""
        incident, first = self._incident(node, what)
        if first:
            _log.error(
                "%s: %s %r failed on %d rows, path %s",
                incident,
                what,
                node.stage.name,
                len(rows),
                node.path,
                exc_info=error,
            )
        on = "this row" if len(rows) == 1 else "this batch"
        failure = StageFailed(
            f"{what[0].upper()}{what[1:]} {node.stage.name!r} failed on {on}. "
            f"The server's log has the cause under {incident}; tell its operators that id."
        )
        failure.__cause__ = error
        return failure

    def _incident(self, node: Node, what: str) -> tuple[str, bool]:
        """Return the id under which the log has it, and whether that is new."""
        key = (node.path, what)
        first = key not in self._incidents
        return self._incidents.setdefault(key, secrets.token_hex(6)), first


def _cut(tensors: Mapping[str, Tensor], arrays: Arrays, index: int, length: int) -> Arrays:
    return {name: each.of_row(arrays[name], index, length) for name, each in tensors.items()}


def _all_finite(arrays: Arrays, name: str) -> bool:
    array = arrays[name]
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
