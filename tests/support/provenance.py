"""The parts of a version manifest that say what made it, and that a test of serving does not care about."""

from datetime import UTC, datetime
from typing import Any

from zoo.digest import digest_bytes
from zoo.manifest import GateResult, LabelsCommit, Metrics, Parity, SliceMetrics


def provenance(head: str, build: str) -> dict[str, Any]:
    """Return these fields for one build of a head; another ``build`` makes another version."""
    return {
        "head": head,
        "team": head,
        "labels": LabelsCommit(digest=digest_bytes(b"labels"), commit=None, examples={"train": 1}),
        "code": digest_bytes(b"code"),
        "environment": {},
        "recipe": {"build": build},
        "build_key": digest_bytes(f"{head} {build}".encode()),
        "metrics": Metrics(overall=SliceMetrics(examples=1, values={"macro_f1": 1.0}), slices={}),
        "gate": GateResult(bounds={}, reached={}),
        "parity": {"onnx": Parity(rows=1, batch_sizes=(1,), max_abs_diff=0, equal_answers=1, tolerance=1e-6)},
        "created_by": "test",
        "created_at": datetime(2025, 1, 1, tzinfo=UTC),
    }
