"""Drawings of what the activation observer saw: the "colourful dimension" of each layer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heads.base.inspect.activations import BINS_PER_OCTAVE, LOWEST, SIDE
from heads.base.inspect.figures import Drawing, styled

__all__ = ["Range", "colourful", "ranged"]

_HIDDEN_SHARE = 0.02
_DECADES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)


class Range(NamedTuple):
    """Histograms over the magnitudes that occur.

    Attributes:
        counts: (C, B') int64; the middle bin also holds what is smaller than the rest.
        inner: bins of the grid, a side, that the middle bin has swallowed.
        below: bins below the middle one.
    """

    counts: NDArray[np.int64]
    inner: int
    below: int


def ranged(counts_CB: NDArray[np.int64]) -> Range:
    """Crop histograms to what occurs, and let the bin of zero swallow the smallest magnitudes, 2 % of all at most.

    Args:
        counts_CB: of one layer, over the grid of ``activations.bin_edges``.
    """
    total_B = counts_CB.sum(axis=0)
    both_S = total_B[SIDE + 1 :] + total_B[:SIDE][::-1]
    swallowed_S = (total_B[SIDE] + np.cumsum(both_S)) <= _HIDDEN_SHARE * total_B.sum()
    inner = int(swallowed_S.sum())
    middle_C1 = counts_CB[:, SIDE - inner : SIDE + inner + 1].sum(axis=1, keepdims=True)
    below_CB, above_CB = counts_CB[:, : SIDE - inner], counts_CB[:, SIDE + inner + 1 :]
    used_below = np.flatnonzero(below_CB.sum(axis=0))
    used_above = np.flatnonzero(above_CB.sum(axis=0))
    below_CB = below_CB[:, used_below[0] if len(used_below) else below_CB.shape[1] :]
    above_CB = above_CB[:, : used_above[-1] + 1 if len(used_above) else 0]
    return Range(np.concatenate((below_CB, middle_C1, above_CB), axis=1), inner, below_CB.shape[1])


@styled
def colourful(name: str, steps_C: NDArray[np.int64], counts_CB: NDArray[np.int64]) -> str:
    """Draw a layer's activations over time: steps on x, values on y, the logarithm of the count as colour.

    Args:
        name: of the layer.
        steps_C: the step of each column.
        counts_CB: its histograms.
    """
    found = ranged(counts_CB)
    drawing = Drawing(4.4, 2.9)
    (axes,) = drawing.axes
    # A column may stand for one step or for the sum of several: as many in each, or a seam would look like a change.
    columns_C1 = np.maximum(found.counts.sum(axis=1, keepdims=True), 1)
    even_CB = found.counts / columns_C1 * columns_C1.max()
    seen = np.where(found.counts > 0, np.log1p(even_CB), np.nan).T
    axes.imshow(seen, cmap="viridis", aspect="auto", origin="lower", interpolation="none")
    axes.set_yticks(*_value_ticks(found))
    places = np.unique(np.linspace(0, len(steps_C) - 1, min(5, len(steps_C))).round().astype(int))
    axes.set_xticks(places, [f"{steps_C[place]:,}" for place in places])
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("step")
    return drawing.svg()


def _value_ticks(found: Range) -> tuple[list[float], list[str]]:
    """Return where round values stand, at most one in every tenth of the height."""
    above = found.counts.shape[1] - found.below - 1
    ticks = {float(found.below): "0"}
    gap = max(found.counts.shape[1] / 10, 1)
    for value in reversed(_DECADES):
        # Bin k on a side begins at LOWEST * 2 ** ((k - 1) / BINS_PER_OCTAVE).
        place = np.log2(value / LOWEST) * BINS_PER_OCTAVE + 0.5 - found.inner
        for side, room in ((1, above), (-1, found.below)):
            at = found.below + side * place
            if 0 < place <= room + 0.5 and all(abs(at - other) >= gap for other in ticks):
                ticks[at] = f"{side * value:g}".replace("-", "−")
    ordered = sorted(ticks)
    return ordered, [ticks[place] for place in ordered]
