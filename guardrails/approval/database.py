"""Where the approvals are, and transactions over it: a SQLite file beside the ledger, or a schema beside the ledger's in PostgreSQL.

Every change is one transaction that checks what it changes. SQLite's takes the file's write lock at once; in PostgreSQL whoever decides
locks the row that is decided. A transaction that changed something says so last, to those who watch.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from guardrails.approval.schema import Tables, prepare
from guardrails.errors import Denied, UsageError
from guardrails.ledger.location import Location

if TYPE_CHECKING:
    from guardrails.ledger import Ledger
    from guardrails.ledger.stores.postgres_connect import Target

__all__ = ["Database", "Place", "channel_down"]

_SUFFIX = ".approvals"
_SCHEMA_SUFFIX = "_approvals"
_LONGEST_SCHEMA = 63
_BUSY_TIMEOUT_S = 30
_WRITES = "guardrails_writes"
_FAILURES = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)
_SERVER_SETTINGS = """
    SELECT set_config('search_path', 'pg_catalog, pg_temp', false), set_config('lock_timeout', '30s', false),
        set_config('statement_timeout', '60s', false), set_config('idle_in_transaction_session_timeout', '120s', false),
        set_config('default_transaction_isolation', 'read committed', false), set_config('row_security', 'off', false),
        set_config('jit', 'off', false)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the approvals of a ledger are: in a file, in a schema of a PostgreSQL server, or in memory when both are None."""

    path: Path | None
    target: Target | None = None

    @classmethod
    def parse(cls, url: str | Path) -> Place:
        """Returns where the approvals of the ledger at `url` are.

        Raises:
            UsageError: The URL is not supported (usage.database_unsupported), or the driver is not installed.
        """
        location = Location.parse(url)
        if location.postgres is None:
            return cls(location.beside(_SUFFIX))
        from guardrails.ledger.stores.postgres_connect import Target

        return cls(None, Target.parse(location.postgres))

    @classmethod
    def of(cls, ledger: Ledger) -> Place:
        """Returns where the approvals of an open ledger are."""
        path = ledger.path
        if path is not None:
            return cls(path.with_name(path.name + _SUFFIX))
        return cls(None, getattr(ledger.store, "target", None))

    @property
    def schema(self) -> str | None:
        """The PostgreSQL schema of the tables: the ledger's own holds nothing that is not signed.

        Raises:
            UsageError: Its name would be longer than PostgreSQL allows (usage.input_invalid).
        """
        if self.target is None:
            return None
        name = self.target.schema + _SCHEMA_SUFFIX
        if len(name) > _LONGEST_SCHEMA:
            raise UsageError("usage.input_invalid", f"The ledger's schema {self.target.schema} is too long for approvals.")
        return name

    def connect(self) -> Any:
        """Returns a new connection of the driver's.

        Raises:
            sqlite3.Error, OSError, psycopg.Error: There is none to be had.
        """
        return self._connect_to_server(self.target) if self.target is not None else self._connect_to_file()

    def _connect_to_server(self, target: Target) -> Any:
        import psycopg

        connection = psycopg.connect(target.conninfo)
        try:
            connection.execute(_SERVER_SETTINGS)
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_to_file(self) -> sqlite3.Connection:
        if self.path is not None:
            # Statements may hold values: the file, and with it SQLite's side files, is for its owner alone.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path or ":memory:", isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
        )
        try:
            _use_write_ahead_log(connection)
            for setting in ("synchronous = FULL", "trusted_schema = OFF", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection


class Database:
    """Transactions over the approvals' tables. Safe for threads; a child after a fork makes connections of its own.

    Args:
        place: Where they are. The tables are made when they are not there.

    Raises:
        Denied: The database cannot be reached, read or written (approval.channel_down).
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tables = Tables(place.schema)
        self._lock = threading.RLock()
        self._inherited: list[sa.Engine] = []
        self._is_closed = False
        self._pid = os.getpid()
        self._engine = self._make_engine()
        self._is_prepared = False
        with self.transaction():
            pass

    @property
    def is_server(self) -> bool:
        return self.place.target is not None

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Holds what is needed to change rows; durable when it ends without an error, undone otherwise."""
        with self._begin(is_writing=True) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Reads."""
        with self._begin(is_writing=False) as connection:
            yield connection

    def announce(self, connection: sa.Connection) -> None:
        """Tells those who watch that this transaction changed something; called last in it, for others wait for its lock."""
        about = self.tables.about
        connection.execute(sa.update(about).where(about.c.id == 1).values(changes=about.c.changes + 1))
        if self.tables.schema is not None:
            connection.execute(sa.select(sa.func.pg_notify(self.tables.schema, "")))

    def changes(self) -> int:
        """Returns how many transactions have changed something."""
        with self.snapshot() as connection:
            return int(connection.execute(sa.select(self.tables.about.c.changes)).scalar_one())

    def close(self) -> None:
        """Closes the connections. Closing twice is allowed."""
        with self._lock:
            self._is_closed = True
            if self._pid == os.getpid():
                self._engine.dispose()

    @contextmanager
    def _begin(self, *, is_writing: bool) -> Iterator[sa.Connection]:
        try:
            with self._exclusively(), self._open().connect() as bare:
                connection = bare.execution_options(**{_WRITES: is_writing})
                with connection.begin():
                    if is_writing and not self._is_prepared:
                        prepare(connection, self.tables)
                        self._is_prepared = True
                    yield connection
        except _FAILURES as error:
            raise channel_down(error) from error

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """SQLite's one connection is used by one thread at a time; a server's connections are many."""
        if self.is_server:
            yield
            return
        with self._lock:
            yield

    def _open(self) -> sa.Engine:
        with self._lock:
            if self._is_closed:
                raise Denied("approval.channel_down", "The approvals are closed.")
            if self._pid != os.getpid():
                # Connections must not cross a fork: the parent's are neither used nor, being kept, closed here.
                if self.place.path is None and self.place.target is None:
                    raise Denied("approval.channel_down", "Approvals in memory belong to the process that made them.")
                self._inherited.append(self._engine)
                self._engine, self._pid = self._make_engine(), os.getpid()
            return self._engine

    def _make_engine(self) -> sa.Engine:
        if self.is_server:
            return sa.create_engine(
                "postgresql+psycopg://", creator=self.place.connect, pool_size=4, max_overflow=16, pool_pre_ping=True,
                pool_recycle=600, hide_parameters=True,
            )  # fmt: skip
        engine = sa.create_engine("sqlite://", creator=self.place.connect, poolclass=sa.StaticPool, hide_parameters=True)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine


def channel_down(error: Exception) -> Denied:
    """Returns the refusal for a store that cannot be read or written: without it nobody can say yes."""
    cause = getattr(error, "orig", None) or error
    evidence: dict[str, object] = {"error": str(cause).strip()}
    return Denied("approval.channel_down", "The approvals cannot be read or written.", evidence=evidence)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            # Turning it on does not wait for other openers by itself.
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    is_writing = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
