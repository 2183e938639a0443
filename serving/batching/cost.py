"""What a batch will cost: a straight line for each node and width, fitted to the batches that ran.

A node's time is taken as ``fixed + per_token * rows * width``: once over all widths, and once for each bucket of
widths, since attention bends the line. The finer line leans on the coarser one until it has seen enough of its own.
"""

from collections.abc import Collection, Iterable

__all__ = ["PRIOR_FIXED_S", "PRIOR_PER_TOKEN_S", "CostModel"]

PRIOR_FIXED_S = 100e-6
"""Taken for a node that never ran, with ``PRIOR_PER_TOKEN_S``; low, so that nobody is refused out of ignorance."""

PRIOR_PER_TOKEN_S = 400e-9
"""Little next to the fixed part: larger batches look cheap until they are tried, and so they are tried."""

SHORTEST_S = 1e-9
"""A run is not taken to be shorter: a clock may see none of it."""

FORGET = 0.99
"""What an observation still weighs after the next one: the last hundred or so count."""

LEAN = 1.0
"""What each of two imagined runs on the coarser line weighs, where a run that was seen weighs 1."""

IMAGINED_SPAN = 8
"""The imagined runs have as many tokens as the mean of those that were seen, and this part of it."""

OUTLIER = 3.0
"""A run this many times longer or shorter than predicted counts as that much longer or shorter, and no more …"""

BELIEVED_AFTER = 3
"""… unless so many in a row say the same: then the line begins anew …"""

SURE_AFTER = 5
"""… or it has not seen as many runs as this, and cannot tell."""


