"""The first tables of a ledger in a SQLite file (format 1): each node of the tree is a row."""

from __future__ import annotations

from alembic import op

__all__: list[str] = []

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE TABLE entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL)",
    "CREATE TABLE nodes (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL,"
    " PRIMARY KEY (level, idx)) WITHOUT ROWID",
    "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), verifier_key TEXT NOT NULL, note TEXT NOT NULL)",
    "CREATE TABLE sessions (session TEXT NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL,"
    " PRIMARY KEY (session, seq)) WITHOUT ROWID",
    "CREATE TABLE open_intents (entry_id TEXT NOT NULL PRIMARY KEY, idx INTEGER NOT NULL,"
    " is_unknown INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE salts (idx INTEGER NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, PRIMARY KEY (idx, name)) WITHOUT ROWID",
    "PRAGMA application_id = 1735543911",
    "PRAGMA user_version = 1",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("There is no way back: a ledger's entries are not deleted.")
