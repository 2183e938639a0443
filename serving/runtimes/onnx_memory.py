"""Where ONNX Runtime's tensors lie: in host memory as NumPy arrays, or on a device as ``OrtValue``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, OrtValue

from serving.runtimes.base import Arrays, DeviceTensors
from serving.runtimes.gather import gather_model

__all__ = ["ELEMENT_NAMES", "DeviceMemory", "HostMemory", "Memory"]

ELEMENT_NAMES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
"""What ONNX Runtime calls each element type, and what we do."""


class Memory(Protocol):
    """One kind of memory; the methods are those of ``Runtime``, and how to run a session in it."""

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """See ``Runtime``."""
        ...

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """See ``Runtime``."""
        ...

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """See ``Runtime``."""
        ...

    def run(self, session: InferenceSession, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """Run a session; return the named outputs in order."""
        ...


class HostMemory:
    """NumPy arrays. A session reads them where they lie, and its results are views of its own buffers: no copies."""

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """Use the arrays where they lie."""
        return arrays

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """Copy the rows."""
        index = np.asarray(rows, np.int64)
        return {name: array[index] for name, array in tensors.items()}

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """Use the arrays where they lie."""
        return tensors

    def run(self, session: InferenceSession, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """Run a session on arrays."""
        results: list[Any] = session.run(outputs, feeds)
        return results


class DeviceMemory:
    """``OrtValue`` tensors that stay on one device between stages.

    Args:
        kind: ONNX Runtime's name of the device: ``cuda``, or ``cpu`` for tests.
        index: which of them.
        load: loads a model of this package's own on the device.
    """

    def __init__(self, kind: str, index: int, load: Callable[[bytes], InferenceSession]) -> None:
        self._kind = kind
        self._index = index
        self._load = load
        self._gathers: dict[str, InferenceSession] = {}

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """Copy the arrays to the device."""
        return {name: self._put(array) for name, array in arrays.items()}

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """Pick the rows on the device, with one small model per element type."""
        index = self._put(np.asarray(rows, np.int64))
        return {name: self._pick(value, index) for name, value in tensors.items()}

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """Copy the tensors to the host."""
        return {name: value.numpy() for name, value in tensors.items()}

    def run(self, session: InferenceSession, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """Run a session on device tensors; its results stay there, in memory that the session allocates."""
        binding = session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, self._kind, self._index)
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    def _put(self, array: NDArray[Any]) -> OrtValue:
        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._kind, self._index)

    def _pick(self, value: OrtValue, index: OrtValue) -> Any:
        dtype = ELEMENT_NAMES[value.data_type()]
        if dtype not in self._gathers:
            self._gathers[dtype] = self._load(gather_model(dtype))
        return self.run(self._gathers[dtype], {"tensor": value, "rows": index}, ["picked"])[0]
