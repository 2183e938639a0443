"""Stage to ONNX: one file's bytes, with the declared names and axes and nothing of the machine that made it."""

import contextlib
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from zoo.errors import ExportFailed
from zoo.export.declared import DeclaredModule, DeclaredTensor, dynamic_axes

__all__ = ["OPSET", "made_by", "to_onnx"]

OPSET = 18

_ELEMENT = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}


def made_by() -> str:
    """Return the tools and settings that an ONNX artifact names."""
    return f"torch {torch.__version__} onnx {onnx.__version__} opset {OPSET}"


def to_onnx(stage: DeclaredModule, example: Sequence[Tensor], outputs: Sequence[str]) -> bytes:
    """Export a stage.

    Args:
        stage: the module, in eval mode.
        example: its inputs in order; every dynamic axis of at least two entries, different axes of different sizes.
        outputs: what the graph's outputs are called, in order.

    Returns:
        A serialised ``ModelProto`` that holds its weights.

    Raises:
        ExportFailed: the exporter cannot trace it, or a graph came out that is not as declared.
    """
    model = _translate(stage, tuple(example), outputs)
    _name_axes(stage, model)
    _forget_the_machine(model)
    proto = onnx_ir.to_proto(model)
    data = bytes(proto.SerializeToString(deterministic=True))
    _check(stage, proto, outputs)
    return data


def _translate(stage: DeclaredModule, example: tuple[Tensor, ...], outputs: Sequence[str]) -> onnx_ir.Model:
    assert isinstance(stage, nn.Module)
    _list_operators_once()
    axes = tuple(dict.fromkeys(dynamic_axes(each), torch.export.Dim.DYNAMIC) for each in stage.inputs)
    try:
        with torch.no_grad():
            program = torch.export.export(stage, example, dynamic_shapes=(axes,))
            onnx_program = torch.onnx.export(
                program,
                example,
                input_names=[each.name for each in stage.inputs],
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its parts raise
        raise ExportFailed(
            f"Stage '{stage.name}' could not be exported to ONNX: {type(error).__name__}: {error}\n"
            "A forward that exports has no branch on the values of tensors, and fixes no size of a dynamic axis."
        ) from error
    assert onnx_program is not None
    return onnx_program.model


@functools.cache
def _list_operators_once() -> None:
    """Have the exporter keep its list of operators.

    It reads the sources of a thousand of them at every export, and that is half of what a head's export takes. The
    list is the same all through a process; where torch calls it otherwise, exports are as slow as they were.
    """
    with contextlib.suppress(ImportError, AttributeError):
        library = importlib.import_module("torch.onnx._internal._lazy_import").onnxscript_apis
        library.get_torchlib_ops = functools.cache(library.get_torchlib_ops)


def _name_axes(stage: DeclaredModule, model: onnx_ir.Model) -> None:
    """Give inputs and outputs the declared axes; torch made up symbols for the dynamic ones."""
    for declared, value in [
        *zip(stage.inputs, model.graph.inputs, strict=True),
        *zip(stage.outputs, model.graph.outputs, strict=True),
    ]:
        found = [] if value.shape is None else list(value.shape)
        kept = len(found) == len(declared.shape) and all(
            isinstance(size, int) == isinstance(wanted, int) and (not isinstance(size, int) or size == wanted)
            for size, wanted in zip(found, declared.shape, strict=True)
        )
        if not kept:
            raise ExportFailed(
                f"Stage '{stage.name}' came out of the ONNX exporter with {value.name} of shape {found}; "
                f"expected {list(declared.shape)}, as declared (names are dynamic axes)."
            )
        value.shape = onnx_ir.Shape(declared.shape)


def _forget_the_machine(model: onnx_ir.Model) -> None:
    """Drop stack traces, source paths and torch's own symbols: the same stage gives the same bytes anywhere."""
    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    model.graph.name = "stage"
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
        value.doc_string = None
    kept = {id(value) for value in model.graph.outputs}
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()
            if id(value) not in kept:
                value.shape = None
                value.type = None


def _check(stage: DeclaredModule, proto: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Refuse a graph that ONNX itself refuses, or that is not as declared."""
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ExportFailed(f"Stage '{stage.name}' exported to a graph that ONNX refuses: {error}") from error
    _check_values(stage, "input", proto.graph.input, stage.inputs, [each.name for each in stage.inputs])
    _check_values(stage, "output", proto.graph.output, stage.outputs, outputs)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise ExportFailed(f"Stage '{stage.name}' exported with weights in a file of their own; expected one file.")


def _check_values(
    stage: DeclaredModule, what: str, found: Any, declared: Sequence[DeclaredTensor], names: Sequence[str]
) -> None:
    wanted = [(name, _ELEMENT[each.dtype], tuple(each.shape)) for name, each in zip(names, declared, strict=True)]
    actual = [
        (
            value.name,
            value.type.tensor_type.elem_type,
            tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in found
    ]
    if actual != wanted:
        raise ExportFailed(
            f"Stage '{stage.name}' exported with {what}s {actual}; declared are {wanted} "
            "(name, ONNX element type, axes)."
        )
