"""Repeated inputs, more load than can be served, and callers who leave."""

from benchmarks.many_heads import head_names
from benchmarks.serving.bench import Bar, Bench, Claim, Figures

__all__ = ["CANCELLED", "OVERLOADED", "REPEATED"]

HEADS = [[head] for head in head_names(8)]
CALLERS = 64
UNCACHED = ("--cache-mb", "0")
DEADLINE_S = 1.0


def repeated(bench: Bench) -> Figures:
    """Texts as Zipf's law repeats them, with the cache on and off."""
    with bench.serving(bench.zoo(8), *UNCACHED) as server:
        off = bench.load(server, HEADS, callers=CALLERS, kind="zipf")
    with bench.serving(bench.zoo(8)) as server:
        on = bench.load(server, HEADS, callers=CALLERS, kind="zipf", warm_up=20_000)
        on_mib = server.memory_mib
    return {
        "cache off, inputs/s": off.inputs_per_s,
        "cache on, inputs/s": on.inputs_per_s,
        "cache on, MiB": on_mib,
        "throughput over no cache": on.inputs_per_s / off.inputs_per_s,
    }


def overloaded(bench: Bench) -> Figures:
    """Send five times what can be served, with deadlines, and whatever comes back."""
    with bench.serving(bench.zoo(8), *UNCACHED) as server:
        peak = bench.load(server, HEADS, callers=CALLERS)
        order = {"rate": 5 * peak.inputs_per_s, "deadline_s": DEADLINE_S, "warm_up": 0}
        bench.load(server, HEADS, **order)
        before_mib = server.memory_mib
        found = bench.load(server, HEADS, seconds=3 * bench.seconds, **order)
        after_mib = server.memory_mib
    return {
        "peak, inputs/s": peak.inputs_per_s,
        "offered, inputs/s": 5 * peak.inputs_per_s,
        "answered in time, inputs/s": found.inputs_per_s,
        "refused": found.statuses.get("RESOURCE_EXHAUSTED", 0),
        "too late": found.statuses.get("DEADLINE_EXCEEDED", 0),
        "cores that the load generator took": found.own_cpu,
        "MiB more at the end": after_mib - before_mib,
        "goodput over peak": found.inputs_per_s / peak.inputs_per_s,
        "refusal, p99 ms": found.refusal_p99_ms,
    }


def cancelled(bench: Bench) -> Figures:
    """Half of all callers leave at a random moment."""
    with bench.serving(bench.zoo(8), *UNCACHED) as server:
        before = bench.load(server, HEADS, callers=CALLERS)
        leaving = {"cancelled": 0.5, "cancel_within_s": before.p50_ms / 1000}
        bench.load(server, HEADS, callers=CALLERS, **leaving)
        before_mib = server.memory_mib
        found = bench.load(server, HEADS, callers=CALLERS, seconds=3 * bench.seconds, **leaving)
        after_mib = server.memory_mib
        after = bench.load(server, HEADS, callers=CALLERS)
    answered, left = found.statuses.get("OK", 0), found.statuses.get("CANCELLED", 0)
    return {
        "inputs/s before": before.inputs_per_s,
        "inputs/s after": after.inputs_per_s,
        "cancelled": left,
        "answered": answered,
        "MiB more at the end": after_mib - before_mib,
        "calls that ended in another way": sum(found.statuses.values()) - answered - left,
        "throughput after over before": after.inputs_per_s / before.inputs_per_s,
    }


REPEATED = Claim(
    name="repeated",
    title="Inputs repeated by Zipf's law (exponent 1.1, 10,000 distinct)",
    measure=repeated,
    bars=[Bar(figure="throughput over no cache", least=4)],
)
OVERLOADED = Claim(
    name="overloaded",
    title="Five times overload, deadlines of one second",
    measure=overloaded,
    bodies=("minilm", "vit"),
    bars=[
        Bar(figure="goodput over peak", least=0.9),
        Bar(figure="refusal, p99 ms", most=50),
        Bar(figure="MiB more at the end", most=16),
    ],
)
CANCELLED = Claim(
    name="cancelled",
    title="Half of all callers cancel at random moments",
    measure=cancelled,
    bars=[
        Bar(figure="calls that ended in another way", most=0),
        Bar(figure="MiB more at the end", most=16),
        Bar(figure="throughput after over before", least=0.9),
    ],
)
