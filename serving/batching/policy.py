"""The batching policy, as a pure function: which of the waiting rows leave as the next batch.

A thread that is free asks, and takes what is there. So a batch leaves at once while a lane is idle, and gathers
while all are busy, without any delay that someone would have to tune.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic

from serving.batching.filling import Stop, fill
from serving.batching.limits import Limits
from serving.batching.queues import Queues
from serving.batching.rows import Costs
from serving.batching.waiting import Entry, RowT

__all__ = ["Decision", "Reason", "decide"]


class Reason(StrEnum):
    """Why a batch was built around the row that it was built around."""

    NOTHING_WAITS = "nothing waits"
    TURN = "turn"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[RowT]):
    """What to do now; ``Queues.settle`` does its part of it.

    Attributes:
        leave: the rows to run as one batch, the one it was built around first; empty: wait for rows.
        expired: the rows to refuse: their time is up, or what is left of it is too short to run them.
        reason: why this batch: its first row was next by its team's turn, or could not wait for another batch.
        stop: why it holds no more rows.
        predicted_s: how long it should run.
        charges: by team, its part of ``predicted_s``.
    """

    leave: tuple[RowT, ...] = ()
    expired: tuple[RowT, ...] = ()
    reason: Reason = Reason.NOTHING_WAITS
    stop: Stop = Stop.NO_MORE_ROWS
    predicted_s: float = 0.0
    charges: Mapping[str, float] = field(default_factory=dict)


def decide(queues: Queues[RowT], now_s: float, limits: Limits, costs: Costs) -> Decision[RowT]:
    """Choose the next batch: the row whose turn it is, and what makes an efficient batch around it.

    The turn is first a team's, by its account, and then a row's within the team, by priority and age. A row of
    another team goes first if it would miss its deadline by waiting for that batch to end, unless that would delay
    a team that uses less than its share.

    Args:
        queues: the waiting rows; nothing in them is changed.
        now_s: the time, by the clock that stamped the rows.
        limits: what bounds the batch.
        costs: predicts how long it will run.

    Returns:
        The rows to run and the rows to refuse; no row is in both.
    """
    late, urgent = queues.urgent(now_s)
    expired = tuple(entry.row for entry in late)
    anchor = _next_by_turn(queues, now_s)
    if anchor is None:
        return Decision(expired=expired)
    reason = Reason.TURN
    batch, stop = _batch(queues, anchor, late, now_s, limits, costs)
    predicted_s = _predict_s(batch, costs)
    if urgent and _cannot_wait(queues, urgent, batch, now_s + predicted_s):
        reason = Reason.DEADLINE
        batch, stop = _batch(queues, urgent, late, now_s, limits, costs)
        predicted_s = _predict_s(batch, costs)
    return Decision(
        leave=tuple(entry.row for entry in batch),
        expired=expired,
        reason=reason,
        stop=stop,
        predicted_s=predicted_s,
        charges=_charges(batch, predicted_s),
    )


def _next_by_turn(queues: Queues[RowT], now_s: float) -> Entry[RowT] | None:
    """Return the row whose turn it is, or None if none waits that can still be answered in time."""
    teams = dict.fromkeys(queues.teams)  # in a fixed order, which a set has not
    while teams:
        team = queues.accounts.next_of(teams)
        for entry in queues.team_in_order(team, now_s):
            if entry.latest_s >= now_s:
                return entry
        del teams[team]
    return None


def _cannot_wait(queues: Queues[RowT], urgent: Entry[RowT], batch: Sequence[Entry[RowT]], ends_s: float) -> bool:
    """Return whether the most urgent row misses its deadline behind ``batch``, and may go before it."""
    if urgent.latest_s >= ends_s or urgent in batch:
        return False
    first = batch[0].row.team
    return urgent.row.team == first or not queues.is_flooded(first)


def _batch(
    queues: Queues[RowT],
    anchor: Entry[RowT],
    late: Sequence[Entry[RowT]],
    now_s: float,
    limits: Limits,
    costs: Costs,
) -> tuple[list[Entry[RowT]], Stop]:
    """Build a batch around ``anchor``, and return why it does not grow further.

    A team that asks for little at a time gets its answers soon, also when others flood the queue: their rows fill
    its batches only so far, and their own batches stay short while it may ask at any moment.
    """
    team = anchor.row.team
    longest_s = min(limits.max_batch_s, anchor.row.deadline_s - now_s)
    if queues.is_flooded(team):
        mine = fill(queues, anchor, now_s, limits, costs, longest_s, late=late, only=team)
        most_s = limits.max_slowdown * anchor.alone_s - (now_s - anchor.row.arrived_s)
        if _predict_s(mine[0], costs) >= most_s:
            return mine[0], Stop.FAIRNESS
    else:
        most_s = queues.courtesy_s(team, now_s)
    batch, stop = fill(queues, anchor, now_s, limits, costs, min(longest_s, most_s), late=late)
    return batch, Stop.FAIRNESS if stop is Stop.TIME and most_s < longest_s else stop


def _predict_s(batch: Sequence[Entry[RowT]], costs: Costs) -> float:
    """Return how long the batch runs: each node once, on the rows that visit it, as wide as the longest of them."""
    groups: dict[tuple[str, ...], tuple[int, int]] = {}
    for entry in batch:
        rows, width = groups.get(entry.row.paths, (0, 0))
        groups[entry.row.paths] = rows + 1, max(width, entry.row.length)
    if len(groups) == 1:
        ((paths, (rows, width)),) = groups.items()
        return costs.path_s(paths, rows, width)
    nodes: dict[str, tuple[int, int]] = {}
    for paths, (more, longest) in groups.items():
        for path in paths:
            rows, width = nodes.get(path, (0, 0))
            nodes[path] = rows + more, max(width, longest)
    return sum(costs.predict_s(path, rows, width) for path, (rows, width) in nodes.items())


def _charges(batch: Sequence[Entry[RowT]], predicted_s: float) -> dict[str, float]:
    """Divide the batch's time among its teams, in proportion to what their rows are of work."""
    work_s: dict[str, float] = {}
    for entry in batch:
        work_s[entry.row.team] = work_s.get(entry.row.team, 0.0) + entry.work_s
    total_s = sum(work_s.values())
    return {team: predicted_s * part_s / total_s if total_s else 0.0 for team, part_s in work_s.items()}
