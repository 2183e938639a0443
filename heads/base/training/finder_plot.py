"""A range test as a picture."""

import io

from heads.base.training.finder import RangeTest

__all__ = ["range_test_svg"]


def range_test_svg(found: RangeTest, *, title: str, current: float) -> bytes:
    """Return the loss over the learning rate as SVG; the same test gives the same bytes.

    Args:
        found: the range test.
        title: what was tested.
        current: the learning rate of today's recipe.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = (
        ("steepest", found.suggestion.steepest, "tab:orange", "--"),
        ("valley", found.suggestion.valley, "tab:green", "-"),
        ("recipe.toml", current, "tab:gray", ":"),
    )
    with mpl.rc_context({"svg.hashsalt": "range test", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot(found.rates, found.losses, color="tab:blue")
        for name, rate, color, style in lines:
            axes.axvline(rate, color=color, linestyle=style, label=f"{name} {rate:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss on the train split, smoothed", title=title)
        axes.legend()
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()
