"""The server beside raw ONNX Runtime: saturated, and with one caller alone."""

from benchmarks.many_heads import head_names
from benchmarks.serving.bench import Bar, Bench, Claim, Figures

__all__ = ["SATURATED"]

UNCACHED = ("--cache-mb", "0")


def saturated(bench: Bench) -> Figures:
    """Measure the raw engine in every mode, then the server with 64 callers and with one."""
    figures: Figures = {}
    raws = {mode: bench.raw(mode) for mode in ("spinning", "own", "side")}
    for mode, raw in raws.items():
        figures |= {f"raw, {mode}, batch {size}, rows/s": rows for size, rows in raw.rows_per_s.items()}
    one_at_a_time = max(max(raws[mode].rows_per_s.values()) for mode in ("spinning", "own"))
    side_by_side = max(raws["side"].rows_per_s.values())
    raw_alone_ms = min(raws[mode].alone_ms for mode in ("spinning", "own"))
    heads = [head_names(1)]
    with bench.serving(bench.zoo(8), *UNCACHED) as server:
        used_s = server.cpu_s
        full = bench.load(server, heads, callers=64)
        used_s = server.cpu_s - used_s
        alone = bench.load(server, heads, callers=1)
    return figures | {
        "raw best, one batch at a time, rows/s": one_at_a_time,
        "raw best, batches side by side, rows/s": side_by_side,
        "gRPC, 64 callers, rows/s": full.inputs_per_s,
        "gRPC, 64 callers, p50 ms": full.p50_ms,
        "gRPC, 64 callers, p99 ms": full.p99_ms,
        "cores that the load generator took": full.own_cpu,
        "cores that the server took": used_s / bench.seconds,
        "raw, one row alone, ms": raw_alone_ms,
        "gRPC, 1 caller, p50 ms": alone.p50_ms,
        "of raw ONNX Runtime": full.inputs_per_s / one_at_a_time,
        "of raw ONNX Runtime side by side": full.inputs_per_s / side_by_side,
        "ms over raw, alone": alone.p50_ms - raw_alone_ms,
    }


SATURATED = Claim(
    name="saturated",
    title="One head, saturated and alone, beside raw ONNX Runtime",
    measure=saturated,
    bars=[Bar(figure="of raw ONNX Runtime", least=0.95), Bar(figure="ms over raw, alone", most=1.0)],
    bodies=("minilm", "vit"),
)
