"""What every runtime keeps, on the CPU and, where there is one, on a CUDA device."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.errors import DeviceUnavailable, StageFailed
from serving.runtimes import RUNTIMES, Runtime, open_runtime, usable_cores
from serving.runtimes.base import choose_lanes
from serving.runtimes.devices import choose_device, count_cuda_devices
from tests.support.small_stage import MASK, TOKENS, expected, onnx_bytes, small_stage, torchscript_bytes
from zoo.errors import InvalidConfig
from zoo.manifest import TensorSpec

BYTES = {"onnx": onnx_bytes, "torchscript": torchscript_bytes}
CUDA = count_cuda_devices()
NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="this machine has no CUDA device")]


def _every_runtime() -> Iterator[object]:
    for name in RUNTIMES:
        yield pytest.param((name, "cpu"), id=f"{name}-cpu")
        yield pytest.param((name, "cuda:0"), id=f"{name}-cuda", marks=NEEDS_CUDA)


@pytest.fixture(params=_every_runtime())
def runtime(request: pytest.FixtureRequest) -> Runtime:
    name, device = request.param
    return open_runtime(name, device)


def batch(rows: int, tokens: int) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(rows * 100 + tokens)
    mask_NT = (np.arange(tokens) < generator.integers(1, tokens + 1, (rows, 1))).astype(np.int64)
    return {"tokens_NTD": generator.standard_normal((rows, tokens, 4), np.float32), "mask_NT": mask_NT}


def test_a_runtime_says_what_it_is(runtime: Runtime) -> None:
    assert runtime.name == runtime.format
    assert runtime.name in RUNTIMES
    assert runtime.device in ("cpu", "cuda:0")


@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (1, 7), (3, 5), (17, 2)])
def test_a_stage_computes_its_outputs_for_any_number_of_rows_and_tokens(
    runtime: Runtime, rows: int, tokens: int
) -> None:
    stage = runtime.load(small_stage(), BYTES[runtime.name]())
    arrays = batch(rows, tokens)
    results = runtime.to_host(stage(runtime.to_device(arrays)))
    assert list(results) == ["tokens_NTD"]
    assert results["tokens_NTD"].dtype == np.float32
    np.testing.assert_allclose(results["tokens_NTD"], expected(**arrays), rtol=1e-5, atol=1e-6)


def test_a_stage_picks_its_inputs_by_name_and_leaves_others_alone(runtime: Runtime) -> None:
    stage = runtime.load(small_stage(), BYTES[runtime.name]())
    arrays = batch(2, 3)
    tensors = runtime.to_device({"unrelated_N": np.zeros(2, np.float32), **dict(reversed(arrays.items()))})
    np.testing.assert_allclose(runtime.to_host(stage(tensors))["tokens_NTD"], expected(**arrays), rtol=1e-5)


def test_stages_chain_on_the_device_and_rows_can_be_picked_between_them(runtime: Runtime) -> None:
    stage = runtime.load(small_stage(), BYTES[runtime.name]())
    arrays = batch(5, 4)
    tensors = dict(runtime.to_device(arrays))
    tensors.update(stage(tensors))
    tensors = dict(runtime.take(tensors, [4, 0, 0]))
    results = runtime.to_host(stage(tensors))["tokens_NTD"]
    once = expected(**arrays)
    rows = [4, 0, 0]
    np.testing.assert_allclose(results, expected(once[rows], arrays["mask_NT"][rows]), rtol=1e-4, atol=1e-5)


def test_several_lanes_run_one_stage_at_once(runtime: Runtime) -> None:
    stage = runtime.load(small_stage(), BYTES[runtime.name]())
    batches = [batch(1 + index % 5, 1 + index % 7) for index in range(64)]
    with ThreadPoolExecutor(4) as lanes:
        results = list(lanes.map(lambda arrays: runtime.to_host(stage(runtime.to_device(arrays))), batches))
    for arrays, result in zip(batches, results, strict=True):
        np.testing.assert_allclose(result["tokens_NTD"], expected(**arrays), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int32", "uint8", "bool"])
def test_every_element_type_survives_the_device_and_picking_rows(runtime: Runtime, dtype: str) -> None:
    arrays = {
        "flat_N": np.array([0, 1, 2, 3]).astype(dtype),
        "deep_NABC": np.arange(4 * 6).reshape(4, 1, 2, 3).astype(dtype),
    }
    picked = runtime.to_host(runtime.take(runtime.to_device(arrays), [2, 0]))
    for name, array in arrays.items():
        assert picked[name].dtype == array.dtype
        np.testing.assert_array_equal(picked[name], array[[2, 0]])


def test_arrays_that_are_not_contiguous_or_not_writable_are_taken(runtime: Runtime) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    array.setflags(write=False)
    tensors = runtime.to_device({"x_NC": array})
    np.testing.assert_array_equal(runtime.to_host(tensors)["x_NC"], array)


def test_bytes_that_are_no_stage_fail_to_load_and_the_stage_is_named(runtime: Runtime) -> None:
    with pytest.raises(StageFailed, match=r"Stage 'small' \([0-9a-f]{64}\) does not load"):
        runtime.load(small_stage(), b"not a network")


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (TOKENS,)},
        {"inputs": (TOKENS, MASK, TensorSpec(name="extra_N", dtype="float32", shape=("N",)))},
        {"outputs": (TensorSpec(name="tokens_NTD", dtype="int64", shape=("N", "T", 4)),)},
        {"outputs": (TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 8)),)},
        {"outputs": (TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", 4)),)},
        {"outputs": (TOKENS, TensorSpec(name="scores_NC", dtype="float32", shape=("N", 2)))},
    ],
    ids=["input missing", "input too many", "type", "size", "rank", "output too many"],
)
def test_a_stage_that_is_not_as_declared_is_refused_at_load(
    runtime: Runtime, changes: dict[str, tuple[TensorSpec, ...]]
) -> None:
    with pytest.raises(StageFailed, match="small"):
        runtime.load(small_stage(**changes), BYTES[runtime.name]())


def test_both_runtimes_give_the_same_answers() -> None:
    arrays = batch(4, 6)
    answers = []
    for name in RUNTIMES:
        runtime = open_runtime(name, "cpu")
        stage = runtime.load(small_stage(), BYTES[name]())
        answers.append(runtime.to_host(stage(runtime.to_device(arrays)))["tokens_NTD"])
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5, atol=1e-6)


def test_an_unknown_runtime_is_answered_with_the_closest() -> None:
    with pytest.raises(InvalidConfig, match="'torchscript'"):
        open_runtime("torch")


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", "cuda:-1"])
def test_an_unknown_device_name_is_refused(name: str, device: str) -> None:
    with pytest.raises(InvalidConfig, match="No device is called"):
        open_runtime(name, device)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_cuda_device_that_is_not_there_is_an_error_and_never_the_cpu(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:99 cannot be used"):
        open_runtime(name, "cuda:99")


@pytest.mark.parametrize("name", RUNTIMES)
def test_auto_is_cuda_exactly_where_there_is_a_device(name: str) -> None:
    assert open_runtime(name, "auto").device == ("cuda:0" if CUDA else "cpu")


def test_a_runtime_that_cannot_use_cuda_says_why_and_auto_is_the_cpu() -> None:
    assert choose_device("auto", 2, "built without CUDA") == "cpu"
    with pytest.raises(DeviceUnavailable, match=r"built without CUDA.*--device cpu"):
        choose_device("cuda:0", 2, "built without CUDA")


def test_no_threads_are_refused() -> None:
    for name in RUNTIMES:
        with pytest.raises(InvalidConfig, match="At least one thread"):
            open_runtime(name, "cpu", threads=0)


@pytest.mark.parametrize("name", RUNTIMES)
def test_lanes_are_as_asked_and_by_default_a_core_each_up_to_four_on_the_cpu(name: str) -> None:
    assert open_runtime(name, "cpu", lanes=3).lanes == 3
    assert open_runtime(name, "cpu").lanes == min(usable_cores(), 4)
    assert choose_lanes("auto", "cuda:0") == 1
    with pytest.raises(InvalidConfig, match="At least one batch runs at a time; got 0"):
        open_runtime(name, "cpu", lanes=0)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_serving_with_onnx_imports_no_torch_and_no_onnx() -> None:
    code = "import sys, serving.runtimes; serving.runtimes.open_runtime('onnx', 'cpu')"
    found = run_python(f"{code}; print([m for m in ('torch', 'onnx', 'transformers', 'timm') if m in sys.modules])")
    assert found == "[]"


def test_importing_the_runtimes_imports_no_onnxruntime_yet() -> None:
    assert run_python("import sys, serving.runtimes; print('onnxruntime' in sys.modules)") == "False"


def test_without_torch_the_torchscript_runtime_says_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from serving.runtimes import open_runtime
from zoo.errors import InvalidConfig
try:
    open_runtime("torchscript", "cpu")
except InvalidConfig as error:
    print(error)
"""
    assert "pip install hydrazoo-platform[torchscript]" in run_python(code)
