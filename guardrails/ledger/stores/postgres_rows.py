"""The rows of a ledger in PostgreSQL, read and written over whatever connection holds the transaction.

See `guardrails.ledger.stores.base.Store` for what each method is to do, and `guardrails.ledger.stores.postgres` for the two kinds
of connections: the store's own, and one that somebody else's transaction is on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.stores.base import Batch, Head, Leaf, Secret
from guardrails.ledger.stores.postgres_schema import damage, has_tables
from guardrails.ledger.stores.postgres_statements import LEAF, session_key, without_nul

__all__ = ["PostgresRows", "Transactions"]

_NEXT_SEQS = (
    "SELECT k, greatest((SELECT max(seq) + 1 FROM {s}.entries WHERE sha256(session) = k),"
    " (SELECT next_seq FROM {s}.archived_sessions WHERE session = k), 0) FROM unnest(%b::bytea[]) AS asked (k)"
)
_KEEP_PLACES = (
    "INSERT INTO {s}.archived_sessions AS kept (session, next_seq)"
    " SELECT sha256(session), max(seq) + 1 FROM {s}.entries WHERE idx < %s GROUP BY session"
    " ON CONFLICT (session) DO UPDATE SET next_seq = greatest(kept.next_seq, excluded.next_seq)"
)
_ERASE = "DELETE FROM {s}.{t} WHERE (idx, name) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))"


class Transactions(Protocol):
    """Where the rows' statements run. ``{s}`` in a statement stands for the schema."""

    @property
    def schema(self) -> str: ...

    def transaction(self) -> AbstractContextManager[None]: ...

    def snapshot(self) -> AbstractContextManager[None]: ...

    def head(self) -> Head | None:
        """Returns the head in this transaction or snapshot, None when there is none."""

    def run(self, template: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement that reads, and returns its rows."""

    def change(self, template: str, parameters: tuple[object, ...] = ()) -> int:
        """Runs a statement that changes rows, and returns how many."""

    def define(self, script: str) -> None:
        """Runs a script that makes tables."""

    def begin_with(self, head: Head) -> None:
        """Stores the first head."""

    def store(self, batch: Batch) -> None:
        """Stores a batch, at the latest when the transaction ends."""

    def vacuum(self, table: str) -> None:
        """Frees a table's file of deleted rows, where the role may do that."""

    def close(self) -> None: ...


class PostgresRows:
    """A ledger's rows (see `guardrails.ledger.stores.base.Store`).

    Args:
        transactions: Where the statements run.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._run = transactions.run

    @property
    def path(self) -> None:
        """There is no file."""
        return

    @property
    def is_shared(self) -> bool:
        return True

    def transaction(self) -> AbstractContextManager[None]:
        """Holds the head's row, and with it the one write lock of the ledger."""
        return self._transactions.transaction()

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads one state (REPEATABLE READ, READ ONLY)."""
        return self._transactions.snapshot()

    def is_new(self) -> bool:
        """Tells whether there is no ledger yet: no tables, or tables as their owner made them for a role that may not.

        Raises:
            LedgerError: The schema holds something else, or tables of another release (ledger.unavailable).
            TamperedError: The tables were changed, or they hold rows without a head.
        """
        if not has_tables(self._run, self._transactions.schema):
            return True
        if self._transactions.head() is not None:
            return False
        if self._run("SELECT 1 WHERE EXISTS (SELECT FROM {s}.entries) OR EXISTS (SELECT FROM {s}.tiles)"):
            raise TamperedError("ledger.tampered", "The ledger has entries and no head.")
        return True

    def create(self, head: Head) -> None:
        """Makes the tables, unless their owner has made them, and the first head."""
        if not has_tables(self._run, self._transactions.schema):
            from guardrails.ledger.migrations.on_postgres import postgres_script

            self._transactions.define(postgres_script(self._transactions.schema))
        self._transactions.begin_with(head)

    def head(self) -> Head:
        head = self._transactions.head()
        if head is None:
            raise TamperedError("ledger.tampered", "The ledger has no head.")
        return head

    def write(self, batch: Batch) -> None:
        """Adds a batch.

        Raises:
            LedgerError: It does not begin where the ledger ends (ledger.unavailable), or a name cannot be stored
                (ledger.entry_invalid).
        """
        size = self.head().size
        if batch.start != size or batch.head.size != size + len(batch.leaves):
            raise LedgerError(
                "ledger.unavailable",
                "The batch does not begin where the ledger ends.",
                evidence={"start": batch.start, "size": size, "entries": len(batch.leaves)},
            )
        self._transactions.store(batch)

    def leaf(self, index: int) -> bytes | None:
        rows = self._run(LEAF, (index,))
        return rows[0][0] if rows else None

    def leaves(self, start: int, end: int, session: str | None = None) -> list[tuple[int, bytes]]:
        """Returns (index, bytes) in order. All that is asked for is held in memory, so ask for pages of some thousands."""
        if session is None:
            return self._run("SELECT idx, leaf FROM {s}.entries WHERE idx >= %s AND idx < %s ORDER BY idx", (start, end))
        query = "SELECT idx, leaf FROM {s}.entries WHERE sha256(session) = %s AND idx >= %s AND idx < %s ORDER BY seq"
        return self._run(query, (session_key(session), start, end))

    def rows(self, start: int, end: int) -> list[tuple[int, Leaf]]:
        query = "SELECT idx, session, seq, leaf FROM {s}.entries WHERE idx >= %s AND idx < %s ORDER BY idx"
        return [(index, Leaf(leaf, _text(session), seq)) for index, session, seq, leaf in self._run(query, (start, end))]

    def tile(self, level: int, index: int) -> bytes | None:
        rows = self._run("SELECT hashes FROM {s}.tiles WHERE level = %s AND idx = %s", (level, index))
        return rows[0][0] if rows else None

    def tile_roots(self, level: int, start: int, end: int) -> bytes:
        query = "SELECT root FROM {s}.tiles WHERE level = %s AND idx >= %s AND idx < %s ORDER BY idx"
        return b"".join(row[0] for row in self._run(query, (level, start, end)))

    def tile_count(self) -> int:
        return int(self._run("SELECT count(*) FROM {s}.tiles")[0][0])

    def next_seqs(self, sessions: Collection[str]) -> dict[str, int]:
        keys = {session: session_key(session) for session in sessions}
        found = dict(self._run(_NEXT_SEQS, (list(keys.values()),))) if keys else {}
        return {session: found[key] for session, key in keys.items()}

    def open_intents(self) -> list[tuple[str, int, bool]]:
        return self._run("SELECT entry_id, idx, is_unknown FROM {s}.open_intents ORDER BY idx")

    def intents_unknown(self, entry_ids: Collection[str]) -> dict[str, bool]:
        asked = without_nul(entry_ids)
        query = "SELECT entry_id, is_unknown FROM {s}.open_intents WHERE entry_id = ANY (%s::text[])"
        return dict(self._run(query, (asked,))) if asked else {}

    def secrets(self, index: int) -> list[Secret]:
        """Returns what an entry commits to, by name; the subjects of each in rising order."""
        query = (
            "SELECT idx, name, salt, sealed, ARRAY(SELECT subject FROM {s}.secret_subjects t"
            " WHERE t.idx = s.idx AND t.name = s.name ORDER BY subject) FROM {s}.secrets s WHERE idx = %s ORDER BY name"
        )
        rows = self._run(query, (index,))
        return [Secret(idx, name, salt, sealed, tuple(subjects)) for idx, name, salt, sealed, subjects in rows]

    def secret_names(self, start: int, end: int) -> list[tuple[int, str]]:
        return self._run("SELECT idx, name FROM {s}.secrets WHERE idx >= %s AND idx < %s ORDER BY idx, name", (start, end))

    def secrets_of(self, subject: bytes) -> list[tuple[int, str]]:
        return self._run("SELECT idx, name FROM {s}.secret_subjects WHERE subject = %s ORDER BY idx, name", (subject,))

    def erase(self, secrets: Iterable[tuple[int, str]]) -> int:
        pairs = [(index, name) for index, name in secrets if "\0" not in name]
        if not pairs:
            return 0
        columns = tuple(map(list, zip(*pairs, strict=True)))
        self._transactions.change(_ERASE.replace("{t}", "secret_subjects"), columns)
        return self._transactions.change(_ERASE.replace("{t}", "secrets"), columns)

    def drop_old_pages(self) -> None:
        """Writes the tables of what can be erased anew, without the erased rows.

        This needs their owner's role, and nobody may read them meanwhile; without it, the server's own vacuum overwrites the rows
        in time. The write-ahead log and backups keep them until they are recycled.
        """
        self._transactions.vacuum("secrets")
        self._transactions.vacuum("secret_subjects")

    def drop_leaves(self, end: int, keep: str) -> None:
        self._transactions.change(_KEEP_PLACES, (end,))
        self._transactions.change("DELETE FROM {s}.entries WHERE idx < %s AND session <> %b", (end, keep.encode()))

    def damage(self) -> list[str]:
        """Returns what was changed in the tables' form or contradicts itself in their numbers, without hashing anything."""
        return damage(self._run, self._transactions.schema)

    def close(self) -> None:
        self._transactions.close()


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise TamperedError("ledger.tampered", "The ledger holds the name of a session that is not text.") from error
