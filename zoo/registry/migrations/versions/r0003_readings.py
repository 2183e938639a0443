"""Readings of test splits: a log that is only ever added to, as that of the promotions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the triggers that keep its rows as they are."""
    op.create_table(
        "reading",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("head", sa.String(63), nullable=False),
        sa.Column("labels", sa.String(64), nullable=False),
        sa.Column("test_split", sa.String(64), nullable=False),
        sa.Column("build_key", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_reading_head", "reading", ["head", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER reading_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON reading "
            "FOR EACH STATEMENT EXECUTE FUNCTION hydrazoo_refuse_change()"
        )
        return
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER reading_refuses_{action.lower()} BEFORE {action} ON reading "
            "BEGIN SELECT RAISE(ABORT, 'rows of reading are immutable'); END"
        )
