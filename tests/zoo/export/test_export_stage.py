import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from backbone import Stage, TensorDeclaration
from tests.support.export_stages import BODY_EXAMPLE, Body, Pooled
from zoo.digest import digest_bytes
from zoo.errors import ExportFailed
from zoo.export import ExportedStage, export_path, export_stage
from zoo.export.sessions import OnnxSession
from zoo.export.torchscript import load_torchscript
from zoo.manifest import StageManifest


@pytest.fixture(scope="module")
def path() -> list[Stage]:
    torch.manual_seed(0)
    return [Body(first=True).eval(), Body(first=False).eval(), Pooled().eval()]


@pytest.fixture(scope="module")
def exported(path: list[Stage]) -> list[ExportedStage]:
    return list(export_path(path, example=BODY_EXAMPLE))


def graph_of(stage: ExportedStage) -> onnx.GraphProto:
    return onnx.load_from_string(stage.artifact("onnx")).graph


def described(values: Any) -> list[tuple[str, int, list[int | str]]]:
    return [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


def test_manifest_pins_three_formats_by_the_digest_of_their_bytes(exported: list[ExportedStage]) -> None:
    for stage in exported:
        assert set(stage.manifest.artifacts) == {"onnx", "torchscript", "safetensors"}
        for artifact in stage.manifest.artifacts.values():
            data = stage.blobs[artifact.blob]
            assert digest_bytes(data) == artifact.blob
            assert len(data) == artifact.size_bytes
            assert artifact.made_by
        assert stage.manifest.weights == stage.manifest.artifacts["safetensors"].blob
        assert StageManifest.model_validate_json(stage.manifest.to_json()) == stage.manifest


def test_manifest_counts_parameters_and_repeats_the_declaration(
    path: list[Stage], exported: list[ExportedStage]
) -> None:
    for module, stage in zip(path, exported, strict=True):
        assert stage.manifest.parameters == sum(weight.numel() for weight in module.parameters())
        assert stage.manifest.architecture == module.architecture
        assert [(spec.name, spec.dtype, spec.shape) for spec in stage.manifest.inputs] == [
            (each.name, each.dtype, each.shape) for each in module.inputs
        ]


def test_graph_has_the_declared_names_types_and_axes(exported: list[ExportedStage]) -> None:
    first, _, head = (graph_of(stage) for stage in exported)
    whole, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    assert described(first.input) == [("ids_NT", whole, ["N", "T"]), ("mask_NT", whole, ["N", "T"])]
    assert described(first.output) == [("tokens_NTD", real, ["N", "T", 8])]
    assert described(head.output) == [("scores_NC", real, ["N", 3])]


def test_output_that_replaces_an_input_has_a_name_of_its_own_in_the_graph(exported: list[ExportedStage]) -> None:
    second = graph_of(exported[1])
    assert [value.name for value in second.input] == ["tokens_NTD", "mask_NT"]
    assert tuple(value.name for value in second.output) == ("tokens_NTD_out",) == exported[1].manifest.graph_outputs
    assert [spec.name for spec in exported[1].manifest.outputs] == ["tokens_NTD"]


def test_weights_lie_inside_the_onnx_file(exported: list[ExportedStage]) -> None:
    for stage in exported:
        for tensor in graph_of(stage).initializer:
            assert tensor.data_location != onnx.TensorProto.EXTERNAL


@pytest.mark.parametrize("sizes", [(1, 1), (1, 6), (5, 1), (17, 11)])
def test_both_formats_run_at_any_batch_and_length(
    sizes: tuple[int, int], path: list[Stage], exported: list[ExportedStage]
) -> None:
    rows, length = sizes
    tensors = {"ids_NT": torch.randint(0, 50, sizes), "mask_NT": torch.ones(sizes, dtype=torch.int64)}
    tensors["mask_NT"][0, (length + 1) // 2 :] = 0
    for module, stage in zip(path, exported, strict=True):
        inputs = [tensors[each.name] for each in module.inputs]
        with torch.no_grad():
            (expected,) = module(*inputs)
            (scripted,) = load_torchscript(stage.artifact("torchscript"))(*inputs)
        (ran,) = OnnxSession(stage.artifact("onnx"))({name: tensor.numpy() for name, tensor in tensors.items()})
        assert torch.allclose(scripted, expected, atol=1e-6)
        assert np.allclose(ran, expected.numpy(), atol=1e-5)
        assert expected.shape[0] == rows
        tensors[module.outputs[0].name] = expected


def test_export_holds_no_path_of_the_machine_that_made_it(exported: list[ExportedStage]) -> None:
    folders = {str(Path(place).parent).encode() for place in (torch.__file__, onnx.__file__, __file__)}
    traces = [*folders, sys.prefix.encode(), b"site-packages", b"stack_trace", b"debug_pkl"]
    for stage in exported:
        for data in stage.blobs.values():
            assert not [trace for trace in traces if trace in data]


def test_same_stage_exported_in_another_process_gives_the_same_bytes(
    exported: list[ExportedStage], elsewhere: dict[str, Any]
) -> None:
    assert set(exported[0].blobs) < set(elsewhere["body"])


def test_exporter_lists_its_operators_once_a_process(exported: list[ExportedStage]) -> None:
    listed = importlib.import_module("torch.onnx._internal._lazy_import").onnxscript_apis.get_torchlib_ops.cache_info()
    assert (listed.misses, listed.hits > 0) == (1, True)


def test_export_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    export_stage(Pooled().eval(), example={"tokens_NTD": torch.randn(1, 1, 8), "mask_NT": torch.ones(1, 1).long()})
    assert capfd.readouterr() == ("", "")


def test_identity_is_of_the_weights_and_the_architecture_and_not_of_the_name(path: list[Stage]) -> None:
    example = {"tokens_NTD": torch.randn(2, 3, 8), "mask_NT": torch.ones(2, 3).long()}
    twin = Pooled().eval()
    twin.load_state_dict(path[2].state_dict())
    twin.name = "another name"
    other = Pooled().eval()
    digests = [export_stage(module, example=example).manifest.digest for module in (path[2], twin, other)]
    assert digests[0] == digests[1] != digests[2]


class Declared(Stage):
    """(N, T) numbers in, (N, T) numbers out, by a function of the test's."""

    name = "declared"
    architecture: dict[str, Any] = {}  # noqa: RUF012
    inputs = (TensorDeclaration(name="numbers_NT", dtype="float32", shape=("N", "T")),)
    outputs = (TensorDeclaration(name="sums_NT", dtype="float32", shape=("N", "T")),)

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.function = function

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (self.function(tensors[0]) * self.scale,)


EXAMPLE: Mapping[str, Tensor] = {"numbers_NT": torch.arange(12.0).reshape(3, 4)}


def test_stage_in_training_mode_is_refused() -> None:
    with pytest.raises(ExportFailed, match=r"training mode .*call \.eval\(\)"):
        export_stage(Declared(torch.relu), example=EXAMPLE)


def test_branch_on_values_is_refused_by_name() -> None:
    stage = Declared(lambda numbers: numbers if numbers.sum() > 0 else -numbers).eval()
    with pytest.raises(ExportFailed, match="'declared' could not be exported to ONNX"):
        export_stage(stage, example=EXAMPLE)


def test_length_that_became_a_constant_is_refused() -> None:
    stage = Declared(lambda numbers: numbers + torch.arange(4.0)).eval()
    with pytest.raises(ExportFailed, match="'declared' could not be exported to ONNX"):
        export_stage(stage, example=EXAMPLE)


def test_count_of_rows_that_became_a_constant_is_refused() -> None:
    stage = Declared(lambda numbers: numbers * float(numbers.shape[0])).eval()
    with pytest.raises(ExportFailed, match="'declared' could not be exported to ONNX"):
        export_stage(stage, example=EXAMPLE)


def test_export_that_answers_otherwise_than_its_module_is_refused() -> None:
    stage = Declared(lambda numbers: numbers * (2 if torch._C._get_tracing_state() else 1)).eval()
    with pytest.raises(ExportFailed, match="torchscript gives another sums_NT than torch at sizes"):
        export_stage(stage, example=EXAMPLE)


def test_output_of_another_shape_than_declared_is_refused() -> None:
    stage = Declared(lambda numbers: numbers.sum(1, keepdim=True)).eval()
    with pytest.raises(ExportFailed, match=r"of shape .*expected \['N', 'T'\], as declared"):
        export_stage(stage, example=EXAMPLE)


def test_output_of_another_type_than_declared_is_refused() -> None:
    stage = Declared(lambda numbers: numbers.double()).eval()
    with pytest.raises(ExportFailed, match="exported with outputs"):
        export_stage(stage, example=EXAMPLE)


def test_example_that_lacks_an_input_is_refused_by_name() -> None:
    with pytest.raises(ExportFailed, match="lacks numbers_NT; it has tokens_NTD"):
        export_stage(Declared(torch.relu).eval(), example={"tokens_NTD": torch.ones(1, 1)})


def test_example_that_disagrees_about_an_axis_is_refused() -> None:
    example = {"tokens_NTD": torch.randn(2, 3, 8), "mask_NT": torch.ones(2, 4).long()}
    with pytest.raises(ExportFailed, match="4 entries on axis T of mask_NT, and 3 elsewhere"):
        export_stage(Pooled().eval(), example=example)
