"""The first schema: stages, backbones, versions, promotions, and triggers that keep all of them as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = ("stage", "backbone", "version", "version_stage", "promotion")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables and their triggers."""
    _make_stage()
    _make_backbone()
    _make_version()
    _make_version_stage()
    _make_promotion()
    _make_immutable()


def _make_stage() -> None:
    op.create_table(
        "stage",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("manifest", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("parameters", sa.BigInteger, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
    )


def _make_backbone() -> None:
    op.create_table(
        "backbone",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.UniqueConstraint("name", "number", name="uq_backbone_number"),
    )


def _make_version() -> None:
    op.create_table(
        "version",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("head", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("team", sa.String(63), nullable=False),
        sa.Column(
            "backbone", sa.String(64), sa.ForeignKey("backbone.digest", name="fk_version_backbone"), nullable=False
        ),
        sa.Column("path_digest", sa.String(64), nullable=False),
        sa.Column("build_key", sa.String(64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.UniqueConstraint("head", "number", name="uq_version_number"),
    )
    op.create_index("ix_version_build", "version", ["head", "build_key"])


def _make_version_stage() -> None:
    op.create_table(
        "version_stage",
        sa.Column(
            "version", sa.String(64), sa.ForeignKey("version.digest", name="fk_version_stage_version"), primary_key=True
        ),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("stage", sa.String(64), sa.ForeignKey("stage.digest", name="fk_version_stage_stage"), nullable=False),
    )
    op.create_index("ix_version_stage_stage", "version_stage", ["stage"])


def _make_promotion() -> None:
    op.create_table(
        "promotion",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("head", sa.String(63), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["head", "number"], ["version.head", "version.number"], name="fk_promotion_version"),
        sa.UniqueConstraint("head", "alias", "epoch", name="uq_promotion_epoch"),
    )


def _make_immutable() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _refuse_changes_in_postgresql()
    else:
        _refuse_changes_in_sqlite()


def _refuse_changes_in_sqlite() -> None:
    for table in _TABLES:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuses_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are immutable'); END"
            )


def _refuse_changes_in_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION hydrazoo_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'rows of % are immutable', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION hydrazoo_refuse_change()"
        )
