"""What the server did, in numbers: per version as the inference protocol's ModelStatistics wants it, and per node."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from threading import Lock

from serving.execution import BatchResult, VersionRun
from serving.plan import ServedVersion

__all__ = ["BatchStatistics", "Duration", "StageRuns", "Statistics", "VersionStatistics"]

_NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class Duration:
    """How often something happened, and how long it took in all."""

    count: int = 0
    total_ns: int = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count ``count`` more that took ``seconds`` together."""
        self.count += count
        self.total_ns += round(seconds * _NS_PER_S)


@dataclass(slots=True)
class BatchStatistics:
    """What batches of one size took."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class VersionStatistics:
    """What one version did since the server started.

    ``success`` and ``fail`` count requests, from arrival to answer; a request of several rows is one. ``queue`` and
    the compute times count rows, each with the whole time of the batch that it shared: a caller waits for all of it.
    """

    rows: int = 0
    """Rows answered."""
    batches: int = 0
    """Batches that answered them."""
    last_inference_ms: int = 0
    """When the last of these ended, in milliseconds of Unix time; 0 if none has."""
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    by_batch_rows: dict[int, BatchStatistics] = field(default_factory=dict)
    """By number of rows, of this version, in the batch; the counts in it are batches."""


@dataclass(slots=True)
class StageRuns:
    """How often a node of the plan ran, and on how many rows in all."""

    runs: int = 0
    rows: int = 0


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
        self._dropped: Counter[str] = Counter()

    def version(self, digest: str) -> VersionStatistics:
        """Return a copy of what a version did; all zeros if it was never asked."""
        with self._lock:
            return deepcopy(self._versions.get(digest, VersionStatistics()))

    def stage_runs(self, path: str) -> StageRuns:
        """Return a copy of how often the node with this path digest ran."""
        with self._lock:
            return deepcopy(self._stages.get(path, StageRuns()))

    def dropped(self) -> dict[str, int]:
        """Return how many rows cost nothing because they were turned away first, by reason."""
        with self._lock:
            return dict(self._dropped)

    def record_batch(self, result: BatchResult, waited_s: Sequence[float]) -> None:
        """Add one batch.

        Args:
            result: what ran, and for whom.
            waited_s: how long each of its rows was queued.
        """
        now_ms = round(self._unix_time() * 1000)
        with self._lock:
            for run in result.runs:
                stage = self._stages.setdefault(run.path, StageRuns())
                stage.runs += 1
                stage.rows += run.rows
            for part in result.version_runs:
                if not part.failed:
                    self._add_run(part, sum(waited_s[position] for position in part.works), now_ms)

    def record_request(self, versions: Iterable[ServedVersion], seconds: float, *, answered: bool) -> None:
        """Add one request that was answered or refused ``seconds`` after it came."""
        with self._lock:
            for version in versions:
                statistics = self._versions.setdefault(version.digest, VersionStatistics())
                (statistics.success if answered else statistics.fail).add(seconds)

    def record_dropped(self, reason: str, rows: int) -> None:
        """Add rows that were turned away before they cost anything."""
        with self._lock:
            self._dropped[reason] += rows

    def _add_run(self, run: VersionRun, waited_s: float, now_ms: int) -> None:
        statistics = self._versions.setdefault(run.version.digest, VersionStatistics())
        rows = len(run.works)
        statistics.rows += rows
        statistics.batches += 1
        statistics.last_inference_ms = now_ms
        statistics.queue.add(waited_s, rows)
        sizes = statistics.by_batch_rows.setdefault(rows, BatchStatistics())
        for total, of_size, seconds in (
            (statistics.compute_input, sizes.compute_input, run.input_s),
            (statistics.compute_infer, sizes.compute_infer, run.infer_s),
            (statistics.compute_output, sizes.compute_output, run.output_s),
        ):
            total.add(seconds * rows, rows)
            of_size.add(seconds)
