"""What a simulated batch really costs; the policy learns it from what it sees, as it does of a real device."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serving.batching.rows import WaitingRow

__all__ = ["NodeCost", "NodeTime", "Truth"]


@dataclass(frozen=True, slots=True)
class NodeCost:
    """Seconds that a node takes: ``fixed_s + per_token_s * rows * width + per_token2_s * rows * width ** 2``."""

    fixed_s: float
    per_token_s: float
    per_token2_s: float = 0.0

    def seconds(self, rows: int, width: int) -> float:
        """Return the seconds of a run.

        >>> NodeCost(0.5, 0.25).seconds(rows=4, width=20)
        20.5
        """
        return self.fixed_s + rows * width * (self.per_token_s + self.per_token2_s * width)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One node's part in a batch."""

    path: str
    rows: int
    width: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A device.

    Attributes:
        default: what a node costs that ``nodes`` does not name.
        nodes: what nodes cost, by path.
        noise: the standard deviation of a run's time, as a share of it; log-normal, the same for a batch's nodes.
        contention: how much longer a batch takes for each batch that runs beside it, as a share of its time.
        cold: how many times longer a node takes when it runs for the first time.
    """

    default: NodeCost
    nodes: Mapping[str, NodeCost] = field(default_factory=dict)
    noise: float = 0.0
    contention: float = 0.0
    cold: float = 1.0

    def times(
        self, batch: Sequence[WaitingRow], chance: random.Random, is_cold: Callable[[str], bool]
    ) -> list[NodeTime]:
        """Return how long each node runs for a batch that has the device for itself."""
        factor = chance.lognormvariate(0.0, self.noise) if self.noise else 1.0
        nodes: dict[str, tuple[int, int]] = {}
        for row in batch:
            for path in row.paths:
                rows, width = nodes.get(path, (0, 0))
                nodes[path] = rows + 1, max(width, row.length)
        return [
            NodeTime(
                path=path,
                rows=rows,
                width=width,
                seconds=self.nodes.get(path, self.default).seconds(rows, width)
                * factor
                * (self.cold if is_cold(path) else 1.0),
            )
            for path, (rows, width) in nodes.items()
        ]
