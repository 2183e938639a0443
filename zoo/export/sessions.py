"""ONNX Runtime sessions for checks: on the CPU, all of them on one pool of threads."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

__all__ = ["OnnxSession"]

_ERRORS_ONLY = 3


class OnnxSession:
    """A loaded graph; called with its inputs by name, it returns its outputs in graph order."""

    def __init__(self, data: bytes) -> None:
        _share_one_pool()
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run on the graph's inputs, picked from ``arrays`` by name."""
        feeds = {value.name: arrays[value.name] for value in self._session.get_inputs()}
        results: Sequence[NDArray[Any]] = self._session.run(None, feeds)
        return results


@functools.cache
def _share_one_pool() -> None:
    """Have one pool of threads in this process: idle pools of other sessions spin against the running one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        onnxruntime.set_global_thread_pool_sizes(cores, 1)
    except Fail as error:
        if "already been created" not in str(error):  # then somebody else in this process has set it up
            raise
