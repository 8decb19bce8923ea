"""PostgreSQL: one transaction a plan, locked down with the settings of that transaction alone.

Reads run `READ ONLY` through a cursor, which the server accepts for a plain SELECT only and which yields no more rows than are asked
for; they are always rolled back. Every statement goes over the extended protocol, which takes one statement and no `;`.
A read-only transaction is not a boundary by itself (it still allows pg_notify, session advisory locks, set_config): names of
functions are the first lock's business. What the transaction can undo, the rollback undoes; advisory locks are released after it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import pq, sql
from psycopg.rows import tuple_row
from sqlalchemy.exc import SQLAlchemyError

from guardrails.catalog import postgres_digest, read_postgres
from guardrails.engines.base import RowCollector, require_rehearsable
from guardrails.engines.failures import postgres_failure
from guardrails.engines.interrupting import interruptible
from guardrails.engines.postgres_changes import Changes
from guardrails.engines.postgres_values import bound, plain_row, register_loaders
from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.model import Catalog, DialectName, Execution, IndexUse, Plan

__all__ = ["SCAN_SETTINGS", "PostgresEngine"]

_OLDEST = 130000
"""First release with `pg_current_xact_id_if_assigned`."""
_DATA_ACTIONS = frozenset({"select", "insert", "update", "delete", "merge"})
_CANCEL_S = 5.0
_FIRST_ROWS = 8
_ROWS_GROWTH = 16

_SETTINGS = {
    "search_path": "pg_catalog, pg_temp",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "row_security": "on",
    "default_transaction_read_only": "on",
    "client_min_messages": "error",
    "datestyle": "iso, mdy",
    "intervalstyle": "postgres",
    "plan_cache_mode": "force_custom_plan",
    # A cursor is planned as if a tenth of its rows were wanted; here most of them are.
    "cursor_tuple_fraction": "1",
}

SCAN_SETTINGS: Mapping[IndexUse, Mapping[str, str]] = {
    "any": {},
    "fetching": {"enable_indexonlyscan": "off"},
    "bitmap": {"enable_indexonlyscan": "off", "enable_indexscan": "off", "enable_bitmapscan": "on", "enable_seqscan": "on"},
}
"""Settings under which no plan returns rows in the order of a protected column; see `guardrails.sql.index_use`."""

_DRIVER_ERRORS = (psycopg.Error, OverflowError, UnicodeError)


class PostgresEngine:
    """A PostgreSQL database as an engine (see `guardrails.engines.base.Engine`).

    Args:
        name: Label for the ledger.
        engine: Whose pool lends the connections; its driver is psycopg.
        role: The role that every statement runs as, None for the login's own.
        is_own: The pool is ours to dispose of.
    """

    dialect: DialectName = "postgres"

    def __init__(self, name: str, engine: sa.Engine, *, role: str | None, is_own: bool) -> None:
        self.name = name
        self._engine = engine
        self._role = role
        self._is_own = is_own
        self._pid = os.getpid()
        self._catalog: Catalog | None = None

    @property
    def role(self) -> str | None:
        """The role that every statement runs as; None for the login's own."""
        return self._role

    def checked(self) -> PostgresEngine:
        """Returns itself once the database has answered.

        Raises:
            UsageError: It does not (``usage.database_unreachable``), or it is too old (``usage.database_unsupported``).
        """
        try:
            with self._lend() as connection:
                version = connection.info.server_version
            self.catalog()
        except EngineError as error:
            raise UsageError(
                "usage.database_unreachable", "The PostgreSQL database cannot be reached.", evidence=error.evidence
            ) from error
        if version < _OLDEST:
            raise UsageError("usage.database_unsupported", f"PostgreSQL {version // 10000} is too old; 13 is needed.")
        return self

    def catalog(self) -> Catalog:
        """Returns the schema as it is now; cached as long as its digest stays the same."""
        with self._lend() as connection, _translated():
            # One snapshot, so that digest, relations and what hangs on them are of one state.
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                self._assume_role(connection)
                known = self._catalog
                if known is None or known.version != postgres_digest(connection):
                    known = read_postgres(connection)
            finally:
                connection.execute("ROLLBACK")
        self._catalog = known
        return known

    def execute(
        self, plan: Plan, *, before_commit: Callable[[psycopg.Connection[Any], Execution], Execution] | None = None
    ) -> Execution:
        """Runs a plan under lock-down.

        Args:
            plan: The plan.
            before_commit: Called with the connection, as the login's own role, when a change has run and was found good; what it
                writes commits with the change. Its answer is returned.
        """
        return self._perform(plan, _commit, before_commit)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, makes what is deferred happen, and rolls back."""
        require_rehearsable(plan)
        return self._perform(plan, _make_immediate)

    def _perform(
        self,
        plan: Plan,
        end: Callable[[psycopg.Connection[Any]], None],
        before_commit: Callable[[psycopg.Connection[Any], Execution], Execution] | None = None,
    ) -> Execution:
        """Runs a plan; a change is then ended by `end`, and rolled back where that leaves the transaction open."""
        if plan.dialect != self.dialect:
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        with self._lend() as connection:
            try:
                with _translated():
                    self._begin(connection, plan)
                    by_relation: tuple[tuple[str, int], ...]
                    if plan.is_read_only:
                        with interruptible(partial(connection.cancel_safe, timeout=_CANCEL_S)):
                            columns, collected = _read(connection, plan, started + plan.limits.seconds)
                        changed, by_relation = 0, ()
                    else:
                        columns, collected, (changed, by_relation) = _write(connection, plan, self._default_schema())
                duration_ms = (time.perf_counter() - started) * 1000
                execution = Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms, by_relation)
                if not plan.is_read_only:
                    if before_commit is not None:
                        with _translated():
                            # What is deferred still runs as the role that it was asked under.
                            connection.execute("SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE")
                        execution = before_commit(connection, execution)
                    end(connection)
            finally:
                _end(connection)
        return execution

    def _default_schema(self) -> str:
        return (self._catalog or self.catalog()).default_schema

    def dispose(self) -> None:
        """Closes what this engine opened itself."""
        if self._is_own:
            self._engine.dispose()

    @contextmanager
    def lend(self) -> Iterator[psycopg.Connection[Any]]:
        """Lends a connection to those who set up the database; no statement of an agent's may get to it.

        Raises:
            EngineError: The database cannot be reached.
        """
        with self._lend() as connection:
            yield connection

    @contextmanager
    def _lend(self) -> Iterator[psycopg.Connection[Any]]:
        """Lends a connection in autocommit mode, so that the transaction's beginning and end are ours alone."""
        if self._is_own and os.getpid() != self._pid:
            # A forked child must not speak over its parent's sockets.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            pooled = self._engine.raw_connection()
        except (SQLAlchemyError, psycopg.Error) as error:
            raise EngineError(
                "engine.failed", "The database cannot be reached.", evidence={"engine_text": str(error)}
            ) from error
        connection = pooled.driver_connection
        try:
            if not isinstance(connection, psycopg.Connection):
                raise EngineError("engine.failed", "The pool gave no connection of the driver psycopg.")
            if not _is_idle(connection):
                raise EngineError("engine.failed", "The pool gave a connection that is inside a transaction.")
            before = connection.autocommit, connection.row_factory, connection.cursor_factory
            connection.autocommit, connection.row_factory, connection.cursor_factory = True, tuple_row, psycopg.Cursor
            try:
                yield connection
            finally:
                if _is_idle(connection):
                    connection.autocommit, connection.row_factory, connection.cursor_factory = before
                else:
                    # Broken, or in the middle of something: nobody gets it again.
                    pooled.invalidate()
        finally:
            pooled.close()

    def _begin(self, connection: psycopg.Connection[Any], plan: Plan) -> None:
        timeout_ms = max(1, int(plan.limits.seconds * 1000))
        settings = (
            _SETTINGS
            | dict(SCAN_SETTINGS[plan.index_use])
            | ({"enable_hashagg": "off"} if plan.is_grouped_by_sorting else {})
            | {
                "statement_timeout": str(timeout_ms),
                "lock_timeout": str(timeout_ms),
                "idle_in_transaction_session_timeout": str(timeout_ms + 10_000),
            }
        )
        # One message of the simple protocol, which holds nothing but our own text.
        mode = "READ ONLY" if plan.is_read_only else "READ WRITE"
        connection.execute("; ".join([f"BEGIN {mode}", *(f"SET LOCAL {k} = {v}" for k, v in settings.items())]))
        self._assume_role(connection)
        if plan.settings:
            # Values are bound, and end with the transaction.
            calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in plan.settings)
            connection.execute(f"SELECT {calls}".encode(), [text for pair in plan.settings.items() for text in pair])

    def _assume_role(self, connection: psycopg.Connection[Any]) -> None:
        if self._role is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self._role)))


