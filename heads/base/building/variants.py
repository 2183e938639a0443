"""Other precisions of a head's path: which of them are good enough to be served."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from heads.base.building.parity import Proof
from heads.base.declaration import Head, Regress
from heads.base.tasks.metrics import measure_slices
from zoo.labels import Example
from zoo.manifest import LOWER_IS_BETTER, Format, Metrics, StageManifest, VariantFormat

__all__ = ["Variants", "judge_variants", "variant_tolerances"]

SPREAD: Mapping[VariantFormat, float] = {"onnx-int8": 0.9, "onnx-fp16": 0.02}
"""How far an output may be from torch's, as a share of its range. It finds what is broken; metrics say what is good."""

_ROUNDING = 1e-9
"""Metrics are shares of whole numbers; their differences are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """What came of the precisions that a path was measured in.

    Attributes:
        metrics: on the test split, of those that may be served.
        left_out: a line for each of the others: what it reached, and what it had to.
    """

    metrics: dict[Format, Metrics]
    left_out: tuple[str, ...]


def variant_tolerances(head: Head, stages: Iterable[StageManifest]) -> dict[VariantFormat, float]:
    """Return the precisions that a head's path can be run in, with the parity that each is held to.

    Args:
        head: the declaration.
        stages: the stages of the path; one that has no such form runs in fp32.
    """
    stored = {form for stage in stages for form in stage.artifacts}
    span = head.task.high - head.task.low if isinstance(head.task, Regress) else 1.0
    return {form: SPREAD[form] * span for form in get_args(VariantFormat) if form in stored}


def judge_variants(head: Head, examples: Sequence[Example], fp32: Metrics, proof: Proof) -> Variants:
    """Say which precisions of a version may be served.

    Each metric of the gate has to be within the head's ``variant_tolerance`` of fp32's, and within its bound; where
    there is no gate, the task's first metric.

    Args:
        head: the declaration.
        examples: the test split.
        fp32: its metrics on it.
        proof: how far each variant is from torch, and what it answers to each example.
    """
    metrics: dict[Format, Metrics] = {}
    left_out = []
    for form in (form for form in get_args(VariantFormat) if form in proof.parity):
        parity = proof.parity[form]
        if not parity.max_abs_diff <= parity.tolerance:
            left_out.append(
                f"{form} is left out: its outputs are up to {parity.max_abs_diff:.3g} from the torch model's; "
                f"allowed is {parity.tolerance:.3g}."
            )
            continue
        found = measure_slices(head.task, examples, proof.answers[form])
        if worse := _worse(head, fp32, found):
            left_out.append(f"{form} is left out: {'; '.join(worse)}.")
        else:
            metrics[form] = found
    return Variants(metrics=metrics, left_out=tuple(left_out))


def _worse(head: Head, fp32: Metrics, found: Metrics) -> list[str]:
    """Return, for each metric that fell too far, what it is in both."""
    lines = []
    for key in head.gate.bounds or (head.task.metrics[0],):
        sign = -1 if key.rpartition("/")[2] in LOWER_IS_BETTER else 1
        was, now = _value(key, fp32), _value(key, found)
        if was is None:  # not defined on these examples
            continue
        needed = max(sign * was - head.variant_tolerance, sign * head.gate.bounds.get(key, -sign * float("inf")))
        if now is None or sign * now < needed - _ROUNDING:
            bound = f", and the gate's bound is {head.gate.bounds[key]:g}" if key in head.gate.bounds else ""
            reached = "not defined" if now is None else f"{now:.3f}"
            lines.append(
                f"{key} is {reached} in it and {was:.3f} in fp32; "
                f"variant_tolerance is {head.variant_tolerance:g}{bound}"
            )
    return lines


def _value(key: str, metrics: Metrics) -> float | None:
    where, _, name = key.rpartition("/")
    return (metrics.slices[where] if where else metrics.overall).values.get(name)
