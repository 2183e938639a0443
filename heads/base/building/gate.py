"""The gate: what a head must reach on the test split, which nothing else reads."""

from heads.base.declaration import Head
from heads.base.errors import InvalidHead
from zoo.errors import GateMissed
from zoo.manifest import LOWER_IS_BETTER, GateResult, Metrics, SliceMetrics
from zoo.suggest import did_you_mean

__all__ = ["check_gate"]


def check_gate(head: Head, metrics: Metrics, *, readings: int = 0) -> GateResult:
    """Compare metrics with the bounds of the head's gate.

    Args:
        head: whose gate.
        metrics: on the test split.
        readings: how often its labels were read since they changed, told with a refusal; 0 if nobody counted.

    Returns:
        The bounds and what was reached.

    Raises:
        GateMissed: a bound is not reached; the text lists each.
        InvalidHead: a bound names a slice that the test split doesn't have, or a metric not defined on it.
    """
    result = GateResult(
        bounds=dict(head.gate.bounds), reached={bound: _value(head, bound, metrics) for bound in head.gate.bounds}
    )
    if missed := result.missed():
        lines = "\n".join(f"  {_explain(bound, result, metrics)}" for bound in missed)
        raise GateMissed(
            f"{head.name!r} is below its gate and was not published:\n{lines}\n"
            "Look at the examples of these slices, then improve the training labels or the recipe. "
            "The test split is for the gate alone: do not tune on it."
            + (f" This was reading {readings} of it since it last changed." if readings else "")
        )
    return result


def _value(head: Head, bound: str, metrics: Metrics) -> float:
    where, _, metric = bound.rpartition("/")
    values = _measured(head, bound, metrics).values
    if metric not in values:
        raise InvalidHead(
            f"The gate of {head.name!r} bounds {bound!r}, but {metric!r} is not defined on "
            f"{f'the slice {where!r}' if where else 'the test split'}.{did_you_mean(metric, values)}"
        )
    return values[metric]


def _measured(head: Head, bound: str, metrics: Metrics) -> SliceMetrics:
    where = bound.rpartition("/")[0]
    if not where:
        return metrics.overall
    if where not in metrics.slices:
        raise InvalidHead(
            f"The gate of {head.name!r} bounds {bound!r}, but no test example is in the slice {where!r}."
            f"{did_you_mean(where, metrics.slices)}"
        )
    return metrics.slices[where]


def _explain(bound: str, result: GateResult, metrics: Metrics) -> str:
    where, _, metric = bound.rpartition("/")
    examples = (metrics.slices[where] if where else metrics.overall).examples
    relation = "at most" if metric in LOWER_IS_BETTER else "at least"
    return (
        f"{bound}: found {result.reached[bound]:.3f} on {examples} examples, "
        f"expected {relation} {result.bounds[bound]:.3f}"
    )
