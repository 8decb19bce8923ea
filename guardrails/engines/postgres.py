"""PostgreSQL: one transaction a plan, locked down with the settings of that transaction alone.

Reads run `READ ONLY` through a cursor, which the server accepts for a plain SELECT only and which yields no more rows than are asked
for; they are always rolled back. Every statement goes over the extended protocol, which takes one statement and no `;`.
A read-only transaction is not a boundary by itself (it still allows pg_notify, session advisory locks, set_config): names of
functions are the first lock's business. What the transaction can undo, the rollback undoes; advisory locks are released after it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.rows import tuple_row
from sqlalchemy.exc import SQLAlchemyError

from guardrails.catalog import postgres_digest, read_postgres
from guardrails.engines.base import require_rehearsable
from guardrails.engines.interrupting import interruptible
from guardrails.engines.postgres_running import (
    SCAN_SETTINGS,
    commit,
    finish,
    is_idle,
    make_immediate,
    read,
    settings_of,
    translated,
    write,
)
from guardrails.engines.postgres_work import PostgresWork
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, DialectName, Execution, Plan

__all__ = ["SCAN_SETTINGS", "PostgresEngine"]

_OLDEST = 130000
"""First release with `pg_current_xact_id_if_assigned`."""
_CANCEL_S = 5.0


class PostgresEngine:
    """A PostgreSQL database as an engine (see `guardrails.engines.base.Engine`).

    Args:
        name: Label for the ledger.
        engine: Whose pool lends the connections; its driver is psycopg.
        role: The role that every statement runs as, None for the login's own.
        is_own: The pool is ours to dispose of.

    Attributes:
        server_version: As libpq has it: 150018 is 15.18.
    """

    dialect: DialectName = "postgres"

    def __init__(self, name: str, engine: sa.Engine, *, role: str | None, is_own: bool) -> None:
        self.name = name
        self._engine = engine
        self._role = role
        self._is_own = is_own
        self._pid = os.getpid()
        self._catalog: Catalog | None = None
        self.server_version = _OLDEST

    @property
    def url(self) -> sa.URL:
        """Where it is, with the login."""
        return self._engine.url

    @property
    def pool(self) -> sa.Pool:
        """Where its connections come from."""
        return self._engine.pool

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
                version = self.server_version = connection.info.server_version
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
        with self._lend() as connection, translated():
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
        return self._perform(plan, commit, before_commit)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, makes what is deferred happen, and rolls back."""
        require_rehearsable(plan)
        return self._perform(plan, make_immediate)

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
                with translated():
                    self._begin(connection, plan)
                    by_relation: tuple[tuple[str, int], ...]
                    if plan.is_read_only:
                        with interruptible(partial(connection.cancel_safe, timeout=_CANCEL_S)):
                            columns, collected = read(connection, plan, started + plan.limits.seconds)
                        changed, by_relation = 0, ()
                    else:
                        columns, collected, (changed, by_relation) = write(connection, plan, self._default_schema())
                duration_ms = (time.perf_counter() - started) * 1000
                execution = Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms, by_relation)
                if not plan.is_read_only:
                    if before_commit is not None:
                        with translated():
                            # What is deferred still runs as the role that it was asked under.
                            connection.execute("SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE")
                        execution = before_commit(connection, execution)
                    end(connection)
            finally:
                finish(connection)
        return execution

    def _default_schema(self) -> str:
        return (self._catalog or self.catalog()).default_schema

    is_transactional = True

    def begin(self) -> PostgresWork:
        """Begins a transaction for several plans, on a connection of its own.

        Raises:
            EngineError: The database cannot be reached.
        """
        return PostgresWork(self._lend, self._assume_role, self._catalog or self.catalog())

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
            if not is_idle(connection):
                raise EngineError("engine.failed", "The pool gave a connection that is inside a transaction.")
            before = connection.autocommit, connection.row_factory, connection.cursor_factory
            connection.autocommit, connection.row_factory, connection.cursor_factory = True, tuple_row, psycopg.Cursor
            try:
                yield connection
            finally:
                if is_idle(connection):
                    connection.autocommit, connection.row_factory, connection.cursor_factory = before
                else:
                    # Broken, or in the middle of something: nobody gets it again.
                    pooled.invalidate()
        finally:
            pooled.close()

    def _begin(self, connection: psycopg.Connection[Any], plan: Plan) -> None:
        # One message of the simple protocol, which holds nothing but our own text.
        mode = "READ ONLY" if plan.is_read_only else "READ WRITE"
        connection.execute("; ".join([f"BEGIN {mode}", *(f"SET LOCAL {k} = {v}" for k, v in settings_of(plan).items())]))
        self._assume_role(connection)
        if plan.settings:
            # Values are bound, and end with the transaction.
            calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in plan.settings)
            connection.execute(f"SELECT {calls}".encode(), [text for pair in plan.settings.items() for text in pair])

    def _assume_role(self, connection: psycopg.Connection[Any]) -> None:
        if self._role is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self._role)))
