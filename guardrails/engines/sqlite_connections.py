"""Where the SQLite engine's connections come from: opened from a path for each plan, or lent from SQLAlchemy's pool."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from guardrails.engines.failures import sqlite_failure
from guardrails.errors import EngineError

__all__ = ["PooledConnections", "UrlConnections"]


class UrlConnections:
    """A fresh connection for each plan: nothing that one plan leaves behind reaches the next.

    Args:
        path: The file. It is opened with `mode=ro` for reads, with `mode=rw` for writes, and never created.
    """

    is_shared = False
    pool: sa.Pool | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def lend(self, *, is_read_only: bool, busy_timeout_s: float) -> Iterator[sqlite3.Connection]:
        """Lends a connection in autocommit mode; foreign keys are enforced, as the schema declares them."""
        uri = f"{self._path.as_uri()}?mode={'ro' if is_read_only else 'rw'}"
        try:
            # One plan at a time, though not always from one thread: a transaction may outlive the thread that began it.
            connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise sqlite_failure(error) from error
        try:
            _harden(connection)
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """There is nothing to close between plans."""


class PooledConnections:
    """Connections of an SQLAlchemy engine, put back as they were.

    Args:
        engine: An engine with the driver `sqlite3`.
        is_shared: Its pool gives one connection to all (`StaticPool`), so that plans take turns. The application must not use that
            connection while a plan runs.
    """

    def __init__(self, engine: sa.Engine, *, is_shared: bool) -> None:
        self._engine = engine
        self.is_shared = is_shared
        self.pool: sa.Pool | None = engine.pool
        self._turn = threading.Lock() if is_shared else nullcontext()

    @contextmanager
    def lend(self, *, is_read_only: bool, busy_timeout_s: float) -> Iterator[sqlite3.Connection]:
        """Lends a connection in autocommit mode; settings that the application made stay, and come back."""
        del is_read_only  # The pool's connections are open for both; `query_only` and the authorizer make the difference.
        with self._turn:
            try:
                pooled = self._engine.raw_connection()
            except (SQLAlchemyError, sqlite3.Error) as error:
                raise sqlite_failure(error) from error
            connection = pooled.driver_connection
            try:
                with _settings_kept(connection, busy_timeout_s) as plain:
                    yield plain
            finally:
                pooled.close()

    def close(self) -> None:
        """The engine belongs to the application, which disposes of it."""


def _harden(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    # From Python 3.12 on; the authorizer and `trusted_schema` stand without it.
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DQS_DML, False)


@contextmanager
def _settings_kept(connection: object, busy_timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Puts a lent connection into the state that the engine expects, and back into the one it had."""
    if not isinstance(connection, sqlite3.Connection):
        raise EngineError("engine.failed", "The pool gave no connection of the driver sqlite3.")
    if connection.in_transaction:
        raise EngineError("engine.failed", "The connection is inside a transaction of the application.")
    factories = connection.isolation_level, connection.row_factory, connection.text_factory
    pragmas = ("query_only", "trusted_schema", "busy_timeout")
    connection.isolation_level, connection.row_factory, connection.text_factory = None, None, str
    before = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas}
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        yield connection
    finally:
        for name, value in before.items():
            connection.execute(f"PRAGMA {name} = {int(value)}")
        connection.isolation_level, connection.row_factory, connection.text_factory = factories