class CostModel:
    """Predicts how long nodes run, from how long they ran. It fulfils ``Costs``.

    Five sums for each node and bucket of widths, whatever the traffic. Not thread-safe: the engine holds its lock.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def observe(self, path: str, *, rows: int, width: int, seconds: float) -> None:
        """Learn from one run.

        Args:
            path: the node's path digest.
            rows: how many rows it ran.
            width: tokens of each, padding included; 1 for an input that has none.
            seconds: how long it took.
        """
        node = self._nodes.get(path)
        if node is None:
            node = self._nodes[path] = _Node()
        node.observe(rows, width, max(seconds, SHORTEST_S))

    def predict_s(self, path: str, rows: int, width: int) -> float:
        """Return the seconds that the node ``path`` takes for ``rows`` rows padded to ``width`` tokens.

        >>> costs = CostModel()
        >>> for rows in (1, 8) * 50:
        ...     costs.observe("body", rows=rows, width=32, seconds=0.001 + 0.002 * rows)
        >>> round(costs.predict_s("body", 4, 32), 4)
        0.009
        """
        node = self._nodes.get(path)
        line = PRIOR if node is None else node.lines.get(_bucket(width), node.line)
        return line.fixed_s + line.per_token_s * rows * width

    def path_s(self, paths: Iterable[str], rows: int, width: int) -> float:
        """Return the seconds that all of ``paths`` take together."""
        bucket, tokens, seconds = _bucket(width), rows * width, 0.0
        for path in paths:
            node = self._nodes.get(path)
            line = PRIOR if node is None else node.lines.get(bucket, node.line)
            seconds += line.fixed_s + line.per_token_s * tokens
        return seconds

    def is_sure(self, path: str) -> bool:
        """Return whether the node ``path`` ran often enough to be predicted from that."""
        node = self._nodes.get(path)
        return node is not None and node.line.is_sure

    def keep(self, paths: Collection[str]) -> None:
        """Forget every node that is not among ``paths``, those of the plan that runs."""
        self._nodes = {path: node for path, node in self._nodes.items() if path in paths}


class _Line:
    """``fixed + per_token * tokens``, by weighted least squares over exponentially forgotten observations.

    An observation of n tokens weighs 1/n, since a run time spreads in proportion to its length.
    """

    __slots__ = ("_n", "_strikes", "_w", "_wy", "_x", "_y", "fixed_s", "per_token_s")

    def __init__(self, fixed_s: float, per_token_s: float) -> None:
        self.fixed_s = fixed_s
        self.per_token_s = per_token_s
        self._w = self._n = self._x = self._wy = self._y = 0.0
        self._strikes = 0

    @property
    def is_sure(self) -> bool:
        """Whether it has seen enough to tell an outlier."""
        return self._n >= SURE_AFTER

    def observe(self, tokens: int, seconds: float, coarser: "_Line") -> None:
        """Count a run, and fit again."""
        seconds = self._believed(tokens, seconds)
        self._w = self._w * FORGET + 1 / tokens
        self._n = self._n * FORGET + 1
        self._x = self._x * FORGET + tokens
        self._wy = self._wy * FORGET + seconds / tokens
        self._y = self._y * FORGET + seconds
        self._fit(coarser)

    def _believed(self, tokens: int, seconds: float) -> float:
        """Return what a run counts as; an outlier that comes often enough ends what was believed before."""
        predicted_s = self.fixed_s + self.per_token_s * tokens
        nearest = min(max(seconds, predicted_s / OUTLIER), predicted_s * OUTLIER)
        if nearest == seconds or not self.is_sure:
            self._strikes = 0
            return seconds
        way = 1 if seconds > nearest else -1
        self._strikes = self._strikes + way if self._strikes * way > 0 else way
        if abs(self._strikes) < BELIEVED_AFTER:
            return nearest
        self._w = self._n = self._x = self._wy = self._y = 0.0
        self._strikes = 0
        return seconds

    def _fit(self, coarser: "_Line") -> None:
        """Fit the sums and the imagined runs, which are on the coarser line, moved to the height of what was seen."""
        w, n, x, wy, y = self._w, self._n, self._x, self._wy, self._y
        mean = x / n
        height = y / (coarser.fixed_s * n + coarser.per_token_s * x)
        for tokens in (mean, mean / IMAGINED_SPAN):
            seconds = height * (coarser.fixed_s + coarser.per_token_s * tokens)
            w += LEAN / mean
            n += LEAN * tokens / mean
            x += LEAN * tokens * tokens / mean
            wy += LEAN * seconds / mean
            y += LEAN * seconds * tokens / mean
        per_token_s = (w * y - n * wy) / (w * x - n * n)  # the imagined runs differ in tokens: this is never 0 / 0
        fixed_s = (wy - per_token_s * n) / w
        if per_token_s < 0:
            fixed_s, per_token_s = wy / w, 0.0
        elif fixed_s < 0:
            fixed_s, per_token_s = 0.0, y / x
        self.fixed_s, self.per_token_s = fixed_s, per_token_s


class _Node:
    """One node's lines: one over all widths, and one for each bucket of widths that ran more than once."""

    __slots__ = ("_once", "line", "lines")

    def __init__(self) -> None:
        self.line = PRIOR
        self.lines: dict[int, _Line] = {}
        self._once: set[int] = set()

    def observe(self, rows: int, width: int, seconds: float) -> None:
        # The first run of a node or a width compiles, allocates and warms caches: it says nothing of the next one.
        if self.line is PRIOR:
            self.line = _Line(PRIOR_FIXED_S, PRIOR_PER_TOKEN_S)
            return
        self.line.observe(rows * width, seconds, PRIOR)
        bucket = _bucket(width)
        line = self.lines.get(bucket)
        if line is not None:
            line.observe(rows * width, seconds, self.line)
        elif bucket in self._once:
            self._once.discard(bucket)
            line = self.lines[bucket] = _Line(self.line.fixed_s, self.line.per_token_s)
            line.observe(rows * width, seconds, self.line)
        else:
            self._once.add(bucket)


PRIOR = _Line(PRIOR_FIXED_S, PRIOR_PER_TOKEN_S)
"""For nodes that never ran twice; it observes nothing."""


def _bucket(width: int) -> int:
    """Return a number for widths that lie within a quarter of each other.

    >>> [_bucket(width) for width in (7, 8, 9, 10, 15, 16, 20)] == [7, 12, 12, 13, 15, 20, 21]
    True
    """
    if width < 8:
        return width
    shift = width.bit_length() - 3
    return (shift << 3) | (width >> shift)
