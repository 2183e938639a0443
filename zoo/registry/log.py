"""The promotion log: append-only entries whose newest one per alias says what the alias means.

Every function works inside a transaction of its caller's. The compare-and-swap is the unique (head, alias,
epoch): whoever writes an epoch second is refused by the database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from zoo.errors import Conflict, NotFound
from zoo.registry.records import AliasState, Meaning, Move, Promotion
from zoo.registry.tables import promotion, version
from zoo.suggest import did_you_mean

__all__ = ["alias_states", "append", "dangling", "entries", "entries_after", "newest_entries", "newest_id", "roll_back"]

_SAME_VERSION = sa.and_(version.c.head == promotion.c.head, version.c.number == promotion.c.number)


def append(connection: Connection, moves: Sequence[Move], *, by: str, reason: str, at: datetime) -> list[Promotion]:
    """Add one entry per move, in order.

    Raises:
        NotFound: a move names a version that does not exist, or splits an alias that has never moved.
        Conflict: an alias does not stand at the epoch that its move expects, or means already what it would add.
    """
    signed = _Signed(by=by, reason=reason, at=at)
    return [_move(connection, move, signed) for move in moves]


class _Signed(TypedDict):
    """Who moved an alias, why and when."""

    by: str
    reason: str
    at: datetime


def _move(connection: Connection, move: Move, signed: _Signed) -> Promotion:
    digest = _version_digest(connection, move.head, move.number)
    current = _current(connection, move.head, move.alias)
    epoch = current.epoch if current else 0
    if move.expected_epoch is not None and move.expected_epoch != epoch:
        raise Conflict(_lost(move, current))
    if move.role == "all":
        return _write(connection, move.head, move.alias, epoch + 1, Meaning(move.number), digest, signed)
    if current is None:
        raise NotFound(
            f"{move.head}@{move.alias} means nothing yet, so there is nothing that {move.head}@{move.number} could be "
            f"compared with. `zoo promote {move.head}@<number> {move.alias}` makes it mean a version."
        )
    return _write(connection, move.head, move.alias, epoch + 1, _beside(move, current), current.digest, signed)


def _beside(move: Move, current: Promotion) -> Meaning:
    """Return what the alias means once the version of ``move`` is its canary, or one of its shadows."""
    if move.number == current.number:
        raise Conflict(
            f"{move.head}@{move.alias} means {move.head}@{move.number} already. "
            f"`zoo promote {move.head}@{move.number} {move.alias}` without more ends its canary and its shadows."
        )
    others = tuple(number for number in current.shadows if number != move.number)
    if move.role == "canary":
        return Meaning(current.number, move.number, move.percent, others)
    if move.number == current.canary:
        raise Conflict(
            f"{move.head}@{move.number} answers {current.canary_percent} % of the callers of {move.head}@{move.alias} "
            f"already, so it cannot be its shadow. `zoo promote {move.head}@{current.number} {move.alias}` ends that."
        )
    return Meaning(current.number, current.canary, current.canary_percent, tuple(sorted((*others, move.number))))


def _write(
    connection: Connection, head: str, alias: str, epoch: int, meaning: Meaning, digest: str, signed: _Signed
) -> Promotion:
    values = {
        "id": newest_id(connection) + 1,
        "head": head,
        "alias": alias,
        "epoch": epoch,
        **meaning._asdict(),
        **signed,
    }
    connection.execute(promotion.insert().values(**values))
    return Promotion(digest=digest, **values)


def roll_back(connection: Connection, head: str, alias: str, *, by: str, reason: str, at: datetime) -> Promotion:
    """Add an entry that makes the alias mean what it meant before: version, canary and shadows.

    Raises:
        NotFound: the alias never moved, or never meant anything else.
    """
    history = entries(connection, head, alias)
    if not history:
        known = [state.alias for state in alias_states(connection, head)]
        raise NotFound(
            f"Head {head!r} has no alias {alias!r}, so there is nothing to roll back." + did_you_mean(alias, known)
        )
    current = history[0]
    earlier = next((entry for entry in history if entry.meaning != current.meaning), None)
    if earlier is None:
        raise NotFound(
            f"{head}@{alias} has only ever meant {head}@{current.number}, so there is nothing to roll back to. "
            f"`zoo promote {head}@<number> {alias}` moves it to any version."
        )
    signed = _Signed(by=by, reason=reason, at=at)
    return _write(connection, head, alias, current.epoch + 1, earlier.meaning, earlier.digest, signed)


def entries(connection: Connection, head: str, alias: str = "") -> list[Promotion]:
    """Return the entries of a head, or of one of its aliases, newest first."""
    query = _select().where(promotion.c.head == head).order_by(promotion.c.id.desc())
    return _promotions(connection, query.where(promotion.c.alias == alias) if alias else query)


def entries_after(connection: Connection, entry_id: int) -> list[Promotion]:
    """Return the entries with a greater id, oldest first."""
    return _promotions(connection, _select().where(promotion.c.id > entry_id).order_by(promotion.c.id))


def newest_id(connection: Connection) -> int:
    """Return the id of the newest entry, 0 if there is none."""
    return connection.execute(sa.select(sa.func.max(promotion.c.id))).scalar() or 0


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
    return [state for name, state in newest_entries(connection) if name == head]


def newest_entries(connection: Connection) -> list[tuple[str, AliasState]]:
    """Return the head and the state of every alias as it stands, by head and alias."""
    columns = promotion.c
    newest = sa.select(sa.func.max(columns.id)).group_by(columns.head, columns.alias)
    query = (
        sa.select(columns.head, *(columns[name] for name in AliasState._fields))
        .where(columns.id.in_(newest))
        .order_by(columns.head, columns.alias)
    )
    return [(row.head, AliasState(*row[1:])) for row in connection.execute(query)]


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
