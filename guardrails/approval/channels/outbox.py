"""Messages that still have to be delivered: a SQLite file, so that neither a crash nor a receiver that is down loses one.

    waiting ──deliver──▶ delivered
       │ ▲──retry──┘
       └────too late──▶ failed

Several processes share the file: who takes a message has it for a while, and if it dies in the meantime another takes it over. A
message is known by its destination and id, so that the same event, told twice, is delivered once. Without a file it is kept in memory
and lost with the process. Times are Unix seconds.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guardrails.errors import Denied

__all__ = ["Message", "Outbox"]

_BUSY_TIMEOUT_S = 10
_KEPT_S = 7 * 86_400
_MOST_WAITING = 10_000
_TABLE = """CREATE TABLE IF NOT EXISTS messages (
    destination TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL, ended_at REAL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')), problem TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (destination, id)
) STRICT"""
_INDEX = "CREATE INDEX IF NOT EXISTS due_messages ON messages (destination, due_at) WHERE state = 'waiting'"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that somebody has taken in order to deliver it; `attempts` counts this one."""

    destination: str
    id: str
    body: bytes
    expires_at: float
    attempts: int


class Outbox:
    """The messages of one file. Safe to share between threads and processes.

    Args:
        path: Of the file, made for its owner alone where there is none; None keeps the messages in memory.

    Every method raises Denied (approval.channel_down) when the file cannot be read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._pid = os.getpid()

    def add(self, destination: str, message_id: str, body: bytes, now: float, expires_at: float) -> bool:
        """Keeps a message until it is delivered or its time is over.

        Returns:
            Whether it is new; a known one is not delivered again.

        Raises:
            Denied: Too many wait already (approval.channel_down).
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM messages WHERE ended_at < ?", (now - _KEPT_S,))
            (waiting,) = connection.execute("SELECT count(*) FROM messages WHERE state = 'waiting'").fetchone()
            if waiting >= _MOST_WAITING:
                raise Denied("approval.channel_down", "Too many messages wait for delivery.")
            done = connection.execute(
                "INSERT INTO messages (destination, id, body, created_at, expires_at, due_at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (destination, message_id, body, now, expires_at, now),
            )
            return done.rowcount == 1

    def take(self, destination: str, now: float, for_s: float) -> Message | None:
        """Takes the message that has been due for longest; after `for_s` seconds without word it is due again."""
        with self._transaction() as connection:
            row = connection.execute(
                "UPDATE messages SET attempts = attempts + 1, due_at = ? WHERE state = 'waiting' AND rowid = (SELECT rowid FROM"
                " messages WHERE destination = ? AND state = 'waiting' AND due_at <= ? ORDER BY due_at LIMIT 1)"
                " RETURNING destination, id, body, expires_at, attempts",
                (now + for_s, destination, now),
            ).fetchone()
        return Message(*row) if row else None

    def next_due(self, destination: str) -> float | None:
        """Returns when the next message is due; None when none waits."""
        with self._transaction() as connection:
            query = "SELECT min(due_at) FROM messages WHERE destination = ? AND state = 'waiting'"
            (due,) = connection.execute(query, (destination,)).fetchone()
        return None if due is None else float(due)

    def retry(self, message: Message, due_at: float, problem: str) -> None:
        """Puts a message back, to be tried again at `due_at`."""
        self._note(message, "due_at = ?, problem = ?", (due_at, problem))

    def end(self, message: Message, now: float, problem: str = "") -> None:
        """Notes that a message is delivered, or given up because of a problem."""
        self._note(message, "state = ?, ended_at = ?, problem = ?", ("failed" if problem else "delivered", now, problem))

    def counts(self, destination: str) -> dict[str, int]:
        """Returns how many messages are in each state."""
        with self._transaction() as connection:
            query = "SELECT state, count(*) FROM messages WHERE destination = ? GROUP BY state"
            return dict(connection.execute(query, (destination,)).fetchall())

    def close(self) -> None:
        """Closes the file; what waits in memory is lost. Another call opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _note(self, message: Message, changes: str, values: tuple[object, ...]) -> None:
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE messages SET {changes} WHERE destination = ? AND id = ? AND state = 'waiting'",  # noqa: S608 - ours
                (*values, message.destination, message.id),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                evidence = {"error": str(error)}
                raise Denied("approval.channel_down", "The outbox cannot be read or written.", evidence=evidence) from error

    def _open(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # SQLite's connections must not cross a fork: the parent's is neither used nor, being kept, closed here.
            self._inherited, self._connection, self._pid = self._connection, None, os.getpid()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self._path or ":memory:", isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute(_TABLE)
            connection.execute(_INDEX)
        except BaseException:
            connection.close()
            raise
        return connection
