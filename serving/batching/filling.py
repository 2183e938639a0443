"""A batch around one row: what fits beside it, and how much of it is worth taking.

How many rows of which bucket is worked out on their numbers alone; which rows they are is settled last, by turn. A
batch's efficiency is the time that its rows would take in the largest batches without padding, divided by its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heapify, heappop, heapreplace
from math import ceil, inf
from typing import Generic

from serving.batching.limits import Limits
from serving.batching.queues import Lineup, Queues
from serving.batching.rows import Costs
from serving.batching.waiting import Entry, RowT

__all__ = ["Stop", "fill"]

EPSILON = 1e-9


class Stop(StrEnum):
    """Why a batch did not grow further."""

    NO_MORE_ROWS = "no more rows"
    COST = "others cost less apart"
    EFFICIENT = "efficient"
    FULL = "max_rows"
    PADDING = "padding"
    TIME = "time"
    FAIRNESS = "fairness"


@dataclass(frozen=True, slots=True)
class _Line:
    """The predicted seconds of a batch of one width, ``fixed_s + rows * row_s``, and a row's part of the largest."""

    fixed_s: float
    row_s: float
    work_s: float

    def at(self, rows: int) -> float:
        return self.fixed_s + rows * self.row_s


@dataclass(frozen=True, slots=True)
class _Plan:
    takes: tuple[tuple[int, int], ...]
    """Bucket, and how many of its rows; the anchor is not counted."""
    seconds: float
    efficiency: float
    stop: Stop


def fill(
    queues: Queues[RowT],
    anchor: Entry[RowT],
    now_s: float,
    limits: Limits,
    costs: Costs,
    max_s: float,
    *,
    late: Iterable[Entry[RowT]] = (),
    only: str | None = None,
) -> tuple[list[Entry[RowT]], Stop]:
    """Choose the rows that leave with ``anchor``.

    Args:
        queues: where it waits.
        anchor: leaves in any case.
        now_s: the time.
        limits: what bounds the batch.
        costs: what it will cost.
        max_s: how long it may be predicted to take, unless the anchor alone takes longer.
        late: rows that wait and will be refused.
        only: the team that it is for; None for all of them.

    Returns:
        The batch, ``anchor`` first, and why it holds no more rows.
    """
    lineups: dict[int, Mapping[str, Lineup[RowT]]] = {}
    rows: dict[int, int] = {}
    for bucket, shelf in queues.shelves(anchor.start).items():
        if only is None:
            lineups[bucket], rows[bucket] = shelf.by_team, shelf.rows
        elif only in shelf.by_team:
            lineup = shelf.by_team[only]
            lineups[bucket], rows[bucket] = {only: lineup}, len(lineup)
    for entry in late:
        if entry.start == anchor.start and only in (None, entry.row.team):
            rows[entry.bucket] -= 1
    plan = _Planner(rows, anchor, limits, costs, max_s).best()
    picker = _Picker(queues, anchor, now_s, now_s + plan.seconds, limits)
    return [
        anchor,
        *(entry for bucket, count in plan.takes for entry in picker.pick(lineups[bucket], count)),
    ], plan.stop


