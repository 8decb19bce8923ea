"""SQLite: one transaction a plan, on a connection whose authorizer denies everything that the plan does not need.

Beside the authorizer (`sqlite_lock`): read plans open the file with `mode=ro` and set `query_only`; no schema is trusted, nothing can
be attached, a progress handler ends what takes too long, and SQLite's own limits bound every value and the statement.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from sqlalchemy.pool import Pool

from guardrails.catalog import read_sqlite, sqlite_digest
from guardrails.engines.base import require_rehearsable
from guardrails.engines.failures import sqlite_failure
from guardrails.engines.interrupting import interruptible
from guardrails.engines.sqlite_connections import PooledConnections, UrlConnections
from guardrails.engines.sqlite_running import DRIVER_ERRORS, PROGRESS_STEPS, changed_by, commit, prepare, run
from guardrails.engines.sqlite_work import SqliteWork
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, DialectName, Execution, Plan

__all__ = ["PooledConnections", "SqliteEngine", "UrlConnections"]

_OLDEST = (3, 37, 0)
"""First release with `pragma_table_list`, without which shadow tables cannot be told from others."""


class Connections(Protocol):
    """Where connections come from."""

    def lend(self, *, is_read_only: bool, busy_timeout_s: float) -> AbstractContextManager[sqlite3.Connection]:
        """Lends a connection in autocommit mode, as it was before when it is given back."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether all plans take turns on one connection."""
        ...

    @property
    def pool(self) -> Pool | None: ...

    def close(self) -> None: ...


class SqliteEngine:
    """A SQLite database as an engine (see `guardrails.engines.base.Engine`).

    Args:
        name: Label for the ledger.
        connections: Where connections come from.
    """

    dialect: DialectName = "sqlite"

    def __init__(self, name: str, connections: Connections) -> None:
        self.name = name
        self._connections = connections
        self._catalog: Catalog | None = None

    @property
    def pool(self) -> Pool | None:
        """Where its connections come from; None where each is opened anew."""
        return self._connections.pool

    def checked(self) -> SqliteEngine:
        """Returns itself once the database has answered.

        Raises:
            UsageError: It does not (``usage.database_unreachable``), or SQLite is too old (``usage.database_unsupported``).
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise UsageError("usage.database_unsupported", f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed.")
        try:
            self.catalog()
        except EngineError as error:
            raise UsageError(
                "usage.database_unreachable", "The SQLite file cannot be read.", evidence=error.evidence
            ) from error
        return self

    def catalog(self) -> Catalog:
        """Returns the schema as it is now; cached as long as its digest stays the same."""
        try:
            with self._connections.lend(is_read_only=True, busy_timeout_s=5.0) as connection, _transaction(connection, "BEGIN"):
                known = self._catalog
                if known is None or known.version != sqlite_digest(connection):
                    known = read_sqlite(connection)
        except DRIVER_ERRORS as error:
            raise sqlite_failure(error) from error
        self._catalog = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down."""
        return self._perform(plan, is_rehearsal=False)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and rolls back; constraints that wait for the commit are not looked at."""
        require_rehearsable(plan)
        return self._perform(plan, is_rehearsal=True)

    def _perform(self, plan: Plan, *, is_rehearsal: bool) -> Execution:
        if plan.dialect != self.dialect:
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        seconds = plan.limits.seconds
        with self._connections.lend(is_read_only=plan.is_read_only, busy_timeout_s=seconds) as connection:
            prepare(connection, plan)
            connection.set_progress_handler(lambda: time.perf_counter() > started + seconds, PROGRESS_STEPS)
            try:
                is_kept = not (plan.is_read_only or is_rehearsal)
                with _transaction(connection, "BEGIN" if plan.is_read_only else "BEGIN IMMEDIATE", is_kept=is_kept):
                    with interruptible(connection.interrupt) if plan.is_read_only else nullcontext():
                        columns, collected, changed = run(connection, plan)
                    by_relation = changed_by(connection, plan, changed) if is_rehearsal else ()
            except DRIVER_ERRORS as error:
                raise sqlite_failure(error) from error
            finally:
                connection.set_progress_handler(None, 0)
        duration_ms = (time.perf_counter() - started) * 1000
        return Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms, by_relation)

    @property
    def is_transactional(self) -> bool:
        """Whether a transaction can stay open: not where all plans take turns on one connection."""
        return not self._connections.is_shared

    def begin(self) -> SqliteWork:
        """Begins a transaction for several plans, on a connection of its own.

        Raises:
            EngineError: The database was locked by others for too long.
        """
        return SqliteWork(self._connections.lend(is_read_only=False, busy_timeout_s=10.0), self._catalog)

    def dispose(self) -> None:
        """Closes what this engine opened itself."""
        self._connections.close()


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str, *, is_kept: bool = False) -> Iterator[None]:
    """Begins, and commits at the end what is to be kept; rolls back everything else."""
    connection.execute(begin)
    try:
        yield
        if is_kept:
            commit(connection)
    finally:
        if connection.in_transaction:
            # Without the handlers: a rollback must go through even past the deadline.
            connection.set_authorizer(None)
            connection.set_progress_handler(None, 0)
            connection.execute("ROLLBACK")
