import logging
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from backbone import Stage, TensorDeclaration
from heads.base import Classify, Head, Multilabel, Regress, Tag
from heads.base.declaration import Task
from heads.base.recipe import Recipe
from heads.base.tasks.modules import HeadStage, make_head
from zoo.export import ExportedStage, export_stage
from zoo.export.group import to_group
from zoo.export.sessions import OnnxSession
from zoo.manifest import TensorSpec

WIDTH = 16
AVAILABLE = {
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH)),
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
}
EXAMPLE = {"tokens_NTD": torch.randn(2, 3, WIDTH), "mask_NT": torch.ones(2, 3, dtype=torch.int64)}
CLASSES = Classify(labels=("a", "b", "c"))


def head_of(task: Task = CLASSES, *, seed: int = 0, name: str = "mood", **recipe: Any) -> HeadStage:
    torch.manual_seed(seed)
    return make_head(Head(name=name, team=name, task=task), Recipe(**recipe), AVAILABLE).eval()


def exported(module: HeadStage) -> ExportedStage:
    return export_stage(module, example=EXAMPLE, grouped=True)


def ragged(rows: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    mask_NT = (torch.arange(length)[None] <= torch.arange(rows)[:, None] % length).to(torch.int64)
    return {"tokens_NTD": torch.randn(rows, length, WIDTH, generator=generator), "mask_NT": mask_NT}


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        (CLASSES, {}),
        (CLASSES, {"hidden": 8, "pool": "mean_max"}),
        (Multilabel(labels=("x", "y")), {}),
        (Regress(low=1, high=5), {}),
    ],
    ids=["linear", "hidden layer", "multilabel", "regress"],
)
def test_group_answers_for_each_head_as_the_head_does_alone(task: Task, recipe: dict[str, Any]) -> None:
    members = [head_of(task, seed=seed, **recipe) for seed in range(5)]
    session = OnnxSession(exported(members[0]).artifact("onnx-group"))
    weights = {
        f"weight:{name}": torch.stack([member.state_dict()[name] for member in members]).numpy()
        for name in members[0].state_dict()
    }
    for inputs in (ragged(1, 1), ragged(6, 9)):
        (found_HNC,) = session({**{name: tensor.numpy() for name, tensor in inputs.items()}, **weights})
        for member, found_NC in zip(members, found_HNC, strict=True):
            with torch.no_grad():
                (expected_NC,) = member(*inputs.values())
            np.testing.assert_allclose(found_NC, expected_NC.numpy(), atol=1e-5)


def test_heads_of_one_architecture_have_one_group_graph_between_them() -> None:
    first, second = (exported(head_of(seed=seed, name=name)) for seed, name in ((0, "mood"), (1, "other")))
    assert first.artifact("onnx") != second.artifact("onnx")
    assert first.manifest.artifacts["onnx-group"] == second.manifest.artifacts["onnx-group"]
    assert b"mood" not in first.artifact("onnx-group")


def test_head_of_another_shape_has_a_group_graph_of_its_own() -> None:
    shapes = [head_of(), head_of(Classify(labels=("a", "b"))), head_of(hidden=8), head_of(Regress(low=0, high=1))]
    shapes.append(head_of(Regress(low=0, high=2)))
    assert len({to_group(shape, EXAMPLE) for shape in shapes}) == len(shapes)


EXPORT_AGAIN = """
from tests.zoo.export import test_group as here
from zoo.digest import digest_bytes
from zoo.export.group import to_group
print(digest_bytes(to_group(here.head_of(seed=7), here.EXAMPLE)))
"""


def test_group_graph_made_in_another_process_is_the_same() -> None:
    again = subprocess.run([sys.executable, "-c", EXPORT_AGAIN], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == exported(head_of()).manifest.artifacts["onnx-group"].blob


def test_group_graph_declares_weights_by_name_with_an_axis_of_heads() -> None:
    stage = exported(head_of())
    graph = onnx.load_from_string(stage.artifact("onnx-group")).graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert shapes == {
        "tokens_NTD": ["N", "T", WIDTH],
        "mask_NT": ["N", "T"],
        "weight:scores.1.bias": ["H", 3],
        "weight:scores.1.weight": ["H", 3, WIDTH],
        "scores_NC": ["H", "N", 3],
    }
    assert stage.manifest.artifacts["onnx-group"].size_bytes < 8192


def test_what_needs_no_weights_is_computed_once_for_all_heads() -> None:
    data = exported(head_of(pool="mean_max", hidden=8)).artifact("onnx-group")
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(data)).graph
    with_heads = {value.name for value in graph.input if value.name.startswith("weight:")}
    for node in graph.node:
        if with_heads.intersection(node.input):
            with_heads.update(node.output)
    once = {node.op_type for node in graph.node if not with_heads.intersection(node.output)}
    per_head = {node.op_type for node in graph.node if with_heads.intersection(node.output)}
    assert once >= {"ReduceSum", "ReduceMax", "LayerNormalization"}
    assert not per_head & {"ReduceSum", "ReduceMax", "LayerNormalization"}


def test_group_takes_nothing_from_the_identity_of_a_stage() -> None:
    head = head_of()
    alone = export_stage(head, example=EXAMPLE)
    assert "onnx-group" not in alone.manifest.artifacts
    assert alone.manifest.digest == exported(head).manifest.digest


def test_tagging_head_is_stored_without_a_group_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zoo.export"):
        stage = exported(head_of(Tag(labels=("x",))))
    assert set(stage.manifest.artifacts) == {"onnx", "torchscript", "safetensors"}
    assert "'mood/head' is stored without a form for several heads at once: a convolution" in caplog.text


def test_large_head_is_stored_without_a_group_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zoo.export"):
        assert to_group(head_of(hidden=2**14), EXAMPLE) is None
    assert "parameters; a group is for 1 to 262,144" in caplog.text


class Exotic(Stage):
    """Adds up in place, into a tensor that has no heads."""

    name = "exotic"
    architecture: dict[str, Any] = {}  # noqa: RUF012
    inputs = (TensorDeclaration(name="numbers_NT", dtype="float32", shape=("N", "T")),)
    outputs = (TensorDeclaration(name="sums_NT", dtype="float32", shape=("N", "T")),)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        sums_NT = torch.zeros_like(tensors[0])
        sums_NT += tensors[0] * self.scale
        return (sums_NT,)


def test_head_that_no_vmap_takes_is_published_without_a_group(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zoo.export"):
        stage = export_stage(Exotic().eval(), example={"numbers_NT": torch.randn(3, 4)}, grouped=True)
    assert "onnx-group" not in stage.manifest.artifacts
    assert "'exotic' is stored without a form for several heads at once" in caplog.text
