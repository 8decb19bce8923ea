"""PostgreSQL: one transaction for several plans, each inside a savepoint and with its own settings.

A plan that reads runs in a subtransaction that is READ ONLY, and that is always rolled back. The principal's settings of one plan
are not there for the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from psycopg import pq

from guardrails.catalog import postgres_digest, read_postgres
from guardrails.engines.base import require_rehearsable
from guardrails.engines.interrupting import interruptible
from guardrails.engines.postgres_running import commit, finish, make_immediate, read, settings_of, translated, write
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, Execution, Plan

__all__ = ["PostgresWork"]

_SAVEPOINT = "guardrails_plan"
_CANCEL_S = 5.0
_IDLE_MS = 60_000
"""For how long a transaction may wait for its next statement: it holds locks."""


class PostgresWork:
    """An open transaction (see `guardrails.engines.base.Work`).

    Args:
        lend: Lends the connection, until the transaction ends.
        assume_role: Takes on the role that statements run as.
        known: The catalog as last read.
    """

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
        assume_role: Callable[[psycopg.Connection[Any]], None],
        known: Catalog,
    ) -> None:
        self._known = known
        self._turn = threading.Lock()
        self._placed: set[str] = set()
        self._is_ended = False
        with ExitStack() as stack:
            connection = stack.enter_context(lend())
            # Ends whatever the beginning leaves open.
            stack.callback(finish, connection)
            with translated():
                connection.execute("BEGIN READ WRITE")
                assume_role(connection)
                found = connection.execute("SELECT pg_catalog.current_setting('search_path')").fetchone()
            self._search_path = str(found[0]) if found else ""
            self._connection = connection
            self._stack = stack.pop_all()

    def catalog(self) -> Catalog:
        """Returns the schema as the transaction sees it."""
        with self._turn, translated():
            self._require_open()
            known = self._known
            if known.version != postgres_digest(self._connection):
                with _savepoint(self._connection, is_kept=False):
                    # What a bare name means depends on it.
                    self._connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [self._search_path])
                    known = read_postgres(self._connection)
        self._known = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, inside a savepoint."""
        return self._perform(plan, is_kept=not plan.is_read_only)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, makes what is deferred happen, and takes it back."""
        require_rehearsable(plan)
        return self._perform(plan, is_kept=False)

    def save(self, name: str) -> None:
        self._say(f"SAVEPOINT {name}")

    def roll_back_to(self, name: str) -> None:
        self._say(f"ROLLBACK TO SAVEPOINT {name}")

    def release(self, name: str) -> None:
        self._say(f"RELEASE SAVEPOINT {name}")

    def commit(self) -> None:
        with self._turn:
            try:
                self._require_open()
                commit(self._connection)
            finally:
                self._end()

    def roll_back(self) -> None:
        with self._turn:
            if not self._is_ended:
                self._end()

    def _perform(self, plan: Plan, *, is_kept: bool) -> Execution:
        if plan.dialect != "postgres":
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        with self._turn, translated():
            self._require_open()
            connection = self._connection
            self._set(plan)
            with _savepoint(connection, is_kept=is_kept):
                if plan.is_read_only:
                    execution = self._read(plan, started)
                else:
                    columns, collected, (changed, by_relation) = write(connection, plan, self._known.default_schema)
                    execution = Execution(columns, tuple(collected.rows), changed, collected.is_truncated, 0.0, by_relation)
                    if not is_kept:
                        make_immediate(connection)
        return replace(execution, duration_ms=(time.perf_counter() - started) * 1000)

    def _read(self, plan: Plan, started: float) -> Execution:
        connection = self._connection
        connection.execute("SET LOCAL transaction_read_only = on")
        before = _transaction_ids(connection)
        with interruptible(partial(connection.cancel_safe, timeout=_CANCEL_S)):
            columns, collected = read(connection, plan, started + plan.limits.seconds, is_alone=False)
        if _transaction_ids(connection) != before:
            raise EngineError("engine.refused", "The statement would change something, and it may only read.")
        return Execution(columns, tuple(collected.rows), 0, collected.is_truncated)

    def _set(self, plan: Plan) -> None:
        settings = settings_of(plan) | {"idle_in_transaction_session_timeout": str(_IDLE_MS)}
        self._connection.execute("; ".join(f"SET LOCAL {k} = {v}" for k, v in settings.items()))
        placed = dict.fromkeys(sorted(self._placed), "") | dict(plan.settings)
        self._placed |= set(plan.settings)
        if placed:
            calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in placed)
            self._connection.execute(f"SELECT {calls}".encode(), [text for pair in placed.items() for text in pair])

    def _say(self, text: str) -> None:
        with self._turn, translated():
            self._require_open()
            self._connection.execute(text.encode())

    def _require_open(self) -> None:
        if self._is_ended or self._connection.info.transaction_status != pq.TransactionStatus.INTRANS:
            raise EngineError("engine.failed", "The transaction is over.")

    def _end(self) -> None:
        """Rolls back what is still open and gives the connection back."""
        self._is_ended = True
        self._stack.close()


@contextmanager
def _savepoint(connection: psycopg.Connection[Any], *, is_kept: bool) -> Iterator[None]:
    """Keeps what happens inside if it ends well and is to be kept; takes it back otherwise."""
    connection.execute(f"SAVEPOINT {_SAVEPOINT}")
    is_good = False
    try:
        yield
        is_good = True
    finally:
        if not connection.closed and connection.info.transaction_status in (
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
        ):
            if not (is_good and is_kept):
                connection.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            connection.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")


def _transaction_ids(connection: psycopg.Connection[Any]) -> int:
    """How many transaction ids this transaction and its subtransactions have: one that writes gets its own."""
    counted = connection.execute(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks"
        " WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'transactionid' AND mode = 'ExclusiveLock'"
    ).fetchone()
    return int(counted[0]) if counted else -1
