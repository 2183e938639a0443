"""Several heads as one operation, on real ONNX Runtime."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from safetensors.numpy import save

from serving.errors import StageFailed
from serving.groups import Member
from serving.runtimes.onnx import OnnxRuntime
from serving.runtimes.onnx_group import KEPT_SETS, OnnxGroup
from serving.runtimes.onnx_memory import DeviceMemory
from tests.support.small_group import GROUP, SCORES, TOKENS, blobs_of, expected, group_bytes, head, weights
from zoo.manifest import TensorSpec


def batch(rows: int, tokens: int = 5) -> dict[str, NDArray[np.float32]]:
    return {"tokens_NTD": np.random.default_rng(rows).standard_normal((rows, tokens, 4), np.float32)}


def members(*numbers: int) -> list[Member]:
    runtime = OnnxRuntime("cpu")
    return [runtime.load_member(head(number), blobs_of(number).__getitem__) for number in numbers]


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("rows", [1, 4])
def test_every_head_answers_every_row_as_it_would_alone(count: int, rows: int) -> None:
    heads = members(*range(count))
    arrays = batch(rows)
    together = heads[0].group.run(heads, arrays)["scores_NC"]
    assert together.shape == (count, rows, 3)
    for number, each in enumerate(heads):
        right = expected(number, arrays["tokens_NTD"])
        np.testing.assert_allclose(together[number], right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(each(arrays)["scores_NC"], right, rtol=1e-5, atol=1e-6)


def test_any_heads_in_any_order_may_run_together() -> None:
    heads = members(*range(5))
    arrays = batch(3)
    for order in ([4, 0], [0, 4], [2, 2, 1], [4, 0]):
        results = heads[0].group.run([heads[number] for number in order], arrays)["scores_NC"]
        for number, result in zip(order, results, strict=True):
            np.testing.assert_allclose(result, expected(number, arrays["tokens_NTD"]), rtol=1e-5, atol=1e-6)


def test_the_graph_is_read_and_loaded_once_however_many_heads_have_it() -> None:
    runtime = OnnxRuntime("cpu")
    read: list[str] = []

    def blob(digest: str) -> bytes:
        read.append(digest)
        return blobs_of(*range(6))[digest]

    heads = [runtime.load_member(head(number), blob) for number in range(6)]
    assert len({id(each.group) for each in heads}) == 1
    assert read.count(GROUP) == 1


def test_a_graph_that_no_head_has_any_more_is_freed() -> None:
    runtime = OnnxRuntime("cpu")
    member = runtime.load_member(head(0), blobs_of(0).__getitem__)
    assert len(runtime._groups) == 1
    del member
    gc.collect()
    assert len(runtime._groups) == 0


def test_a_head_keeps_its_weights_once_and_a_repeated_set_of_heads_is_stacked_once() -> None:
    heads = members(0, 1, 2)
    group = heads[0].group
    assert isinstance(group, OnnxGroup)
    assert all(not array.flags.owndata for array in heads[0].weights.values()), "views of the bytes that were read"
    first = group._weights_of(heads)
    assert group._weights_of(heads) is first
    for each in heads:
        for length in range(KEPT_SETS):
            group._weights_of([each] * (length + 1))
    assert len(group._stacked) <= KEPT_SETS
    kept = sum(array.nbytes for arrays, _ in group._stacked.values() for array in arrays.values())
    assert group._stacked_bytes == kept


def test_several_lanes_run_one_group_at_once() -> None:
    heads = members(*range(4))
    arrays = [batch(rows + 1) for rows in range(40)]

    def work(index: int) -> None:
        order = [index % 4, (index + 1) % 4]
        results = heads[0].group.run([heads[number] for number in order], arrays[index])["scores_NC"]
        for number, result in zip(order, results, strict=True):
            np.testing.assert_allclose(result, expected(number, arrays[index]["tokens_NTD"]), rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(40)))


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (TOKENS, TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")))},
        {"outputs": (TensorSpec(name="scores_NC", dtype="float32", shape=("N", 4)),)},
        {"outputs": (TensorSpec(name="others_NC", dtype="float32", shape=("N", 3)),)},
    ],
    ids=["input", "size", "name"],
)
def test_a_graph_that_is_not_as_a_head_declares_is_refused(changes: dict[str, tuple[TensorSpec, ...]]) -> None:
    with pytest.raises(StageFailed, match="head-0"):
        OnnxRuntime("cpu").load_member(head(0, **changes), blobs_of(0).__getitem__)


def test_a_later_head_that_declares_something_else_than_its_graph_is_refused_too() -> None:
    runtime = OnnxRuntime("cpu")
    kept = runtime.load_member(head(0), blobs_of(0).__getitem__)
    others = (TensorSpec(name="others_NC", dtype="float32", shape=("N", 3)),)
    with pytest.raises(StageFailed, match="head-1"):
        runtime.load_member(head(1, outputs=others), blobs_of(1).__getitem__)
    del kept


def test_weights_that_the_graph_does_not_take_are_refused_and_the_head_is_named() -> None:
    blobs = {**blobs_of(0), head(0).weights: save({"bias": weights(0)["bias"]})}
    with pytest.raises(StageFailed, match=r"Stage 'head-0' .* has other weights"):
        OnnxRuntime("cpu").load_member(head(0), blobs.__getitem__)


def test_weights_that_do_not_parse_are_a_failure_of_the_stage() -> None:
    blobs = {**blobs_of(0), head(0).weights: b"no weights"}
    with pytest.raises(StageFailed, match="head-0"):
        OnnxRuntime("cpu").load_member(head(0), blobs.__getitem__)


def test_a_group_runs_where_its_tensors_lie_on_a_device_too() -> None:
    """On the CPU's memory, by the very code that a CUDA device uses."""

    def load(model: bytes) -> InferenceSession:
        return InferenceSession(model, providers=["CPUExecutionProvider"])

    memory = DeviceMemory("cpu", 0, load)
    group = OnnxGroup(load(group_bytes()), head(0), memory)
    heads = [group.join(head(number), blobs_of(number)[head(number).weights]) for number in range(3)]
    arrays = batch(2)
    tensors = memory.to_device(arrays)
    results = group.run(heads, tensors)["scores_NC"]
    alone = memory.to_host(heads[1](tensors))["scores_NC"]
    np.testing.assert_allclose(results[1], expected(1, arrays["tokens_NTD"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(alone, results[1])
    assert SCORES.name in group.run(heads, tensors)


def test_heads_that_the_exporter_grouped_answer_as_each_does_alone() -> None:
    import torch  # here, so that the other tests of this file start fast

    from heads.base import Classify, Head
    from heads.base.recipe import Recipe
    from heads.base.tasks.modules import make_head
    from zoo.export import export_stage

    available = {
        "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 8)),
        "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
    }
    example = {"tokens_NTD": torch.randn(3, 4, 8), "mask_NT": torch.ones(3, 4, dtype=torch.int64)}
    declaration = Head(name="any", team="any", task=Classify(labels=("a", "b", "c")))
    runtime, together, alone = OnnxRuntime("cpu"), [], []
    for seed in range(3):
        torch.manual_seed(seed)
        exported = export_stage(
            make_head(declaration, Recipe(hidden=5), available).eval(), example=example, grouped=True
        )
        blobs = {artifact.blob: exported.artifact(form) for form, artifact in exported.manifest.artifacts.items()}
        together.append(runtime.load_member(exported.manifest, blobs.__getitem__))
        alone.append(runtime.load(exported.manifest, exported.artifact("onnx")))
    arrays = {name: tensor.numpy() for name, tensor in example.items()}
    results = together[0].group.run(together, arrays)["scores_NC"]
    for result, each in zip(results, alone, strict=True):
        np.testing.assert_allclose(result, each(arrays)["scores_NC"], rtol=1e-4, atol=1e-6)
