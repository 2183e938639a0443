"""MiniLM in other precisions: size, how far features are from fp32's, what neighbours change, and time. One thread.

``python -m benchmarks.precision`` prints the table of decision 0016; it takes a minute or two.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from heads.base.backbones import add_backbone
from heads.base.packages import load_package
from zoo import Zoo
from zoo.console import print_table
from zoo.export.half import to_half
from zoo.export.quantise import to_int8
from zoo.preprocessing import Preprocessor, Row, collate, load_preprocessor

__all__ = ["main"]

BATCHES = (2, 8, 32)
ROWS, TIMED_ROWS, ROUNDS = 200, 64, 3

Path_ = Sequence[onnxruntime.InferenceSession]


def main() -> None:
    """Print the table."""
    logging.disable(logging.INFO)  # ONNX Runtime's tools log each operation
    with tempfile.TemporaryDirectory() as folder, Zoo.open(folder, create=True) as zoo:
        backbone = add_backbone(zoo, "minilm", key=None)
        stages = [zoo.stage(ref.digest) for ref in backbone.manifest.stages]
        data = [zoo.blobs.get(stage.artifacts["onnx"].blob) for stage in stages]
        preprocessor = load_preprocessor(backbone.manifest.preprocessing, zoo.blobs.get)
    texts = [example.text for example in load_package("intent").labels().for_training().train][:ROWS]
    rows = [preprocessor(text) for text in texts]
    sizes, paths = {}, {}
    for name, convert in CONVERTERS.items():
        converted = [convert(each) for each in data]
        sizes[name] = sum(map(len, converted)) / 1e6
        paths[name] = [_session(each) for each in converted]
    right = _pooled(paths["fp32"], rows, 1, preprocessor)
    times = {count: _times_ms(paths, rows, count, preprocessor) for count in (1, 8)}
    table = []
    for name, path in paths.items():
        alone = _pooled(path, rows, 1, preprocessor)
        beside = [_least_cosine(_pooled(path, rows, count, preprocessor), alone) for count in BATCHES]
        cells = [
            f"{sizes[name]:.0f}",
            f"{_least_cosine(alone, right):.4f}",
            ", ".join(f"{each:.3f}" for each in beside),
        ]
        table.append((name, *cells, *(f"{times[count][name]:.2f}" for count in times)))
    columns = ("form", "MB", "least cosine to fp32", f"to itself alone, in {BATCHES}", "ms a row, batch 1", "batch 8")
    print_table(columns, table)


def _quantised(**changes: Any) -> Callable[[bytes], bytes]:
    settings = {"op_types_to_quantize": ["MatMul"], "per_channel": True, "weight_type": QuantType.QInt8} | changes

    def convert(data: bytes) -> bytes:
        model = _without_shapes(data)
        with tempfile.TemporaryDirectory() as folder:
            quantize_dynamic(model, Path(folder) / "stage.onnx", **settings)
            return (Path(folder) / "stage.onnx").read_bytes()

    return convert


def _in_blocks(data: bytes) -> bytes:
    quantizer = MatMulNBitsQuantizer(_without_shapes(data), bits=8, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    return bytes(quantizer.model.model.SerializeToString())


def _without_shapes(data: bytes) -> onnx.ModelProto:
    model = onnx.load_from_string(data)
    del model.graph.value_info[:]
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    return model


CONVERTERS: Mapping[str, Callable[[bytes], bytes]] = {
    "fp32": bytes,
    "int8, as published": lambda data: to_int8(data) or data,
    "int8, 8 bits": _quantised(),
    "int8, embeddings too": _quantised(op_types_to_quantize=["MatMul", "Gather"], reduce_range=True),
    "int8, unsigned": _quantised(weight_type=QuantType.QUInt8),
    "int8, blocks of 32": _in_blocks,
    "fp16, as published": lambda data: to_half(data) or data,
}


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _tokens(path: Path_, batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    known = dict(batch)
    for session in path:
        (known["tokens_NTD"],) = session.run(None, {value.name: known[value.name] for value in session.get_inputs()})
    return known["tokens_NTD"]


def _pooled(path: Path_, rows: Sequence[Row], count: int, preprocessor: Preprocessor) -> NDArray[np.float32]:
    """Return the mean of the tokens of each row, computed in batches of ``count``."""
    means = []
    for start in range(0, len(rows), count):
        batch = collate(rows[start : start + count], preprocessor)
        mask_NT1 = batch["mask_NT"][..., None].astype(np.float32)
        means.append((_tokens(path, batch) * mask_NT1).sum(1) / mask_NT1.sum(1))
    return np.concatenate(means)


def _least_cosine(a_ND: NDArray[np.float32], b_ND: NDArray[np.float32]) -> float:
    norms_N = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    return float(((a_ND * b_ND).sum(1) / norms_N).min())


def _times_ms(
    paths: Mapping[str, Path_], rows: Sequence[Row], count: int, preprocessor: Preprocessor
) -> dict[str, float]:
    """Return the best of a few rounds, in which the forms take turns, in ms a row."""
    batches = [collate(rows[start : start + count], preprocessor) for start in range(0, TIMED_ROWS, count)]
    best = dict.fromkeys(paths, float("inf"))
    for _ in range(ROUNDS):
        for name, path in paths.items():
            began_s = time.perf_counter()
            for batch in batches:
                _tokens(path, batch)
            best[name] = min(best[name], (time.perf_counter() - began_s) / TIMED_ROWS * 1000)
    return best


if __name__ == "__main__":
    main()
