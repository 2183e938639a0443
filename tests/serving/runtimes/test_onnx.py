"""What only the ONNX runtime does: pools of threads, one arena, no copies on the CPU, device memory, grouped heads."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from serving.errors import DeviceUnavailable
from serving.runtimes.devices import count_cuda_devices
from serving.runtimes.gather import ELEMENT_TYPES, gather_model
from serving.runtimes.onnx import OnnxRuntime
from serving.runtimes.onnx_memory import DeviceMemory
from tests.support.small_stage import expected, onnx_bytes, small_stage


def load(model: bytes) -> InferenceSession:
    return InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dtype", sorted(ELEMENT_TYPES))
def test_the_hand_written_gather_model_is_the_one_that_onnx_writes(dtype: str) -> None:
    element = ELEMENT_TYPES[dtype]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["tensor", "rows"], ["picked"])],
        "gather",
        [
            helper.make_tensor_value_info("tensor", element, None),
            helper.make_tensor_value_info("rows", TensorProto.INT64, None),
        ],
        [helper.make_tensor_value_info("picked", element, None)],
    )
    reference = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert onnx.load_model_from_string(gather_model(dtype)) == reference


def test_element_types_have_the_numbers_that_onnx_gives_them() -> None:
    for dtype, number in ELEMENT_TYPES.items():
        assert helper.tensor_dtype_to_np_dtype(number) == np.dtype(dtype)


def test_arrays_are_used_where_they_lie_on_the_cpu() -> None:
    runtime = OnnxRuntime("cpu")
    array = np.ones((2, 3), np.float32)
    assert runtime.to_device({"x": array})["x"] is array
    assert runtime.to_host({"x": array})["x"] is array
    stage = runtime.load(small_stage(), onnx_bytes())
    result = stage({"tokens_NTD": np.ones((2, 3, 4), np.float32), "mask_NT": np.ones((2, 3), np.int64)})
    assert not result["tokens_NTD"].flags.owndata, "a result is a view of the session's buffer"


def test_tensors_stay_in_device_memory_from_stage_to_stage() -> None:
    """On the CPU's memory, by the very code that a CUDA device uses."""
    memory = DeviceMemory("cpu", 0, load)
    session = load(onnx_bytes())
    tokens_NTD = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    mask_NT = np.array([[1, 1, 0], [1, 0, 0]])
    tensors = dict(memory.to_device({"tokens_NTD": tokens_NTD, "mask_NT": mask_NT}))
    tensors["tokens_NTD"] = memory.run(session, tensors, ["tokens_NTD_out"])[0]
    tensors = dict(memory.take(tensors, [1, 1, 0]))
    tensors["tokens_NTD"] = memory.run(session, tensors, ["tokens_NTD_out"])[0]
    rows = [1, 1, 0]
    twice = expected(expected(tokens_NTD, mask_NT)[rows], mask_NT[rows])
    np.testing.assert_allclose(memory.to_host(tensors)["tokens_NTD"], twice, rtol=1e-5)


@pytest.mark.parametrize("dtype", sorted(ELEMENT_TYPES))
def test_device_memory_picks_rows_of_every_element_type(dtype: str) -> None:
    memory = DeviceMemory("cpu", 0, load)
    array = np.arange(12).reshape(4, 3).astype(dtype)
    picked = memory.to_host(memory.take(memory.to_device({"x": array}), [3, 1, 1]))["x"]
    assert picked.dtype == array.dtype
    np.testing.assert_array_equal(picked, array[[3, 1, 1]])


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_large_stage_has_threads_of_its_own_and_a_small_one_has_none() -> None:
    code = """
import os
from serving.runtimes.onnx import SMALL_PARAMETERS, OnnxRuntime
from tests.support.small_stage import onnx_bytes, small_stage
runtime = OnnxRuntime("cpu", threads=3)
count = lambda: len(os.listdir("/proc/self/task"))
large = small_stage().model_copy(update={"parameters": SMALL_PARAMETERS + 1})
stages = [runtime.load(small_stage(), onnx_bytes())]
before = count()
stages += [runtime.load(small_stage(), onnx_bytes()) for _ in range(5)]
small = count()
stages += [runtime.load(large, onnx_bytes()) for _ in range(2)]
print(small - before, count() - small)
"""
    assert run_python(code) == "0 4", "two threads beside the calling one for each large stage"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's times in /proc")
def test_threads_that_wait_do_not_spin() -> None:
    code = """
import time, numpy
from serving.runtimes.onnx import SMALL_PARAMETERS, OnnxRuntime
from tests.support.small_stage import onnx_bytes, small_stage
large = small_stage().model_copy(update={"parameters": SMALL_PARAMETERS + 1})
stage = OnnxRuntime("cpu", threads=4).load(large, onnx_bytes())
batch = {"tokens_NTD": numpy.ones((64, 4096, 4), numpy.float32), "mask_NT": numpy.ones((64, 4096), numpy.int64)}
stage(batch)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before < 0.02)
"""
    assert run_python(code) == "True"


def test_a_loaded_stage_does_not_keep_the_bytes_that_it_was_loaded_from() -> None:
    data = onnx_bytes()
    before = sys.getrefcount(data)
    stage = OnnxRuntime("cpu").load(small_stage(), data)
    assert sys.getrefcount(data) == before
    stage({"tokens_NTD": np.ones((1, 2, 4), np.float32), "mask_NT": np.ones((1, 2), np.int64)})


def test_runtimes_of_several_sizes_live_in_one_process_beside_sessions_of_others() -> None:
    batch = {"tokens_NTD": np.ones((2, 3, 4), np.float32), "mask_NT": np.ones((2, 3), np.int64)}
    results = [OnnxRuntime("cpu", threads=threads).load(small_stage(), onnx_bytes())(batch) for threads in (1, 3)]
    others = load(onnx_bytes()).run(None, batch)
    for result in results:
        np.testing.assert_allclose(result["tokens_NTD"], others[0], rtol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory in /proc")
def test_stages_share_the_memory_that_they_compute_in() -> None:
    code = """
import numpy
from pathlib import Path
from serving.runtimes.onnx import OnnxRuntime
from tests.support.small_stage import onnx_bytes, small_stage
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
runtime = OnnxRuntime("cpu", threads=1)
stages = [runtime.load(small_stage(), onnx_bytes()) for _ in range(5)]
batch = {"tokens_NTD": numpy.ones((64, 16_384, 4), numpy.float32), "mask_NT": numpy.ones((64, 16_384), numpy.int64)}
stages[0](batch)
after_one = resident()
for stage in stages[1:]:
    stage(batch)
print((resident() - after_one) // batch["tokens_NTD"].nbytes)
"""
    assert int(run_python(code)) <= 1, "four stages more may not each keep the memory of a batch"


@pytest.mark.skipif(count_cuda_devices() > 0, reason="this machine has a CUDA device that works")
@pytest.mark.parametrize("device", ["auto", "cuda:0"])
def test_a_cuda_device_that_does_not_work_is_an_error_at_once_and_never_the_cpu(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.runtimes.onnx.count_cuda_devices", lambda: 1)
    with pytest.raises(DeviceUnavailable, match="cuda:0 cannot be used"):
        OnnxRuntime(device)
