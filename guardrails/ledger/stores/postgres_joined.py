"""The ledger inside somebody else's transaction: an outcome commits with the change that it tells of, or neither does.

The transaction's end is its owner's. If anything goes wrong in here, the transaction is made unable to commit: a change without its
entry must not become durable because an error was caught on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.stores.base import Batch, Head
from guardrails.ledger.stores.postgres_connect import PLACE, Connection, Target, is_lost, qualified, translated
from guardrails.ledger.stores.postgres_locking import DURABLY, lock_head, run_all
from guardrails.ledger.stores.postgres_statements import for_batch

__all__ = ["JoinedTransaction"]

_KEPT = ("search_path", "lock_timeout", "row_security")
_SAVE = "SELECT " + ", ".join(f"current_setting('{name}')" for name in _KEPT)
_SET = "SELECT " + ", ".join(f"set_config('{name}', %s, true)" for name in _KEPT)
# The lock is marked with the (sub)transaction that holds it.
_IS_OUTERMOST = "SELECT xmax::text = pg_current_xact_id()::xid::text FROM {s}.head WHERE id = 1"
_DOOM = "DO $$ BEGIN RAISE EXCEPTION 'the ledger did not take the entry of this transaction'; END $$"


class JoinedTransaction:
    """Runs a ledger's statements on a connection that is in a transaction. Implements `Transactions`; for one thread at a time.

    Args:
        connection: The transaction's.
        target: The ledger.
        place: What `guardrails.ledger.stores.postgres_connect.PLACE` yields on the ledger's server.

    Raises:
        UsageError: The connection is in no transaction (usage.input_invalid).
        LedgerError: It leads to another database (ledger.unavailable).
    """

    def __init__(self, connection: Connection, target: Target, place: str) -> None:
        if not isinstance(connection, psycopg.Connection):
            raise UsageError("usage.input_invalid", "A ledger joins the transaction of a psycopg connection.")
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
            raise UsageError("usage.input_invalid", "The connection is in no transaction that could be joined.")
        self._connection = connection
        self._target = target
        self._place = place
        self._head: Head | None = None
        self._is_open = False
        self._is_closed = False

    @property
    def schema(self) -> str:
        return self._target.schema

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Takes the ledger's lock, which is held until the joined transaction ends."""
        if self._is_open or self._is_closed:
            raise UsageError("usage.bug", "A joined ledger is used by one thread, and only while it is lent.")
        connection = self._connection
        rows = connection.row_factory
        connection.row_factory = tuple_row
        self._is_open = True
        try:
            with self._whole():
                kept = self._run_plain(_SAVE)[0]
                timeout_ms = str(round(1000 * self._target.lock_timeout_s))
                self._run_plain(_SET, ("pg_catalog, pg_temp", timeout_ms, "off"))
                self._lock()
                yield
                self._run_plain(_SET, kept)
        finally:
            self._is_open = False
            connection.row_factory = rows

    def snapshot(self) -> AbstractContextManager[None]:
        """The same: what is read is of the joined transaction."""
        return self.transaction()

    def head(self) -> Head | None:
        self._check_open()
        return self._head

    def run(self, template: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        self._check_open()
        return self._connection.execute(qualified(template, self.schema), parameters, binary=True).fetchall()

    def change(self, template: str, parameters: tuple[object, ...] = ()) -> int:
        self._check_open()
        return self._connection.execute(qualified(template, self.schema), parameters).rowcount

    def define(self, script: str) -> None:  # noqa: ARG002
        raise LedgerError("ledger.unavailable", "A ledger is begun in a transaction of its own.")

    def begin_with(self, head: Head) -> None:  # noqa: ARG002
        raise LedgerError("ledger.unavailable", "A ledger is begun in a transaction of its own.")

    def store(self, batch: Batch) -> None:
        self._check_open()
        run_all(self._connection, self.schema, list(for_batch(batch)))
        self._head = batch.head

    def vacuum(self, table: str) -> None:
        """Nothing: that is not done inside a transaction."""

    def doom(self) -> None:
        """Makes the joined transaction unable to commit."""
        with suppress(psycopg.Error):  # which is what it is for
            self._connection.execute(_DOOM)

    def close(self) -> None:
        """Ends the loan; the connection is its owner's."""
        self._is_closed = True

    def _lock(self) -> None:
        if (place := self._run_plain(PLACE)[0][0]) != self._place:
            raise LedgerError(
                "ledger.unavailable",
                "The connection leads to another database than the ledger's.",
                evidence={"ledger": self._place, "connection": place},
            )
        self._run_plain(DURABLY)
        self._head = lock_head(self._connection, self.schema)
        if self._head is None:
            raise TamperedError("ledger.tampered", "The ledger has no head.")
        if not self.run(_IS_OUTERMOST)[0][0]:
            raise UsageError(
                "usage.input_invalid",
                "The connection is inside a savepoint: the entry could be undone without the change that it tells of.",
                hint="Write to the ledger outside of nested transactions.",
            )

    def _run_plain(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), parameters).fetchall()

    def _check_open(self) -> None:
        if not self._is_open:
            raise UsageError("usage.bug", "A ledger's store is read and written inside a transaction or a snapshot.")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.doom()
            if not isinstance(error, psycopg.Error):
                raise
            if is_lost(error, self._connection):
                raise LedgerError(
                    "ledger.connection_lost",
                    "The connection was lost before its transaction was committed; nothing was stored.",
                ) from error
            raise translated(error) from error