def _read(connection: psycopg.Connection[Any], plan: Plan, deadline: float) -> tuple[tuple[str, ...], RowCollector]:
    """Declares a cursor, fetches in growing portions until a limit is reached, then checks what must hold of the transaction."""
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    register_loaders(cursor)
    if plan.is_explain:
        return _explain(connection, cursor, plan)
    # A pipeline speaks the extended protocol whether or not there are parameters.
    with connection.pipeline():
        cursor.execute(f"DECLARE guardrails_read NO SCROLL CURSOR WITHOUT HOLD FOR {plan.sql}", bound(plan.params))
    collected = RowCollector(plan.limits)
    columns: tuple[str, ...] = ()
    count = min(_FIRST_ROWS, plan.limits.rows + 1)
    while True:
        cursor.execute(f"FETCH FORWARD {count} FROM guardrails_read")
        columns = tuple(d.name for d in cursor.description or ())
        rows = [plain_row(row) for row in cursor.fetchall()]
        if not collected.take(rows) or len(rows) < count:
            break
        count = min(count * _ROWS_GROWTH, plan.limits.rows + 1 - len(collected.rows))
        remaining_ms = int((deadline - time.perf_counter()) * 1000)
        if remaining_ms <= 0:
            raise EngineError("engine.timeout", "The statement took too long.")
        cursor.execute(f"SET LOCAL statement_timeout = {remaining_ms}")
    _require_unchanged(connection, plan)
    return columns, collected