class _Planner:
    """Finds out how many rows of which buckets make the most efficient batch around an anchor."""

    def __init__(self, rows: dict[int, int], anchor: Entry[RowT], limits: Limits, costs: Costs, max_s: float) -> None:
        self._rows = rows
        self._rows[anchor.bucket] -= 1
        self._paths = anchor.row.paths
        self._bucket = anchor.bucket
        self._limits = limits
        self._costs = costs
        self._max_s = max_s
        self._lines: dict[int, _Line] = {}

    def best(self) -> _Plan:
        """Try the anchor's own width, then wider ones while what they pad costs less than the batch that they save."""
        own = self._line(self._bucket)
        best = self._plan(self._bucket)
        for bucket in sorted(bucket for bucket, count in self._rows.items() if count and bucket > self._bucket):
            line = self._line(bucket)
            if best.efficiency >= self._limits.target_efficiency or line.row_s - own.row_s > line.fixed_s:
                break
            wider = self._plan(bucket)
            if wider.efficiency > best.efficiency + EPSILON:
                best = wider
        if best.stop is Stop.NO_MORE_ROWS and sum(count for _, count in best.takes) < sum(self._rows.values()):
            return replace(best, stop=Stop.COST)
        return best

    def _plan(self, widest: int) -> _Plan:
        """Take rows of bucket ``widest``, then shorter ones while they raise the efficiency."""
        limits, line, own = self._limits, self._line(widest), self._line(self._bucket)
        most, full = limits.max_rows, Stop.FULL
        if line.at(most) > self._max_s:
            most = max(1, int((self._max_s - line.fixed_s) / line.row_s)) if line.row_s else 1
            full = Stop.TIME
        takes: list[tuple[int, int]] = []
        rows, tokens, work_s, stop = 1, self._bucket, own.work_s, Stop.NO_MORE_ROWS
        for bucket in sorted(
            (bucket for bucket, count in self._rows.items() if count and bucket <= widest), reverse=True
        ):
            each_s = self._line(bucket).work_s
            if bucket < widest and not self._pays(line, bucket, work_s / line.at(rows)):
                break
            fitting = {
                Stop.NO_MORE_ROWS: self._rows[bucket],
                full: most - rows,
                Stop.EFFICIENT: _enough(limits.target_efficiency, line, rows, work_s, each_s),
                Stop.PADDING: _bearable(limits.max_padding, widest, bucket, rows, tokens),
            }
            stop = min(fitting, key=lambda why: fitting[why])
            count = int(fitting[stop])
            if count > 0:
                takes.append((bucket, count))
                rows, tokens, work_s = rows + count, tokens + count * bucket, work_s + count * each_s
            if stop is not Stop.NO_MORE_ROWS:
                break
        padded = rows * widest
        fits = padded - tokens <= limits.max_padding * padded + EPSILON and (rows <= most or widest == self._bucket)
        return _Plan(tuple(takes), line.at(rows), work_s / line.at(rows) if fits else 0.0, stop)

    def _pays(self, line: _Line, bucket: int, efficiency: float) -> bool:
        """Return whether padding a row of ``bucket`` costs less than a batch of its own, and raises the efficiency."""
        shorter = self._line(bucket)
        return line.row_s - shorter.row_s <= line.fixed_s and shorter.work_s > efficiency * line.row_s

    def _line(self, bucket: int) -> _Line:
        line = self._lines.get(bucket)
        if line is None:
            width, most = bucket * self._limits.bucket_tokens, self._limits.max_rows
            one_s = self._costs.path_s(self._paths, 1, width)
            most_s = self._costs.path_s(self._paths, most, width)
            row_s = (most_s - one_s) / (most - 1) if most > 1 else one_s
            line = self._lines[bucket] = _Line(max(0.0, one_s - row_s), row_s, most_s / most)
        return line


def _enough(target: float, line: _Line, rows: int, work_s: float, each_s: float) -> float:
    """Return how many more rows, of ``each_s`` work, make the batch as efficient as ``target``; infinity if none do."""
    gained_s = each_s - target * line.row_s
    missing_s = target * line.at(rows) - work_s
    return max(0, ceil(missing_s / gained_s - EPSILON)) if gained_s > 0 else inf


def _bearable(max_padding: float, widest: int, bucket: int, rows: int, tokens: int) -> float:
    """Return how many rows of ``bucket`` may join ``rows`` rows that hold ``tokens``, counted in buckets."""
    spare = max_padding * widest * rows - (widest * rows - tokens)
    each = widest - bucket - max_padding * widest
    return max(0, int(spare / each + EPSILON)) if each > 0 else inf


class _Picker(Generic[RowT]):
    """Takes rows for one batch; the teams take turns, as their accounts say with what they have in it already."""

    def __init__(self, queues: Queues[RowT], anchor: Entry[RowT], now_s: float, ends_s: float, limits: Limits) -> None:
        self._queues = queues
        self._anchor = anchor
        self._now_s = now_s
        self._ends_s = ends_s
        self._limits = limits
        self._taken_s: dict[str, float] = {}
        self._take(anchor)

    def pick(self, lineups: Mapping[str, Lineup[RowT]], count: int) -> Iterator[Entry[RowT]]:
        """Yield up to ``count`` rows that can be answered when the batch ends."""
        turns = [
            (self._account_s(team), index, lineup.in_order(self._now_s, self._limits.ageing_s))
            for index, (team, lineup) in enumerate(lineups.items())
        ]
        heapify(turns)
        while turns and count:
            _, index, rows = turns[0]
            entry = next((each for each in rows if self._fits(each)), None)
            if entry is None:
                heappop(turns)
                continue
            yield entry
            count -= 1
            heapreplace(turns, (self._take(entry), index, rows))

    def _fits(self, entry: Entry[RowT]) -> bool:
        in_time = entry.latest_s >= self._now_s and entry.row.deadline_s >= self._ends_s
        return in_time and entry is not self._anchor

    def _account_s(self, team: str) -> float:
        taken_s = self._taken_s.get(team)
        return self._queues.accounts[team].taken_s if taken_s is None else taken_s

    def _take(self, entry: Entry[RowT]) -> float:
        team = entry.row.team
        taken_s = self._taken_s[team] = self._account_s(team) + entry.work_s / self._limits.weight(team)
        return taken_s
