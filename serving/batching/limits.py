"""What bounds a batch and the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Limits"]

POSITIVE = (
    "max_rows",
    "max_waiting_rows",
    "max_waiting_bytes",
    "bucket_tokens",
    "max_batch_s",
    "ageing_s",
    "team_room",
    "memory_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a batch and the queue.

    Attributes:
        max_rows: rows in the largest batch.
        bucket_tokens: lengths are rounded up to buckets of so many tokens; the policy counts in whole buckets.
        max_padding: padding's largest share of a batch's tokens, from 0 to below 1.
        target_efficiency: a batch stops growing at this share of the useful work a second that the largest batch
            without padding would do; above 0, at most 1. Nearer to 1: larger batches, more throughput, longer waits.
        max_batch_s: a batch is not predicted to run longer, unless one row alone does.
        ageing_s: after each such time that a row waits it counts as one priority higher.
        team_weights: a team's share of the device, relative to the others'; 1 for a team that is not named.
        burst_s: seconds of work that a team which used less than its share may take ahead of the others.
        memory_s: how long a team that asks nothing still counts as one that is about to ask.
        max_slowdown: how many times longer than alone an answer may take a team that uses less than its share,
            because of other teams; above 1. Larger: larger batches while such a team is about.
        max_waiting_rows: rows that wait before new ones are refused.
        max_waiting_bytes: bytes of waiting rows before new ones are refused.
        team_room: a team's waiting rows are at most so many times the free room, which keeps room for others.
    """

    max_rows: int = 64
    bucket_tokens: int = 2
    max_padding: float = 0.5
    target_efficiency: float = 0.95
    max_batch_s: float = 0.05
    ageing_s: float = 0.5
    team_weights: Mapping[str, float] = field(default_factory=dict)
    burst_s: float = 0.1
    memory_s: float = 1.0
    max_slowdown: float = 2.0
    max_waiting_rows: int = 1024
    max_waiting_bytes: int = 256 << 20
    team_room: float = 4.0

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could run."""
        for name in POSITIVE:
            value = getattr(self, name)
            if not value > 0:
                least = "at least 1" if isinstance(value, int) else "above 0"
                raise ValueError(f"{name} must be {least}; got {value}")
        if not 0 <= self.max_padding < 1:
            raise ValueError(f"max_padding is a share of the batch, from 0 to below 1; got {self.max_padding}")
        if not 0 < self.target_efficiency <= 1:
            raise ValueError(f"target_efficiency is a share, above 0 and at most 1; got {self.target_efficiency}")
        if not self.max_slowdown > 1:
            raise ValueError(f"max_slowdown is a factor above 1; got {self.max_slowdown}")
        for team, weight in self.team_weights.items():
            if not weight > 0:
                raise ValueError(f"The weight of team {team!r} must be above 0; got {weight}")

    def bucket(self, length: int) -> int:
        """Return the bucket that a row of ``length`` tokens falls into.

        >>> [Limits(bucket_tokens=8).bucket(length) for length in (1, 8, 9, 120)]
        [1, 1, 2, 15]
        """
        return max(1, -(-length // self.bucket_tokens))

    def weight(self, team: str) -> float:
        """Return a team's share of the device, relative to the others'.

        >>> Limits(team_weights={"cs": 3}).weight("cs"), Limits().weight("hr")
        (3, 1.0)
        """
        return self.team_weights.get(team, 1.0)
