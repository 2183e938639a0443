"""A small text stage in every runnable form, of the same weights: it masks tokens and mixes their channels."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zoo.digest import digest_bytes
from zoo.manifest import Artifact, StageManifest, TensorSpec

__all__ = ["MASK", "TOKENS", "WEIGHTS", "expected", "onnx_bytes", "small_stage", "torchscript_bytes"]

TOKENS = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 4))
MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
WEIGHTS: NDArray[np.float32] = np.linspace(0, 2, 16, dtype=np.float32).reshape(4, 4)


def small_stage(
    *, inputs: tuple[TensorSpec, ...] = (TOKENS, MASK), outputs: tuple[TensorSpec, ...] = (TOKENS,)
) -> StageManifest:
    """Return the stage's manifest; other inputs and outputs than its own are a lie."""
    artifact = Artifact(blob=digest_bytes(b"stage"), size_bytes=5, made_by="hand")
    return StageManifest(
        name="small",
        architecture={"kind": "small"},
        inputs=inputs,
        outputs=outputs,
        weights=digest_bytes(WEIGHTS.tobytes()),
        parameters=WEIGHTS.size,
        artifacts={"onnx": artifact, "torchscript": artifact},
    )


def expected(tokens_NTD: NDArray[np.float32], mask_NT: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute what the stage computes."""
    mixed: NDArray[np.float32] = (tokens_NTD * mask_NT[..., None].astype(np.float32)) @ WEIGHTS
    return mixed


def onnx_bytes() -> bytes:
    """Return the stage as ONNX."""
    nodes = [
        helper.make_node("Cast", ["mask_NT"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_NT1"]),
        helper.make_node("Mul", ["tokens_NTD", "mask_NT1"], ["masked"]),
        helper.make_node("MatMul", ["masked", "weights"], ["tokens_NTD_out"]),
    ]
    constants = [numpy_helper.from_array(np.array([2]), "last"), numpy_helper.from_array(WEIGHTS, "weights")]
    axes: list[str | int | None] = ["N", "T", 4]
    inputs = [
        helper.make_tensor_value_info("tokens_NTD", TensorProto.FLOAT, axes),
        helper.make_tensor_value_info("mask_NT", TensorProto.INT64, axes[:2]),
    ]
    outputs = [helper.make_tensor_value_info("tokens_NTD_out", TensorProto.FLOAT, axes)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


def torchscript_bytes() -> bytes:
    """Return the stage as TorchScript."""
    import torch  # here, so that a process that only wants ONNX starts fast

    weights = torch.from_numpy(WEIGHTS)

    def small(tokens_NTD: torch.Tensor, mask_NT: torch.Tensor) -> tuple[torch.Tensor]:
        return ((tokens_NTD * mask_NT.unsqueeze(-1).to(torch.float32)) @ weights,)

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # upstream has deprecated TorchScript
        traced = torch.jit.trace(small, (torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.int64)))  # type: ignore[no-untyped-call]  # torch.jit has no types
        torch.jit.save(traced, buffer)
    return buffer.getvalue()
