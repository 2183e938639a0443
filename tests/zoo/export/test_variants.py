from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from backbone import Stage, TensorDeclaration
from tests.support.export_stages import BODY_EXAMPLE, Body
from zoo.digest import digest_bytes
from zoo.errors import ExportFailed
from zoo.export import ExportedStage, export_stage
from zoo.export.half import to_half
from zoo.export.quantise import to_int8
from zoo.export.sessions import OnnxSession
from zoo.manifest import VariantFormat

BOTH: tuple[VariantFormat, ...] = ("onnx-int8", "onnx-fp16")


@pytest.fixture(scope="module")
def body() -> Stage:
    torch.manual_seed(0)
    return Body(first=True).eval()


@pytest.fixture(scope="module")
def exported(body: Stage) -> ExportedStage:
    return export_stage(body, example=BODY_EXAMPLE, variants=BOTH)


def element_types(data: bytes) -> tuple[list[int], set[int]]:
    """Return the element types of what goes in and out of a graph, and of its weights."""
    graph = onnx.load_from_string(data).graph
    outside = [value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]]
    return outside, {tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize(("form", "allowed"), [("onnx-int8", 0.1), ("onnx-fp16", 0.005)])
def test_variant_takes_and_gives_what_the_stage_does_and_nearly_the_same_numbers(
    form: VariantFormat, allowed: float, body: Stage, exported: ExportedStage
) -> None:
    with torch.no_grad():
        (expected,) = body(*BODY_EXAMPLE.values())
    (found,) = OnnxSession(exported.artifact(form))({name: each.numpy() for name, each in BODY_EXAMPLE.items()})
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected.numpy()).max() < allowed
    assert element_types(exported.artifact(form))[0] == element_types(exported.artifact("onnx"))[0]


def test_variants_hold_their_weights_in_fewer_bits(exported: ExportedStage) -> None:
    assert onnx.TensorProto.INT8 in element_types(exported.artifact("onnx-int8"))[1]
    assert onnx.TensorProto.FLOAT16 in element_types(exported.artifact("onnx-fp16"))[1]


def test_sums_and_norms_stay_in_float32(exported: ExportedStage) -> None:
    graph = onnx.load_from_string(exported.artifact("onnx-fp16")).graph
    widened = {output for node in graph.node if node.op_type == "Cast" for output in node.output}
    for node in graph.node:
        if node.op_type in ("LayerNormalization", "Softmax"):
            assert node.input[0] in widened


def test_variants_are_no_part_of_the_identity_of_a_stage(body: Stage, exported: ExportedStage) -> None:
    alone = export_stage(body, example=BODY_EXAMPLE)
    assert set(exported.manifest.artifacts) - set(alone.manifest.artifacts) == set(BOTH)
    assert alone.manifest.digest == exported.manifest.digest


def test_same_stage_in_another_process_gives_the_same_bytes_in_every_form(
    exported: ExportedStage, elsewhere: dict[str, Any]
) -> None:
    assert set(exported.manifest.artifacts) == {"onnx", "torchscript", "safetensors", *BOTH}
    assert elsewhere["body"] == sorted(exported.blobs)


class Normed(Stage):
    """Two norms with the same weights, which stay in float32 where all else is halved."""

    name = "normed"
    architecture: dict[str, object] = {}  # noqa: RUF012
    inputs = (TensorDeclaration(name="numbers_NT", dtype="float32", shape=("N", 4)),)
    outputs = (TensorDeclaration(name="normed_NT", dtype="float32", shape=("N", 4)),)

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (self.norm(self.mix(self.norm(tensors[0]))),)


def test_weight_that_two_norms_read_is_widened_once() -> None:
    stage = export_stage(Normed().eval(), example={"numbers_NT": torch.randn(2, 4)}, variants=["onnx-fp16"])
    nodes = onnx.load_from_string(stage.artifact("onnx-fp16")).graph.node
    given = [output for node in nodes for output in node.output]
    assert len(given) == len(set(given))
    assert sum(node.op_type == "LayerNormalization" for node in nodes) == 2


class Scaled(Stage):
    """Numbers times a weight, and made small again."""

    name = "scaled"
    architecture: dict[str, object] = {}  # noqa: RUF012
    inputs = (TensorDeclaration(name="numbers_NT", dtype="float32", shape=("N", 4)),)
    outputs = (TensorDeclaration(name="products_NT", dtype="float32", shape=("N", 4)),)

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), scale))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (tensors[0] * self.scale * 1e-3,)


def test_stage_without_a_matrix_product_has_no_int8_form() -> None:
    stage = export_stage(Scaled(2.0).eval(), example={"numbers_NT": torch.ones(2, 4)}, variants=["onnx-int8"])
    assert "onnx-int8" not in stage.manifest.artifacts


def test_stage_beyond_float16_is_refused_by_name() -> None:
    with pytest.raises(ExportFailed, match=r"'scaled' could not be had as onnx-fp16: .* a NaN or an infinity"):
        export_stage(Scaled(9e3).eval(), example={"numbers_NT": torch.full((2, 4), 9.0)}, variants=["onnx-fp16"])


def test_bytes_of_a_variant_follow_from_the_bytes_of_the_stage(exported: ExportedStage) -> None:
    data = exported.artifact("onnx")
    assert digest_bytes(to_int8(data) or b"") == exported.manifest.artifacts["onnx-int8"].blob
    assert digest_bytes(to_half(data) or b"") == exported.manifest.artifacts["onnx-fp16"].blob
