"""The server beside raw ONNX Runtime, one head beside eight, the memory of a further head.

Every figure that is compared with another is measured in the same round, the rounds are repeated,
and medians are printed: machines are noisy. Leave the machine alone while it runs.
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import onnxruntime
import psutil
from hydrazoo.client import Client
from rich.console import Console
from rich.table import Table

from benchmarks.many_heads import head_names, make_zoo

console = Console(highlight=False)

CALLERS = (1, 8, 32, 64)
FEW, MANY = 8, 72
"""Heads on the server; what the further ones add to its memory is what one head costs."""


def child(module: str, order: dict[str, object]) -> dict[str, Any]:
    """Run a benchmark module in a process of its own and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(order)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextlib.contextmanager
def serving(zoo: Path, address: str, *flags: str) -> Iterator[psutil.Process]:
    """Run ``zoo serve`` on a zoo, and yield its process when it is ready."""
    command = [
        str(Path(sys.executable).with_name("zoo")),
        "serve",
        "--zoo",
        str(zoo),
        "--address",
        address,
        "--no-access-log",
        *flags,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Client(address) as client:
            client.wait_until_ready(timeout_s=120)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def one_round(zoo: Path, address: str, seconds: float, device: str) -> dict[str, float]:
    """Measure everything that is compared, once: raw engine, server at each concurrency, one head and eight."""
    heads = head_names(FEW)
    raw = child("benchmarks.raw_engine", {"zoo": str(zoo), "head": heads[0], "seconds": seconds, "device": device})
    found = {f"raw rows/s, batch {size}": rows for size, rows in raw["rows_per_s"].items()}
    found["raw best rows/s"] = max(raw["rows_per_s"].values())
    found["raw alone ms"] = raw["alone_ms"]
    with serving(zoo, address, "--device", device):
        for callers in CALLERS:
            for asked in (1, FEW):
                order = {"address": address, "heads": heads[:asked], "callers": callers, "seconds": seconds}
                load = child("benchmarks.load", order)
                for figure in ("rows_per_s", "p50_ms", "p99_ms"):
                    found[f"{callers} callers, {asked} heads, {figure}"] = load[figure]
    return found


def memory_mb(zoo: Path, address: str, device: str) -> float:
    """Return the resident memory of a server that has loaded a zoo and answered once."""
    with serving(zoo, address, "--device", device) as process, Client(address) as client:
        client.predict(text="hello", heads=head_names(1))
        return float(process.memory_info().rss) / 2**20


def median(rounds: Sequence[dict[str, float]], key: str) -> float:
    """Return the median of one figure over the rounds."""
    return statistics.median(found[key] for found in rounds)


def median_ratio(rounds: Sequence[dict[str, float]], over: str, under: str) -> float:
    """Return the median over the rounds of a ratio of two figures of the same round."""
    return statistics.median(found[over] / found[under] for found in rounds)


def print_throughput(rounds: Sequence[dict[str, float]]) -> None:
    """Print the server beside the raw engine."""
    table = Table("asked", "rows/s", "of raw best", "p50 ms", "p99 ms", title="One head, ragged text, through gRPC")
    for size in (1, 8, 16, 32, 64):
        key = f"raw rows/s, batch {size}"
        ratio = median_ratio(rounds, key, "raw best rows/s")
        table.add_row(f"raw ONNX Runtime, batch {size}", f"{median(rounds, key):.0f}", f"{ratio:.2f}", "", "")
    for callers in CALLERS:
        prefix = f"{callers} callers, 1 heads, "
        ratio = median_ratio(rounds, prefix + "rows_per_s", "raw best rows/s")
        p50, p99 = median(rounds, prefix + "p50_ms"), median(rounds, prefix + "p99_ms")
        rows = median(rounds, prefix + "rows_per_s")
        table.add_row(f"gRPC, {callers} callers", f"{rows:.0f}", f"{ratio:.2f}", f"{p50:.1f}", f"{p99:.1f}")
    console.print(table)
    alone = statistics.median(found["1 callers, 1 heads, p50_ms"] - found["raw alone ms"] for found in rounds)
    console.print(f"One caller alone: raw + {alone:.2f} ms at p50 (raw: {median(rounds, 'raw alone ms'):.2f} ms)\n")


def print_heads(rounds: Sequence[dict[str, float]]) -> None:
    """Print eight heads on one input beside one head."""
    table = Table(
        "callers", "1 head rows/s", "8 heads rows/s", "cost of 8 / cost of 1", title="Eight heads on one input"
    )
    for callers in CALLERS:
        one, eight = (f"{callers} callers, {asked} heads, rows_per_s" for asked in (1, FEW))
        ratio = median_ratio(rounds, one, eight)
        table.add_row(str(callers), f"{median(rounds, one):.0f}", f"{median(rounds, eight):.0f}", f"{ratio:.2f}")
    console.print(table)


def print_memory(folder: Path, address: str, zoo: Path, source: str, device: str) -> None:
    """Print what a further head adds to the server's memory, beside the bytes of its ONNX file."""
    many = folder / "many"
    make_zoo(many, MANY, source=source)
    few_mb, many_mb = (memory_mb(each, address, device) for each in (zoo, many))
    per_head_kib = 1024 * (many_mb - few_mb) / (MANY - FEW)
    console.print(
        f"Memory: {FEW} heads {few_mb:.0f} MiB, {MANY} heads {many_mb:.0f} MiB; {per_head_kib:.0f} KiB a further head"
    )


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--seconds", default=3.0, show_default=True, help="How long each figure is measured, each round.")
@click.option("--address", default="localhost:8799", show_default=True, help="Where the server listens.")
@click.option("--source", default="minilm", show_default=True, help="The backbone, as `zoo backbone add` takes it.")
@click.option("--device", default="cpu", show_default=True, help="Where the stages run, here and in the raw engine.")
def main(rounds: int, seconds: float, address: str, source: str, device: str) -> None:
    """Measure the server beside raw ONNX Runtime."""
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"onnxruntime {onnxruntime.__version__} on {device}; {rounds} rounds of {seconds:g} s a figure, medians"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zoo = folder / "few"
        make_zoo(zoo, FEW, source=source)
        found = [one_round(zoo, address, seconds, device) for _ in range(rounds)]
        print_throughput(found)
        print_heads(found)
        print_memory(folder, address, zoo, source, device)


if __name__ == "__main__":
    main()
