"""The rows that wait, kept so that the policy needs to look at few of them."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from heapq import merge
from math import inf
from typing import Generic, Protocol, TypeVar

from serving.batching.fairness import Accounts, Part
from serving.batching.limits import Limits
from serving.batching.pace import Pace
from serving.batching.priority import Priority
from serving.batching.rows import Costs, WaitingRow
from serving.batching.urgency import Urgency
from serving.batching.waiting import Entry, RowT

__all__ = ["Lineup", "Queues", "Settled", "Shelf"]

LeavingT = TypeVar("LeavingT", bound=WaitingRow, covariant=True)

FLOOD = 8
"""A team floods those of which it has more than this many times waiting of what they ask for at a time, in more rows
than this: one long text beside a short one is no flood."""


class Settled(Protocol[LeavingT]):
    """What ``Queues.settle`` reads of a decision."""

    @property
    def leave(self) -> tuple[LeavingT, ...]:
        """The rows that run."""

    @property
    def expired(self) -> tuple[LeavingT, ...]:
        """The rows that are refused."""

    @property
    def charges(self) -> Mapping[str, float]:
        """By team, its part of the batch's seconds."""


class Lineup(Generic[RowT]):
    """Rows of one team, in the order in which they should run.

    Each priority has a dict whose keys are its rows, because that is a set that keeps its order: a caller who leaves
    takes a row out of the middle as cheaply as the policy takes one from the front.
    """

    __slots__ = ("_by_priority",)

    def __init__(self) -> None:
        self._by_priority: tuple[dict[Entry[RowT], None], ...] = ({}, {}, {})

    def __len__(self) -> int:
        high, normal, low = self._by_priority
        return len(high) + len(normal) + len(low)

    def add(self, entry: Entry[RowT]) -> None:
        """Put in a row, as the newest of its priority."""
        self._by_priority[entry.row.priority][entry] = None

    def discard(self, entry: Entry[RowT]) -> None:
        """Take a row out."""
        del self._by_priority[entry.row.priority][entry]

    def in_order(self, now_s: float, ageing_s: float) -> Iterator[Entry[RowT]]:
        """Yield the rows by priority, one higher for each ``ageing_s`` that they waited, and then oldest first."""
        filled = [entries for entries in self._by_priority if entries]
        if len(filled) == 1:
            return iter(filled[0])

        def place(entry: Entry[RowT]) -> tuple[int, float]:
            waited_s = now_s - entry.row.arrived_s
            return max(entry.row.priority - int(waited_s / ageing_s), Priority.HIGH), entry.row.arrived_s

        return merge(*filled, key=place)


class _Team(Lineup[RowT]):
    """All rows of one team, whatever their start and length, and what they add up to."""

    __slots__ = ("nbytes", "work_s")

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0
        self.work_s = 0.0


class Shelf(Generic[RowT]):
    """The rows of one start and one bucket of lengths, by team."""

    __slots__ = ("by_team", "rows")

    def __init__(self) -> None:
        self.by_team: dict[str, Lineup[RowT]] = {}
        self.rows = 0


