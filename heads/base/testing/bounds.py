"""Slices with minimum metrics: where a head has to be good, and how sure that is."""

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from heads.base.testing.expectations import ExpectationMissed
from heads.base.testing.model import Model
from heads.base.testing.rates import Rate
from heads.base.testing.tables import as_table, shown
from zoo.labels import Example, Target
from zoo.manifest import LOWER_IS_BETTER, Metrics, SliceMetrics
from zoo.masks import Mask
from zoo.suggest import did_you_mean

__all__ = ["slices"]

_SHARES = ("accuracy", "exact_match")
"""Metrics that are a rate of examples, so that they have an interval of their own."""


def slices(model: Model, bounds: Mapping[str, float], *, on: Literal["valid", "test"] = "valid") -> Metrics:
    """Expect metrics on slices of a split.

    Args:
        model: the built head.
        bounds: as a gate has them: ``"accuracy"`` or ``"negation/accuracy"`` to the lowest allowed value, and to the
            highest for errors such as ``"mae"``.
        on: the split. Reading the test split is logged in the zoo, once a run; the gate is the place for its bounds.

    Returns:
        The metrics of all slices.

    Raises:
        ExpectationMissed: a bound is not reached; the text has a table of all, and the wrong answers.
        ValueError: a bound names a slice or a metric that is not there.
    """
    from heads.base.tasks.metrics import measure_slices  # imports torch

    __tracebackhide__ = True
    examples = model.valid_examples() if on == "valid" else model.test_split(_reason()).examples
    found = model.targets(examples)
    metrics = measure_slices(model.task, examples, found)
    missed = [bound for bound, value in bounds.items() if not _reaches(bound, value, metrics)]
    if missed:
        rows = [_row(bound, value, metrics) for bound, value in bounds.items()]
        columns = ("slice/metric", "found", "expected", "examples", "95 % interval")
        raise ExpectationMissed(
            f"{', '.join(missed)} of {model.version} on the {on} split:\n{as_table(columns, rows)}"
            f"{_wrong(missed, examples, found)}"
        )
    return metrics


def _reason() -> str:
    """Return what reads the test split: pytest says which test it is."""
    return os.environ.get("PYTEST_CURRENT_TEST", "slices").partition(" ")[0]


def _measured(bound: str, metrics: Metrics) -> tuple[SliceMetrics, str]:
    where, _, metric = bound.rpartition("/")
    if where and where not in metrics.slices:
        raise ValueError(f"{bound!r}: no example is in the slice {where!r}.{did_you_mean(where, metrics.slices)}")
    chosen = metrics.slices[where] if where else metrics.overall
    if metric not in chosen.values:
        raise ValueError(f"{bound!r}: there is no metric {metric!r} there.{did_you_mean(metric, chosen.values)}")
    return chosen, metric


def _reaches(bound: str, value: float, metrics: Metrics) -> bool:
    chosen, metric = _measured(bound, metrics)
    return chosen.values[metric] <= value if metric in LOWER_IS_BETTER else chosen.values[metric] >= value


def _row(bound: str, value: float, metrics: Metrics) -> Sequence[str]:
    chosen, metric = _measured(bound, metrics)
    found = chosen.values[metric]
    low, high = Rate(round(found * chosen.examples), chosen.examples).interval if metric in _SHARES else (0.0, 0.0)
    relation = "at most" if metric in LOWER_IS_BETTER else "at least"
    interval = f"{low:.3f} to {high:.3f}" if metric in _SHARES else ""
    return bound, f"{found:.3f}", f"{relation} {value:g}", str(chosen.examples), interval


def _wrong(missed: Sequence[str], examples: Sequence[Example], found: Sequence[Target]) -> str:
    """Return a table of the wrong answers in the slices that were missed, the furthest values first."""
    names = {bound.rpartition("/")[0] for bound in missed}
    wrong = [
        (example, target)
        for example, target in zip(examples, found, strict=True)
        if target != example.target and ("" in names or names & set(example.slices))
    ]
    wrong.sort(key=lambda pair: -_distance(*pair))
    rows = [
        (example.id, shown(example.text or example.image), _said(example.target), _said(got)) for example, got in wrong
    ]
    return f"\nWrong there:\n{as_table(('id', 'input', 'expected', 'answer'), rows)}"


def _distance(example: Example, found: Target) -> float:
    return abs(example.target - found) if isinstance(example.target, float) and isinstance(found, float) else 0.0


def _said(target: Target) -> str:
    if isinstance(target, Mask):
        return f"{target.width} × {target.height} pixels"
    return f"{target:.2f}" if isinstance(target, float) else str(target)
