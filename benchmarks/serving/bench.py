"""What every claim needs: zoos, servers, load and the raw engine, each in a process of its own."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from hydrazoo.client import Client

from benchmarks.load import LoadOrder, LoadResult
from benchmarks.many_heads import head_names, make_zoo
from benchmarks.raw_engine import RawResult

__all__ = ["Bar", "Bench", "Claim", "Figures", "Served"]

Figures = dict[str, float]
"""What one round measured, by a name that says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a figure has to reach."""

    figure: str
    least: float = float("-inf")
    most: float = float("inf")

    def holds(self, value: float) -> bool:
        """Say whether a value reaches it.

        >>> Bar(figure="ratio", least=1.5).holds(1.4)
        False
        """
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return f"≥ {self.least:g}" if self.least > float("-inf") else f"≤ {self.most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that the engine must show.

    Attributes:
        name: what the command line calls it.
        title: what is claimed.
        measure: measures one round.
        bars: what the medians have to reach.
        bodies: the backbones on which it is measured.
        rounds: how often; 0 for what the command line says.
    """

    name: str
    title: str
    measure: Callable[["Bench"], Figures]
    bars: Sequence[Bar]
    bodies: Sequence[str] = ("minilm",)
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that answers."""

    address: str
    process: psutil.Process

    @property
    def memory_mib(self) -> float:
        """Resident memory of the server and its children."""
        processes = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in processes)) / 2**20

    @property
    def cpu_s(self) -> float:
        """CPU time that the server has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(slots=True, kw_only=True)
class Bench:
    """Makes zoos, starts servers and sends load, on one body.

    Attributes:
        folder: for the zoos; they are made once.
        body: "minilm", or "vit": a ViT-tiny of random weights, which cost as much to run.
        device: where stages run, here and in the raw engine.
        seconds: how long each figure is measured.
        port: where the servers listen.
    """

    folder: Path
    body: str
    device: str
    seconds: float
    port: int = 8799
    _raw: dict[str, RawResult] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["text", "image"]:
        """What its heads take."""
        return "text" if self.body == "minilm" else "image"

    def zoo(self, heads: int) -> Path:
        """Return a zoo with so many heads of eight classes on the body, each under ``prod``."""
        folder = self.folder / f"{self.body}-{heads}"
        if not folder.exists():
            make_zoo(folder, heads, source=self._source())
        return folder

    @contextlib.contextmanager
    def serving(self, zoo: Path, *flags: str) -> Iterator[Served]:
        """Run ``zoo serve`` on a zoo, and yield when it answers."""
        address = f"localhost:{self.port}"
        command = [str(Path(sys.executable).with_name("zoo")), "serve", "--zoo", str(zoo), "--address", address]
        command += ["--no-access-log", "--device", self.device, *flags]
        log = (self.folder / "server.log").open("ab")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            with Client(address) as client:
                client.wait_until_ready(timeout_s=180)
            yield Served(address=address, process=psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)
            log.close()

    def load(self, served: Served, heads: Sequence[Sequence[str]], **order: Any) -> LoadResult:
        """Send load for the usual time."""
        ordered = {"seconds": self.seconds, "kind": self.kind, "heads": heads, "address": served.address, **order}
        return LoadResult(**child("benchmarks.load", asdict(LoadOrder(**ordered))))

    def raw(self, mode: str) -> RawResult:
        """Measure plain ONNX Runtime on the body and one head."""
        threads = psutil.cpu_count() or 1
        order = {"zoo": str(self.zoo(8)), "head": head_names(1)[0], "kind": self.kind, "seconds": self.seconds}
        found = child("benchmarks.raw_engine", {**order, "device": self.device, "mode": mode, "threads": threads})
        rows_per_s = {int(size): rows for size, rows in found["rows_per_s"].items()}
        return RawResult(rows_per_s=rows_per_s, alone_ms=found["alone_ms"])

    def _source(self) -> str:
        if self.body == "minilm":
            return "minilm"
        folder = self.folder / "vit-tiny"
        if not folder.exists():
            write_vit_tiny(folder)
        return f"timm:{folder}"


def child(module: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Run a benchmark module in a process of its own and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(order)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_vit_tiny(folder: Path) -> None:
    """Write a ViT-tiny of random weights as timm writes models."""
    import timm
    from timm.models import save_for_hf

    model = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_for_hf(model, str(folder), safe_serialization=True)


def settle(seconds: float = 1.0) -> None:
    """Let a process that ended leave the machine."""
    time.sleep(seconds)
