"""The promotion log: append-only entries whose newest one per alias says what the alias means.

Every function works inside a transaction of its caller's. The compare-and-swap is the unique (head, alias,
epoch): whoever writes an epoch second is refused by the database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from zoo.errors import Conflict, NotFound
from zoo.registry.records import AliasState, Move, Promotion
from zoo.registry.tables import promotion, version
from zoo.suggest import did_you_mean

__all__ = ["alias_states", "append", "dangling", "entries", "entries_after", "newest_entries", "roll_back"]

_SAME_VERSION = sa.and_(version.c.head == promotion.c.head, version.c.number == promotion.c.number)


def append(connection: Connection, moves: Sequence[Move], *, by: str, reason: str, at: datetime) -> list[Promotion]:
    """Add one entry per move, in order.

    Raises:
        NotFound: a move names a version that does not exist.
        Conflict: an alias does not stand at the epoch that its move expects.
    """
    newest_id = connection.execute(sa.select(sa.func.max(promotion.c.id))).scalar() or 0
    return [
        _append_one(connection, move, newest_id + place, by=by, reason=reason, at=at)
        for place, move in enumerate(moves, start=1)
    ]


def _append_one(connection: Connection, move: Move, entry_id: int, *, by: str, reason: str, at: datetime) -> Promotion:
    digest = _version_digest(connection, move.head, move.number)
    current = _current(connection, move.head, move.alias)
    epoch = current.epoch if current else 0
    if move.expected_epoch is not None and move.expected_epoch != epoch:
        raise Conflict(_lost(move, current))
    values = {"id": entry_id, "head": move.head, "alias": move.alias, "epoch": epoch + 1, "number": move.number}
    connection.execute(promotion.insert().values(**values, at=at, by=by, reason=reason))
    return Promotion(entry_id, move.head, move.alias, epoch + 1, move.number, digest, at, by, reason)


def roll_back(connection: Connection, head: str, alias: str, *, by: str, reason: str, at: datetime) -> Promotion:
    """Add an entry that moves the alias to the version it meant before the present one.

    Raises:
        NotFound: the alias never moved, or never meant another version.
    """
    history = entries(connection, head, alias)
    if not history:
        known = [state.alias for state in alias_states(connection, head)]
        raise NotFound(
            f"Head {head!r} has no alias {alias!r}, so there is nothing to roll back." + did_you_mean(alias, known)
        )
    current = history[0]
    earlier = next((entry for entry in history if entry.number != current.number), None)
    if earlier is None:
        raise NotFound(
            f"{head}@{alias} has only ever meant {head}@{current.number}, so there is nothing to roll back to. "
            f"`zoo promote {head}@<number> {alias}` moves it to any version."
        )
    move = Move(head, alias, earlier.number, current.epoch)
    return append(connection, [move], by=by, reason=reason, at=at)[0]


def entries(connection: Connection, head: str, alias: str = "") -> list[Promotion]:
    """Return the entries of a head, or of one of its aliases, newest first."""
    query = _select().where(promotion.c.head == head).order_by(promotion.c.id.desc())
    return _promotions(connection, query.where(promotion.c.alias == alias) if alias else query)


def entries_after(connection: Connection, entry_id: int) -> list[Promotion]:
    """Return the entries with a greater id, oldest first."""
    return _promotions(connection, _select().where(promotion.c.id > entry_id).order_by(promotion.c.id))


def dangling(connection: Connection) -> list[tuple[str, str, int, int]]:
    """Return (head, alias, epoch, number) of the entries whose version does not exist."""
    columns = promotion.c
    query = (
        sa.select(columns.head, columns.alias, columns.epoch, columns.number)
        .outerjoin_from(promotion, version, _SAME_VERSION)
        .where(version.c.digest.is_(None))
        .order_by(columns.id)
    )
    return [(row.head, row.alias, row.epoch, row.number) for row in connection.execute(query)]


def alias_states(connection: Connection, head: str) -> list[AliasState]:
    """Return where the aliases of one head stand, by name."""
    return [
        AliasState(alias, number, epoch) for name, alias, number, epoch in newest_entries(connection) if name == head
    ]


def newest_entries(connection: Connection) -> list[tuple[str, str, int, int]]:
    """Return (head, alias, number, epoch) of every alias as it stands, by head and alias."""
    columns = promotion.c
    newest = sa.select(sa.func.max(columns.id)).group_by(columns.head, columns.alias)
    query = (
        sa.select(columns.head, columns.alias, columns.number, columns.epoch)
        .where(columns.id.in_(newest))
        .order_by(columns.head, columns.alias)
    )
    return [(row.head, row.alias, row.number, row.epoch) for row in connection.execute(query)]


def _select() -> Select[Any]:
    return sa.select(promotion, version.c.digest).join_from(promotion, version, _SAME_VERSION)


def _promotions(connection: Connection, query: Select[Any]) -> list[Promotion]:
    return [Promotion(**row._mapping) for row in connection.execute(query)]


def _current(connection: Connection, head: str, alias: str) -> Promotion | None:
    query = _select().where(promotion.c.head == head, promotion.c.alias == alias)
    found = _promotions(connection, query.order_by(promotion.c.id.desc()).limit(1))
    return found[0] if found else None


def _version_digest(connection: Connection, head: str, number: int) -> str:
    query = sa.select(version.c.number, version.c.digest).where(version.c.head == head).order_by(version.c.number)
    known = {row.number: row.digest for row in connection.execute(query)}
    if number in known:
        return str(known[number])
    if known:
        raise NotFound(
            f"Head {head!r} has no version {number}; it has {_span(sorted(known))}. `zoo ls {head}` lists them."
        )
    heads = connection.execute(sa.select(version.c.head).distinct()).scalars()
    raise NotFound(f"There is no head {head!r} in the zoo." + did_you_mean(head, heads))


def _span(numbers: Sequence[int]) -> str:
    return f"versions {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"version {numbers[0]} alone"


def _lost(move: Move, current: Promotion | None) -> str:
    if current is None:
        return f"{move.head}@{move.alias} has never moved (epoch 0); this move expected epoch {move.expected_epoch}."
    return (
        f"{move.head}@{move.alias} is at epoch {current.epoch}, and this move expected epoch {move.expected_epoch}: "
        f"{current.by} moved it to {move.head}@{current.number} at {current.at:%Y-%m-%d %H:%M:%S} UTC"
        f"{f' ({current.reason})' if current.reason else ''}. Nothing was changed; look at `zoo log {move.head}` and "
        f"decide again, with --expect-epoch {current.epoch}."
    )
