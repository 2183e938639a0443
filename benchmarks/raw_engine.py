"""The yardstick: the same ONNX stages, called in-process by a few lines of plain ONNX Runtime.

It gets every advantage: no network, no queue, no preprocessing, rows sorted by length so that padding is least, its
best batch size, and its best way to use the cores. It runs in a process of its own, as the server does.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.inputs import sample_images, sample_texts
from zoo import Zoo
from zoo.preprocessing import collate, load_preprocessor

__all__ = ["Mode", "RawResult", "measure"]

BATCH_SIZES = {"text": (1, 4, 8, 16, 32), "image": (1, 2, 4, 8)}
INPUTS = {"text": 512, "image": 64}

Mode = Literal["spinning", "own", "side"]
"""One pool of threads that spin for all stages; a pool for each stage whose threads sleep; and with these, as many
batches side by side as there are cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResult:
    """Rows a second by batch size."""

    rows_per_s: dict[int, float]
    alone_ms: float
    """Median time of a batch of one."""


class RawPath:
    """A head's path as plain sessions."""

    def __init__(self, zoo: Zoo, head: str, mode: Mode, device: str, threads: int) -> None:
        manifest = zoo.manifest(zoo.resolve(f"{head}@prod").version)
        self.stages = [zoo.stage(ref.digest) for ref in manifest.stages]
        self.preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
        if mode == "spinning":
            onnxruntime.set_global_thread_pool_sizes(threads, 1)
        providers = ["CUDAExecutionProvider"] if device.startswith("cuda") else ["CPUExecutionProvider"]
        self.sessions = [
            onnxruntime.InferenceSession(
                zoo.blobs.get(stage.artifacts["onnx"].blob), _options(mode, threads), providers=providers
            )
            for stage in self.stages
        ]
        assert all(session.get_providers()[0] == providers[0] for session in self.sessions), "no silent fallback"

    def run(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Run one batch from input to answer."""
        tensors = dict(batch)
        for stage, session in zip(self.stages, self.sessions, strict=True):
            feeds = {spec.name: tensors[spec.name] for spec in stage.inputs}
            results = session.run(list(stage.graph_outputs), feeds)
            tensors.update(zip((spec.name for spec in stage.outputs), results, strict=True))


def _options(mode: Mode, threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if mode == "spinning":
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def measure(*, zoo: str, head: str, kind: str, seconds: float, device: str, mode: Mode, threads: int) -> RawResult:
    """Time one head's path at each batch size for about ``seconds``."""
    with Zoo.open(zoo) as opened:
        path = RawPath(opened, head, mode, device, threads)
    count = INPUTS[kind]
    raws: Sequence[str | bytes] = sample_texts(count) if kind == "text" else sample_images(count)
    rows = sorted((path.preprocessor(raw) for raw in raws), key=lambda row: row.length)
    rows_per_s: dict[int, float] = {}
    alone_ms = 0.0
    for size in BATCH_SIZES[kind]:
        batches = [collate(rows[start : start + size], path.preprocessor) for start in range(0, len(rows), size)]
        np.random.default_rng(0).shuffle(batches)
        path.run(batches[0])
        times_s, elapsed_s = _timed(path, batches, seconds, lanes=threads if mode == "side" else 1)
        rows_per_s[size] = size * len(times_s) / elapsed_s
        if size == 1:
            alone_ms = 1000 * float(np.median(times_s))
    return RawResult(rows_per_s=rows_per_s, alone_ms=alone_ms)


def _timed(
    path: RawPath, batches: Sequence[Mapping[str, NDArray[Any]]], seconds: float, *, lanes: int
) -> tuple[list[float], float]:
    """Return how long each batch took, and how long all of them did."""
    times_s: list[float] = []
    started = time.perf_counter()

    def work(lane: int) -> None:
        position = lane
        while (before := time.perf_counter()) < started + seconds:
            path.run(batches[position % len(batches)])
            times_s.append(time.perf_counter() - before)
            position += lanes

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times_s, time.perf_counter() - started


def main() -> None:
    """Read what ``measure`` takes as JSON from the command line and print the result as JSON."""
    print(json.dumps(asdict(measure(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
