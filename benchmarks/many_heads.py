"""A zoo with any number of heads on one body, without training them: random weights cost as much to run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load, save

from heads.base import Classify, Head
from heads.base.backbones import add_backbone
from heads.base.recipe import Recipe
from heads.base.tasks.modules import make_head
from tests.support.provenance import provenance
from zoo import Backbone, Zoo
from zoo.export import ExportedStage, export_stage
from zoo.manifest import (
    Artifact,
    ClassifyAnswer,
    Format,
    Signature,
    StageManifest,
    StageRef,
    TensorSpec,
    VersionManifest,
)

__all__ = ["CLASSES", "head_names", "make_zoo", "publish_again"]

TEAMS = 8
"""The heads belong to so many teams in turn."""

CLASSES = tuple(f"class-{number}" for number in range(8))


def head_names(count: int) -> list[str]:
    """Return the names of the heads of a zoo with ``count`` of them."""
    return [f"head-{number:04d}" for number in range(count)]


def make_zoo(folder: Path, heads: int, *, source: str = "minilm", hidden: int = 0) -> None:
    """Publish ``heads`` classifying heads of eight classes on one backbone, each under ``prod``.

    Args:
        folder: the zoo; made if it is not there.
        heads: how many.
        source: the backbone.
        hidden: units of each head's hidden layer; 0 makes it linear.
    """
    with Zoo.open(folder, create=True) as zoo:
        backbone = add_backbone(zoo, source, name="body", key=None)
        exported = _export_one(zoo, backbone, hidden)
        for number, name in enumerate(head_names(heads)):
            _publish(zoo, name, backbone, _add_sibling(zoo, name, exported, seed=number), promote_to=("prod",))


def publish_again(folder: Path, head: str) -> None:
    """Publish a further version of a linear head, with other weights, under no alias."""
    with Zoo.open(folder) as zoo:
        backbone = zoo.backbone("body")
        exported = _export_one(zoo, backbone, hidden=0)
        _publish(zoo, head, backbone, _add_sibling(zoo, head, exported, seed=len(zoo.heads()) + 1), promote_to=())


def _export_one(zoo: Zoo, backbone: Backbone, hidden: int) -> ExportedStage:
    """Export one head; the others are the same graph with other numbers in it."""
    tokens = zoo.stage(backbone.manifest.stages[-1].digest).outputs[0]
    available = {"tokens_NTD": tokens}
    example = {"tokens_NTD": torch.randn([axis if isinstance(axis, int) else 2 for axis in tokens.shape])}
    if backbone.manifest.preprocessing.kind == "text":
        available["mask_NT"] = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
        example["mask_NT"] = torch.ones(2, 2, dtype=torch.int64)
    head = Head(name="any", team="any", task=Classify(labels=CLASSES))
    module = make_head(head, Recipe(hidden=hidden), available).eval()
    return export_stage(module, example=example, grouped=True)


def _add_sibling(zoo: Zoo, name: str, exported: ExportedStage, *, seed: int) -> StageRef:
    """Store the exported head again with weights of its own."""
    graph = onnx.load_from_string(exported.artifact("onnx"))
    generator = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {
        tensor_name: generator.normal(scale=0.1, size=old.shape).astype(np.float32)
        for tensor_name, old in load(exported.artifact("safetensors")).items()
    }
    for tensor in graph.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    data = graph.SerializeToString()
    forms: dict[Format, Artifact] = {
        "onnx": Artifact(blob=zoo.blobs.put(data), size_bytes=len(data), made_by="benchmark")
    }
    if "onnx-group" in exported.manifest.artifacts:  # without weights, so it is everybody's
        zoo.blobs.put(exported.artifact("onnx-group"))
        forms["onnx-group"] = exported.manifest.artifacts["onnx-group"]
    manifest = StageManifest(
        name=f"{name}/head",
        architecture=exported.manifest.architecture,
        inputs=exported.manifest.inputs,
        outputs=exported.manifest.outputs,
        weights=zoo.blobs.put(save(dict(weights))),
        parameters=exported.manifest.parameters,
        artifacts=forms,
    )
    return zoo.add_stage(manifest)


def _publish(zoo: Zoo, name: str, backbone: Backbone, head: StageRef, *, promote_to: Sequence[str]) -> None:
    fields: Mapping[str, object] = {**provenance(name, head.digest), "team": f"team-{int(name[-4:]) % TEAMS}"}
    manifest = VersionManifest.model_validate(
        {
            **fields,
            "backbone": backbone.digest,
            "stages": (*backbone.manifest.stages, head),
            "shared_stages": len(backbone.manifest.stages),
            "preprocessing": backbone.manifest.preprocessing,
            "signature": Signature(
                inputs=(TensorSpec(name=backbone.manifest.preprocessing.kind, dtype="bytes", shape=("N",)),),
                outputs=(TensorSpec(name="scores_NC", dtype="float32", shape=("N", len(CLASSES))),),
            ),
            "answer": ClassifyAnswer(labels=CLASSES),
        }
    )
    zoo.publish(manifest, promote_to=promote_to, reason="benchmark")
