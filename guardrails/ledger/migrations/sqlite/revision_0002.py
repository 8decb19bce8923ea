"""Format 2 of a ledger's SQLite file: the tree as tiles of 256 hashes, and what can be erased with the people that it is about.

The tree is rebuilt from the entries and must be the one that was signed: a ledger that was changed is not carried over.
"""

from __future__ import annotations

from typing import TypeAlias

from alembic import op
from sqlalchemy import Connection

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.entry import decode, parse_time
from guardrails.ledger.merkle import EMPTY_ROOT, fold, grow, leaf_hash
from guardrails.ledger.note import Verifier

__all__: list[str] = []

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WIDTH = 256
_Peaks: TypeAlias = list[tuple[int, bytes]]
_MOVED = ("entries", "head")
_TABLES = (
    "CREATE TABLE entries (idx INTEGER PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL)",
    "CREATE UNIQUE INDEX entries_by_session ON entries (session, seq)",
    "CREATE TABLE tiles (level INTEGER NOT NULL, idx INTEGER NOT NULL, root BLOB NOT NULL, hashes BLOB NOT NULL,"
    " PRIMARY KEY (level, idx)) WITHOUT ROWID",
    "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), verifier_key TEXT NOT NULL, note TEXT NOT NULL,"
    " size INTEGER NOT NULL, frontier BLOB NOT NULL, time_us INTEGER NOT NULL, archived INTEGER NOT NULL,"
    " published TEXT NOT NULL)",
    "CREATE TABLE archived_sessions (session TEXT NOT NULL PRIMARY KEY, next_seq INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE secrets (idx INTEGER NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, sealed BLOB,"
    " PRIMARY KEY (idx, name)) WITHOUT ROWID",
    "CREATE TABLE subjects (subject BLOB NOT NULL, idx INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (subject, idx, name)) WITHOUT ROWID",
)
_OF_SESSION = (
    "INSERT INTO entries (idx, session, seq, leaf) SELECT e.idx, s.session, s.seq, e.leaf"
    " FROM sessions AS s JOIN old_entries AS e ON e.idx = s.idx"
)


def upgrade() -> None:
    connection = op.get_bind()
    for table in _MOVED:
        op.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in _TABLES:
        op.execute(statement)
    size, peaks = _make_tiles(connection)
    _move_head(connection, size, peaks)
    moved = connection.exec_driver_sql(_OF_SESSION).rowcount
    if moved != size:
        raise _tampered("the table of sessions does not lead to each entry")
    op.execute("INSERT INTO secrets (idx, name, salt, sealed) SELECT idx, name, salt, NULL FROM salts")
    for table in ("old_entries", "old_head", "nodes", "sessions", "salts"):
        op.execute(f"DROP TABLE {table}")
    op.execute("PRAGMA user_version = 2")


def downgrade() -> None:
    raise NotImplementedError("There is no way back: a ledger's entries are not deleted.")


def _make_tiles(connection: Connection) -> tuple[int, _Peaks]:
    """Fills the table of tiles; returns the number of entries and the complete subtrees that they make up."""
    peaks: _Peaks = []
    waiting: dict[int, list[bytes]] = {}
    size = 0
    rows = connection.exec_driver_sql("SELECT idx, leaf FROM old_entries ORDER BY idx").yield_per(_WIDTH)
    for index, leaf in rows:
        if index != size or not isinstance(leaf, bytes):
            raise _tampered(f"entry {size} is missing")
        for level, number, digest in grow(peaks, size, leaf_hash(leaf)):
            if level % 8:
                continue
            hashes = waiting.setdefault(level // 8, [])
            if level:
                below = b"".join(waiting[level // 8 - 1])
                connection.exec_driver_sql("INSERT INTO tiles VALUES (?, ?, ?, ?)", (level // 8 - 1, number, digest, below))
                waiting[level // 8 - 1].clear()
            hashes.append(digest)
        size += 1
    return size, peaks


def _move_head(connection: Connection, size: int, peaks: _Peaks) -> None:
    rows = connection.exec_driver_sql("SELECT verifier_key, note FROM old_head").fetchall()
    if len(rows) != 1:
        raise _tampered("there is no head")
    key, note = rows[0]
    root = fold([digest for _, digest in peaks]) if peaks else EMPTY_ROOT
    try:
        verifier = Verifier.parse(key)
        signed = open_checkpoint(note, verifier)
    except LedgerError as error:
        raise _tampered("the checkpoint is not signed by the ledger's key") from error
    if signed != Checkpoint(verifier.name, size, root):
        raise _tampered("the entries are not those that were signed")
    last = connection.exec_driver_sql("SELECT leaf FROM old_entries ORDER BY idx DESC LIMIT 1").scalar()
    time_us = parse_time(decode(last).get("time")) if last is not None else 0
    connection.exec_driver_sql(
        "INSERT INTO head VALUES (1, ?, ?, ?, ?, ?, 0, '')",
        (key, note, size, b"".join(digest for _, digest in peaks), time_us),
    )


def _tampered(what: str) -> TamperedError:
    return TamperedError("ledger.tampered", f"The ledger was changed, so it is not carried over: {what}.")
