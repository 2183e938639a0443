import logging
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
from tests.support.export_stages import GROUP_AVAILABLE, GROUP_EXAMPLE, GROUP_WIDTH
from zoo.export import ExportedStage, export_stage
from zoo.export.group import to_group
from zoo.export.sessions import OnnxSession

CLASSES = Classify(labels=("a", "b", "c"))


def head_of(task: Task = CLASSES, *, seed: int = 0, name: str = "mood", **recipe: Any) -> HeadStage:
    torch.manual_seed(seed)
    return make_head(Head(name=name, team=name, task=task), Recipe(**recipe), GROUP_AVAILABLE).eval()


def exported(module: HeadStage) -> ExportedStage:
    return export_stage(module, example=GROUP_EXAMPLE, grouped=True)


@pytest.fixture(scope="module")
def mood() -> ExportedStage:
    return exported(head_of())


def ragged(rows: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    mask_NT = (torch.arange(length)[None] <= torch.arange(rows)[:, None] % length).to(torch.int64)
    return {"tokens_NTD": torch.randn(rows, length, GROUP_WIDTH, generator=generator), "mask_NT": mask_NT}


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
    session = OnnxSession(to_group(members[0], GROUP_EXAMPLE) or b"")
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


def test_heads_of_one_architecture_have_one_group_graph_between_them(mood: ExportedStage) -> None:
    first, second = mood, exported(head_of(seed=1, name="other"))
    assert first.artifact("onnx") != second.artifact("onnx")
    assert first.manifest.artifacts["onnx-group"] == second.manifest.artifacts["onnx-group"]
    assert b"mood" not in first.artifact("onnx-group")


def test_head_of_another_shape_has_a_group_graph_of_its_own() -> None:
    shapes = [head_of(), head_of(Classify(labels=("a", "b"))), head_of(hidden=8), head_of(Regress(low=0, high=1))]
    shapes.append(head_of(Regress(low=0, high=2)))
    assert len({to_group(shape, GROUP_EXAMPLE) for shape in shapes}) == len(shapes)


def test_group_graph_made_in_another_process_is_the_same(mood: ExportedStage, elsewhere: dict[str, Any]) -> None:
    assert elsewhere["group"] == mood.manifest.artifacts["onnx-group"].blob


def test_group_graph_declares_weights_by_name_with_an_axis_of_heads(mood: ExportedStage) -> None:
    graph = onnx.load_from_string(mood.artifact("onnx-group")).graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert shapes == {
        "tokens_NTD": ["N", "T", GROUP_WIDTH],
        "mask_NT": ["N", "T"],
        "weight:scores.1.bias": ["H", 3],
        "weight:scores.1.weight": ["H", 3, GROUP_WIDTH],
        "scores_NC": ["H", "N", 3],
    }
    assert mood.manifest.artifacts["onnx-group"].size_bytes < 8192


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


def test_group_takes_nothing_from_the_identity_of_a_stage(mood: ExportedStage) -> None:
    alone = export_stage(head_of(), example=GROUP_EXAMPLE)
    assert "onnx-group" not in alone.manifest.artifacts
    assert alone.manifest.digest == mood.manifest.digest


def test_tagging_head_is_stored_without_a_group_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zoo.export"):
        stage = exported(head_of(Tag(labels=("x",))))
    assert set(stage.manifest.artifacts) == {"onnx", "torchscript", "safetensors"}
    assert "'mood/head' is stored without a form for several heads at once: a convolution" in caplog.text


def test_large_head_is_stored_without_a_group_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zoo.export"):
        assert to_group(head_of(hidden=2**14), GROUP_EXAMPLE) is None
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
