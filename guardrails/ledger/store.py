"""The SQLite store of a ledger: rows in and out, transactions, durability. It knows nothing of keys or of what entries mean.

Write-ahead logging with full synchronisation: a transaction that was committed survives a crash of the process and of the
machine. Threads share one connection under a lock; processes are kept apart by SQLite's own lock.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.keys import sync_directory
from guardrails.ledger.merkle import complete_subtrees, fold
from guardrails.ledger.schema import APPLICATION_ID, FORMAT, TABLES, Location, open_read_only, schema_differences

__all__ = ["SqliteStore"]

_BUSY_TIMEOUT_S = 30


class SqliteStore:
    """Rows of one ledger file. Every method but `close` is called inside `transaction()` or `snapshot()`.

    Args:
        location: The file, or memory.
        read_only: Open an existing file without the means to change it.
    """

    def __init__(self, location: Location, *, read_only: bool = False) -> None:
        self._location = location
        self._read_only = read_only
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        with self._lock, _translated():
            self._connect()
        self._survive_forks()

    @property
    def path(self) -> Path | None:
        """The file, None for a ledger in memory."""
        return self._location.path

    def close(self) -> None:
        """Closes the file. Closing twice is allowed."""
        with self._lock:
            self._is_closed = True
            self._disconnect()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Holds the write lock of the whole ledger; commits durably at the end, undoes everything on an error."""
        with self._begin("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads one state of the ledger, whatever others append meanwhile."""
        with self._begin("BEGIN"):
            yield

    def is_new(self) -> bool:
        """Tells whether the file holds nothing yet.

        Raises:
            LedgerError: It is some other database (ledger.unavailable).
            TamperedError: Its tables are not those of a ledger.
        """
        if not self._rows("SELECT 1 FROM sqlite_master LIMIT 1") and self._value("PRAGMA application_id") == 0:
            return True
        if self._value("PRAGMA application_id") != APPLICATION_ID or self._value("PRAGMA user_version") != FORMAT:
            raise LedgerError("ledger.unavailable", "The file is not a ledger, or of another version.")
        if differing := schema_differences(self._open()):
            raise TamperedError("ledger.tampered", "The ledger's tables were changed.", evidence={"tables": differing})
        return False

    def create(self, verifier_key: str, note: str) -> None:
        """Makes the tables and the first head."""
        for statement in TABLES.values():
            self._run(statement)
        self._run(f"PRAGMA application_id = {APPLICATION_ID}")
        self._run(f"PRAGMA user_version = {FORMAT}")
        self._run("INSERT INTO head (id, verifier_key, note) VALUES (1, ?, ?)", verifier_key, note)

    def head(self) -> tuple[str, str]:
        """Returns the verifier key and the latest checkpoint's note."""
        rows = self._rows("SELECT verifier_key, note FROM head")
        if len(rows) != 1:
            raise TamperedError("ledger.tampered", "The ledger has no head.")
        return str(rows[0][0]), str(rows[0][1])

    def set_head(self, note: str) -> None:
        self._run("UPDATE head SET note = ? WHERE id = 1", note)

    def leaf(self, index: int) -> bytes | None:
        rows = self._rows("SELECT leaf FROM entries WHERE idx = ?", index)
        return _blob(rows[0][0]) if rows else None

    def leaves(self, start: int, end: int, session: str | None = None) -> list[tuple[int, bytes]]:
        """Returns (index, leaf) from `start` to `end` (exclusive), of one session when it is given."""
        if session is None:
            return self._rows("SELECT idx, leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx", start, end)
        query = (
            "SELECT e.idx, e.leaf FROM sessions s JOIN entries e ON e.idx = s.idx"
            " WHERE s.session = ? AND s.idx >= ? AND s.idx < ? ORDER BY s.seq"
        )
        return self._rows(query, session, start, end)

    def add_leaf(self, index: int, leaf: bytes, session: str, seq: int) -> None:
        self._run("INSERT INTO entries (idx, leaf) VALUES (?, ?)", index, leaf)
        self._run("INSERT INTO sessions (session, seq, idx) VALUES (?, ?, ?)", session, seq, index)

    def next_seq(self, session: str) -> int:
        return int(self._value("SELECT coalesce(max(seq) + 1, 0) FROM sessions WHERE session = ?", session))

    def add_nodes(self, nodes: Iterable[tuple[int, int, bytes]]) -> None:
        """Adds (level, index, hash) rows."""
        self._open().executemany("INSERT INTO nodes (level, idx, hash) VALUES (?, ?, ?)", nodes)

    def node(self, level: int, index: int) -> bytes:
        rows = self._rows("SELECT hash FROM nodes WHERE level = ? AND idx = ?", level, index)
        if not rows:
            raise TamperedError("ledger.tampered", "A node of the tree is missing.", evidence={"level": level, "index": index})
        return _blob(rows[0][0])

    def range_root(self, start: int, end: int) -> bytes:
        """Returns the root over leaves `start` to `end` (exclusive), which is a range of a proof or starts at 0."""
        return fold([self.node(level, index) for level, index in complete_subtrees(start, end)])

    def open_intent(self, entry_id: str, index: int) -> None:
        self._run("INSERT INTO open_intents (entry_id, idx, is_unknown) VALUES (?, ?, 0)", entry_id, index)

    def intent_is_unknown(self, entry_id: str) -> bool | None:
        """Returns False for an intent without outcome, True for one whose outcome was given up, None for any other id."""
        rows = self._rows("SELECT is_unknown FROM open_intents WHERE entry_id = ?", entry_id)
        return bool(rows[0][0]) if rows else None

    def mark_intent_unknown(self, entry_id: str) -> None:
        self._run("UPDATE open_intents SET is_unknown = 1 WHERE entry_id = ?", entry_id)

    def close_intent(self, entry_id: str) -> None:
        self._run("DELETE FROM open_intents WHERE entry_id = ?", entry_id)

    def open_intents(self) -> list[tuple[str, int]]:
        """Returns (entry id, index) of the intents without any outcome, oldest first."""
        return self._rows("SELECT entry_id, idx FROM open_intents WHERE is_unknown = 0 ORDER BY idx")

    def add_salt(self, index: int, name: str, salt: bytes) -> None:
        self._run("INSERT INTO salts (idx, name, salt) VALUES (?, ?, ?)", index, name, salt)

    def salt(self, index: int, name: str) -> bytes | None:
        rows = self._rows("SELECT salt FROM salts WHERE idx = ? AND name = ?", index, name)
        return _blob(rows[0][0]) if rows else None

    def erase_salts(self, index: int, name: str | None) -> int:
        """Deletes the salts of an entry (one, or all when `name` is None) and returns how many there were."""
        return self._open().execute("DELETE FROM salts WHERE idx = ?1 AND (?2 IS NULL OR name = ?2)", (index, name)).rowcount

    def drop_old_pages(self) -> None:
        """Moves the write-ahead log into the file and empties it, so that erased rows are not left in it."""
        with self._lock, _translated():
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _begin(self, statement: str) -> Iterator[None]:
        with self._lock, _translated():
            connection = self._open()
            connection.execute(statement)
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _run(self, statement: str, *values: object) -> None:
        self._open().execute(statement, values)

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._open().execute(statement, values).fetchall()

    def _value(self, statement: str, *values: object) -> Any:
        return self._open().execute(statement, values).fetchone()[0]

    def _open(self) -> sqlite3.Connection:
        if self._is_closed:
            raise LedgerError("ledger.unavailable", "The ledger is closed.")
        if self._connection is None:
            self._connect()
        if self._connection is None or self._pid != os.getpid():
            raise LedgerError("ledger.unavailable", "A ledger in memory belongs to the process that made it.")
        return self._connection

    def _connect(self) -> None:
        path = self._location.path
        if self._read_only and path is not None:
            self._connection = open_read_only(path)
            return
        if path is not None:
            try:
                # Salts allow guessing at commitments: the file, and with it SQLite's side files, is for its owner alone.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                sync_directory(path.parent)
            except OSError as error:
                raise LedgerError(
                    "ledger.unavailable", f"{path.name} cannot be opened for writing.", evidence={"path": str(path)}
                ) from error
        connection = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
        try:
            _configure(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _survive_forks(self) -> None:
        # SQLite's connections and locks must not cross a fork: close before, and let both sides open anew when they need it.
        if self._location.path is None or not hasattr(os, "register_at_fork"):
            return
        reference = weakref.ref(self)

        def before() -> None:
            if store := reference():
                store._lock.acquire()
                store._disconnect()

        def in_parent() -> None:
            if store := reference():
                store._lock.release()

        def in_child() -> None:
            if store := reference():
                store._pid = os.getpid()
                store._lock.release()

        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def _configure(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            # Turning on the write-ahead log does not wait for other openers by itself.
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    for setting in (
        "synchronous = FULL",
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        "secure_delete = ON",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}")


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TamperedError("ledger.tampered", "The ledger holds a value of another type than it wrote.")
    return value


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # SQLite quotes damaged bytes in its messages, which Python then cannot decode.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(
            "ledger.unavailable", "The ledger cannot be read or written.", evidence={"error": str(error)}
        ) from error
