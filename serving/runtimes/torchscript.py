"""The second runtime: TorchScript, on the CPU or on a CUDA device. The one module of serving that imports torch.

Upstream has deprecated TorchScript. Its warnings are silenced here and nowhere else, and no other module knows of it.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serving.errors import StageFailed
from serving.runtimes.base import Arrays, DeviceTensors, Executable, Lanes, choose_lanes
from serving.runtimes.cores import usable_cores
from serving.runtimes.devices import choose_device
from zoo.errors import InvalidConfig
from zoo.manifest import Format, StageManifest, TensorSpec

__all__ = ["TorchScriptExecutable", "TorchScriptRuntime"]

_CORES = usable_cores()


class TorchScriptExecutable:
    """A traced module, fed by name."""

    def __init__(self, module: torch.jit.ScriptModule, stage: StageManifest) -> None:
        self._module = module
        self._inputs = [spec.name for spec in stage.inputs]
        self._outputs = [spec.name for spec in stage.outputs]

    def __call__(self, tensors: DeviceTensors) -> DeviceTensors:
        """Run the stage; see ``Executable``."""
        with torch.inference_mode():
            results = self._module(*(tensors[name] for name in self._inputs))
        return dict(zip(self._outputs, results, strict=True))


class TorchScriptRuntime:
    """Runs TorchScript stages; see ``Runtime``. Float32 is computed as float32 (no TF32).

    Lanes work, since a module may be called from several threads. What they bring was not measured: each lane's thread
    has as many helpers of its own in torch, so on the CPU they compete for the cores.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.
        threads: that torch computes one operation with, in this whole process.
        lanes: how many batches run side by side.

    Raises:
        InvalidConfig: an unknown device name, no threads or no lanes.
        DeviceUnavailable: a CUDA device is asked for that torch cannot use.
    """

    name = "torchscript"
    format: Format = "torchscript"

    def __init__(self, device: str = "auto", *, threads: int = _CORES, lanes: Lanes = "auto") -> None:
        if threads < 1:
            raise InvalidConfig(f"At least one thread computes; got {threads}.")
        unusable = "" if torch.version.cuda else "this torch is built without CUDA"
        self.device = choose_device(device, torch.cuda.device_count(), unusable)
        self.lanes = choose_lanes(lanes, self.device)
        self.inline = self.device == "cpu"
        torch.set_num_threads(threads)
        if self.device != "cpu":
            torch.backends.cuda.matmul.fp32_precision = "ieee"
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # made at run time

    def load(self, stage: StageManifest, artifact: bytes) -> TorchScriptExecutable:
        """Load a stage from the bytes of its archive, and try it on one row; see ``Runtime``."""
        try:
            with _deprecation_silenced():
                module = torch.jit.load(io.BytesIO(artifact), map_location=self.device)  # type: ignore[no-untyped-call]  # torch.jit has no types
            executable = TorchScriptExecutable(module.eval(), stage)
            results = executable({spec.name: _example(spec, self.device) for spec in stage.inputs})
        except Exception as error:  # whatever torch raises on bytes that are not a stage's, or on other inputs
            raise StageFailed(
                f"Stage {stage.name!r} ({stage.digest}) does not load in torch {torch.__version__}, or does not run on "
                f"its declared inputs: {error}"
            ) from error
        _check_outputs(stage, results)
        return executable

    def load_member(self, stage: StageManifest, read: Callable[[str], bytes]) -> Executable:
        """TorchScript has no form for several heads at once; see ``Runtime``."""
        raise NotImplementedError("heads are grouped in ONNX alone")

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """See ``Runtime``."""
        return {name: _from_numpy(array).to(self.device) for name, array in arrays.items()}

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """See ``Runtime``."""
        index = torch.tensor(list(rows), dtype=torch.int64).to(self.device)
        return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """See ``Runtime``."""
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _from_numpy(array: NDArray[Any]) -> Tensor:
    # Torch shares the array's memory, and so wants one that may be written to.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _example(spec: TensorSpec, device: str) -> Tensor:
    """One row of ones, which are ids, a mask and pixels alike; dynamic axes of two entries, as no export fixes them."""
    shape = (1, *(axis if isinstance(axis, int) else 2 for axis in spec.shape[1:]))
    return torch.from_numpy(np.ones(shape, spec.dtype)).to(device)


def _check_outputs(stage: StageManifest, results: DeviceTensors) -> None:
    for spec in stage.outputs:
        tensor = results[spec.name]
        found = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        fits = len(tensor.shape) == len(spec.shape) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits or not found.startswith(f"{spec.dtype} "):
            raise StageFailed(
                f"Stage {stage.name!r} ({stage.digest}) gives {spec.name} as {found} for one row; its manifest "
                f"declares {spec.dtype} {spec.shape}. Export and publish it again."
            )


@contextmanager
def _deprecation_silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # it depends on the release of torch
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=category)
        yield
