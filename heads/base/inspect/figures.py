"""Drawings as SVG, by matplotlib without pyplot: nothing is shared between two of them, and nothing is left open.

Ink and lines are drawn in the colours of the page around them, so a drawing is as readable in the dark as in the light.
"""

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from heads.base.inspect.landscape import Landscape
from heads.base.inspect.statistics import Bin

__all__ = [
    "COLOURS",
    "INK",
    "confusion_matrix",
    "curves",
    "landscape",
    "predicted_against_wanted",
    "reliability_diagram",
    "residuals",
    "scatter_by_label",
    "scatter_by_value",
]

COLOURS = ("#3f86c9", "#dd7530", "#2b9d72", "#c2518a", "#8571cf", "#b0952b", "#3aa3b5", "#a5583a")
"""Apart for most kinds of colour vision, and readable on white and on black."""

OTHERS = "#8b93a0"
INK, _LINE = "#010203", "#040506"
_PAGE_COLOURS = {INK: "currentColor", _LINE: "var(--line)"}
_NUMBERED_CLASSES = 14
_STYLE: Any = {  # matplotlib's keys are a type of theirs
    "svg.fonttype": "none",
    "svg.hashsalt": "hydrazoo",
    "font.size": 10.5,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": _LINE,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
}


_Arguments = ParamSpec("_Arguments")


def styled(draw: Callable[_Arguments, str]) -> Callable[_Arguments, str]:
    """Let a function draw in the style of the page; matplotlib's settings are as before when it returns."""

    @functools.wraps(draw)
    def drawing_in_style(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> str:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawing_in_style


class Drawing:
    """A figure of one or more axes, made within ``styled``; ``svg`` gives it as text.

    Args:
        width: in inches; a page shows an inch as 100 pixels at most.
        height: in inches.
        columns: how many axes, side by side.
    """

    def __init__(self, width: float = 5.2, height: float = 3.1, *, columns: int = 1) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(self.figure)
        self.axes: list[Axes] = [self.figure.add_subplot(1, columns, place + 1) for place in range(columns)]
        for axes in self.axes:
            axes.set_axisbelow(True)

    def svg(self) -> str:
        """Return the drawing as an SVG document; the same drawing is always the same text."""
        file = io.StringIO()
        # Tight: the layout does not see all the room that labels take beside a square box.
        plain = {"Date": None, "Creator": None}
        self.figure.savefig(file, format="svg", transparent=True, metadata=plain, bbox_inches="tight", pad_inches=0.06)
        drawn = file.getvalue()
        for colour, of_the_page in _PAGE_COLOURS.items():
            drawn = drawn.replace(colour, of_the_page)
        return drawn


@styled
def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    mark: float | None = None,
    mark_label: str = "",
    log: bool = False,
    at_least: float | None = None,
) -> str:
    """Draw lines over a common x; the first eight have colours of their own.

    Args:
        x: rising.
        lines: by name, as many values each; NaN leaves a gap.
        x_label: what x is, with its unit.
        y_label: what y is.
        mark: an x to mark.
        mark_label: what is marked.
        log: whether y is logarithmic.
        at_least: y goes from 0 to this at least, so that little noise looks little.
    """
    drawing = Drawing()
    (axes,) = drawing.axes
    for place, (name, values) in enumerate(lines.items()):
        colour = COLOURS[place] if place < len(COLOURS) else OTHERS
        axes.plot(x, values, color=colour, label=name, linewidth=1.6, marker="." if len(x) < 2 else "")
    if mark is not None:
        axes.axvline(mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=mark_label)
    if log and any(value > 0 for values in lines.values() for value in values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    if at_least is not None:
        axes.set_ylim(0, max(at_least, 1.05 * max((value for values in lines.values() for value in values), default=0)))
    axes.grid(visible=True, linewidth=0.7)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if len(lines) > 1 or mark is not None:
        axes.legend(ncols=1 if len(lines) < 5 else 2, loc="best")
    return drawing.svg()


@styled
def confusion_matrix(
    counts_CC: NDArray[np.int64], labels: Sequence[str], *, column: str = "answered", as_shares: bool = False
) -> str:
    """Draw how often each label (row) was answered as each label (column), coloured by the share of the row.

    Args:
        counts_CC: as ``statistics.confusion`` gives it.
        labels: in its order.
        column: what a column stands for.
        as_shares: write the share of the row and not the count, which of pixels or tokens would be too long.
    """
    classes = len(labels)
    size = min(9.0, max(4.2, 1.8 + 0.5 * classes))
    drawing = Drawing(size + 0.6, size)
    (axes,) = drawing.axes
    share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    axes.imshow(np.where(counts_CC > 0, share_CC, np.nan), cmap="Blues", vmin=-0.15, vmax=1.1, interpolation="none")
    if classes <= _NUMBERED_CLASSES:
        for row, place in np.argwhere(counts_CC > 0).tolist():
            colour = "#ffffff" if share_CC[row, place] > 0.55 else "#10243f"
            text = f"{share_CC[row, place]:.1%}" if as_shares else str(counts_CC[row, place])
            axes.text(
                place,
                row,
                text,
                ha="center",
                va="center",
                color=colour,
                fontsize=8 if as_shares and classes > 4 else 9.5,
            )
    short = [_short(label, 18) for label in labels]
    axes.set_xticks(range(classes), short, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), short)
    axes.tick_params(length=0, labelsize=9.5 if classes <= _NUMBERED_CLASSES else 6.5)
    axes.set_xlabel(column)
    axes.set_ylabel("wanted")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawing.svg()


