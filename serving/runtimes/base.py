"""The seam between the engine and what runs a network: a runtime loads stages and runs them on one device."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from zoo.manifest import Format, StageManifest

__all__ = ["Arrays", "DeviceTensors", "Executable", "Runtime"]

Arrays = Mapping[str, NDArray[Any]]
"""Named tensors in host memory, each with N rows on its first axis."""

DeviceTensors = Mapping[str, Any]
"""Named tensors wherever the runtime keeps them; only that runtime may look inside."""


class Executable(Protocol):
    """A loaded stage."""

    def __call__(self, tensors: DeviceTensors) -> DeviceTensors:
        """Run on the stage's declared inputs, picked from ``tensors`` by name; return its outputs by name."""
        ...


class Runtime(Protocol):
    """Runs stages on one device. Only the engine's threads call it, one a lane, but for ``load``."""

    name: str
    """``onnx`` or ``torchscript``; telemetry prints it."""
    device: str
    """``cpu`` or ``cuda:0``."""
    format: Format
    """Which stored form of a stage it loads."""
    lanes: int
    """How many batches it runs side by side: as many threads of the engine share the device. 1 on a GPU."""

    def load(self, stage: StageManifest, artifact: bytes) -> Executable:
        """Load a stage from its stored bytes.

        An ONNX graph cannot call an output like an input that it replaces: ``stage.graph_outputs`` are its names there.

        Raises:
            StageFailed: the bytes do not load, or do not have the declared inputs and outputs.
        """
        ...

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """Copy host arrays to the device, or use them where they lie."""
        ...

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """Return the given rows of every tensor, in that order, without leaving the device."""
        ...

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """Copy to host memory, or use them where they lie."""
        ...
