"""The tables of a ledger in PostgreSQL."""

from __future__ import annotations

from alembic import context, op

__all__: list[str] = []

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The log itself: `leaf` is what is signed; session (in UTF-8) and place are in it too, and stand beside it for finding it.
    "CREATE TABLE {s}.entries (idx bigint PRIMARY KEY CHECK (idx >= 0), session bytea NOT NULL,"
    " seq bigint NOT NULL CHECK (seq >= 0), leaf bytea NOT NULL CHECK (octet_length(leaf) < 65536))",
    # By a digest, as a session's name may be longer than an index takes.
    "CREATE UNIQUE INDEX entries_by_session ON {s}.entries (sha256(session), seq)",
    # The next place in sessions whose entries were archived, by the same digest.
    "CREATE TABLE {s}.archived_sessions (session bytea PRIMARY KEY CHECK (octet_length(session) = 32),"
    " next_seq bigint NOT NULL CHECK (next_seq > 0))",
    # Full tiles of C2SP tlog-tiles. Hashes do not compress: that is not even tried.
    "CREATE TABLE {s}.tiles (level integer CHECK (level >= 0), idx bigint CHECK (idx >= 0),"
    " root bytea NOT NULL CHECK (octet_length(root) = 32), hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),"
    " PRIMARY KEY (level, idx))",
    "ALTER TABLE {s}.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL",
    # The one row that every append locks. It changes with each batch, so its page keeps room for the new versions.
    "CREATE TABLE {s}.head (id smallint PRIMARY KEY CHECK (id = 1), verifier_key text NOT NULL, note text NOT NULL,"
    " size bigint NOT NULL CHECK (size >= 0), frontier bytea NOT NULL CHECK (mod(octet_length(frontier), 32) = 0),"
    " time_us bigint NOT NULL CHECK (time_us >= 0), published text NOT NULL, archived bigint NOT NULL"
    " CHECK (archived >= 0 AND archived <= size AND mod(archived, 256) = 0)) WITH (fillfactor = 10)",
    # Derived from the entries, for finding what is open.
    'CREATE TABLE {s}.open_intents (entry_id text COLLATE "C" PRIMARY KEY, idx bigint NOT NULL CHECK (idx >= 0),'
    " is_unknown boolean NOT NULL)",
    # Outside the tree, so that they can be erased.
    'CREATE TABLE {s}.secrets (idx bigint CHECK (idx >= 0), name text COLLATE "C", salt bytea NOT NULL'
    " CHECK (octet_length(salt) = 32), sealed bytea, PRIMARY KEY (idx, name))",
    'CREATE TABLE {s}.secret_subjects (idx bigint, name text COLLATE "C", subject bytea CHECK (octet_length(subject) = 32),'
    " PRIMARY KEY (idx, name, subject))",
    "CREATE INDEX secret_subjects_by_subject ON {s}.secret_subjects (subject, idx, name)",
)


def upgrade() -> None:
    schema = context.config.attributes["ledger_schema"]
    for statement in _STATEMENTS:
        op.execute(statement.replace("{s}", f'"{schema}"'))


def downgrade() -> None:
    raise NotImplementedError("There is no way back: a ledger's entries are not deleted.")
