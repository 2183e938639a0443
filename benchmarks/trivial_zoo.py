"""A zoo of one head that costs next to nothing: 16 floats in, one small matrix, 16 floats out."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoo import Zoo
from zoo.digest import digest_bytes
from zoo.manifest import (
    Artifact,
    BackboneManifest,
    ClassifyAnswer,
    GateResult,
    LabelsCommit,
    Metrics,
    Parity,
    Signature,
    SliceMetrics,
    StageManifest,
    TensorPreprocessing,
    TensorSpec,
    VersionManifest,
    graph_output_names,
)

__all__ = ["FEATURES", "HEAD", "INPUT", "make_trivial_zoo"]

FEATURES = 16
HEAD = "trivial"
INPUT = TensorSpec(name="features_NF", dtype="float32", shape=("N", FEATURES))
OUTPUT = TensorSpec(name="scores_NC", dtype="float32", shape=("N", FEATURES))
WEIGHTS = np.random.default_rng(0).normal(0, 1, (FEATURES, FEATURES)).astype(np.float32)


def make_trivial_zoo(folder: Path) -> Path:
    """Make the zoo in ``folder``, with version 1 of the head under ``prod``.

    Returns:
        The path of the head's ONNX file, for a server that has no zoo.
    """
    data = _onnx_bytes()
    model = folder / "trivial.onnx"
    with Zoo.open(folder / "zoo", create=True) as zoo:
        model.write_bytes(data)
        stage = zoo.add_stage(
            StageManifest(
                name=HEAD,
                architecture={"kind": "linear"},
                inputs=(INPUT,),
                outputs=(OUTPUT,),
                weights=digest_bytes(WEIGHTS.tobytes()),
                parameters=WEIGHTS.size,
                artifacts={"onnx": Artifact(blob=zoo.blobs.put(data), size_bytes=len(data), made_by="by hand")},
            )
        )
        preprocessing = TensorPreprocessing(tensors=(INPUT,))
        body = zoo.add_backbone(
            BackboneManifest(
                name=HEAD,
                source=HEAD,
                source_digest=digest_bytes(data),
                stages=(stage,),
                preprocessing=preprocessing,
                environment={},
            )
        )
        manifest = VersionManifest(
            head=HEAD,
            team=HEAD,
            backbone=body.digest,
            stages=(stage,),
            shared_stages=1,
            preprocessing=preprocessing,
            signature=Signature(inputs=(INPUT,), outputs=(OUTPUT,)),
            answer=ClassifyAnswer(labels=tuple(f"class-{number}" for number in range(FEATURES))),
            labels=LabelsCommit(digest=digest_bytes(b""), commit=None, examples={"train": 1}),
            code=digest_bytes(b""),
            environment={},
            recipe={},
            build_key=digest_bytes(b""),
            metrics=Metrics(overall=SliceMetrics(examples=1, values={}), slices={}),
            gate=GateResult(bounds={}, reached={}),
            parity={"onnx": Parity(rows=1, batch_sizes=(1,), max_abs_diff=0, equal_answers=1, tolerance=1e-6)},
            created_by="benchmark",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        zoo.publish(manifest, promote_to=["prod"], reason="to be measured")
    return model


def _onnx_bytes() -> bytes:
    [output] = graph_output_names([INPUT.name], [OUTPUT.name])
    nodes = [
        helper.make_node("MatMul", [INPUT.name, "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [output], axis=-1),
    ]
    axes = list(INPUT.shape)
    graph = helper.make_graph(
        nodes,
        HEAD,
        [helper.make_tensor_value_info(INPUT.name, TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, axes)],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
