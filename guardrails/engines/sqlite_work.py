"""SQLite: one transaction for several plans, each inside a savepoint and under its own authorizer.

A plan that reads runs with `query_only`, and its savepoint is always rolled back; that the file is open for writing is the one thing
in which it is locked down less than a plan alone.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from guardrails.catalog import read_sqlite, sqlite_digest
from guardrails.engines.base import require_rehearsable
from guardrails.engines.failures import sqlite_failure
from guardrails.engines.interrupting import interruptible
from guardrails.engines.sqlite_running import DRIVER_ERRORS, PROGRESS_STEPS, changed_by, commit, prepare, run
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, Execution, Plan

__all__ = ["SqliteWork"]

_SAVEPOINT = "guardrails_plan"


class SqliteWork:
    """An open transaction (see `guardrails.engines.base.Work`). It holds the database's one lock for writing.

    Args:
        lent: Lends the connection, until the transaction ends.
        known: The catalog as last read.
    """

    def __init__(self, lent: AbstractContextManager[sqlite3.Connection], known: Catalog | None) -> None:
        self._known = known
        self._turn = threading.Lock()
        with ExitStack() as stack:
            self._connection = stack.enter_context(lent)
            with _translated():
                self._connection.execute("BEGIN IMMEDIATE")
            self._stack = stack.pop_all()
        self._is_ended = False

    def catalog(self) -> Catalog:
        """Returns the schema as the transaction sees it."""
        with self._turn, _translated():
            self._require_open()
            known = self._known
            if known is None or known.version != sqlite_digest(self._connection):
                known = read_sqlite(self._connection)
        self._known = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, inside a savepoint."""
        return self._perform(plan, is_kept=not plan.is_read_only)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and takes back what it did."""
        require_rehearsable(plan)
        return self._perform(plan, is_kept=False)

    def save(self, name: str) -> None:
        self._say(f"SAVEPOINT {name}")

    def roll_back_to(self, name: str) -> None:
        self._say(f"ROLLBACK TO {name}")

    def release(self, name: str) -> None:
        self._say(f"RELEASE {name}")

    def commit(self) -> None:
        with self._turn:
            try:
                self._require_open()
                with _translated():
                    self._connection.execute("PRAGMA query_only = OFF")
                    commit(self._connection)
            finally:
                self._end()

    def roll_back(self) -> None:
        with self._turn:
            if not self._is_ended:
                self._end()

    def _perform(self, plan: Plan, *, is_kept: bool) -> Execution:
        if plan.dialect != "sqlite":
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        deadline = started + plan.limits.seconds
        with self._turn, _translated():
            self._require_open()
            connection = self._connection
            prepare(connection, plan)
            with _savepoint(connection, is_kept=is_kept):
                connection.set_progress_handler(lambda: time.perf_counter() > deadline, PROGRESS_STEPS)
                with interruptible(connection.interrupt) if plan.is_read_only else nullcontext():
                    columns, collected, changed = run(connection, plan)
                by_relation = changed_by(connection, plan, changed) if not (is_kept or plan.is_read_only) else ()
        duration_ms = (time.perf_counter() - started) * 1000
        return Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms, by_relation)

    def _say(self, text: str) -> None:
        with self._turn, _translated():
            self._require_open()
            self._connection.execute(text)

    def _require_open(self) -> None:
        if self._is_ended or not self._connection.in_transaction:
            raise EngineError("engine.failed", "The transaction is over.")

    def _end(self) -> None:
        """Rolls back what is still open and gives the connection back."""
        self._is_ended = True
        with self._stack:
            if self._connection.in_transaction:
                _let_go(self._connection)
                self._connection.execute("ROLLBACK")


@contextmanager
def _savepoint(connection: sqlite3.Connection, *, is_kept: bool) -> Iterator[None]:
    """Keeps what happens inside if it ends well and is to be kept; takes it back otherwise."""
    connection.execute(f"SAVEPOINT {_SAVEPOINT}")
    is_good = False
    try:
        yield
        is_good = True
    finally:
        # A severe error has rolled back the whole transaction, and the savepoint with it.
        if connection.in_transaction:
            _let_go(connection)
            if not (is_good and is_kept):
                connection.execute(f"ROLLBACK TO {_SAVEPOINT}")
            connection.execute(f"RELEASE {_SAVEPOINT}")


def _let_go(connection: sqlite3.Connection) -> None:
    """Without the handlers: a rollback must go through even past the deadline."""
    unset: Callable[..., int] | None = None
    connection.set_authorizer(unset)
    connection.set_progress_handler(unset, 0)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise sqlite_failure(error) from error
