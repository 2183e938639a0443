"""ONNX Runtime sessions for checks, on the CPU."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray

__all__ = ["OnnxSession"]

_ERRORS_ONLY = 3
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxSession:
    """A loaded graph; called with its inputs by name, it returns its outputs in graph order."""

    def __init__(self, data: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _CORES
        # Threads that spin while they wait take the cores from the session that works, and from torch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run on the graph's inputs, picked from ``arrays`` by name."""
        feeds = {value.name: arrays[value.name] for value in self._session.get_inputs()}
        results: Sequence[NDArray[Any]] = self._session.run(None, feeds)
        return results
