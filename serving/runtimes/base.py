"""The seam between the engine and what runs a network: a runtime loads stages and runs them on one device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from serving.runtimes.cores import usable_cores
from zoo.errors import InvalidConfig
from zoo.manifest import Format, StageManifest

__all__ = ["Arrays", "DeviceTensors", "Executable", "Lanes", "Runtime", "choose_lanes"]

Arrays = Mapping[str, NDArray[Any]]
"""Named tensors in host memory, each with N rows on its first axis."""

DeviceTensors = Mapping[str, Any]
"""Named tensors wherever the runtime keeps them; only that runtime may look inside."""

Lanes = Literal["auto"] | int
"""How many batches a runtime runs side by side; ``auto`` is what suits the device."""

MOST_LANES = 4
"""Of ``auto``: with more, each batch has fewer rows and waits for its cores; nothing is gained."""


def choose_lanes(lanes: Lanes, device: str) -> int:
    """Return how many batches run side by side: as asked, or on the CPU one a core up to four, and one on a GPU.

    Raises:
        InvalidConfig: less than one is asked for.
    """
    if lanes == "auto":
        return min(usable_cores(), MOST_LANES) if device == "cpu" else 1
    if lanes < 1:
        raise InvalidConfig(f"At least one batch runs at a time; got {lanes} lanes.")
    return lanes


class Executable(Protocol):
    """A loaded stage."""

    def __call__(self, tensors: DeviceTensors) -> DeviceTensors:
        """Run on the stage's declared inputs, picked from ``tensors`` by name; return its outputs by name."""
        ...


class Runtime(Protocol):
    """Runs stages on one device. The engine's threads call it, one a lane, and whatever loads the next plan."""

    name: str
    """``onnx`` or ``torchscript``; telemetry prints it."""
    device: str
    """``cpu`` or ``cuda:0``."""
    format: Format
    """Which stored form of a stage it loads."""
    lanes: int
    """How many batches it runs side by side: as many threads of the engine share the device. 1 on a GPU."""
    inline: bool
    """Whether what takes next to no time may also run on the thread that asks for it. Not on a GPU, which one owns."""

    def load(self, stage: StageManifest, artifact: bytes) -> Executable:
        """Load a stage from its stored bytes.

        An ONNX graph cannot call an output like an input that it replaces: ``stage.graph_outputs`` are its names there.

        Raises:
            StageFailed: the bytes do not load, or do not have the declared inputs and outputs.
        """
        ...

    def load_member(self, stage: StageManifest, read: Callable[[str], bytes]) -> Executable:
        """Load a head that is stored as ``onnx-group`` too, to run together with others that have the same graph.

        Only a runtime whose ``format`` is ``onnx`` is asked.

        Args:
            stage: the head.
            read: returns the bytes of a blob. The graph is read for the first head that has it.

        Returns:
            A ``serving.groups.Member``.

        Raises:
            StageFailed: the bytes do not load, or are not as declared.
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
