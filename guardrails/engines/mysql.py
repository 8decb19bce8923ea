"""MySQL and MariaDB: one transaction a plan, or one held for several, in a session whose settings are the engine's own.

Reads run in a READ ONLY transaction, row by row, and are always rolled back. Before anything runs the relations are locked against
changes of their shape and the schema's version is compared, so that what runs is what was judged. A read-only transaction is no
boundary by itself (it still allows locks, files and variables): what a text may hold at all is the business of `mysql_text`, what a
change does elsewhere that of `mysql_changes`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.pool import AssertionPool, SingletonThreadPool, StaticPool

from guardrails.engines.base import require_rehearsable
from guardrails.engines.mysql_connections import Lender, RowStream, Session, is_mariadb, server_version
from guardrails.engines.mysql_running import (
    CATALOG_S,
    Known,
    change,
    changed_by,
    commit,
    explained,
    finish,
    is_reading,
    known_now,
    lock_relations,
    read,
    require_version,
    text_of,
    translated,
)
from guardrails.engines.mysql_work import MysqlWork
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, DialectName, Execution, Plan

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["MysqlEngine"]

_OLDEST = {True: (10, 5), False: (8, 0)}
"""First release with common table expressions, window functions and EXCEPT, by whether it is MariaDB."""
_SINGLE_POOLS = (StaticPool, SingletonThreadPool, AssertionPool)


class MysqlEngine:
    """A MySQL or MariaDB database as an engine (see `guardrails.engines.base.Engine`).

    Args:
        name: Label for the ledger.
        engine: Whose pool lends the connections; its driver is PyMySQL.
        is_own: The pool is ours to dispose of.

    Attributes:
        server: Whether it is MariaDB, and its version.
    """

    dialect: DialectName = "mysql"

    def __init__(self, name: str, engine: sa.Engine, *, is_own: bool) -> None:
        self.name = name
        self._lender = Lender(engine, is_own=is_own)
        self._watchers = self._lender.apart()
        self._known: Known | None = None
        self.server = True, _OLDEST[True]

    @property
    def url(self) -> sa.URL:
        """Where it is, with the login."""
        return self._lender.url

    @property
    def pool(self) -> sa.Pool:
        """Where its connections come from."""
        return self._lender.pool

    def checked(self) -> MysqlEngine:
        """Returns itself once the database has answered.

        Raises:
            UsageError: It does not (``usage.database_unreachable``), or it is too old (``usage.database_unsupported``).
        """
        try:
            with self._lender.lend() as session:
                connection = session.connection
                version = _version(server_version(connection))
                self.server = is_mariadb(connection), version
                is_old = version < _OLDEST[self.server[0]]
            self.catalog()
        except EngineError as error:
            raise UsageError(
                "usage.database_unreachable", "The database cannot be reached.", evidence=error.evidence
            ) from error
        if is_old:
            raise UsageError("usage.database_unsupported", f"The server's version {'.'.join(map(str, version))} is too old.")
        return self

    def catalog(self) -> Catalog:
        """Returns the schema as it is now; cached as long as its digest stays the same."""
        return self._current().catalog

    def _current(self) -> Known:
        with self._lender.lend() as session, translated():
            session.prepare(seconds=CATALOG_S, is_read_only=True)
            known = known_now(session, self._known)
        self._known = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down."""
        return self._perform(plan, is_rehearsal=False)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and rolls back; tables that cannot roll back are refused before anything runs."""
        require_rehearsable(plan)
        rehearsed = self._perform(plan, is_rehearsal=True)
        return replace(rehearsed, changed_by=changed_by(plan, rehearsed.rows_changed))

    def _perform(self, plan: Plan, *, is_rehearsal: bool) -> Execution:
        if plan.dialect != self.dialect:
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        known = self._known
        if known is None or not known.serves(plan):
            known = self._current()
        text = text_of(plan, known)
        with self._lender.lend() as session:
            try:
                with translated():
                    self._begin(session, plan, known)
                    with explained(session, plan, known):
                        if is_reading(plan):
                            deadline = started + plan.limits.seconds
                            execution = read(session, plan, text, deadline, partial(_abandon, session))
                        else:
                            execution = change(session, plan, text, known.catalog, is_rehearsal=is_rehearsal)
                if not (is_reading(plan) or is_rehearsal):
                    commit(session)
            finally:
                finish(session)
        return replace(execution, duration_ms=(time.perf_counter() - started) * 1000)

    @property
    def is_transactional(self) -> bool:
        """Whether a transaction can stay open: not where the pool has one connection for all, or for one at a time."""
        return not isinstance(self._lender.pool, _SINGLE_POOLS)

    def begin(self) -> MysqlWork:
        """Begins a transaction for several plans, on a connection of its own.

        Raises:
            EngineError: The database cannot be reached.
        """
        return MysqlWork(self._lender.lend, self._watchers.lend, self._known or self._current(), self.execute)

    def dispose(self) -> None:
        """Closes what this engine opened itself."""
        self._watchers.dispose()
        self._lender.dispose()

    def _begin(self, session: Session, plan: Plan, known: Known) -> None:
        """Starts the transaction, keeps the relations from changing their shape, and compares the schema's version."""
        session.prepare(seconds=plan.limits.seconds, is_read_only=is_reading(plan))
        session.execute(f"START TRANSACTION READ {'ONLY' if is_reading(plan) else 'WRITE'}")
        lock_relations(session, plan, known)
        require_version(session, plan, known)


def _abandon(session: Session, stream: RowStream) -> None:
    """Leaves a result that is not read to its end, together with its connection."""
    stream.abandon()
    session.is_spoilt = True


def _version(text: str) -> tuple[int, int]:
    """Reads `10.11.19-MariaDB`, `5.5.5-10.11.19-MariaDB` and `8.4.3`."""
    plain = text.removeprefix("5.5.5-").partition("-")[0].split(".")
    return int(plain[0]), int(plain[1])
