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
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.keys import sync_directory
from guardrails.ledger.location import Location
from guardrails.ledger.stores.base import Batch, Head, Leaf, Secret
from guardrails.ledger.stores.sqlite_schema import (
    APPLICATION_ID,
    FORMAT,
    TABLES,
    TYPES,
    open_read_only,
    schema_differences,
)

__all__ = ["SqliteStore"]

_BUSY_TIMEOUT_S = 30
# SQLite quotes damaged bytes in its messages, which Python then cannot decode.
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
_CONTRADICTIONS = {
    "there are entries outside of the signed log": "SELECT 1 FROM entries WHERE idx < 0 OR idx >= (SELECT size FROM head) LIMIT 1",
    "the places of archived sessions are not those in which they go on": "SELECT 1 FROM archived_sessions AS a, head"
    " WHERE head.archived = 0 OR (SELECT min(seq) FROM entries WHERE session = a.session AND idx >= head.archived) <> a.next_seq"
    " LIMIT 1",
    "a salt does not have 32 bytes": "SELECT 1 FROM secrets WHERE length(salt) <> 32 LIMIT 1",
    "a person's mark is on a value that is not there": "SELECT 1 FROM subjects AS s WHERE NOT EXISTS"
    " (SELECT 1 FROM secrets WHERE secrets.idx = s.idx AND secrets.name = s.name) LIMIT 1",
}


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

    @property
    def is_shared(self) -> bool:
        return self._location.path is not None

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
            hint = "If it is a ledger of an earlier version, run `guardrails ledger migrate`."
            raise LedgerError("ledger.unavailable", "The file is not a ledger, or of another version.", hint=hint)
        if differing := schema_differences(self._open()):
            raise TamperedError("ledger.tampered", "The ledger's tables were changed.", evidence={"tables": differing})
        return False

    def create(self, head: Head) -> None:
        for statement in TABLES.values():
            self._run(statement)
        self._run(f"PRAGMA application_id = {APPLICATION_ID}")
        self._run(f"PRAGMA user_version = {FORMAT}")
        self._run(
            "INSERT INTO head (id, verifier_key, note, size, frontier, time_us, archived, published)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            *_head_row(head),
        )

    def head(self) -> Head:
        rows = self._rows("SELECT verifier_key, note, size, frontier, time_us, archived, published FROM head")
        if len(rows) != 1 or tuple(map(type, rows[0])) != (str, str, int, bytes, int, int, str):
            raise TamperedError("ledger.tampered", "The ledger has no head.")
        return Head(*rows[0])

    def write(self, batch: Batch) -> None:
        run_many = self._open().executemany
        if batch.leaves:
            rows = [(index, leaf.session, leaf.seq, leaf.data) for index, leaf in enumerate(batch.leaves, batch.start)]
            run_many("INSERT INTO entries (idx, session, seq, leaf) VALUES (?, ?, ?, ?)", rows)
        if batch.tiles:
            tiles = [(tile.level, tile.index, tile.root, tile.hashes) for tile in batch.tiles]
            run_many("INSERT INTO tiles (level, idx, root, hashes) VALUES (?, ?, ?, ?)", tiles)
        if batch.secrets:
            secrets = [(secret.index, secret.name, secret.salt, secret.sealed) for secret in batch.secrets]
            run_many("INSERT INTO secrets (idx, name, salt, sealed) VALUES (?, ?, ?, ?)", secrets)
            if subjects := [(subject, s.index, s.name) for s in batch.secrets for subject in s.subjects]:
                run_many("INSERT INTO subjects (subject, idx, name) VALUES (?, ?, ?)", subjects)
        if batch.opened:
            run_many("INSERT INTO open_intents (entry_id, idx, is_unknown) VALUES (?, ?, 0)", batch.opened)
        if batch.given_up:
            run_many("UPDATE open_intents SET is_unknown = 1 WHERE entry_id = ?", [(i,) for i in batch.given_up])
        if batch.closed:
            run_many("DELETE FROM open_intents WHERE entry_id = ?", [(i,) for i in batch.closed])
        self._run(
            "UPDATE head SET verifier_key = ?, note = ?, size = ?, frontier = ?, time_us = ?, archived = ?, published = ?"
            " WHERE id = 1",
            *_head_row(batch.head),
        )

    def leaf(self, index: int) -> bytes | None:
        rows = self._rows("SELECT leaf FROM entries WHERE idx = ?", index)
        return _blob(rows[0][0]) if rows else None

    def leaves(self, start: int, end: int, session: str | None = None) -> list[tuple[int, bytes]]:
        if session is None:
            rows = self._rows("SELECT idx, leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx", start, end)
        else:
            query = "SELECT idx, leaf FROM entries WHERE session = ? AND idx >= ? AND idx < ? ORDER BY seq"
            rows = self._rows(query, session, start, end)
        if not all(type(leaf) is bytes for _, leaf in rows):
            raise _foreign_type()
        return rows

    def rows(self, start: int, end: int) -> list[tuple[int, Leaf]]:
        query = "SELECT idx, session, seq, leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        found = self._rows(query, start, end)
        if not all(type(session) is str and type(seq) is int and type(leaf) is bytes for _, session, seq, leaf in found):
            raise _foreign_type()
        return [(index, Leaf(leaf, session, seq)) for index, session, seq, leaf in found]

    def tile(self, level: int, index: int) -> bytes | None:
        rows = self._rows("SELECT hashes FROM tiles WHERE level = ? AND idx = ?", level, index)
        return _blob(rows[0][0]) if rows else None

    def tile_roots(self, level: int, start: int, end: int) -> bytes:
        rows = self._rows("SELECT root FROM tiles WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx", level, start, end)
        return b"".join(_blob(root) for (root,) in rows)

    def tile_count(self) -> int:
        return int(self._value("SELECT count(*) FROM tiles"))

    def next_seqs(self, sessions: Collection[str]) -> dict[str, int]:
        query = (
            "SELECT coalesce(max(seq) + 1, (SELECT next_seq FROM archived_sessions AS a WHERE a.session = ?1), 0)"
            " FROM entries WHERE session = ?1"
        )
        return {session: int(self._value(query, session)) for session in sessions}

    def open_intents(self) -> list[tuple[str, int, bool]]:
        rows = self._rows("SELECT entry_id, idx, is_unknown FROM open_intents ORDER BY idx")
        return [(entry_id, index, bool(is_unknown)) for entry_id, index, is_unknown in rows]

    def intents_unknown(self, entry_ids: Collection[str]) -> dict[str, bool]:
        found = {}
        for entry_id in entry_ids:
            for (is_unknown,) in self._rows("SELECT is_unknown FROM open_intents WHERE entry_id = ?", entry_id):
                found[entry_id] = bool(is_unknown)
        return found

    def secrets(self, index: int) -> list[Secret]:
        return self.secrets_between(index, index + 1)

    def secrets_between(self, start: int, end: int) -> list[Secret]:
        subjects: dict[tuple[int, str], list[bytes]] = {}
        marks = self._rows("SELECT idx, name, subject FROM subjects WHERE idx >= ? AND idx < ? ORDER BY subject", start, end)
        for index, name, subject in marks:
            subjects.setdefault((index, _text(name)), []).append(_blob(subject))
        query = "SELECT idx, name, salt, sealed FROM secrets WHERE idx >= ? AND idx < ? ORDER BY idx, name"
        return [
            Secret(
                index,
                _text(name),
                _blob(salt),
                None if sealed is None else _blob(sealed),
                tuple(subjects.get((index, name), ())),
            )
            for index, name, salt, sealed in self._rows(query, start, end)
        ]

    def secret_names(self, start: int, end: int) -> list[tuple[int, str]]:
        rows = self._rows("SELECT idx, name FROM secrets WHERE idx >= ? AND idx < ? ORDER BY idx, name", start, end)
        return [(index, _text(name)) for index, name in rows]

    def secrets_of(self, subject: bytes) -> list[tuple[int, str]]:
        return self._rows("SELECT idx, name FROM subjects WHERE subject = ? ORDER BY idx, name", subject)

    def erase(self, secrets: Iterable[tuple[int, str]]) -> int:
        count = 0
        for index, name in secrets:
            count += self._open().execute("DELETE FROM secrets WHERE idx = ? AND name = ?", (index, name)).rowcount
            self._run("DELETE FROM subjects WHERE idx = ? AND name = ?", index, name)
        return count

    def drop_leaves(self, end: int, keep: str) -> None:
        self._run(
            "INSERT OR REPLACE INTO archived_sessions SELECT session, max(seq) + 1 FROM entries WHERE idx < ? GROUP BY session",
            end,
        )
        self._run("DELETE FROM entries WHERE idx < ? AND session <> ?", end, keep)

    def drop_old_pages(self) -> None:
        """Moves the write-ahead log into the file and empties it, so that erased rows are not left in it."""
        with self._lock, _translated():
            self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def damage(self) -> list[str]:
        connection = self._open()
        found: list[str] = []
        if differing := schema_differences(connection):
            if self._rows("SELECT 1 FROM sqlite_master WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"):
                # Reading through one could go on for ever.
                raise TamperedError("ledger.tampered", f"The tables {', '.join(differing)} are not as the ledger made them.")
            found.append(f"the tables {', '.join(differing)} are not as the ledger made them")
        for table, columns in TYPES.items():
            wrong = " OR ".join(f"typeof({name}) <> '{kind}'" for name, kind in columns.items())
            if self._rows(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1"):  # noqa: S608 - names from TYPES
                found.append(f"the table {table} holds a value of another type")
        found += [what for what, query in _CONTRADICTIONS.items() if self._rows(query)]
        for (message,) in self._rows("PRAGMA integrity_check(5)"):
            if message != "ok":
                found.append(f"the database file is damaged ({str(message)[:80]})")
        return found

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
        try:
            return self._open().execute(statement, values).fetchall()
        except _DAMAGE as error:
            raise _unavailable(error) from error

    def _value(self, statement: str, *values: object) -> Any:
        return self._rows(statement, *values)[0][0]

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
        except sqlite3.OperationalError as error:
            # Only somebody else's lock passes; a disk that is full or broken does not.
            if (error.sqlite_errorcode & 0xFF) not in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            ) or time.monotonic() > deadline:
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


def _head_row(head: Head) -> tuple[object, ...]:
    return head.verifier_key, head.note, head.size, head.frontier, head.time_us, head.archived, head.published


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise _foreign_type()
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _foreign_type()
    return value


def _foreign_type() -> TamperedError:
    return TamperedError("ledger.tampered", "The ledger holds a value of another type than it wrote.")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> LedgerError:
    return LedgerError("ledger.unavailable", "The ledger cannot be read or written.", evidence={"error": str(error)})
