"""A real runtime that remembers what it loaded and ran."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from serving.runtimes import open_runtime
from serving.runtimes.base import Arrays, DeviceTensors, Executable, Runtime
from zoo.manifest import Format, StageManifest

__all__ = ["Recording"]


@dataclass
class Recording:
    """ONNX Runtime on the CPU; stages named in ``broken`` load and do not run."""

    inner: Runtime = field(default_factory=lambda: open_runtime("onnx", "cpu"))
    name: str = "recording"
    device: str = "cpu"
    format: Format = "onnx"
    lanes: int = 1
    inline: bool = False
    loaded: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    on_load: Callable[[Executable], None] = lambda _: None

    def load(self, stage: StageManifest, artifact: bytes) -> Executable:
        inner = self.inner.load(stage, artifact)
        self.loaded.append(stage.name)
        self.on_load(inner)

        def run(tensors: DeviceTensors) -> DeviceTensors:
            self.ran.append(stage.name)
            if stage.name in self.broken:
                raise RuntimeError("no kernel for this operator")
            return inner(tensors)

        return run

    def load_member(self, stage: StageManifest, read: Callable[[str], bytes]) -> Executable:
        self.loaded.append(stage.name)
        return self.inner.load_member(stage, read)

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        return self.inner.to_device(arrays)

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        return self.inner.take(tensors, rows)

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        return self.inner.to_host(tensors)
