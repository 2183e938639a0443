"""The registry's tables, for SQLite and PostgreSQL alike. Rows are added and never changed.

The migrations make them; a test holds the two equal.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

__all__ = [
    "HEAD_REVISION",
    "Numbers",
    "UtcDateTime",
    "backbone",
    "metadata",
    "promotion",
    "reading",
    "stage",
    "version",
    "version_stage",
]

HEAD_REVISION = "0003"
"""The newest migration, known without importing Alembic so that opening a zoo stays cheap."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets time zones, so naive values in the database are UTC by agreement."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store the moment in UTC."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the seam
        """Return the moment in UTC."""
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Numbers(TypeDecorator[tuple[int, ...]]):
    """A few numbers in one text: ``7,8``."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> str:  # noqa: ARG002 - the seam
        """Store the numbers, separated by commas."""
        return ",".join(map(str, value or ()))

    def process_result_value(self, value: Any | None, dialect: Dialect) -> tuple[int, ...]:  # noqa: ARG002 - the seam
        """Return the numbers."""
        return tuple(map(int, str(value).split(","))) if value else ()


metadata = MetaData()

stage = Table(
    "stage",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("manifest", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

backbone = Table(
    "backbone",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("name", "number", name="uq_backbone_number"),
)

version = Table(
    "version",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("head", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("team", String(63), nullable=False),
    Column("backbone", String(64), ForeignKey("backbone.digest", name="fk_version_backbone"), nullable=False),
    Column("path_digest", String(64), nullable=False),
    Column("build_key", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("head", "number", name="uq_version_number"),
    Index("ix_version_build", "head", "build_key"),
)

version_stage = Table(
    "version_stage",
    metadata,
    Column("version", String(64), ForeignKey("version.digest", name="fk_version_stage_version"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("stage", String(64), ForeignKey("stage.digest", name="fk_version_stage_stage"), nullable=False),
    Index("ix_version_stage_stage", "stage"),
)

# The id is given by us, newest + 1, and not by a sequence: two promotions at once collide on it and one of them
# tries again, so ids appear in the order of their commits and a watcher that asks for "id > last" misses none.
promotion = Table(
    "promotion",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("head", String(63), nullable=False),
    Column("alias", String(63), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Numbers of versions; 0 and nothing where there are none. SQLite adds no foreign key to a table that is there, so
    # whoever appends looks them up in the same transaction, and versions never go away.
    Column("canary", Integer, nullable=False, server_default="0"),
    Column("canary_percent", Integer, nullable=False, server_default="0"),
    Column("shadows", Numbers, nullable=False, server_default=text("''")),
    ForeignKeyConstraint(["head", "number"], ["version.head", "version.number"], name="fk_promotion_version"),
    UniqueConstraint("head", "alias", "epoch", name="uq_promotion_epoch"),
)

# Digests and a build key without foreign keys: a reading is logged before the build that reads is published, and stays
# if it never is.
reading = Table(
    "reading",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("head", String(63), nullable=False),
    Column("labels", String(64), nullable=False),
    Column("test_split", String(64), nullable=False),
    Column("build_key", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_reading_head", "head", "id"),
)