def _explain(
    connection: psycopg.Connection[Any], cursor: psycopg.RawCursor[Any], plan: Plan
) -> tuple[tuple[str, ...], RowCollector]:
    """Asks for the plan of a query, which no cursor can be declared for."""
    with connection.pipeline():
        cursor.execute(plan.sql, bound(plan.params))
    collected = RowCollector(plan.limits)
    collected.take(plain_row(row) for row in cursor.fetchall())
    columns = tuple(d.name for d in cursor.description or ())
    _require_unchanged(connection, plan)
    return columns, collected


def _require_unchanged(connection: psycopg.Connection[Any], plan: Plan) -> None:
    _require_open(connection)
    # Under the statement's own locks: what it read cannot have changed its shape since, and cannot before the end.
    _require_version(connection, plan)
    row = connection.execute("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL").fetchone()
    if row is None or row[0] is not True:
        raise EngineError("engine.refused", "The statement would change something, and it may only read.")


def _write(
    connection: psycopg.Connection[Any], plan: Plan, default_schema: str
) -> tuple[tuple[str, ...], RowCollector, tuple[int, tuple[tuple[str, int], ...]]]:
    """Runs a change, then checks how much changed and where."""
    is_schema_change = not set(plan.actions) <= _DATA_ACTIONS
    if is_schema_change:
        _require_version(connection, plan)
    changes = Changes(connection, plan, default_schema)
    changes.check_emptied()
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    register_loaders(cursor)
    with connection.pipeline():
        cursor.execute(plan.sql, bound(plan.params))
    collected = RowCollector(plan.limits)
    columns = tuple(d.name for d in cursor.description or ())
    if columns:
        collected.take(plain_row(row) for row in cursor)
    _require_open(connection)
    changed = changes.checked(max(cursor.rowcount, 0))
    if not is_schema_change:
        # Under the statement's own locks, as for reads.
        _require_version(connection, plan)
    return columns, collected, changed


def _is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == pq.TransactionStatus.IDLE


def _require_version(connection: psycopg.Connection[Any], plan: Plan) -> None:
    if plan.catalog_version and postgres_digest(connection) != plan.catalog_version:
        raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")


def _require_open(connection: psycopg.Connection[Any]) -> None:
    if connection.info.transaction_status != pq.TransactionStatus.INTRANS:
        raise EngineError("engine.unknown_outcome", "The statement ended the transaction that it ran in.")


def _make_immediate(connection: psycopg.Connection[Any]) -> None:
    """Makes what waits for the commit happen now: it fails here if the commit would."""
    with _translated():
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _commit(connection: psycopg.Connection[Any]) -> None:
    try:
        connection.execute("COMMIT")
    except psycopg.Error as error:
        if connection.closed or connection.broken:
            raise EngineError(
                "engine.unknown_outcome",
                "The connection was lost during the commit.",
                evidence={"engine_text": str(error)},
            ) from error
        raise postgres_failure(error) from error


def _end(connection: psycopg.Connection[Any]) -> None:
    """Rolls back what is still open and releases advisory locks, which no rollback releases."""
    if connection.closed or connection.info.transaction_status == pq.TransactionStatus.UNKNOWN:
        return
    with _translated():
        connection.execute("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()")


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's exceptions into ours."""
    try:
        yield
    except GuardrailsError:
        raise
    except _DRIVER_ERRORS as error:
        raise postgres_failure(error) from error
