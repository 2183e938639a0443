"""The one place that counts. ``ModelStatistics`` and the metrics read it, and nothing is counted a second time."""

from asyncio import CancelledError
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from threading import Lock
from typing import TypeVar

from serving.counts import (
    OK,
    SECONDS,
    BatchCounts,
    BatchStatistics,
    CacheCounts,
    Counts,
    Duration,
    HeadCounts,
    RpcCounts,
    ShadowOutcome,
    StageRuns,
    Swaps,
    VersionStatistics,
)
from serving.execution import BatchResult, VersionRun
from serving.plan import ServedVersion

__all__ = [
    "BatchStatistics",
    "Duration",
    "ShadowOutcome",
    "StageRuns",
    "Statistics",
    "Swaps",
    "VersionStatistics",
    "outcome",
]


T = TypeVar("T")


def outcome(error: BaseException) -> str:
    """Return the code under which a request that ended with ``error`` is counted.

    >>> outcome(ValueError("a bug")), outcome(CancelledError())
    ('internal', 'cancelled')
    """
    if isinstance(error, CancelledError):
        return "cancelled"
    code: str = getattr(error, "code", "internal")
    return code


class Statistics:
    """Counts; safe to call from every thread, and cheap: one lock a batch and one a request.

    Args:
        unix_time: gives the wall-clock time in seconds.
    """

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._lock = Lock()
        self._versions: dict[str, VersionStatistics] = {}
        self._stages: dict[str, StageRuns] = {}
        self._heads: dict[str, HeadCounts] = {}
        self._batches = BatchCounts()
        self._features = CacheCounts()
        self._rpcs: dict[str, RpcCounts] = {}
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._merged: Counter[str] = Counter()
        self._swaps = Swaps()
        self._shadows: Counter[tuple[str, str, ShadowOutcome]] = Counter()
        self._front_end_restarts = 0

    def version(self, digest: str) -> VersionStatistics:
        """Return a copy of what a version did; all zeros if it was never asked."""
        with self._lock:
            return deepcopy(self._versions.get(digest, VersionStatistics()))

    def stage_runs(self, path: str) -> StageRuns:
        """Return a copy of how often the node with this path digest ran."""
        with self._lock:
            return deepcopy(self._stages.get(path, StageRuns()))

    def dropped(self) -> dict[str, int]:
        """Return how many rows were turned away or given up, by reason."""
        by_reason: Counter[str] = Counter()
        with self._lock:
            for (reason, _), rows in self._dropped.items():
                by_reason[reason] += rows
        return dict(by_reason)

    def counts(self) -> Counts:
        """Return a copy of everything, taken piece by piece so that nobody waits for all of it."""
        return Counts(
            versions=self._copied(self._versions),
            stages=self._copied(self._stages),
            heads=self._copied(self._heads),
            rpcs=self._copied(self._rpcs),
            batches=self._copy(self._batches),
            features=self._copy(self._features),
            swaps=self._copy(self._swaps),
            dropped=self._copy(self._dropped),
            merged=self._copy(self._merged),
            shadows=self._copy(self._shadows),
            front_end_restarts=self._front_end_restarts,
        )

    def swaps(self) -> Swaps:
        """Return a copy of what became of the plans."""
        with self._lock:
            return deepcopy(self._swaps)

    def shadows(self) -> dict[tuple[str, str, ShadowOutcome], int]:
        """Return how many rows of each shadow, by head and version digest, ended how."""
        with self._lock:
            return dict(self._shadows)

    def keep(self, versions: Collection[str], paths: Collection[str]) -> None:
        """Forget the versions and nodes that a new plan has not; what their heads did stays counted.

        Args:
            versions: digests of those that it has.
            paths: path digests of its nodes.
        """
        with self._lock:
            self._versions = {digest: each for digest, each in self._versions.items() if digest in versions}
            self._stages = {path: each for path, each in self._stages.items() if path in paths}
            self._shadows = Counter({key: rows for key, rows in self._shadows.items() if key[1] in versions})

    def record_batch(
        self,
        result: BatchResult,
        waited_s: Sequence[float],
        *,
        teams: Sequence[str] = (),
        shares: Sequence[int] = (),
        predicted_s: float = 0.0,
        began_s: float = 0.0,
        ended_s: float = 0.0,
        lane: int = 0,
        reason: str = "",
        stop: str = "",
    ) -> None:
        """Add one batch.

        Args:
            result: what ran, and for whom.
            waited_s: how long each of its rows was queued.
            teams: the team of each row.
            shares: how many callers each row answers; one each if it is empty.
            predicted_s: how long it was predicted to run; 0 if that was not known.
            began_s: when it began, by the engine's clock.
            ended_s: when it ended.
            lane: which lane ran it.
            reason: why it was this batch's turn.
            stop: why it held no more rows.
        """
        now_ms = round(self._unix_time() * 1000)
        places = [bisect_left(SECONDS, seconds) for seconds in waited_s]  # once for all heads
        with self._lock:
            self._add_batch(result, len(waited_s), predicted_s, ended_s - began_s, lane, (reason, stop))
            for run in result.runs:
                stage = self._stages.get(run.path)
                if stage is None:
                    stage = self._stages[run.path] = StageRuns(run.stage)
                stage.runs += 1
                stage.rows += run.rows
                stage.seconds.add(run.ended_s - run.began_s)
                stage.rows_per_run.add(run.rows)
            for part in result.version_runs:
                if not part.failed:
                    self._add_run(part, waited_s, places, shares, now_ms)
            for position, share in enumerate(shares):
                if share > 1:
                    self._merged[teams[position]] += share - 1
            for position in result.dropped:
                self._dropped["midway", teams[position] if teams else ""] += 1

    def record_request(self, versions: Iterable[ServedVersion], seconds: float, code: str = OK) -> None:
        """Add one request.

        Args:
            versions: what it asked.
            seconds: how long after it came it was answered or refused.
            code: ``ok``, or that of its error.
        """
        with self._lock:
            for version in versions:
                statistics = self._of(version)
                (statistics.success if code == OK else statistics.fail).add(seconds)
                statistics.by_code[code] = statistics.by_code.get(code, 0) + 1
                head = self._head(version)
                head.requests.add(seconds)
                head.by_code[code] = head.by_code.get(code, 0) + 1

    def record_call(self, rpc: str, seconds: float, code: str, refused: Sequence[ServedVersion] = ()) -> None:
        """Add one call of an rpc.

        Args:
            rpc: its name.
            seconds: how long it took.
            code: ``ok``, or that of its error.
            refused: the versions that it asked, if it never reached the engine, which counts what does.
        """
        with self._lock:
            counts = self._rpcs.get(rpc)
            if counts is None:
                counts = self._rpcs[rpc] = RpcCounts()
            counts.by_code[code] = counts.by_code.get(code, 0) + 1
            counts.seconds.add(seconds)
        if refused:
            self.record_request(refused, seconds, code)

    def record_dropped(self, reason: str, team: str, rows: int) -> None:
        """Add rows that nobody will get an answer for.

        Args:
            reason: ``expired``, ``withdrawn``, ``overloaded`` or ``refused``.
            team: whose they are.
            rows: how many.
        """
        with self._lock:
            self._dropped[reason, team] += rows

    def record_answers(self, hits: Sequence[ServedVersion], misses: Sequence[ServedVersion], seconds: float) -> None:
        """Add what the cache had of one request's answers.

        Args:
            hits: the version of each answer that was there; a version is named once for each row.
            misses: the version of each answer that was not.
            seconds: how long it took to look, on average for one answer.
        """
        if not hits and not misses:
            return
        with self._lock:
            for version in hits:
                self._add_lookup(version, seconds, hit=True)
            for version in misses:
                self._add_lookup(version, seconds, hit=False)

    def record_cache(self, hits: int, misses: int) -> None:
        """Add rows that found, or did not find, in the cache what a node of their way gives."""
        with self._lock:
            self._features.hits += hits
            self._features.misses += misses

    def record_swap(self, epoch: int, seconds: float, ok: bool) -> None:
        """Add an attempt to serve what is promoted.

        Args:
            epoch: id of the newest promotion that is served.
            seconds: how long loading and warming up took.
            ok: whether everything that is promoted is served.
        """
        with self._lock:
            if epoch != self._swaps.epoch or ok:
                self._swaps.swapped.add(seconds)
                self._swaps.seconds.add(seconds)
            self._swaps.epoch = epoch
            self._swaps.complete = ok
            self._swaps.failed += not ok

    def record_shadow(self, shadow: ServedVersion, outcome: ShadowOutcome) -> None:
        """Add one row on which a shadow was compared with what answered."""
        with self._lock:
            self._shadows[shadow.head, shadow.digest, outcome] += 1

    def record_restart(self) -> None:
        """Add a front-end process that ended and was replaced."""
        with self._lock:
            self._front_end_restarts += 1

    def _copied(self, values: Mapping[str, T]) -> dict[str, T]:
        with self._lock:
            keys = list(values)
        return {key: self._copy(values[key]) for key in keys}

    def _copy(self, value: T) -> T:
        with self._lock:
            return deepcopy(value)

    def _add_lookup(self, version: ServedVersion, seconds: float, *, hit: bool) -> None:
        statistics, head = self._of(version), self._head(version)
        head.cache_hits += hit
        head.cache_misses += not hit
        (statistics.cache_hit if hit else statistics.cache_miss).add(seconds)
        if hit:
            statistics.queue.add(0.0)

    def _of(self, version: ServedVersion) -> VersionStatistics:
        statistics = self._versions.get(version.digest)
        if statistics is None:
            statistics = self._versions[version.digest] = VersionStatistics()
        return statistics

    def _head(self, version: ServedVersion) -> HeadCounts:
        head = self._heads.get(version.head)
        if head is None:
            head = self._heads[version.head] = HeadCounts(version.manifest.team)
        return head

    def _add_batch(
        self, result: BatchResult, rows: int, predicted_s: float, ran_s: float, lane: int, why: tuple[str, str]
    ) -> None:
        batches = self._batches
        batches.by_reason[why] = batches.by_reason.get(why, 0) + 1
        batches.lane_s[lane] = batches.lane_s.get(lane, 0.0) + ran_s
        batches.rows.add(rows)
        batches.real_tokens += result.real_tokens
        batches.padded_tokens += result.padded_tokens
        if result.padded_tokens:
            batches.padding.add(1 - result.real_tokens / result.padded_tokens)
        if predicted_s > 0 and ran_s > 0:
            batches.predicted_s += predicted_s
            batches.ran_s += ran_s
            batches.predicted_ratio.add(predicted_s / ran_s)

    def _add_run(
        self, run: VersionRun, waited_s: Sequence[float], places: Sequence[int], shares: Sequence[int], now_ms: int
    ) -> None:
        """Add what a batch meant for one version; ``places`` are the buckets that ``waited_s`` fall into."""
        statistics, head = self._of(run.version), self._head(run.version)
        buckets = head.queue.counts
        queued_s, callers = 0.0, 0
        for position in run.works:
            share = shares[position] if shares else 1
            callers += share
            queued_s += waited_s[position] * share
            buckets[places[position]] += share
        head.queue.total += queued_s
        head.rows += callers
        statistics.rows += callers
        statistics.batches += 1
        statistics.last_inference_ms = now_ms
        statistics.queue.add(queued_s, callers)
        sizes = statistics.by_batch_rows.setdefault(len(run.works), BatchStatistics())
        for total, of_size, seconds in (
            (statistics.compute_input, sizes.compute_input, run.input_s),
            (statistics.compute_infer, sizes.compute_infer, run.infer_s),
            (statistics.compute_output, sizes.compute_output, run.output_s),
        ):
            total.add(seconds * callers, callers)
            of_size.add(seconds)
