"""Which requests may wait: those for which there is room, and time.

A request that cannot be answered in time is refused when it comes, before it costs anything: an overloaded server
that runs what nobody waits for any more answers nobody.
"""

from collections.abc import Sequence
from math import inf

from serving.batching.limits import Limits
from serving.batching.queues import Queues
from serving.batching.rows import Costs, WaitingRow
from serving.batching.waiting import RowT
from serving.errors import DeadlineExceeded, InvalidRequest, Overloaded

__all__ = ["admit", "check_room", "check_wait"]

PATIENCE = 0.5
"""The part of the time until its deadline that a row may be predicted to be queued. A queue that holds all that there
is time for is served at the last moment: with a little less speed than predicted, every row in it comes too late."""

SOONEST_RETRY_S = 0.01
"""Nobody is told to come back sooner: a refusal has its price too."""


def check_room(queues: Queues[RowT], team: str, rows: int, limits: Limits, *, nbytes: int = 0) -> None:
    """Refuse rows that there is no room for; cheap enough to ask before they are preprocessed.

    A team gets at most ``team_room`` times the room that is free (dynamic thresholds: Choudhury and Hahne, 1998): a
    flood fills a part of the queue, and leaves room for those who come next.

    Args:
        queues: what waits.
        team: whose rows they are.
        rows: how many.
        limits: the bounds.
        nbytes: what they hold; 0 if that is not known yet.

    Raises:
        InvalidRequest: they are more than the server ever queues.
        Overloaded: there is no room for them now.
    """
    if rows > limits.max_waiting_rows or nbytes > limits.max_waiting_bytes:
        raise InvalidRequest(
            f"The request has {rows} rows and {nbytes:,} bytes; the server queues at most "
            f"{limits.max_waiting_rows} rows and {limits.max_waiting_bytes:,} bytes. Split it."
        )
    for what, asked, waiting, own, most in (
        ("rows", rows, len(queues), queues.team_rows(team), limits.max_waiting_rows),
        ("bytes", nbytes, queues.nbytes, queues.team_nbytes(team), limits.max_waiting_bytes),
    ):
        free = most - waiting
        if asked <= free and (own + asked <= limits.team_room * free or not own):
            continue
        whose = f"{waiting:,} {what} are waiting and the server keeps at most {most:,}"
        if asked <= free:
            whose = f"{own:,} {what} of team {team!r} are waiting, and what room is left is kept for others"
        share = min(1.0, asked / max(1, waiting))
        raise Overloaded(f"{whose}; try again in a moment.", retry_after_s=max(SOONEST_RETRY_S, share * queues.work_s))


def check_wait(
    queues: Queues[RowT], team: str, left_s: float, limits: Limits, *, busy_s: float, own_s: float = 0.0
) -> None:
    """Refuse rows that would wait for longer than their caller does.

    Args:
        queues: what waits.
        team: whose rows they are.
        left_s: seconds until their deadline.
        limits: the bounds.
        busy_s: predicted seconds until a lane is free; 0 if one is.
        own_s: what they take themselves; 0 if that is not known yet.

    Raises:
        Overloaded: too much waits before them; it says when to try again.
    """
    queued_s = backlog_s(queues, team, limits) / queues.pace.rate
    too_long_s = max(queued_s - left_s * PATIENCE, busy_s + queued_s + own_s - left_s)
    if too_long_s > 0:
        raise Overloaded(
            f"The answer would take about {_ms(busy_s + queued_s + own_s)}, most of it waiting, and its deadline is in "
            f"{_ms(left_s)}, of which it may be queued for {PATIENCE:.0%}; try again in a moment, or allow more time.",
            retry_after_s=max(SOONEST_RETRY_S, too_long_s),
        )


def admit(
    queues: Queues[RowT],
    rows: Sequence[WaitingRow],
    now_s: float,
    limits: Limits,
    costs: Costs,
    *,
    busy_s: float,
    lanes: int,
) -> None:
    """Refuse the rows of one request if there is no room for them, or no time; otherwise say nothing.

    Args:
        queues: what waits.
        rows: at least one; all of them, or none, are to be queued next.
        now_s: the time, by the clock of the rows' deadlines.
        limits: the bounds.
        costs: predicts what they take.
        busy_s: predicted seconds until a lane is free; 0 if one is.
        lanes: how many batches run side by side.

    Raises:
        InvalidRequest: they are more than the server ever queues.
        Overloaded: there is no room for them, or too much waits before them for their deadline; it says when to retry.
        DeadlineExceeded: even an idle server could not meet their deadline.
    """
    first = rows[0]
    if len(rows) == 1:  # nearly always, and asked for every one of them
        check_room(queues, first.team, 1, limits, nbytes=first.nbytes)
    else:
        for team in {row.team for row in rows}:
            mine = [row for row in rows if row.team == team]
            check_room(queues, team, len(mine), limits, nbytes=sum(row.nbytes for row in mine))
    deadline_s = first.deadline_s if len(rows) == 1 else min(row.deadline_s for row in rows)
    if deadline_s == inf:
        return
    left_s = deadline_s - now_s
    own_s = _own_s(rows, limits, costs, lanes)
    if left_s < own_s:
        raise DeadlineExceeded(_too_short(left_s, own_s))
    for team in dict.fromkeys(row.team for row in rows):  # in their order: of two refusals it is always the same
        check_wait(queues, team, left_s, limits, busy_s=busy_s, own_s=own_s)


def backlog_s(queues: Queues[RowT], team: str, limits: Limits) -> float:
    """Return the seconds of device time that run before the next row of ``team``.

    That is all that waits, but not more than the team's own rows times what the teams that wait take turns with: a
    flood does not stand in the way of those who are not in it.
    """
    if queues.team_rows(team) == len(queues):  # nobody else is there to take turns with
        return queues.work_s
    weights = {other: limits.weight(other) for other in (*queues.teams, team)}
    return min(queues.work_s, queues.team_work_s(team) * sum(weights.values()) / weights[team])


def _own_s(rows: Sequence[WaitingRow], limits: Limits, costs: Costs, lanes: int) -> float:
    """Return what the rows take on an idle server: the longest alone, and the others in its batches or beside them."""
    alone_s = [costs.path_s(row.paths, 1, row.length) for row in rows]
    if len(rows) == 1:
        return alone_s[0]
    work_s = sum(costs.path_s(row.paths, limits.max_rows, row.length) for row in rows) / limits.max_rows
    return max(max(alone_s), work_s / lanes)


def _too_short(left_s: float, own_s: float) -> str:
    if left_s <= 0:
        return f"The deadline had passed when the request came; it takes about {_ms(own_s)}. Allow more time."
    return f"The deadline is in {_ms(left_s)}, and the answer takes about {_ms(own_s)} alone. Allow more time."


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
