"""SQLite's write-ahead log, switched on without losing a race."""

import sqlite3
import time

__all__ = ["use_write_ahead_log"]

_PAUSE_S = 0.005


def use_write_ahead_log(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switch a database to its write-ahead log, which readers and a writer can use at the same time.

    The switch takes the whole file for a moment, and unlike any other statement it does not wait for others: of
    two that open a new file at once, one would be told that the database is locked.

    Args:
        connection: to the database.
        timeout_s: how long others may hold the file.

    Raises:
        sqlite3.OperationalError: they held it longer.
    """
    give_up_s = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
