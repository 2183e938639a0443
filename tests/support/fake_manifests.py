"""Small, valid manifests over blobs that are only bytes, for tests that need a zoo and no network."""

from datetime import UTC, datetime
from typing import Any

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
    StageRef,
    TensorSpec,
    TextPreprocessing,
    VersionManifest,
)
from zoo.registry.records import Backbone
from zoo.zoo import Zoo

IDS = TensorSpec(name="ids_NT", dtype="int64", shape=("N", "T"))
MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
TOKENS = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 4))
SCORES = TensorSpec(name="scores_NC", dtype="float32", shape=("N", 2))


def stage_manifest(
    zoo: Zoo, name: str, *, seed: str = "", inputs: tuple[TensorSpec, ...], output: TensorSpec
) -> StageManifest:
    """Return a stage whose exports are stored as the bytes of its name and seed."""
    weights = f"weights of {name} {seed}".encode()
    network = f"network of {name} {seed}".encode()
    return StageManifest(
        name=name,
        architecture={"kind": "fake", "name": name},
        inputs=inputs,
        outputs=(output,),
        weights=zoo.blobs.put(weights),
        parameters=8,
        artifacts={
            "onnx": Artifact(blob=zoo.blobs.put(network), size_bytes=len(network), made_by="hand"),
            "safetensors": Artifact(blob=zoo.blobs.put(weights), size_bytes=len(weights), made_by="hand"),
        },
    )


def text_preprocessing(zoo: Zoo) -> TextPreprocessing:
    """Return a preprocessing whose tokenizer blob is stored, and no tokenizer."""
    return TextPreprocessing(tokenizer=zoo.blobs.put(b"{}"), max_tokens=8, pad_id=0)


def add_body(zoo: Zoo, *, name: str = "minilm", stages: int = 2) -> Backbone:
    """Add a text backbone of a few stages."""
    refs = []
    for index in range(stages):
        inputs = (IDS, MASK) if index == 0 else (TOKENS, MASK)
        refs.append(zoo.add_stage(stage_manifest(zoo, f"{name}/{index}", inputs=inputs, output=TOKENS)))
    manifest = BackboneManifest(
        name=name,
        source=name,
        source_digest=digest_bytes(name.encode()),
        stages=tuple(refs),
        preprocessing=text_preprocessing(zoo),
        environment={"torch": "0"},
    )
    return zoo.add_backbone(manifest)


def add_head_stage(zoo: Zoo, head: str, seed: str = "") -> StageRef:
    """Add the last stage of a two-class head."""
    return zoo.add_stage(stage_manifest(zoo, head, seed=seed, inputs=(TOKENS, MASK), output=SCORES))


def version_manifest(
    zoo: Zoo, body: Backbone, *, head: str = "intent", seed: str = "", **changes: Any
) -> VersionManifest:
    """Return a version of a head that may be published; ``seed`` makes another, ``changes`` replaces fields."""
    fields: dict[str, Any] = {
        "head": head,
        "team": head,
        "backbone": body.digest,
        "stages": (*body.manifest.stages, add_head_stage(zoo, head, seed)),
        "shared_stages": len(body.manifest.stages),
        "preprocessing": body.manifest.preprocessing,
        "signature": Signature(inputs=(IDS, MASK), outputs=(SCORES,)),
        "answer": ClassifyAnswer(labels=("refund", "greeting")),
        "labels": LabelsCommit(digest=digest_bytes(b"labels"), commit=None, examples={"train": 4, "test": 2}),
        "code": digest_bytes(b"code"),
        "environment": {"torch": "0"},
        "recipe": {"epochs": 1},
        "build_key": digest_bytes(f"{head} {seed}".encode()),
        "metrics": Metrics(
            overall=SliceMetrics(examples=2, values={"macro_f1": 0.9}),
            slices={"negation": SliceMetrics(examples=1, values={"macro_f1": 0.7})},
        ),
        "gate": GateResult(bounds={"macro_f1": 0.8}, reached={"macro_f1": 0.9}),
        "parity": {"onnx": Parity(rows=4, batch_sizes=(1, 3), max_abs_diff=1e-6, equal_answers=1.0, tolerance=1e-4)},
        "created_by": "someone",
        "created_at": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return VersionManifest(**{**fields, **changes})
