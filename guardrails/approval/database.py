"""Transactions over the approvals, in a SQLite file beside the ledger or a schema beside the ledger's in PostgreSQL.

Every change is one transaction that checks what it changes. SQLite's takes the file's write lock at once; in PostgreSQL whoever decides
locks the row that is decided. A transaction that changed something says so last, to those who watch.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from guardrails.approval.place import Place
from guardrails.approval.schema import Tables, prepare
from guardrails.errors import Denied

__all__ = ["Database", "channel_down"]

_WRITES = "guardrails_writes"
_NO_RIGHT = "42501"
"""PostgreSQL's insufficient_privilege."""
_FAILURES = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)


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

    def drop_old_pages(self) -> None:
        """Empties SQLite's write-ahead log, so that deleted rows are not left in it; PostgreSQL's vacuum does the like in its time."""
        if self.is_server:
            return
        try:
            with self._exclusively(), self._open().connect() as connection:
                bare = connection.connection.driver_connection  # outside of any transaction
                if isinstance(bare, sqlite3.Connection):
                    bare.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except _FAILURES as error:
            raise channel_down(error) from error

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
    hint = "Grant the database role what docs/approvals-state.md lists." if getattr(cause, "sqlstate", "") == _NO_RIGHT else ""
    return Denied("approval.channel_down", "The approvals cannot be read or written.", hint=hint, evidence=evidence)


def _begin_sqlite(connection: sa.Connection) -> None:
    is_writing = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
