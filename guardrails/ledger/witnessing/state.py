"""What a witness remembers, in a SQLite file of its own: the logs it knows, the last head of each, and refused forks.

The file is the witness's promise: lost or restored from a backup, the witness could cosign a second history. It is made once, by
`create`, bound to the witness's key, and `open` never makes one. It belongs on another machine than the ledger it watches.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.keys import sync_directory
from guardrails.ledger.note import Verifier
from guardrails.ledger.witnessing.witness import Head, origin_hash

__all__ = ["SQLiteState"]

_MAX_EVIDENCE = 100
_BUSY_TIMEOUT_S = 5.0
_SCHEMA = """
CREATE TABLE witness (key TEXT NOT NULL) STRICT;
CREATE TABLE logs (origin TEXT NOT NULL, key TEXT PRIMARY KEY) STRICT;
CREATE TABLE heads (
    origin TEXT PRIMARY KEY, origin_hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    time_s INTEGER NOT NULL, cosigned TEXT
) STRICT;
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, request TEXT NOT NULL, UNIQUE (origin, request)
) STRICT;
"""


class SQLiteState:
    """A `guardrails.ledger.witnessing.witness.State`. Several threads share one; several processes may open one file each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __enter__(self) -> SQLiteState:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @classmethod
    def create(cls, path: Path, verifiers: tuple[Verifier, ...]) -> SQLiteState:
        """Makes the state of a new witness, for these keys of it.

        Raises:
            UsageError: The file exists (usage.input_invalid).
            LedgerError: It cannot be written (ledger.unavailable).
        """
        if path.exists():
            raise UsageError("usage.input_invalid", f"The witness state {path.name} exists; it is never replaced.")
        state = cls(_connect(path, "rwc"))
        with state._writing() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO witness VALUES (?)", [(str(v),) for v in verifiers])
        sync_directory(path.parent)
        return state

    @classmethod
    def open(cls, path: Path, verifiers: tuple[Verifier, ...]) -> SQLiteState:
        """Opens the state of a witness with these keys.

        Raises:
            LedgerError: There is no such file, or it belongs to other keys (ledger.unavailable).
        """
        if not path.is_file():
            raise LedgerError(
                "ledger.unavailable",
                f"The witness state {path.name} is missing.",
                hint="Where it was lost, retire this witness: with a new state it could cosign a second history.",
            )
        state = cls(_connect(path, "rw"))
        with state._reading() as connection:
            bound = {key for (key,) in connection.execute("SELECT key FROM witness")}
        if bound != {str(v) for v in verifiers}:
            state.close()
            raise LedgerError(
                "ledger.unavailable", "The witness state belongs to other keys.", evidence={"keys": sorted(bound)}
            )
        return state

    def trust(self, verifier: Verifier) -> None:
        """Takes a key of a log in; its name is the log's origin. Several keys of one origin may be trusted at a time."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO logs VALUES (?, ?)", (verifier.name, str(verifier)))

    def distrust(self, verifier: Verifier) -> None:
        """Takes back a key of a log, as when it was stolen; what was seen of the log stays."""
        with self._writing() as connection:
            connection.execute("DELETE FROM logs WHERE key = ?", (str(verifier),))

    def origins(self) -> tuple[str, ...]:
        """Returns the known logs, in order of their names."""
        with self._reading() as connection:
            return tuple(o for (o,) in connection.execute("SELECT DISTINCT origin FROM logs ORDER BY origin"))

    def keys(self, origin: str) -> tuple[Verifier, ...]:
        with self._reading() as connection:
            rows = connection.execute("SELECT key FROM logs WHERE origin = ? ORDER BY rowid", (origin,)).fetchall()
        return tuple(Verifier.parse(key) for (key,) in rows)

    def head(self, origin: str) -> Head | None:
        with self._reading() as connection:
            row = connection.execute("SELECT size, root, note, time_s FROM heads WHERE origin = ?", (origin,)).fetchone()
        return Head(*row) if row else None

    def advance(self, origin: str, seen: Head | None, head: Head) -> bool:
        row = (origin, origin_hash(origin), head.size, head.root, head.note, head.time_s)
        with self._writing() as connection:
            if seen is None:
                return connection.execute("INSERT OR IGNORE INTO heads VALUES (?, ?, ?, ?, ?, ?, NULL)", row).rowcount == 1
            changed = connection.execute(
                "UPDATE heads SET size = ?, root = ?, note = ?, time_s = ? WHERE origin = ? AND size = ? AND root = ? AND time_s = ?",
                (head.size, head.root, head.note, head.time_s, origin, seen.size, seen.root, seen.time_s),
            )
            return changed.rowcount == 1

    def keep_cosigned(self, origin: str, head: Head, note: str) -> None:
        with self._writing() as connection:
            connection.execute(
                "UPDATE heads SET cosigned = ? WHERE origin = ? AND size = ? AND root = ? AND time_s = ?",
                (note, origin, head.size, head.root, head.time_s),
            )

    def cosigned(self, origin_hash: str) -> str | None:
        with self._reading() as connection:
            row = connection.execute("SELECT cosigned FROM heads WHERE origin_hash = ?", (origin_hash,)).fetchone()
        return row[0] if row else None

    def keep_evidence(self, origin: str, request: str, reason: str) -> None:
        with self._writing() as connection:
            (count,) = connection.execute("SELECT count(*) FROM evidence WHERE origin = ?", (origin,)).fetchone()
            if count < _MAX_EVIDENCE:
                connection.execute(
                    "INSERT OR IGNORE INTO evidence (origin, reason, request) VALUES (?, ?, ?)", (origin, reason, request)
                )

    def evidence(self, origin: str) -> tuple[tuple[str, str], ...]:
        """Returns (reason, request) of what the log signed and this witness refused; the first 100 are kept."""
        with self._reading() as connection:
            return tuple(connection.execute("SELECT reason, request FROM evidence WHERE origin = ? ORDER BY id", (origin,)))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._guarded():
            yield self._connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerError("ledger.unavailable", "The witness state cannot be read or written.") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_TIMEOUT_S,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise LedgerError("ledger.unavailable", f"The witness state {path.name} cannot be opened.") from error
    return connection
