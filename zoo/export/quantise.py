"""A stage with 8-bit weights, for CPUs: matrix products of integers, quantised while they run (dynamically)."""

import tempfile
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from zoo.export.onnx_graph import OPSET

__all__ = ["made_by", "to_int8"]

_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""How ONNX Runtime's tool is told that a graph is as it should be; else it warns, and sets up logging to do so."""


def made_by() -> str:
    """Return the tool and settings that an int8 artifact names."""
    return f"onnxruntime {onnxruntime.__version__} dynamic int8, 7-bit weights per channel, opset {OPSET}"


def to_int8(data: bytes) -> bytes | None:
    """Quantise the constant weights of matrix products, per output channel; the rest stays in float32.

    Activations are quantised as they come, with one scale for a whole batch, so a row's outputs depend a little on
    the rows beside it. Weights have 7 bits: products of 8 overflow on CPUs without VNNI, which would answer otherwise.

    Args:
        data: a stage as ``to_onnx`` returns it.

    Returns:
        The same for the same bytes; None if there is nothing to quantise.
    """
    model = onnx.load_from_string(data)
    # Shapes that an exporter noted for values contradict those that the tool infers, and it stops at the first.
    del model.graph.value_info[:]
    model.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stage.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        quantised = onnx.load(file)
    if not any(node.op_type in ("MatMulInteger", "DynamicQuantizeMatMul") for node in quantised.graph.node):
        return None
    del quantised.metadata_props[:]
    return bytes(quantised.SerializeToString(deterministic=True))
