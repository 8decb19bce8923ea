"""`Projection`: what the console's lists and plots are made from, folded from the ledger as it grows.

It lies beside the ledger (``<ledger>.console``), or in a schema of its own in the ledger's PostgreSQL database, and holds nothing that
the ledger's entries do not say in clear. It may be deleted at any time: it is made again. Several processes share one; each folds what
it finds new, one at a time.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from guardrails.console.projection.folding import DAMAGED, fold, session_of
from guardrails.console.projection.tables import VERSION, Tables
from guardrails.console.projection.writing import known_sessions, write
from guardrails.errors import GuardrailsError, LedgerError, TamperedError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location

__all__ = ["Projection"]

_LOG = logging.getLogger(__name__)
_BATCH = 5000
_BUSY_TIMEOUT_S = 30


class Projection:
    """Derived data of one ledger; safe to call from several threads. Made by `Projection.open`.

    Example:
        >>> with Ledger.open("sqlite:///:memory:") as ledger, Projection.open(ledger) as projection:
        ...     _ = ledger.append({"type": "note"})
        ...     projection.refresh()
        1
    """

    def __init__(self, engine: sa.Engine, schema: str | None, ledger: Ledger) -> None:
        self._engine = engine
        self._ledger = ledger
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._follower: threading.Thread | None = None
        self.tables = Tables(schema)
        self._prepare(schema)

    @classmethod
    def open(cls, ledger: Ledger, url: str | Path | None = None) -> Projection:
        """Opens the projection of a ledger, making it where there is none.

        Args:
            ledger: The ledger, which stays open as long as this.
            url: The ledger's own URL, or the path beside which the projection is to lie; by default the ledger's file.

        Raises:
            UsageError: A ledger in a server needs its URL, or a path.
            LedgerError: The projection's database cannot be opened (ledger.unavailable).
        """
        location = Location.parse(url) if url is not None else Location(ledger.path)
        if location.postgres is not None:
            return cls(*_on_postgres(location.postgres), ledger)
        if location.path is None and not ledger.is_memory:
            message = "A ledger in a server has no folder for the console's projection."
            raise UsageError("usage.input_invalid", message, hint="Give the ledger's URL, or a path beside which it may lie.")
        return cls(_on_sqlite(location.beside(".console")), None, ledger)

    @property
    def size(self) -> int:
        """How many entries it covers."""
        with self.reading() as connection:
            return self._state(connection)[0]

    def refresh(self, limit: int | None = None, *, wait: bool = True) -> int:
        """Folds entries that are new, and begins anew where the ledger is not the one that was folded.

        Args:
            limit: At most so many entries; all by default.
            wait: Wait for others who fold just now; otherwise what they have not done is left.

        Returns:
            How many entries were folded.
        """
        done = 0
        if self._is_current() or not self._lock.acquire(blocking=wait):
            return done
        try:
            while (limit is None or done < limit) and not self._is_closed.is_set():
                if not wait and not self._is_free():
                    break
                count = self._fold_batch(_BATCH if limit is None else min(_BATCH, limit - done))
                done += count
                if not count:
                    break
        finally:
            self._lock.release()
        return done

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Reads one state of the tables.

        Raises:
            LedgerError: The projection's database cannot be read (ledger.unavailable).
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise _unavailable(error) from error

    def follow(self, every_s: float = 1.0) -> None:
        """Keeps it up to date from a thread of its own, until it is closed. What goes wrong is logged, and tried again."""
        if self._follower is None:
            self._follower = threading.Thread(target=self._follow, args=(every_s,), name="guardrails-projection", daemon=True)
            self._follower.start()

    def close(self) -> None:
        """Closes its connections; the ledger stays open."""
        self._is_closed.set()
        if self._follower is not None:
            self._follower.join()
        self._engine.dispose()

    def __enter__(self) -> Projection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, schema: str | None) -> None:
        with self._writing() as connection:
            if schema is not None:
                # Two that create at the same time would fail over each other.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"guardrails {schema}"))))
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            if not sa.inspect(connection).has_table("state", schema) or self._version(connection) != VERSION:
                self.tables.metadata.drop_all(connection)
                self.tables.metadata.create_all(connection)
                self._begin_anew(connection)

    def _version(self, connection: sa.Connection) -> int | None:
        return connection.execute(sa.select(self.tables.state.c.version)).scalar()

    def _follow(self, every_s: float) -> None:
        last = ""
        while not self._is_closed.wait(every_s):
            try:
                self.refresh()
                last = ""
            except GuardrailsError as error:
                if error.code != last:
                    _LOG.error("the console's projection: %s", error.diagnostics())
                last = error.code

    def _is_current(self) -> bool:
        with self.reading() as connection:
            size, root = self._state(connection)
        return size == self._ledger.size and (size == 0 or root == self._ledger.root.hex())

    def _is_free(self) -> bool:
        """Tells whether no other process folds just now. One may begin right after; then a batch of theirs is waited for."""
        with self.reading() as connection:
            if connection.dialect.name == "postgresql":
                unlocked = sa.select(self.tables.state.c.id).with_for_update(skip_locked=True)
                return connection.execute(unlocked).first() is not None
            return _is_unlocked(connection)

    def _fold_batch(self, limit: int) -> int:
        with self._writing() as connection:
            size, root = self._state(connection, for_update=True)
            end = self._ledger.size
            if size > end or (size and self._ledger.root_at(size).hex() != root):
                size = self._begin_anew(connection)
            start = max(size, self._ledger.archived)
            stop = min(end, start + limit)
            if start >= stop:
                return 0
            entries = [(index, self._entry(index, leaf)) for index, leaf in _leaves(self._ledger, start, stop)]
            sessions = {session_of(entry) for _, entry in entries}
            write(connection, self.tables, fold(entries, known_sessions(connection, self.tables, sessions)))
            state = self.tables.state
            connection.execute(sa.update(state).values(size=stop, root=self._ledger.root_at(stop).hex()))
            return stop - start

    def _entry(self, index: int, leaf: bytes | None) -> dict[str, object]:
        """What an entry says; of a damaged one the session that the ledger files it under, so that it is missed there."""
        entry = _decoded(leaf)
        if entry is not None:
            return entry
        with self._ledger.store.snapshot():
            try:
                filed = self._ledger.store.rows(index, index + 1)
            except TamperedError:
                filed = []
        return {"type": DAMAGED, "session": filed[0][1].session if filed else ""}

    def _state(self, connection: sa.Connection, *, for_update: bool = False) -> tuple[int, str]:
        state = self.tables.state
        query = sa.select(state.c.size, state.c.root)
        row = connection.execute(query.with_for_update() if for_update else query).one()
        return row.size, row.root

    def _begin_anew(self, connection: sa.Connection) -> int:
        state = self.tables.state
        for table in self.tables.metadata.sorted_tables:
            if table is not state:
                connection.execute(sa.delete(table))
        # Its row stays, as others may wait for it.
        begun = {"version": VERSION, "size": 0, "root": ""}
        if not connection.execute(sa.update(state).values(begun)).rowcount:
            connection.execute(sa.insert(state), [{"id": 1, **begun}])
        return 0

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.execution_options(is_writing=True).begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise _unavailable(error) from error


def _is_unlocked(connection: sa.Connection) -> bool:
    """Tells whether nobody writes to a SQLite file just now."""
    own = connection.connection.driver_connection
    if own is None:
        return False
    try:
        own.execute("PRAGMA busy_timeout = 0")
        own.execute("BEGIN IMMEDIATE")
        own.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        own.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}")
    return True


def _leaves(ledger: Ledger, start: int, stop: int) -> Iterator[tuple[int, bytes | None]]:
    """Yields index and bytes, None for an entry that is not the one that was signed: the others are still to be seen."""
    reached = start
    try:
        for index, leaf in ledger.leaves(start, stop):
            reached = index + 1
            yield index, leaf
    except TamperedError:
        for index in range(reached, stop):
            try:
                yield index, ledger.leaf(index)
            except TamperedError:
                yield index, None


def _decoded(leaf: bytes | None) -> dict[str, object] | None:
    try:
        entry = orjson.loads(leaf) if leaf is not None else None
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def _on_sqlite(path: Path | None) -> sa.Engine:
    if path is None:
        one = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0}  # A second connection would be a second database.
        engine = sa.create_engine("sqlite://", connect_args={"check_same_thread": False}, **one)
    else:
        # Who acts, and on what, is for the owner of the ledger.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # Transactions are begun in words, below.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        # What a crash takes is folded again.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("is_writing") else "BEGIN")

    return engine


def _on_postgres(url: str) -> tuple[sa.Engine, str]:
    from guardrails.ledger.stores.postgres_connect import Target

    target = Target.parse(url)

    def connect() -> Any:
        import psycopg

        return psycopg.connect(target.conninfo, application_name="guardrails console")

    return sa.create_engine("postgresql+psycopg://", creator=connect, pool_pre_ping=True), f"{target.schema}_console"


def _unavailable(error: Exception) -> LedgerError:
    message = "The console's projection of the ledger cannot be read or written."
    return LedgerError("ledger.unavailable", message, evidence={"error": type(error).__name__})