class Queues(Generic[RowT]):
    """Waiting rows, and whose turn it is. Not thread-safe: the engine holds its lock around every call.

    Args:
        limits: says how lengths are counted, and what the teams' shares are.
        costs: predicts what a row will cost, once, when it comes.
        lanes: how many batches run side by side.
    """

    def __init__(self, limits: Limits, costs: Costs, lanes: int = 1) -> None:
        self.accounts = Accounts(limits)
        self.pace = Pace(lanes)
        self.nbytes = 0
        self.work_s = 0.0
        self._limits = limits
        self._costs = costs
        self._entries: dict[RowT, Entry[RowT]] = {}
        self._teams: dict[str, _Team[RowT]] = {}
        self._starts: dict[Hashable, dict[int, Shelf[RowT]]] = {}
        self._urgency = Urgency(self._waits)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, start: Hashable, row: RowT) -> None:
        """Queue a row.

        Args:
            start: where in the plan it starts; rows of one start can share a batch.
            row: what waits, and does not wait already.
        """
        assert row not in self._entries, "a row waits once"
        entry = self._entry(start, row)
        team = self._teams.get(row.team)
        if team is None:
            self.accounts.comes(row.team, row.arrived_s, self._teams)
            team = self._teams[row.team] = _Team()
        else:
            self.accounts.asks(row.team, row.arrived_s)
        shelf = self._starts.setdefault(start, {}).get(entry.bucket)
        if shelf is None:
            shelf = self._starts[start][entry.bucket] = Shelf()
        lineup = shelf.by_team.get(row.team)
        if lineup is None:
            lineup = shelf.by_team[row.team] = Lineup()
        self._entries[row] = entry
        team.add(entry)
        lineup.add(entry)
        shelf.rows += 1
        self._count(team, entry, 1)
        if row.deadline_s < inf:
            self._urgency.add(entry)

    def discard(self, rows: Iterable[RowT]) -> None:
        """Take rows out; one that no longer waits is passed over."""
        for row in rows:
            entry = self._entries.pop(row, None)
            if entry is not None:
                self._take_out(entry)
        self._urgency.sweep(len(self._entries))

    def clear(self) -> list[RowT]:
        """Take every row out, and return them, oldest first."""
        rows = list(self._entries)
        self.discard(rows)
        return rows

    def settle(self, decision: Settled[RowT], now_s: float) -> None:
        """Do what ``decide`` decided: take its rows out, and book on the teams' accounts what they cost."""
        parts = {team: Part(charge_s=charge_s) for team, charge_s in decision.charges.items()}
        for row in decision.leave:
            entry, part = self._entries[row], parts[row.team]
            part.alone_s = max(part.alone_s, entry.alone_s)
            part.work_s += entry.work_s
        self.accounts.book(parts, self._teams)
        self.discard(decision.expired)
        self.discard(decision.leave)
        self.pace.left(now_s, sum(part.work_s for part in parts.values()), backlog=bool(self._entries))

    @property
    def first_alone_s(self) -> float:
        """The predicted seconds of the row that was queued first, if it ran alone; 0 if none waits."""
        return next((entry.alone_s for entry in self._entries.values()), 0.0)

    @property
    def last_alone_s(self) -> float:
        """The same of the row that was queued last."""
        return next((entry.alone_s for entry in reversed(self._entries.values())), 0.0)

    def team_rows(self, team: str) -> int:
        """Return how many rows of a team wait."""
        return len(self._teams.get(team, ()))

    def team_nbytes(self, team: str) -> int:
        """Return how many bytes a team's waiting rows hold."""
        queue = self._teams.get(team)
        return queue.nbytes if queue else 0

    def team_work_s(self, team: str) -> float:
        """Return the predicted seconds of device time of a team's waiting rows, in large batches."""
        queue = self._teams.get(team)
        return queue.work_s if queue else 0.0

    @property
    def teams(self) -> Iterable[str]:
        """The teams that have rows waiting."""
        return self._teams.keys()

    def is_flooded(self, team: str) -> bool:
        """Return whether another team has far more waiting than this one asks for at a time."""
        asks_s = max(self.accounts[team].work_s, self._teams[team].work_s)
        return any(other.work_s > FLOOD * asks_s and len(other) > FLOOD for other in self._teams.values())

    def courtesy_s(self, team: str, now_s: float) -> float:
        """Return how long a batch of ``team`` may take while teams that it floods may ask at any moment.

        That is ``max_slowdown - 1`` times what such a team's own rows take: an answer that waits for a batch that has
        just left then takes ``max_slowdown`` times as long as alone. Infinity where it floods nobody.
        """
        if len(self._teams[team]) <= FLOOD:
            return inf
        most_s = self._teams[team].work_s / FLOOD
        alone_s = (
            account.alone_s
            for other, account in self.accounts.about(now_s)
            if account.alone_s and max(account.work_s, self.team_work_s(other)) < most_s
        )
        return (self._limits.max_slowdown - 1) * min(alone_s, default=inf)

    # What the policy looks at.

    def entry(self, row: RowT) -> Entry[RowT]:
        """Return what was worked out about a waiting row."""
        return self._entries[row]

    def team_in_order(self, team: str, now_s: float) -> Iterator[Entry[RowT]]:
        """Yield the rows of a team that waits, in the order in which they should run."""
        return self._teams[team].in_order(now_s, self._limits.ageing_s)

    def shelves(self, start: Hashable) -> Mapping[int, Shelf[RowT]]:
        """Return the waiting rows of a start by bucket; no bucket is empty."""
        return self._starts[start]

    def urgent(self, now_s: float) -> tuple[list[Entry[RowT]], Entry[RowT] | None]:
        """Return the rows that cannot be answered in time any more, and the most urgent one of those that can."""
        return self._urgency.look(now_s)

    def _entry(self, start: Hashable, row: RowT) -> Entry[RowT]:
        limits, paths = self._limits, row.paths
        bucket = limits.bucket(row.length)
        width = bucket * limits.bucket_tokens
        return Entry(
            row,
            start,
            bucket,
            alone_s=self._costs.path_s(paths, 1, row.length),
            work_s=self._costs.path_s(paths, limits.max_rows, width) / limits.max_rows,
        )

    def _waits(self, entry: Entry[RowT]) -> bool:
        return self._entries.get(entry.row) is entry

    def _take_out(self, entry: Entry[RowT]) -> None:
        name = entry.row.team
        team, buckets = self._teams[name], self._starts[entry.start]
        shelf = buckets[entry.bucket]
        team.discard(entry)
        shelf.by_team[name].discard(entry)
        shelf.rows -= 1
        self._count(team, entry, -1)
        if not team:
            del self._teams[name]
        if not shelf.by_team[name]:
            del shelf.by_team[name]
        if not shelf.rows:
            del buckets[entry.bucket]
        if not buckets:
            del self._starts[entry.start]
        if not self._entries:
            self.work_s = 0.0  # what rounding left of the sums goes with the last row

    def _count(self, team: _Team[RowT], entry: Entry[RowT], sign: int) -> None:
        self.nbytes += sign * entry.row.nbytes
        self.work_s += sign * entry.work_s
        team.nbytes += sign * entry.row.nbytes
        team.work_s += sign * entry.work_s
