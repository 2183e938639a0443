"""A stage in float16, for GPUs: half the memory and traffic, with float32 inputs, outputs and wherever it overflows."""

import onnx
import onnx_ir
import onnxruntime
from onnx_ir.passes.common import TopologicalSortPass
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from zoo.export.onnx_graph import OPSET

__all__ = ["made_by", "to_half", "watched"]

_FLOAT32 = (
    *DEFAULT_OP_BLOCK_LIST,
    "Exp",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Pow",
    "ReduceMean",
    "ReduceSum",
    "Softmax",
    "Sqrt",
)
"""What sums many values or grows fast stays in float32: float16 ends at 65,504, and has 11 bits."""

_FAR_FROM_THE_END = 1e4
"""Constants beyond are brought here: those that mask, which are as low as float32 goes, then leave room for a sum."""


def made_by() -> str:
    """Return the tool and settings that an fp16 artifact names."""
    return f"onnxruntime {onnxruntime.__version__} float16, sums and norms float32, opset {OPSET}"


def to_half(data: bytes) -> bytes | None:
    """Convert a stage to float16.

    Args:
        data: a stage as ``to_onnx`` returns it.

    Returns:
        The same for the same bytes; None if it has no weights to halve.
    """
    model = onnx.load_from_string(data)
    del model.graph.value_info[:]
    converted = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=list(_FLOAT32), max_finite_val=_FAR_FROM_THE_END
    )
    if not any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in converted.graph.initializer):
        return None
    del converted.graph.value_info[:]
    _drop_repeated(converted.graph)
    sorted_model = onnx_ir.from_proto(converted)
    TopologicalSortPass()(sorted_model)  # the casts that were put in stand at the end
    proto = onnx_ir.to_proto(sorted_model)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """Keep one of equal nodes: a weight that several float32 nodes read gets a cast from each, all of one name."""
    nodes = {tuple(node.output): node for node in reversed(graph.node)}
    kept = [node for node in graph.node if nodes[tuple(node.output)] is node]
    del graph.node[:]
    graph.node.extend(kept)


def watched(data: bytes) -> bytes:
    """Return a stage from ``to_half`` with every value in it as an output too.

    On a CPU ONNX Runtime computes between casts in float32, so what overflows float16 shows only in values that are
    asked for.
    """
    model = onnx.load_from_string(data)
    given = {value.name for value in model.graph.output}
    inner = (name for node in model.graph.node for name in node.output if name and name not in given)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    return bytes(model.SerializeToString())
