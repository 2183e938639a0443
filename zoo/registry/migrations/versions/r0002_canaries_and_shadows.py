"""A promotion may split its alias: a canary, its share in percent, and shadows; earlier promotions have none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; their defaults say what every earlier promotion meant."""
    op.add_column("promotion", sa.Column("canary", sa.Integer, nullable=False, server_default="0"))
    op.add_column("promotion", sa.Column("canary_percent", sa.Integer, nullable=False, server_default="0"))
    op.add_column("promotion", sa.Column("shadows", sa.Text, nullable=False, server_default=sa.text("''")))