@styled
def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Draw the share of right answers against their confidence, and how many answers there are of each.

    Args:
        bins: as ``statistics.reliability`` gives them.
    """
    drawing = Drawing(5.2, 4.2)
    (axes,) = drawing.axes
    filled = [each for each in bins if each.count]
    middle = [(each.low + each.high) / 2 for each in filled]
    width = 0.92 * (bins[0].high - bins[0].low)
    most = max(each.count for each in filled)
    axes.bar(middle, [0.25 * each.count / most for each in filled], width, color=OTHERS, alpha=0.4, label="how many")
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="perfect")
    axes.plot(
        [each.confidence for each in filled],
        [each.right for each in filled],
        color=COLOURS[0],
        marker="o",
        markersize=5,
        linewidth=1.6,
        label="this version",
    )
    for place, each in zip(middle, filled, strict=True):
        axes.text(place, 0.25 * each.count / most + 0.012, _compact(each.count), ha="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share that is right")
    axes.grid(visible=True, linewidth=0.7)
    axes.legend(loc="upper left")
    return drawing.svg()


@styled
def predicted_against_wanted(wanted_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> str:
    """Draw each predicted value against the wanted one."""
    drawing = Drawing(5.2, 4.2)
    (axes,) = drawing.axes
    ends = [float(min(wanted_N.min(), found_N.min())), float(max(wanted_N.max(), found_N.max()))]
    axes.plot(ends, ends, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.scatter(wanted_N, found_N, s=16, color=COLOURS[0], alpha=0.6, linewidths=0, rasterized=len(wanted_N) > 500)
    axes.set(xlabel="wanted", ylabel="predicted")
    axes.grid(visible=True, linewidth=0.7)
    return drawing.svg()


@styled
def residuals(wanted_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> str:
    """Draw by how much each prediction is off, over the prediction, and how often it is off by how much."""
    drawing = Drawing(5.4, 3.4, columns=2)
    over, often = drawing.axes
    off_N = found_N - wanted_N
    over.axhline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    over.scatter(found_N, off_N, s=16, color=COLOURS[0], alpha=0.6, linewidths=0, rasterized=len(off_N) > 500)
    over.set(xlabel="predicted", ylabel="predicted - wanted")
    often.hist(off_N, bins=min(30, max(5, len(off_N) // 4)), orientation="horizontal", color=COLOURS[0], alpha=0.8)
    often.sharey(over)
    often.set_xlabel("examples")
    for axes in drawing.axes:
        axes.grid(visible=True, linewidth=0.7)
    return drawing.svg()


@styled
def landscape(found: Landscape) -> str:
    """Draw the loss over a plane through the trained weights, as contours."""
    drawing = Drawing(5.2, 4.0)
    (axes,) = drawing.axes
    finite = np.where(np.isfinite(found.losses), found.losses, np.nan)
    low, high = float(np.nanmin(finite)), float(np.nanmax(finite))
    levels = np.unique(low + (high - low) * np.linspace(0, 1, 13) ** 2) if high > low else np.array([low, low + 1e-9])
    filled = axes.contourf(found.steps, found.steps, finite, levels=levels, cmap="viridis", extend="max")
    axes.plot(0, 0, marker="*", markersize=13, color="#ffffff", markeredgecolor="#10243f")
    bar = drawing.figure.colorbar(filled, ax=axes, format=lambda value, _place: f"{value:.3g}")
    bar.set_label("loss")
    axes.set(xlabel="first direction", ylabel="second direction")
    axes.set_box_aspect(1)
    ticks = (-1, -0.5, 0, 0.5, 1)  # so few that the layout, which sees them only once, knows how wide they are
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    return drawing.svg()


@styled
def scatter_by_label(places_N2: NDArray[np.float64], labels: Sequence[str], wrong_N: NDArray[np.bool_]) -> str:
    """Draw examples at their places in the colours of their labels; wrong answers have a ring.

    Args:
        places_N2: x and y.
        labels: one an example; all but the eight most frequent share a colour.
        wrong_N: which are answered wrongly.
    """
    drawing = Drawing(5.2, 4.2)
    (axes,) = drawing.axes
    names, counts = np.unique(np.array(labels), return_counts=True)
    frequent = [str(names[place]) for place in np.argsort(-counts, kind="stable")[: len(COLOURS)]]
    colours = dict(zip(frequent, COLOURS, strict=False))
    groups: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(label if label in colours else "others", []).append(place)
    for name in [*frequent, "others"]:
        if name in groups:
            style = {"color": colours.get(name, OTHERS), "label": _short(name, 24)}
            _dots(axes, places_N2[groups[name]], **_size(len(labels)), **style)
    _rings(axes, places_N2[wrong_N])
    _bare(axes)
    drawing.figure.legend(loc="outside lower left", ncols=3, handletextpad=0.2, columnspacing=1.0)
    return drawing.svg()


@styled
def scatter_by_value(places_N2: NDArray[np.float64], values_N: NDArray[np.float64], name: str) -> str:
    """Draw examples at their places, coloured by a value of some name."""
    drawing = Drawing(5.2, 4.0)
    (axes,) = drawing.axes
    dots = _dots(axes, places_N2, **_size(len(values_N)), c=values_N, cmap="viridis")
    drawing.figure.colorbar(dots, ax=axes).set_label(name)
    _bare(axes)
    return drawing.svg()


def _dots(axes: Axes, places_N2: NDArray[np.float64], **style: Any) -> Any:
    return axes.scatter(places_N2[:, 0], places_N2[:, 1], alpha=0.85, linewidths=0, **style)


def _size(rows: int) -> dict[str, Any]:
    """Return how dots are drawn where there are so many: smaller, and from some hundreds on as one picture."""
    return {"s": min(32.0, max(9.0, 6000 / max(rows, 1))), "rasterized": rows > 400}


def _rings(axes: Axes, places_N2: NDArray[np.float64]) -> None:
    if len(places_N2):
        axes.scatter(
            places_N2[:, 0], places_N2[:, 1], s=70, facecolors="none", edgecolors=INK, linewidths=0.9, label="wrong"
        )


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)


def _compact(count: int) -> str:
    """Return a count in at most five signs.

    >>> _compact(999), _compact(1981), _compact(103_888), _compact(2_500_000)
    ('999', '1.98k', '104k', '2.5M')
    """
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if count >= unit:
            return f"{float(f'{count / unit:.3g}'):g}{name}"
    return str(count)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
