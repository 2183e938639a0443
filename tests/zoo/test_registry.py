from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError, InterfaceError

import zoo.registry
from tests.support.fake_manifests import version_manifest
from zoo import Backbone, Zoo
from zoo.errors import IncompatibleSchema, InvalidConfig, NotFound, Unavailable
from zoo.registry import Meaning, NewReading
from zoo.registry.engine import bring_up_to_date, read, write
from zoo.registry.tables import HEAD_REVISION, metadata

MIGRATIONS = Path(zoo.registry.__file__).parent / "migrations"


def test_the_migrations_make_exactly_the_declared_tables(zoo: Zoo) -> None:
    with zoo.registry.engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_that_opening_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


@pytest.mark.parametrize("table", sorted(metadata.tables))
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_the_database_refuses_to_change_or_delete_rows(zoo: Zoo, body: Backbone, table: str, statement: str) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod"])
    zoo.log_reading(NewReading("intent", "labels", "test split", "build key", "ann", "gate"))
    column = next(iter(metadata.tables[table].columns)).name
    with (
        pytest.raises(IntegrityError, match=f"rows of {table} are immutable"),
        write(zoo.registry.engine) as connection,
    ):
        connection.execute(sa.text(statement.format(table, column, column)))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO promotion VALUES (9, 'intent', 'prod', 1, 42, '2025-01-01', 'me', '', 0, 0, '')",
        "INSERT INTO version_stage VALUES ('nowhere', 0, 'nothing')",
    ],
)
def test_the_database_refuses_rows_that_point_nowhere(zoo: Zoo, statement: str) -> None:
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), write(zoo.registry.engine) as connection:
        connection.execute(sa.text(statement))


def test_the_same_epoch_cannot_be_written_twice(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod"])
    with pytest.raises(IntegrityError, match="UNIQUE"), write(zoo.registry.engine) as connection:
        connection.execute(
            sa.text("INSERT INTO promotion VALUES (2, 'intent', 'prod', 1, 1, '2025-01-01', 'me', '', 0, 0, '')")
        )


def test_opening_where_there_is_no_zoo_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="zoo backbone add minilm"):
        Zoo.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists(), "looking for a zoo leaves nothing behind"


def test_opening_an_empty_database_says_how_to_make_a_zoo(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="zoo backbone add minilm"):
        Zoo.open(tmp_path, database_url=f"sqlite:///{tmp_path}/other.sqlite")


def test_creating_a_zoo_that_is_there_opens_it(zoo: Zoo, body: Backbone, tmp_path: Path) -> None:
    with Zoo.open(tmp_path / "zoo", create=True) as again:
        assert again.backbones() == [body]


def test_a_zoo_of_a_newer_release_asks_for_an_upgrade(zoo: Zoo, tmp_path: Path) -> None:
    with write(zoo.registry.engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for create in (False, True):
        with pytest.raises(IncompatibleSchema, match=r"'9999'.*Upgrade Hydrazoo"):
            Zoo.open(tmp_path / "zoo", create=create)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "zoo.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match="cannot be used: file is not a database"):
        Zoo.open(tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "oracle+nonsense://x", "postgresql+nonsense://x"])
def test_a_database_url_that_cannot_be_used_is_refused_with_examples(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidConfig, match=r"sqlite:///<file>"):
        Zoo.open(tmp_path, database_url=url)


def test_a_folder_with_odd_characters_holds_a_zoo(tmp_path: Path) -> None:
    folder = tmp_path / "ein Zoo? 100% #1 & ümläut"
    with Zoo.open(folder, create=True) as zoo:
        zoo.blobs.put(b"x")
    assert sorted(path.name for path in folder.iterdir()) == ["blobs", "zoo.sqlite"]


def test_promotions_of_an_older_release_have_no_canary_and_no_shadows(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body))
    with write(zoo.registry.engine) as connection:
        connection.execute(sa.text("DROP TABLE reading"))
        for column in ("canary", "canary_percent", "shadows"):
            connection.execute(sa.text(f"ALTER TABLE promotion DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(sa.text("INSERT INTO promotion VALUES (1, 'intent', 'prod', 1, 1, '2025-01-01', 'me', '')"))
    bring_up_to_date(zoo.registry.engine, "a test")
    (entry,) = zoo.promotions("intent")
    assert entry.meaning == Meaning(1)
    with pytest.raises(IntegrityError, match="immutable"), write(zoo.registry.engine) as connection:
        connection.execute(sa.text("UPDATE promotion SET canary = 1"))


def test_a_driver_that_lost_its_connection_is_told_in_one_line(zoo: Zoo) -> None:
    with (
        pytest.raises(Unavailable, match=r"cannot be used: network error\. Nothing was changed"),
        read(zoo.registry.engine),
    ):
        raise InterfaceError("SELECT 1", None, Exception("network\nerror"))
