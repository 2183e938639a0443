"""Small heads of one architecture, and the graph that runs several of them at once, made by hand.

A head takes the mean of a row's tokens, and maps it to probabilities of three classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from safetensors.numpy import save

from zoo.digest import digest_bytes
from zoo.manifest import Artifact, StageManifest, TensorSpec

__all__ = ["GROUP", "SCORES", "TOKENS", "blobs_of", "expected", "group_bytes", "head", "weights"]

TOKENS = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 4))
SCORES = TensorSpec(name="scores_NC", dtype="float32", shape=("N", 3))


def weights(number: int) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a head: the same for the same number."""
    generator = np.random.default_rng(number)
    return {"map": generator.standard_normal((4, 3), np.float32), "bias": generator.standard_normal(3, np.float32)}


def head(number: int, **changes: Any) -> StageManifest:
    """Return a head's manifest, which ``changes`` make a lie."""
    data = save(weights(number))
    artifacts = {
        "onnx-group": Artifact(blob=GROUP, size_bytes=len(group_bytes()), made_by="hand"),
        "safetensors": Artifact(blob=digest_bytes(data), size_bytes=len(data), made_by="hand"),
    }
    fields: dict[str, Any] = {
        "name": f"head-{number}",
        "architecture": {"kind": "small head"},
        "inputs": (TOKENS,),
        "outputs": (SCORES,),
        "weights": digest_bytes(data),
        "parameters": 15,
        "artifacts": artifacts,
    }
    return StageManifest(**{**fields, **changes})


def blobs_of(*numbers: int) -> dict[str, bytes]:
    """Return the blobs that these heads name, by digest."""
    stored = {digest_bytes(data): data for data in (save(weights(number)) for number in numbers)}
    return {**stored, GROUP: group_bytes()}


def expected(number: int, tokens_NTD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute what a head answers."""
    of_head = weights(number)
    logits = tokens_NTD.mean(axis=1) @ of_head["map"] + of_head["bias"]
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities


def group_bytes() -> bytes:
    """Return the graph for several heads at once: (N, T, 4) tokens and (H, …) weights to (H, N, 3) scores."""
    nodes = [
        helper.make_node("ReduceMean", ["tokens_NTD"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight:map"], ["mapped"]),
        helper.make_node("Unsqueeze", ["weight:bias", "one"], ["bias"]),
        helper.make_node("Add", ["mapped", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores_NC"], axis=-1),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens_NTD", TensorProto.FLOAT, ["N", "T", 4]),
        helper.make_tensor_value_info("weight:map", TensorProto.FLOAT, ["H", 4, 3]),
        helper.make_tensor_value_info("weight:bias", TensorProto.FLOAT, ["H", 3]),
    ]
    outputs = [helper.make_tensor_value_info("scores_NC", TensorProto.FLOAT, ["H", "N", 3])]
    constants = [helper.make_tensor("one", TensorProto.INT64, [1], [1])]
    graph = helper.make_graph(nodes, "group", inputs, outputs, constants)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


GROUP = digest_bytes(group_bytes())
