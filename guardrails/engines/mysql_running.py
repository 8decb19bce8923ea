"""Running one plan in an open MySQL transaction: its text, its relations locked, reading row by row, changing with every row counted.

The transaction's beginning and end are the caller's: `guardrails.engines.mysql` gives each plan its own, `mysql_work` holds one for
several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pymysql

from guardrails.catalog import mysql_digests, mysql_version, read_mysql, stored_functions, versions_of
from guardrails.engines.base import RowCollector
from guardrails.engines.mysql_changes import Changes
from guardrails.engines.mysql_connections import RowStream, Session
from guardrails.engines.mysql_failures import is_lost, mysql_failure
from guardrails.engines.mysql_text import called_functions, checked_lexemes, with_values
from guardrails.errors import EngineError, GuardrailsError
from guardrails.model import Catalog, Execution, Plan

__all__ = [
    "CATALOG_S",
    "Known",
    "change",
    "changed_by",
    "commit",
    "explained",
    "finish",
    "is_reading",
    "known_now",
    "lock_relations",
    "read",
    "require_version",
    "text_of",
    "translated",
]

CATALOG_S = 60.0
"""How long reading the schema may take."""
_ROWS_AT_ONCE = 100
_DRIVER_ERRORS = (pymysql.MySQLError, OverflowError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Known:
    """The schema as it was read: the catalog, and the stored functions that a call may mean."""

    catalog: Catalog
    stored_functions: frozenset[str]

    def serves(self, plan: Plan) -> bool:
        """Whether a plan was judged against it."""
        return plan.catalog_version in ("", self.catalog.version)


def known_now(session: Session, known: Known | None) -> Known:
    """Returns the schema as it is now; the same object as long as its digest stays the same."""
    digests = mysql_digests(session.connection)
    if known is not None and known.catalog.version == mysql_version(digests):
        return known
    return Known(read_mysql(session.connection, digests), stored_functions(session.connection))


def is_reading(plan: Plan) -> bool:
    """Whether a plan changes nothing."""
    return plan.is_read_only or plan.is_explain


def text_of(plan: Plan, known: Known) -> str:
    """Returns what is sent to the server: the plan's text with its values, after the lock has looked at it.

    Raises:
        EngineError: The text does more than was judged (``engine.refused``), or a value has no form in MySQL (``engine.failed``).
    """
    lexemes = checked_lexemes(plan)
    if hidden := called_functions(lexemes) & known.stored_functions:
        raise EngineError(
            "engine.refused", "A stored function has the name of a built-in one.", evidence={"functions": sorted(hidden)}
        )
    return with_values(lexemes, plan.params)


def lock_relations(session: Session, plan: Plan, known: Known) -> None:
    """Keeps the relations from changing their shape until the transaction ends."""
    places = [_place(key, known.catalog) for key in sorted({u.relation for u in plan.relations})]
    if places:
        session.execute(" UNION ALL ".join(f"(SELECT 1 FROM {place} LIMIT 0)" for place in places))  # noqa: S608 - quoted names
    if not session.is_own:
        _check_temporary(session, places)


def _place(key: str, catalog: Catalog) -> str:
    relation = catalog.relations.get(key)
    schema, name = (relation.schema, relation.name) if relation is not None else (catalog.default_schema, key)
    return ".".join(f"`{part.replace('`', '``')}`" for part in (schema, name))


def _check_temporary(session: Session, places: list[str]) -> None:
    """A temporary table of the application's session would stand before the relation that was judged."""
    for place in places:
        if str(session.rows(f"SHOW CREATE TABLE {place}")[0][1]).upper().startswith("CREATE TEMPORARY"):
            raise EngineError("engine.refused", "A temporary table hides a relation.", evidence={"relation": place})


def read(session: Session, plan: Plan, text: str, deadline: float, leave: Callable[[RowStream], None]) -> Execution:
    """Reads rows until a limit is reached.

    Args:
        session: Inside the plan's transaction.
        plan: What is read.
        text: As the server gets it.
        deadline: When it is to end, on the clock of `time.perf_counter`.
        leave: Gets away from a result that is not read to its end.
    """
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
    except (GuardrailsError, OverflowError, UnicodeError):
        # Nobody but the server itself has ended the result.
        leave(stream)
        raise
    if collected.is_truncated:
        leave(stream)
    else:
        stream.close()
    return Execution(columns, tuple(collected.rows), 0, collected.is_truncated)


def change(session: Session, plan: Plan, text: str, catalog: Catalog, *, is_rehearsal: bool) -> Execution:
    """Runs a change, then checks how much changed."""
    updated = _rows_updated(session, plan)
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
    changed = changes.checked(changed)
    # Where rows that are there already are updated, the server counts each of them twice.
    changed -= _rows_updated(session, plan) - updated if is_rehearsal else 0
    return Execution(columns, tuple(collected.rows), changed, collected.is_truncated)


def changed_by(plan: Plan, changed: int) -> tuple[tuple[str, int], ...]:
    """Returns rows changed by relation. One statement changes one relation: other changes are refused beforehand."""
    return tuple((relation, changed) for relation in sorted({u.relation for u in plan.relations if u.action != "select"}))


def _rows_updated(session: Session, plan: Plan) -> int:
    """Rows that the session has updated so far, for INSERT … ON DUPLICATE KEY UPDATE; 0 for anything else."""
    if not {"insert", "update"} <= set(plan.actions):
        return 0
    return sum(int(value) for _, value in session.rows("SHOW SESSION STATUS LIKE 'Handler_update'"))


def require_version(session: Session, plan: Plan, known: Known) -> None:
    """Compares the versions of the databases that the plan touches; the others may change meanwhile."""
    if not plan.catalog_version:
        return
    relations = known.catalog.relations
    schemas = {relations[u.relation].schema for u in plan.relations if u.relation in relations} | {known.catalog.default_schema}
    judged = versions_of(plan.catalog_version)
    for schema, digest in mysql_digests(session.connection, schemas - {""}).items():
        if judged.get(schema) != digest:
            raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")


def commit(session: Session) -> None:
    """Commits.

    Raises:
        EngineError: The connection was lost meanwhile (``engine.unknown_outcome``), or the server refused.
    """
    with translated():
        session.lift_time_limit()
    try:
        session.execute("COMMIT")
    except pymysql.MySQLError as error:
        if is_lost(error) or not session.connection.open:
            raise EngineError(
                "engine.unknown_outcome",
                "The connection was lost during the commit.",
                evidence={"engine_text": str(error)},
            ) from error
        raise mysql_failure(error) from error


def finish(session: Session) -> None:
    """Rolls back what is still open; a connection that is lost has done so."""
    if not session.connection.open or session.is_spoilt or not session.is_in_transaction:
        return
    try:
        session.lift_time_limit()
        session.execute("ROLLBACK")
    except pymysql.MySQLError as error:
        # Nobody gets the connection again.
        session.is_spoilt = True
        if not is_lost(error):
            raise mysql_failure(error) from error


@contextmanager
def explained(session: Session, plan: Plan, known: Known) -> Iterator[None]:
    """Says of a failure that the schema changed, where it did."""
    try:
        yield
    except pymysql.MySQLError as error:
        if session.connection.open and not session.is_spoilt:
            require_version(session, plan, known)
        raise mysql_failure(error) from error


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's exceptions into ours."""
    try:
        yield
    except GuardrailsError:
        raise
    except _DRIVER_ERRORS as error:
        raise mysql_failure(error) from error
