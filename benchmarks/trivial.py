"""What the wire costs: a head that computes next to nothing, beside the plainest server and beside an empty one.

Everything is measured side by side in each round, with the same load generator (``benchmarks/http2_load.py``) and as
many requests in flight; the rounds are repeated and medians are printed. Leave the machine alone while it runs.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from hydrazoo.inference import open_inference_pb2
from hydrazoo.predict.v1 import predict_pb2
from rich.console import Console
from rich.table import Table

from benchmarks.http2_load import Load
from benchmarks.trivial_zoo import FEATURES, HEAD, INPUT, make_trivial_zoo

__all__ = ["Case", "cases"]

INPUTS = 4096
"""Different inputs; far more than are in flight, so that none of them is shared by chance."""

INFER = "/inference.GRPCInferenceService/ModelInfer"
INFER_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT = "/hydrazoo.predict.v1.PredictService/Predict"
PREDICT_STREAM = "/hydrazoo.predict.v1.PredictService/PredictStream"
STOPS_WITHIN_S = 30

console = Console(width=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to ask one server."""

    name: str
    server: str
    path: str
    bodies: Sequence[str]
    streamed: bool = False
    coalesce: bool = False


def cases() -> tuple[Case, ...]:
    """Return every way to ask every server; the bodies are serialised, and in base64."""
    rows = np.random.default_rng(1).normal(0, 1, (INPUTS, FEATURES)).astype(np.float32)
    infer, predict, streamed = _bodies(rows)
    return (
        Case(name="empty, unary", server="echo uvloop", path="/empty.Echo/Unary", bodies=infer),
        Case(name="empty, stream", server="echo uvloop", path="/empty.Echo/Stream", bodies=infer, streamed=True),
        Case(name="plain, unary", server="plain asyncio", path=INFER, bodies=infer),
        Case(name="plain on uvloop, unary", server="plain uvloop", path=INFER, bodies=infer),
        Case(name="plain, stream", server="plain asyncio", path=INFER_STREAM, bodies=infer, streamed=True),
        Case(name="ours, unary Predict", server="ours", path=PREDICT, bodies=predict),
        Case(name="ours, unary ModelInfer", server="ours", path=INFER, bodies=infer),
        Case(name="ours, ModelStreamInfer", server="ours", path=INFER_STREAM, bodies=infer, streamed=True),
        Case(
            name="ours, PredictStream",
            server="ours",
            path=PREDICT_STREAM,
            bodies=streamed,
            streamed=True,
            coalesce=True,
        ),
    )


def _bodies(rows: "np.ndarray[Any, np.dtype[np.float32]]") -> tuple[list[str], list[str], list[str]]:
    infer, predict, streamed = [], [], []
    for number, row in enumerate(rows):
        data = row.tobytes()
        tensor = open_inference_pb2.ModelInferRequest.InferInputTensor(
            name=INPUT.name, datatype="FP32", shape=[1, FEATURES]
        )
        infer.append(open_inference_pb2.ModelInferRequest(model_name=HEAD, inputs=[tensor], raw_input_contents=[data]))
        asked = predict_pb2.PredictRequest(
            heads=[predict_pb2.HeadSelector(name=HEAD)],
            tensors=predict_pb2.TensorInput(
                tensors=[predict_pb2.Tensor(name=INPUT.name, dtype="float32", shape=[FEATURES], data=data)]
            ),
        )
        predict.append(asked)
        one = predict_pb2.StreamedRequest(id=number, request=asked)
        streamed.append(predict_pb2.PredictStreamRequest(requests=[one]))
    return tuple([b64encode(each.SerializeToString()).decode() for each in kind] for kind in (infer, predict, streamed))  # type: ignore[return-value]  # three of them


@contextmanager
def started(arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server until the block ends; yield its process and the port that it prints."""
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = json.loads(line)
            yield process, int(port["address"].rpartition(":")[2]) if isinstance(port, dict) else port
        finally:
            process.terminate()
            process.wait(STOPS_WITHIN_S)


def arguments_of(server: str, folder: Path, model: Path) -> list[str]:
    """Return what starts a server; ours keeps nothing that it answered, since the others do not either."""
    if server == "ours":
        command = ["-c", "from zoo.commands import main; main()", "serve", "--zoo", str(folder / "zoo")]
        options = ["--device", "cpu", "--address", "localhost:0", "--json", "--cache-mb", "0", "--no-access-log"]
        return [*command, *options]
    return ["-m", "benchmarks.plain_server", *server.split(), str(model)]


def measure(
    case: Case, port: int, process: "subprocess.Popen[str]", *, callers: int, seconds: float
) -> dict[str, float]:
    """Load a server in one way, from a process of its own."""
    load = Load(
        port=port,
        path=case.path,
        bodies=case.bodies,
        callers=callers,
        seconds=seconds,
        streamed=case.streamed,
        coalesce=case.coalesce,
    )
    before_s = _cpu_s(process.pid)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http2_load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, float] = json.loads(done.stdout)
    used_s = _cpu_s(process.pid) - before_s
    return {**seen, "cpu_us": 1e6 * used_s / (seen["per_s"] * (seconds + load.warm_up_s))}


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_round(folder: Path, model: Path, *, callers: int, seconds: float) -> dict[str, dict[str, float]]:
    """Measure every case once, one after the other; only the server that is asked is awake."""
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as servers:
        running: dict[str, tuple[subprocess.Popen[str], int]] = {}
        for case in cases():
            if case.server not in running:
                running[case.server] = servers.enter_context(started(arguments_of(case.server, folder, model)))
            process, port = running[case.server]
            found[case.name] = measure(case, port, process, callers=callers, seconds=seconds)
            assert not found[case.name]["failed"], f"{case.name}: {found[case.name]}"
    return found


def print_rounds(rounds: Sequence[dict[str, dict[str, float]]]) -> None:
    """Print medians, and each case beside the plain server's unary calls of the same round."""
    table = Table("", "requests/s", "of plain unary", "p50 ms", "p99 ms", "CPU µs each", "a message", "generator")
    for name in rounds[0]:

        def median(key: str, name: str = name) -> float:
            return statistics.median(found[name][key] for found in rounds)

        ratio = statistics.median(found[name]["per_s"] / found["plain, unary"]["per_s"] for found in rounds)
        together = statistics.median(found[name]["answers"] / found[name]["messages"] for found in rounds)
        table.add_row(
            name,
            f"{median('per_s'):,.0f}",
            f"{ratio:.2f}",
            f"{median('p50_ms'):.1f}",
            f"{median('p99_ms'):.1f}",
            f"{median('cpu_us'):.0f}",
            f"{together:.1f}",
            f"{median('own_share'):.0%}",
        )
    console.print(table)


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--seconds", default=3.0, show_default=True, help="How long each figure is measured, each round.")
@click.option("--callers", default=64, show_default=True, help="Requests in flight.")
def main(rounds: int, seconds: float, callers: int) -> None:
    """Measure what the wire costs.

    Example: python -m benchmarks.trivial --rounds 5
    """
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{callers} requests in flight, {rounds} rounds of {seconds:g} s a figure, medians. `CPU µs each`: the "
        "server's processor time; `generator`: what the load generator took of one core."
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_trivial_zoo(folder)
        print_rounds([one_round(folder, model, callers=callers, seconds=seconds) for _ in range(rounds)])


if __name__ == "__main__":
    main()
