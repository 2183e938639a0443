"""What was counted, as Prometheus reads it. Everything here happens when a scraper asks, and nothing before.

Labels are names that the loaded plan knows, so that neither callers nor the past can make series: a version that is
not loaded any more has none, and stays in the totals of its head.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version as release
from itertools import accumulate
from typing import Protocol, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.cache import NodeCache
from serving.counts import Counts, Histogram
from serving.plan import LoadedPlan, Plan
from serving.statistics import Statistics

__all__ = ["Observed", "ServerMetrics"]

SHORT_DIGEST = 8

Labels = tuple[str, ...]
LabelsT = TypeVar("LabelsT", bound=Labels)


class Observed(Protocol):
    """What is read: ``serving.engine.Engine``."""

    @property
    def statistics(self) -> Statistics:
        """What was counted."""
        ...

    @property
    def loaded(self) -> LoadedPlan:
        """What it answers with."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it takes rows."""
        ...

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a batch."""
        ...

    @property
    def cache(self) -> NodeCache:
        """What nodes gave before."""
        ...


class ServerMetrics(Collector):
    """Reads one server.

    Args:
        observed: the server's engine.
        runtime: the name of what runs its stages.
        device: where they run.
    """

    def __init__(self, observed: Observed, *, runtime: str, device: str) -> None:
        self._observed = observed
        self._runtime = runtime
        self._device = device

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is follows from the plan, which may not be loaded yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        loaded, counts = self._observed.loaded, self._observed.statistics.counts()
        yield from self._server(counts)
        yield from _plan(loaded, counts)
        yield from _calls(counts)
        yield from _heads(loaded.plan, counts)
        yield from _versions(loaded.plan, counts)
        yield from _stages(loaded.plan, counts)
        yield from _batches(counts)
        yield from _rows(loaded.plan, counts)
        yield from _cache(counts, self._observed.cache)

    def _server(self, counts: Counts) -> Iterator[Metric]:
        info = (release("hydrazoo-platform"), self._runtime, self._device)
        yield _gauge("build_info", "Always 1; its labels say what serves.", ("version", "runtime", "device"), {info: 1})
        yield _value("ready", "Whether the engine takes rows.", self._observed.ready)
        yield _value("waiting_rows", "Rows that wait for a batch.", self._observed.waiting_rows)
        restarts = {(): counts.front_end_restarts}
        yield _counter("front_end_restarts", "Front-end processes that ended and were replaced.", (), restarts)


def _plan(loaded: LoadedPlan, counts: Counts) -> Iterator[Metric]:
    targets, swaps = loaded.plan.targets, counts.swaps
    yield _value("plan_epoch", "Id of the newest promotion that the plan reflects.", loaded.epoch)
    yield _value("plan_complete", "Whether everything that is promoted is served.", swaps.complete)
    yield _counter(
        "plan_swaps",
        "Attempts to bring the plan up to date, by result.",
        ("result",),
        {("done",): swaps.swapped.count, ("failed",): swaps.failed},
    )
    yield _histogram("plan_swap_seconds", "From the look at the promotion log to the swap.", (), {(): swaps.seconds})
    yield _value("loaded_versions", "Versions that are loaded.", len(loaded.plan.versions))
    yield _value("loaded_stages", "Stages that are loaded, each once.", len(loaded.executables))
    yield _gauge(
        "alias_epoch",
        "How often the alias of a loaded head has moved.",
        ("head", "alias"),
        {(target.head, target.alias): target.epoch for target in targets},
    )
    yield _gauge(
        "canary_share_ratio",
        "The share of an alias' callers whom its canary answers.",
        ("head", "alias", "version"),
        {
            (target.head, target.alias, str(target.canary.number)): target.canary_percent / 100
            for target in targets
            if target.canary is not None
        },
    )
    yield _gauge(
        "load_failures",
        "Versions that are promoted and do not load or run.",
        ("head", "alias", "version"),
        {(failure.head, failure.alias, str(failure.number)): 1 for failure in loaded.failures},
    )


def _calls(counts: Counts) -> Iterator[Metric]:
    yield _counter(
        "rpcs",
        "Calls, by rpc and by how they ended.",
        ("rpc", "code"),
        {(rpc, code): calls for rpc, each in counts.rpcs.items() for code, calls in each.by_code.items()},
    )
    seconds = {(rpc,): each.seconds for rpc, each in counts.rpcs.items()}
    yield _histogram("rpc_seconds", "How long calls took in the server.", ("rpc",), seconds)


def _heads(plan: Plan, counts: Counts) -> Iterator[Metric]:
    heads = {head: counts.heads[head] for head in _loaded_heads(plan) if head in counts.heads}
    labels = ("head", "team")
    yield _counter(
        "requests",
        "Requests that asked a head, by how they ended.",
        (*labels, "code"),
        {(head, each.team, code): number for head, each in heads.items() for code, number in each.by_code.items()},
    )
    yield _histogram(
        "request_seconds",
        "Requests that asked a head, from arrival to answer.",
        labels,
        {(head, each.team): each.requests for head, each in heads.items()},
    )
    yield _counter(
        "rows",
        "Rows that batches answered.",
        labels,
        {(head, each.team): each.rows for head, each in heads.items()},
    )
    yield _histogram(
        "queue_seconds",
        "How long rows waited for their batch.",
        labels,
        {(head, each.team): each.queue for head, each in heads.items()},
    )
    found = {(head, each.team, "hit"): each.cache_hits for head, each in heads.items()}
    missed = {(head, each.team, "miss"): each.cache_misses for head, each in heads.items()}
    yield _counter("cache_answers", "Answers looked for in the cache.", (*labels, "result"), found | missed)


def _versions(plan: Plan, counts: Counts) -> Iterator[Metric]:
    versions = [
        (version, counts.versions[version.digest]) for version in plan.versions if version.digest in counts.versions
    ]
    yield _counter(
        "version_requests",
        "Requests that a loaded version was asked, by how they ended.",
        ("head", "version", "code"),
        {
            (version.head, str(version.number), code): number
            for version, each in versions
            for code, number in each.by_code.items()
        },
    )
    yield _counter(
        "version_rows",
        "Rows that batches answered with a loaded version.",
        ("head", "version"),
        {(version.head, str(version.number)): each.rows for version, each in versions},
    )
    number = {version.digest: str(version.number) for version in plan.versions}
    yield _counter(
        "shadow_rows",
        "Rows that a loaded shadow ran on, by how its answer compares with the live one.",
        ("head", "version", "outcome"),
        {
            (head, number[digest], outcome): rows
            for (head, digest, outcome), rows in counts.shadows.items()
            if digest in number
        },
    )


def _stages(plan: Plan, counts: Counts) -> Iterator[Metric]:
    runs = {
        (_label(node.stage.name, node.path),): counts.stages[node.path]
        for node in plan.nodes()
        if node.path in counts.stages
    }
    seconds = {labels: each.seconds for labels, each in runs.items()}
    yield _histogram("stage_run_seconds", "How long a stage ran on a batch.", ("stage",), seconds)
    rows = {labels: each.rows_per_run for labels, each in runs.items()}
    yield _histogram("stage_rows", "Rows of a batch that a stage ran on.", ("stage",), rows)


def _batches(counts: Counts) -> Iterator[Metric]:
    batches = counts.batches
    yield _counter(
        "batches",
        "Batches, by why it was their turn and why they held no more rows.",
        ("reason", "stop"),
        batches.by_reason,
    )
    yield _histogram("batch_rows", "Rows of a batch.", (), {(): batches.rows})
    yield _histogram("batch_padding_ratio", "Padding's share of a batch's tokens.", (), {(): batches.padding})
    yield _counter("real_tokens", "Tokens of the rows in batches.", (), {(): batches.real_tokens})
    yield _counter("padded_tokens", "Tokens that were computed, padding included.", (), {(): batches.padded_tokens})
    yield _counter(
        "lane_busy_seconds",
        "How long a lane ran batches.",
        ("lane",),
        {(str(lane),): seconds for lane, seconds in batches.lane_s.items()},
    )
    yield _histogram(
        "batch_predicted_ratio",
        "A batch's predicted time over its actual time; 1 is right.",
        (),
        {(): batches.predicted_ratio},
    )
    yield _counter("batch_predicted_seconds", "Time predicted for batches.", (), {(): batches.predicted_s})
    yield _counter("batch_run_seconds", "Time that the same batches took.", (), {(): batches.ran_s})


def _rows(plan: Plan, counts: Counts) -> Iterator[Metric]:
    teams = {version.manifest.team for version in plan.versions}
    yield _counter(
        "dropped_rows",
        "Rows that nobody got an answer for, by why.",
        ("reason", "team"),
        {key: rows for key, rows in counts.dropped.items() if key[1] in teams},
    )
    yield _counter(
        "merged_rows",
        "Rows that an identical row in flight answered.",
        ("team",),
        {(team,): rows for team, rows in counts.merged.items() if team in teams},
    )


def _cache(counts: Counts, cache: NodeCache) -> Iterator[Metric]:
    yield _counter(
        "cache_features",
        "Rows whose answer was not in the cache, by whether what a node on their way gives was.",
        ("result",),
        {("hit",): counts.features.hits, ("miss",): counts.features.misses},
    )
    yield _value("cache_bytes", "What the cache's entries take.", cache.nbytes)
    yield _value("cache_entries", "How many entries the cache has.", len(cache))
    yield _counter("cache_evictions", "Entries that made room for newer ones.", (), {(): cache.evictions})


def _loaded_heads(plan: Plan) -> Iterable[str]:
    return dict.fromkeys(version.head for version in plan.versions)


def _label(stage: str, path: str) -> str:
    """Name a node: its stage, and enough of its path's digest to tell it from another of that name.

    >>> _label("minilm/0", "3fa9c2d1e0b4")
    'minilm/0@3fa9c2d1'
    """
    return f"{stage}@{path[:SHORT_DIGEST]}"


def _value(name: str, text: str, value: float) -> Metric:
    return _gauge(name, text, (), {(): value})


def _gauge(name: str, text: str, labels: Labels, values: Mapping[LabelsT, float]) -> Metric:
    family = GaugeMetricFamily(f"hydrazoo_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: Labels, values: Mapping[LabelsT, float]) -> Metric:
    family = CounterMetricFamily(f"hydrazoo_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: Labels, values: Mapping[LabelsT, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"hydrazoo_{name}", text, labels=labels)
    for key, histogram in values.items():
        bounds = [*map(str, map(float, histogram.bounds)), "+Inf"]
        family.add_metric(key, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
    return family
