"""Drawings that one kind of head asks for: cosines of vectors, and how often intervals of values hold them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heads.base.inspect.figures import COLOURS, INK, Drawing, styled
from heads.base.inspect.statistics import Coverage, wilson

__all__ = ["cosine_histogram", "coverage_curve"]

_BINS = 50


@styled
def cosine_histogram(within_P: NDArray[np.float64], between_P: NDArray[np.float64]) -> str:
    """Draw how cosines are spread, of pairs of one label and of pairs of two, each to an area of 1.

    Args:
        within_P: of pairs of one label.
        between_P: of pairs of two labels.
    """
    drawing = Drawing(5.2, 3.1)
    (axes,) = drawing.axes
    both_P = np.concatenate((within_P, between_P))
    edges = np.linspace(float(both_P.min()), max(float(both_P.max()), float(both_P.min()) + 1e-3), _BINS + 1)
    for name, cosines_P, colour in (("one label", within_P, COLOURS[0]), ("two labels", between_P, COLOURS[1])):
        if len(cosines_P):
            axes.hist(cosines_P, bins=edges.tolist(), density=True, alpha=0.55, color=colour, label=name)
            axes.axvline(float(np.median(cosines_P)), color=colour, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.set(xlabel="cosine", ylabel="density of pairs")
    axes.grid(visible=True, linewidth=0.7)
    axes.legend(loc="best")
    return drawing.svg()


@styled
def coverage_curve(found: Sequence[Coverage]) -> str:
    """Draw the share of values that their intervals hold against the share that they should hold, with 95 % bars.

    Args:
        found: as ``statistics.coverage`` gives it.
    """
    drawing = Drawing(5.2, 4.2)
    (axes,) = drawing.axes
    shares = [each.covered / each.count for each in found]
    bounds = [wilson(each.covered, each.count) for each in found]
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="perfect")
    axes.errorbar(
        [each.nominal for each in found],
        shares,
        yerr=[
            [max(0.0, share - bound.low) for share, bound in zip(shares, bounds, strict=True)],
            [max(0.0, bound.high - share) for share, bound in zip(shares, bounds, strict=True)],
        ],
        color=COLOURS[0],
        marker="o",
        markersize=5,
        linewidth=1.6,
        capsize=3,
        label="this version",
    )
    axes.set(xlim=(0.4, 1.01), ylim=(0, 1.02), xlabel="should be held", ylabel="is held")
    axes.grid(visible=True, linewidth=0.7)
    axes.legend(loc="upper left")
    return drawing.svg()
