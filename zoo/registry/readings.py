"""The log of readings: whenever somebody looked at the labels of a test split. Entries are only ever added.

Every function works inside a transaction of its caller's. Ids are newest + 1, as those of promotions: two readings at
once collide on one, and whoever was second tries again.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from zoo.registry.records import NewReading, Reading
from zoo.registry.tables import reading

__all__ = ["append", "entries"]


def append(connection: Connection, new: NewReading, *, at: datetime) -> Reading:
    """Add one entry."""
    newest = connection.execute(sa.select(sa.func.max(reading.c.id))).scalar() or 0
    values = {"id": newest + 1, "at": at, **new._asdict()}
    connection.execute(reading.insert().values(**values))
    return Reading(**values)


def entries(connection: Connection, head: str, test_split: str = "") -> list[Reading]:
    """Return the entries of a head, or of one state of its test split, newest first."""
    query = sa.select(reading).where(reading.c.head == head).order_by(reading.c.id.desc())
    chosen = query.where(reading.c.test_split == test_split) if test_split else query
    return [Reading(**row._mapping) for row in connection.execute(chosen)]
