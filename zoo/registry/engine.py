"""One SQLAlchemy engine for SQLite and PostgreSQL, and the schema in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError

from zoo.errors import IncompatibleSchema, InvalidConfig, NotFound, Unavailable
from zoo.registry.tables import HEAD_REVISION
from zoo.sqlite import use_write_ahead_log

__all__ = ["bring_up_to_date", "check_schema", "make_engine", "no_zoo", "read", "write"]

_BUSY_TIMEOUT_MS = 30_000
_WRITES = {"hydrazoo_writes": True}


def make_engine(url: str | sa.URL) -> Engine:
    """Return an engine for a SQLite or PostgreSQL URL.

    Raises:
        InvalidConfig: the URL is not one, or its driver is not installed.
    """
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InvalidConfig(
            f"The database_url cannot be used: {error}. Expected sqlite:///<file> or "
            "postgresql+<driver>://<user>@<host>/<database>, with that driver installed."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the driver would begin a transaction late, and only for some statements
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    use_write_ahead_log(dbapi_connection, _BUSY_TIMEOUT_MS / 1000)
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads and then writes must take the write lock first: if another process wrote in between,
    # SQLite refuses the upgrade at once, however long the busy timeout is.
    writes = connection.get_execution_options().get("hydrazoo_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that sees one consistent state; Unavailable if the database cannot be used."""
    with _reaching(engine), engine.begin() as connection:
        yield connection


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that writes; it commits when the block ends and rolls back if it raises."""
    with _reaching(engine), engine.execution_options(**_WRITES).begin() as connection:
        yield connection


@contextmanager
def _reaching(engine: Engine) -> Iterator[None]:
    """Tell a database that cannot be used from a statement that it refuses."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except DBAPIError as error:  # a DatabaseError, or an InterfaceError where a driver finds its connection gone
        raise Unavailable(
            f"The registry {engine.url.render_as_string(hide_password=True)} cannot be used: {_one_line(error)}. "
            "Nothing was changed. Make sure that it can be written and the disk has room; try again if another process "
            "holds it; `zoo config` prints which database is in use."
        ) from error


def _one_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def check_schema(engine: Engine, place: str) -> None:
    """Make sure that the database holds a zoo of the schema that this release knows; an older one is brought forward.

    Raises:
        NotFound: there is no zoo in it.
        IncompatibleSchema: it was made by a newer release.
    """
    revision = _revision(engine)
    if not revision:
        raise no_zoo(place)
    if revision != HEAD_REVISION:
        bring_up_to_date(engine, place)


def no_zoo(place: str) -> NotFound:
    """Return the error that says that there is no zoo, and how to make one."""
    return NotFound(
        f"There is no zoo in {place}. `zoo backbone add minilm` makes one there; "
        "--zoo or HYDRAZOO_ZOO names another folder."
    )


def bring_up_to_date(engine: Engine, place: str) -> None:
    """Make the schema, or bring an older one forward, in one transaction.

    Raises:
        IncompatibleSchema: the database was made by a newer release.
    """
    if _revision(engine) != HEAD_REVISION:
        _migrate(engine, place)


def _migrate(engine: Engine, place: str) -> None:
    from alembic import command  # imported here: opening a zoo of the right schema needs no Alembic
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    migrations = str(Path(__file__).parent / "migrations").replace("%", "%%")  # the parser of ini files reads them
    config.set_main_option("script_location", migrations)
    try:
        with write(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise IncompatibleSchema(
            f"The zoo in {place} has the schema {_revision(engine)!r}; this release knows schemas up to "
            f"{HEAD_REVISION!r}. Upgrade Hydrazoo to the release that wrote it."
        ) from error
    except DBAPIError:
        # On PostgreSQL another process may have made the same tables a moment ago, and then all is well.
        if _revision(engine) != HEAD_REVISION:
            raise


def _revision(engine: Engine) -> str:
    """Return the schema's revision, and an empty string where there is none."""
    with read(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")
