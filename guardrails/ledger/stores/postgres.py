"""A ledger in PostgreSQL, for many hosts that append to one log.

Each batch is one transaction behind the lock of one row, as in the database drivers of C2SP's tiled logs, so a session's entries are
in the order in which they were acknowledged whichever host wrote them. Needs the extra ``postgres``; see docs/ledger-postgres.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardrails.ledger.stores.postgres_connect import Connection, Target
from guardrails.ledger.stores.postgres_joined import JoinedTransaction
from guardrails.ledger.stores.postgres_link import OwnTransactions
from guardrails.ledger.stores.postgres_rows import PostgresRows

__all__ = ["PostgresStore"]


class PostgresStore(PostgresRows):
    """A ledger's rows on connections of its own. Safe for threads; a child after a fork makes new connections.

    Args:
        url: ``postgresql://user@host/database``; several hosts may be named (``@host1:5432,host2:5432/``), of which the one that takes
            writes is used, and found again after a failover. ``?ledger_schema=`` names the schema, everything else is libpq's.
        schema: The schema of the tables, ``guardrails_ledger`` by default.
        read_only: Nothing is written, and a standby will do.
        lock_timeout_s: How long an append waits for other writers.
        reconnect_s: How long a lost server is waited for before an append fails.
        unsafe_allow_fsync_off: Accept a server that does not write to disk what it commits.

    Raises:
        UsageError: The URL is no such URL, or the driver is not installed.
        LedgerError: The server cannot be reached or must not hold a ledger (ledger.unavailable).

    All methods that write raise LedgerError with the code ``ledger.connection_lost`` when the server was lost and the batch is surely
    not stored, and ``ledger.commit_unknown`` when it may be.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        read_only: bool = False,
        lock_timeout_s: float = 30.0,
        reconnect_s: float = 30.0,
        unsafe_allow_fsync_off: bool = False,
    ) -> None:
        self._target = Target.parse(
            url,
            schema=schema,
            read_only=read_only,
            lock_timeout_s=lock_timeout_s,
            reconnect_s=reconnect_s,
            unsafe_allow_fsync_off=unsafe_allow_fsync_off,
        )
        self._own = OwnTransactions(self._target)
        super().__init__(self._own)

    @property
    def target(self) -> Target:
        """Where it is; for what keeps its own tables in the same database."""
        return self._target

    @property
    def schema(self) -> str:
        """The schema of the tables."""
        return self._target.schema

    @contextmanager
    def joined(self, connection: Connection) -> Iterator[PostgresRows]:
        """Lends the ledger on a connection that is in a transaction of its own, on the same database.

        What is written commits, or is undone, together with everything else in that transaction. The ledger's lock is held until
        then, so write to the ledger last. When anything fails in here, the whole transaction can only be rolled back.

        Args:
            connection: A psycopg connection in a transaction (of SQLAlchemy's: ``connection.connection.driver_connection``).

        Yields:
            A store of one `transaction()` or more, all of them part of that transaction; `snapshot()` is one too.

        Raises:
            UsageError: The connection is in no transaction (usage.input_invalid).
            LedgerError: It leads to another database than the ledger's (ledger.unavailable).
        """
        joined = JoinedTransaction(connection, self._target, self._own.place)
        try:
            yield PostgresRows(joined)
        except BaseException:
            joined.doom()
            raise
        finally:
            joined.close()
