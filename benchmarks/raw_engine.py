"""The yardstick: the same ONNX stages, called in-process on texts that are already token ids.

It gets every advantage: no network, no queue, rows sorted by length so that padding is least, and
its best batch size. It runs in a process of its own, as the server does.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.texts import sample_texts
from serving.loader import load_plan
from serving.plan import Node
from serving.runtimes import open_runtime
from serving.runtimes.base import Executable, Runtime
from zoo import Zoo
from zoo.preprocessing import collate

__all__ = ["RawResult", "measure"]

BATCH_SIZES = (1, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResult:
    """Rows a second by batch size."""

    rows_per_s: dict[int, float]
    alone_ms: float
    """Median time of a batch of one."""


def path_of(node: Node, head: str) -> list[str] | None:
    """Return the digests of the stages from ``node`` down to ``head``."""
    if any(version.head == head for version in node.versions):
        return [node.stage_digest]
    below = (path for child in node.children if (path := path_of(child, head)) is not None)
    return next(([node.stage_digest, *path] for path in below), None)


def run(runtime: Runtime, executables: list[Executable], batch: dict[str, np.ndarray]) -> None:
    """Run one batch down a path, from host memory to host memory."""
    tensors = dict(runtime.to_device(batch))
    for executable in executables:
        answer = executable(tensors)
        tensors.update(answer)
    runtime.to_host(answer)


def measure(zoo_folder: str, head: str, seconds: float, device: str) -> RawResult:
    """Time one head's path at each batch size for about ``seconds``."""
    runtime = open_runtime("onnx", device)
    with Zoo.open(zoo_folder) as zoo:
        loaded = load_plan(zoo, runtime)
    version, _, _ = loaded.plan.resolve(head)
    preprocess = loaded.preprocessors[version.preprocessing]
    rows = sorted((preprocess(text) for text in sample_texts(512)), key=lambda row: row.length)
    path = next(path for root in loaded.plan.roots if (path := path_of(root.node, head)))
    executables = [loaded.executables[digest] for digest in path]
    rows_per_s: dict[int, float] = {}
    alone_ms = 0.0
    for size in BATCH_SIZES:
        batches = [collate(rows[start : start + size], preprocess) for start in range(0, len(rows), size)]
        np.random.default_rng(0).shuffle(batches)
        run(runtime, executables, batches[0])
        times_s: list[float] = []
        while sum(times_s) < seconds:
            started = time.perf_counter()
            run(runtime, executables, batches[len(times_s) % len(batches)])
            times_s.append(time.perf_counter() - started)
        rows_per_s[size] = size * len(times_s) / sum(times_s)
        if size == 1:
            alone_ms = 1000 * float(np.median(times_s))
    return RawResult(rows_per_s=rows_per_s, alone_ms=alone_ms)


def main() -> None:
    """Read {zoo, head, seconds, device} as JSON from the command line and print the result as JSON."""
    order = json.loads(sys.argv[1])
    print(json.dumps(asdict(measure(order["zoo"], order["head"], order["seconds"], order["device"]))))


if __name__ == "__main__":
    main()
