"""What came of a simulation: every request's fate, every batch, and what they add up to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, nan
from typing import Any

from serving.batching import Decision
from serving.batching.filling import Stop
from serving.batching.policy import Reason
from serving.simulation.traffic import Ask

__all__ = ["BatchRecord", "Fate", "Outcome", "RequestRecord"]


class Fate(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    LATE = "late"
    EXPIRED = "expired"
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, and how it ended."""

    ask: Ask
    fate: Fate
    ended_s: float

    @property
    def latency_s(self) -> float:
        """From its arrival to its end."""
        return self.ended_s - self.ask.at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch."""

    began_s: float
    took_s: float
    predicted_s: float
    lane: int
    teams: Mapping[str, int]
    """Rows, by team."""
    width: int
    tokens: int
    reason: Reason
    stop: Stop
    expired: int
    """Rows that were refused when it left."""
    waiting: int
    """Rows that waited when it was chosen, its own included."""

    @classmethod
    def of(cls, decision: Decision[Any], began_s: float, took_s: float, lane: int, waiting: int) -> "BatchRecord":
        """Write down a decision, and how long it took."""
        lengths = [row.length for row in decision.leave]
        return cls(
            began_s=began_s,
            took_s=took_s,
            predicted_s=decision.predicted_s,
            lane=lane,
            teams=Counter(row.team for row in decision.leave),
            width=max(lengths),
            tokens=sum(lengths),
            reason=decision.reason,
            stop=decision.stop,
            expired=len(decision.expired),
            waiting=waiting,
        )

    @property
    def rows(self) -> int:
        """How many rows it had."""
        return sum(self.teams.values())

    @property
    def padding(self) -> float:
        """Padding's share of the tokens that it ran."""
        return 1 - self.tokens / (self.rows * self.width)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All of a simulation.

    Attributes:
        until_s: when nobody asked any more.
        requests: in the order in which they ended.
        batches: in the order in which they ended.
    """

    until_s: float
    requests: list[RequestRecord] = field(default_factory=list)
    batches: list[BatchRecord] = field(default_factory=list)

    def of_team(self, team: str, since_s: float = 0.0) -> Iterator[RequestRecord]:
        """Yield the requests of a team that came from ``since_s`` on."""
        return (request for request in self.requests if request.ask.team == team and request.ask.at_s >= since_s)

    def fates(self, team: str, since_s: float = 0.0) -> Mapping[Fate, int]:
        """Return how many of a team's requests ended how."""
        return Counter(request.fate for request in self.of_team(team, since_s))

    def latency_s(self, team: str, share: float, since_s: float = 0.0) -> float:
        """Return the latency that ``share`` of a team's answered requests stay within; not a number if none was."""
        done = (Fate.ANSWERED, Fate.LATE)
        return quantile([each.latency_s for each in self.of_team(team, since_s) if each.fate in done], share)

    def goodput(self, since_s: float = 0.0) -> float:
        """Return the rows a second that were answered in time, from ``since_s`` until nobody asked any more."""
        rows = sum(
            each.ask.rows
            for each in self.requests
            if each.fate is Fate.ANSWERED and since_s <= each.ended_s < self.until_s
        )
        return rows / (self.until_s - since_s)

    def useful_tokens(self, since_s: float = 0.0) -> int:
        """Return the tokens, padding not counted, of the batches that began from ``since_s`` on."""
        return sum(batch.tokens for batch in self.batches if since_s <= batch.began_s < self.until_s)

    def padding(self) -> float:
        """Return padding's share of all tokens that ran."""
        ran = sum(batch.rows * batch.width for batch in self.batches)
        return 1 - sum(batch.tokens for batch in self.batches) / ran if ran else 0.0


def quantile(values: list[float], share: float) -> float:
    """Return the smallest of ``values`` that ``share`` of them do not exceed.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    """
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else nan
