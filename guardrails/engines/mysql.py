"""MySQL and MariaDB: one transaction a plan, in a session whose settings are the engine's own.

Reads run in a READ ONLY transaction, row by row, and are always rolled back. Before anything runs the relations are locked against
changes of their shape and the schema's version is compared, so that what runs is what was judged. A read-only transaction is no
boundary by itself (it still allows locks, files and variables): what a text may hold at all is the business of `mysql_text`, what a
change does elsewhere that of `mysql_changes`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pymysql

from guardrails.catalog import mysql_digests, mysql_version, read_mysql, stored_functions, versions_of
from guardrails.engines.base import RowCollector, require_rehearsable
from guardrails.engines.mysql_changes import Changes
from guardrails.engines.mysql_connections import Lender, RowStream, Session, is_mariadb, server_version
from guardrails.engines.mysql_failures import is_lost, mysql_failure
from guardrails.engines.mysql_text import called_functions, checked_lexemes, with_values
from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.model import Catalog, DialectName, Execution, Plan

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["MysqlEngine"]

_OLDEST = {True: (10, 5), False: (8, 0)}
"""First release with common table expressions, window functions and EXCEPT, by whether it is MariaDB."""
_ROWS_AT_ONCE = 100
_DRIVER_ERRORS = (pymysql.MySQLError, OverflowError, UnicodeError)


@dataclass(frozen=True, slots=True)
class _Known:
    """The schema as it was read: the catalog, and the stored functions that a call may mean."""

    catalog: Catalog
    stored_functions: frozenset[str]


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
        self._known: _Known | None = None
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

    def _current(self) -> _Known:
        with self._lender.lend() as session, _translated():
            session.prepare(seconds=60.0, is_read_only=True)
            digests = mysql_digests(session.connection)
            known = self._known
            if known is None or known.catalog.version != mysql_version(digests):
                known = _Known(read_mysql(session.connection, digests), stored_functions(session.connection))
        self._known = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down."""
        return self._perform(plan, is_rehearsal=False)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and rolls back; tables that cannot roll back are refused before anything runs."""
        require_rehearsable(plan)
        rehearsed = self._perform(plan, is_rehearsal=True)
        changed = tuple(sorted({u.relation for u in plan.relations if u.action != "select"}))
        # One statement changes one relation: other changes are refused beforehand.
        return replace(rehearsed, changed_by=tuple((relation, rehearsed.rows_changed) for relation in changed))

    def _perform(self, plan: Plan, *, is_rehearsal: bool) -> Execution:
        if plan.dialect != self.dialect:
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        known = self._known
        if known is None or plan.catalog_version not in ("", known.catalog.version):
            known = self._current()
        lexemes = checked_lexemes(plan)
        if hidden := called_functions(lexemes) & known.stored_functions:
            raise EngineError(
                "engine.refused", "A stored function has the name of a built-in one.", evidence={"functions": sorted(hidden)}
            )
        text = with_values(lexemes, plan.params)
        with self._lender.lend() as session:
            try:
                with _translated():
                    self._begin(session, plan, known)
                    with _explained(session, plan, known):
                        if plan.is_read_only or plan.is_explain:
                            columns, collected = _read(session, plan, text, started + plan.limits.seconds)
                            changed = 0
                        else:
                            updated = _rows_updated(session, plan)
                            columns, collected, changed = _write(session, plan, text, known.catalog)
                            # Where rows that are there already are updated, the server counts each of them twice.
                            changed -= _rows_updated(session, plan) - updated if is_rehearsal else 0
                if not (plan.is_read_only or plan.is_explain or is_rehearsal):
                    _commit(session)
            finally:
                _end(session)
        duration_ms = (time.perf_counter() - started) * 1000
        return Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms)

    def dispose(self) -> None:
        """Closes what this engine opened itself."""
        self._lender.dispose()

    def _begin(self, session: Session, plan: Plan, known: _Known) -> None:
        """Starts the transaction, keeps the relations from changing their shape, and compares the schema's version."""
        is_reading = plan.is_read_only or plan.is_explain
        session.prepare(seconds=plan.limits.seconds, is_read_only=is_reading)
        session.execute(f"START TRANSACTION READ {'ONLY' if is_reading else 'WRITE'}")
        places = [_place(key, known.catalog) for key in sorted({u.relation for u in plan.relations})]
        if places:
            session.execute(" UNION ALL ".join(f"(SELECT 1 FROM {place} LIMIT 0)" for place in places))  # noqa: S608 - quoted names
        if not session.is_own:
            _check_temporary(session, places)
        _require_version(session, plan, known)


