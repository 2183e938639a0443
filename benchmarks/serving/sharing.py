"""What sharing the body is worth: beside the same server with sharing switched off, on the same zoo."""

from benchmarks.many_heads import head_names
from benchmarks.serving.bench import Bar, Bench, Claim, Figures

__all__ = ["FAN_OUT", "MANY", "MIXED"]

HEADS = 8
CALLERS = 64
UNCACHED = ("--cache-mb", "0")
FEW_CALLERS = 8
"""For one input with eight heads: with sharing off, each is eight calls."""


def fan_out(bench: Bench) -> Figures:
    """One input, eight heads: in one call, and in eight calls of a server that shares nothing."""
    heads = head_names(HEADS)
    with bench.serving(bench.zoo(HEADS), *UNCACHED) as server:
        one = bench.load(server, [heads[:1]], callers=FEW_CALLERS)
        eight = bench.load(server, [heads], callers=FEW_CALLERS)
    with bench.serving(bench.zoo(HEADS), *UNCACHED, "--no-sharing") as server:
        apart = bench.load(server, [heads], callers=FEW_CALLERS, one_call=False)
    return {
        "one head, inputs/s": one.inputs_per_s,
        "eight heads in one call, inputs/s": eight.inputs_per_s,
        "eight calls, sharing off, inputs/s": apart.inputs_per_s,
        "throughput over eight calls": eight.inputs_per_s / apart.inputs_per_s,
        "cost over one head": one.inputs_per_s / eight.inputs_per_s,
    }


def mixed(bench: Bench) -> Figures:
    """Every caller asks the next of eight heads."""
    heads = [[head] for head in head_names(HEADS)]
    with bench.serving(bench.zoo(HEADS), *UNCACHED) as server:
        shared = bench.load(server, heads, callers=CALLERS)
    with bench.serving(bench.zoo(HEADS), *UNCACHED, "--no-sharing") as server:
        apart = bench.load(server, heads, callers=CALLERS)
        apart_mib = server.memory_mib
    return {
        "shared, inputs/s": shared.inputs_per_s,
        "sharing off, inputs/s": apart.inputs_per_s,
        "shared, p99 ms": shared.p99_ms,
        "sharing off, p99 ms": apart.p99_ms,
        "sharing off, MiB": apart_mib,
        "throughput over separate models": shared.inputs_per_s / apart.inputs_per_s,
        "p99 over separate models": shared.p99_ms / apart.p99_ms,
    }


def many(bench: Bench) -> Figures:
    """A thousand heads on one server beside eight, under the same load."""
    count = 1000
    few_heads, many_heads = [[head] for head in head_names(HEADS)], [[head] for head in head_names(count)]
    with bench.serving(bench.zoo(HEADS), *UNCACHED) as server:
        few = bench.load(server, few_heads, callers=CALLERS)
        few_mib = server.memory_mib
    with bench.serving(bench.zoo(count), *UNCACHED) as server:
        lot = bench.load(server, many_heads, callers=CALLERS)
        lot_mib = server.memory_mib
    return {
        "eight heads, inputs/s": few.inputs_per_s,
        "thousand heads, inputs/s": lot.inputs_per_s,
        "eight heads, MiB": few_mib,
        "thousand heads, MiB": lot_mib,
        "KiB a further head": 1024 * (lot_mib - few_mib) / (count - HEADS),
        "throughput over eight heads": lot.inputs_per_s / few.inputs_per_s,
    }


FAN_OUT = Claim(
    name="fan-out",
    title="One input, eight heads, one call",
    measure=fan_out,
    bars=[Bar(figure="throughput over eight calls", least=6.5), Bar(figure="cost over one head", most=1.15)],
    bodies=("minilm", "vit"),
)
MIXED = Claim(
    name="mixed",
    title="Mixed traffic over eight heads, 64 callers",
    measure=mixed,
    bars=[Bar(figure="throughput over separate models", least=1.5), Bar(figure="p99 over separate models", most=1)],
    bodies=("minilm", "vit"),
)
MANY = Claim(
    name="many-heads",
    title="A thousand heads on one server",
    measure=many,
    # A linear head of eight classes on MiniLM has 12 KiB of weights.
    bars=[Bar(figure="KiB a further head", most=12 + 64), Bar(figure="throughput over eight heads", least=0.9)],
    rounds=1,
)
