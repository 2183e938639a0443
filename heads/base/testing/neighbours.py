"""Examples of two splits that are the same, or nearly: by what preprocessing makes of them, and by their features."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from heads.base.testing.findings import Finding, Severity
from heads.base.testing.tables import shown
from heads.base.testing.vectors import Placed

__all__ = ["duplicates", "near_duplicates"]

_ROWS_AT_ONCE = 1024
_MOST_FINDINGS = 50


def duplicates(placed: Placed) -> Iterator[Finding]:
    """Find inputs that are in two splits: whatever a head does, its score is then partly one of memory."""
    same: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(placed.digests):
        same[digest].append(row)
    for rows in same.values():
        found = [placed.examples[row] for row in rows]
        if len({example.split for example in found}) > 1:
            places = ", ".join(f"{example.id} ({example.split})" for example in found)
            yield Finding(
                severity="error",
                kind="duplicate",
                ids=tuple(example.id for example in found),
                text=f"{places} are one input after preprocessing. Keep one, or move all to one split.",
            )


def near_duplicates(placed: Placed, *, above: float, severity: Severity = "warning") -> list[Finding]:
    """Find test and valid examples whose features nearly equal those of an example of another split.

    Args:
        placed: examples with their features.
        above: the cosine from which on two are near, 1 for the same direction.
        severity: what it is.

    Returns:
        One finding for each example that has such a neighbour, with its nearest; the nearest pairs first.
    """
    norms_N = np.linalg.norm(placed.vectors, axis=1, keepdims=True)
    units_ND = placed.vectors / np.where(norms_N > 0, norms_N, 1)
    splits = np.array([example.split for example in placed.examples])
    order = {"train": 0, "valid": 1, "test": 2}
    level_N = np.array([order[split] for split in splits])
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(splits), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        cosine_BN = units_ND[block] @ units_ND.T
        cosine_BN[level_N[block, None] <= level_N] = -1  # each pair once, seen from the split that is tested
        nearest_B = cosine_BN.argmax(1)
        best_B = cosine_BN.max(1)
        pairs += [(float(best_B[row]), start + int(row), int(nearest_B[row])) for row in np.flatnonzero(best_B > above)]
    found = sorted((pair for pair in pairs if placed.digests[pair[1]] != placed.digests[pair[2]]), reverse=True)
    return [_near(placed, cosine, one, other, severity) for cosine, one, other in found[:_MOST_FINDINGS]]


def _near(placed: Placed, cosine: float, one: int, other: int, severity: Severity) -> Finding:
    a, b = placed.examples[one], placed.examples[other]
    return Finding(
        severity=severity,
        kind="near duplicate",
        ids=(a.id, b.id),
        text=f"{cosine:.3f}: {a.id} ({a.split}) {shown(a.text or a.image)!r}, {b.id} ({b.split}) "
        f"{shown(b.text or b.image)!r}. If one is the other in other words, keep both in one split.",
    )
