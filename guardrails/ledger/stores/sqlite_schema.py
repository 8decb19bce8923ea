"""The ledger's SQLite file: where it is, which tables it has, and how to open it for reading only.

The tables are compared with this text word for word, so that a view, a trigger or a changed column in a ledger file is noticed
before anything is read through it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from guardrails.errors import LedgerError, UsageError

__all__ = ["APPLICATION_ID", "FORMAT", "TABLES", "TYPES", "open_read_only", "schema_differences"]

APPLICATION_ID = 0x67724C67
"""SQLite's application id of a ledger file (``grLg``)."""
FORMAT = 2
"""Version of the tables, kept as SQLite's user version."""

TABLES = {
    # The log itself: `leaf` is what is signed; session and place are in it too, and stand beside it for finding it.
    "entries": "CREATE TABLE entries (idx INTEGER PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL)",
    "entries_by_session": "CREATE UNIQUE INDEX entries_by_session ON entries (session, seq)",
    # Full tiles of 256 hashes; the root in front, so that the level above is made without reading the hashes.
    "tiles": "CREATE TABLE tiles (level INTEGER NOT NULL, idx INTEGER NOT NULL, root BLOB NOT NULL, hashes BLOB NOT NULL,"
    " PRIMARY KEY (level, idx)) WITHOUT ROWID",
    # One row: the verifier key, the latest checkpoint, and where the log ends.
    "head": "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), verifier_key TEXT NOT NULL, note TEXT NOT NULL,"
    " size INTEGER NOT NULL, frontier BLOB NOT NULL, time_us INTEGER NOT NULL, archived INTEGER NOT NULL,"
    " published TEXT NOT NULL)",
    # Where sessions go on whose entries were moved to an archive.
    "archived_sessions": "CREATE TABLE archived_sessions (session TEXT NOT NULL PRIMARY KEY, next_seq INTEGER NOT NULL)"
    " WITHOUT ROWID",
    # Derived from the entries, for finding what is open.
    "open_intents": "CREATE TABLE open_intents (entry_id TEXT NOT NULL PRIMARY KEY, idx INTEGER NOT NULL,"
    " is_unknown INTEGER NOT NULL) WITHOUT ROWID",
    # Outside the tree, so that they can be erased.
    "secrets": "CREATE TABLE secrets (idx INTEGER NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, sealed BLOB,"
    " PRIMARY KEY (idx, name)) WITHOUT ROWID",
    "subjects": "CREATE TABLE subjects (subject BLOB NOT NULL, idx INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (subject, idx, name)) WITHOUT ROWID",
}
TYPES = {
    "entries": {"session": "text", "seq": "integer", "leaf": "blob"},
    "tiles": {"level": "integer", "idx": "integer", "root": "blob", "hashes": "blob"},
    "head": {
        "verifier_key": "text",
        "note": "text",
        "size": "integer",
        "frontier": "blob",
        "time_us": "integer",
        "archived": "integer",
        "published": "text",
    },
    "archived_sessions": {"session": "text", "next_seq": "integer"},
    "open_intents": {"entry_id": "text", "idx": "integer", "is_unknown": "integer"},
    "secrets": {"idx": "integer", "name": "text", "salt": "blob"},
    "subjects": {"subject": "blob", "idx": "integer", "name": "text"},
}
"""SQLite keeps any type in any column; these are the ones that a ledger writes."""


def open_read_only(path: Path) -> sqlite3.Connection:
    """Opens a ledger file without the means to change it, also from a directory that cannot be written.

    Raises:
        UsageError: There is no such file (usage.file_missing).
        LedgerError: It cannot be opened or is not a ledger (ledger.unavailable).
    """
    if not path.is_file():
        raise UsageError("usage.file_missing", f"There is no ledger at {path}.")
    try:
        connection = _connect(path, "mode=ro")
        try:
            _refuse_strangers(connection)
        except sqlite3.OperationalError:
            connection.close()
            wal = path.with_name(path.name + "-wal")
            if wal.exists() and wal.stat().st_size:
                raise  # Ignoring the write-ahead log would hide its entries.
            # SQLite cannot make its shared memory file here; nobody else can write here either.
            connection = _connect(path, "mode=ro&immutable=1")
            _refuse_strangers(connection)
    except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
        raise LedgerError(
            "ledger.unavailable", f"{path.name} cannot be read as a ledger.", evidence={"error": str(error)}
        ) from error
    return connection


def schema_differences(connection: sqlite3.Connection) -> list[str]:
    """Returns the names of tables, indexes, views and triggers that are missing, unknown or differ from `TABLES`."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_autoindex_%'").fetchall()
    found = {(_text(kind), _text(name)): _text(sql) for kind, name, sql in rows}
    expected = {("index" if " INDEX " in sql else "table", name): sql for name, sql in TABLES.items()}
    return sorted({name for _, name in {k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)}})


def _refuse_strangers(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        connection.close()
        raise LedgerError("ledger.unavailable", "The file is not a ledger.")
    if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
        connection.close()
        raise LedgerError(
            "ledger.unavailable",
            "The ledger's file format is of another version.",
            hint="Run `guardrails ledger migrate` on a format of an earlier version; update the library for a later one.",
        )


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{options}", uri=True, isolation_level=None, timeout=30, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