def _place(key: str, catalog: Catalog) -> str:
    relation = catalog.relations.get(key)
    schema, name = (relation.schema, relation.name) if relation is not None else (catalog.default_schema, key)
    return ".".join(f"`{part.replace('`', '``')}`" for part in (schema, name))


def _check_temporary(session: Session, places: list[str]) -> None:
    """A temporary table of the application's session would stand before the relation that was judged."""
    for place in places:
        if str(session.rows(f"SHOW CREATE TABLE {place}")[0][1]).upper().startswith("CREATE TEMPORARY"):
            raise EngineError("engine.refused", "A temporary table hides a relation.", evidence={"relation": place})


def _read(session: Session, plan: Plan, text: str, deadline: float) -> tuple[tuple[str, ...], RowCollector]:
    """Reads rows until a limit is reached; a result that is not read to its end takes its connection with it."""
    collected = RowCollector(plan.limits)
    stream = session.connection.cursor(RowStream)
    try:
        stream.execute(text)
        if stream.description is None:
            raise EngineError("engine.refused", "The statement has no rows, and it may only read.")
        columns = tuple(d[0] for d in stream.description)
        for rows in iter(partial(stream.fetchmany, _ROWS_AT_ONCE), ()):
            if not collected.take(rows):
                break
            if time.perf_counter() > deadline:
                raise EngineError("engine.timeout", "The statement took too long.")
        else:
            stream.close()
            return columns, collected
    except GuardrailsError:
        _leave(session, stream)
        raise
    _leave(session, stream)
    return columns, collected


def _leave(session: Session, stream: RowStream) -> None:
    stream.abandon()
    session.is_spoilt = True


def _write(session: Session, plan: Plan, text: str, catalog: Catalog) -> tuple[tuple[str, ...], RowCollector, int]:
    """Runs a change, then checks how much changed."""
    changes = Changes(session, plan, catalog)
    changes.check_before()
    collected = RowCollector(plan.limits)
    with session.connection.cursor(pymysql.cursors.Cursor) as cursor:
        cursor.execute(text)
        columns = tuple(d[0] for d in cursor.description or ())
        changed = max(cursor.rowcount, 0)
        if columns:
            collected.take(cursor.fetchall())
        elif not session.is_in_transaction:
            raise EngineError("engine.unknown_outcome", "The statement ended the transaction that it ran in.")
    return columns, collected, changes.checked(changed)


def _rows_updated(session: Session, plan: Plan) -> int:
    """Rows that the session has updated so far, for INSERT … ON DUPLICATE KEY UPDATE; 0 for anything else."""
    if not {"insert", "update"} <= set(plan.actions):
        return 0
    return sum(int(value) for _, value in session.rows("SHOW SESSION STATUS LIKE 'Handler_update'"))


def _require_version(session: Session, plan: Plan, known: _Known) -> None:
    """Compares the versions of the databases that the plan touches; the others may change meanwhile."""
    if not plan.catalog_version:
        return
    relations = known.catalog.relations
    schemas = {relations[u.relation].schema for u in plan.relations if u.relation in relations} | {known.catalog.default_schema}
    judged = versions_of(plan.catalog_version)
    for schema, digest in mysql_digests(session.connection, schemas - {""}).items():
        if judged.get(schema) != digest:
            raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")


def _commit(session: Session) -> None:
    try:
        session.lift_time_limit()
        session.execute("COMMIT")
    except pymysql.MySQLError as error:
        if is_lost(error) or not session.connection.open:
            raise EngineError(
                "engine.unknown_outcome",
                "The connection was lost during the commit.",
                evidence={"engine_text": str(error)},
            ) from error
        raise mysql_failure(error) from error


def _end(session: Session) -> None:
    """Rolls back what is still open."""
    if session.connection.open and not session.is_spoilt:
        with _translated():
            session.lift_time_limit()
            session.execute("ROLLBACK")


@contextmanager
def _explained(session: Session, plan: Plan, known: _Known) -> Iterator[None]:
    """Says of a failure that the schema changed, where it did."""
    try:
        yield
    except pymysql.MySQLError as error:
        if session.connection.open and not session.is_spoilt:
            _require_version(session, plan, known)
        raise mysql_failure(error) from error


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's exceptions into ours."""
    try:
        yield
    except GuardrailsError:
        raise
    except _DRIVER_ERRORS as error:
        raise mysql_failure(error) from error


def _version(text: str) -> tuple[int, int]:
    """Reads `10.11.19-MariaDB`, `5.5.5-10.11.19-MariaDB` and `8.4.3`."""
    plain = text.removeprefix("5.5.5-").partition("-")[0].split(".")
    return int(plain[0]), int(plain[1])
