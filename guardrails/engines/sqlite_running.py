"""Running one plan in an open SQLite transaction, under the authorizer and SQLite's own limits.

The transaction's beginning and end are the caller's: `guardrails.engines.sqlite` gives each plan its own, `sqlite_work` holds one for
several.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from functools import partial
from typing import Any, cast
from uuid import UUID

from guardrails.catalog import sqlite_digest
from guardrails.engines.base import RowCollector
from guardrails.engines.sqlite_lock import ForeignKey, SchemaNames, SqliteLock
from guardrails.errors import EngineError
from guardrails.masking import sqlite_functions
from guardrails.model import Plan, Value
from guardrails.sql.dialects.base import ascii_lower, function_names

__all__ = ["DRIVER_ERRORS", "PROGRESS_STEPS", "changed_by", "commit", "prepare", "run"]

PROGRESS_STEPS = 1_000
"""Virtual machine steps between two looks at the clock: some ten microseconds of work."""
_ROWS_AT_ONCE = 100
_WRITE_VALUE_BYTES = 128 * 1024 * 1024
"""A change rewrites whole rows, so that values which it does not touch count too."""
_INNER_STATEMENT_BYTES = 1_000_000
"""Full-text tables and schema changes run statements of SQLite's own, to which the limit applies as well."""

_CHANGES = frozenset({"insert", "update", "delete"})
_FOLLOWING = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
DRIVER_ERRORS = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError)


def commit(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(None, 0)
    try:
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if (error.sqlite_errorname or "").startswith("SQLITE_IOERR"):
            raise EngineError(
                "engine.unknown_outcome",
                "The storage failed during the commit.",
                evidence={"engine_text": str(error), "sqlite_error": error.sqlite_errorname},
            ) from error
        raise


def prepare(connection: sqlite3.Connection, plan: Plan) -> None:
    """Everything that must be said before the authorizer listens."""
    connection.execute(f"PRAGMA query_only = {'ON' if plan.is_read_only else 'OFF'}")
    connection.execute("PRAGMA trusted_schema = OFF")
    for name, (arity, function) in sqlite_functions().items():
        connection.create_function(name, arity, cast("Callable[..., Any]", function), deterministic=True)
    # The first use of a table-valued function declares it in the schema, which the authorizer would take for a change.
    connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]') LIMIT 0").fetchall()


def run(connection: sqlite3.Connection, plan: Plan) -> tuple[tuple[str, ...], RowCollector, int]:
    if plan.catalog_version and sqlite_digest(connection) != plan.catalog_version:
        raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")
    lock = SqliteLock(plan, _schema_names(connection, plan), function_names("sqlite"))
    params = _bound(plan.params)
    emptied = _rows_of_dropped(connection, plan)
    before = connection.total_changes
    collected = RowCollector(plan.limits)
    cursor = connection.cursor()
    previous_limits = _set_limits(connection, plan)
    connection.set_authorizer(lock)
    try:
        cursor.execute(plan.sql, params)
        columns = tuple(d[0] for d in cursor.description or ())
        for rows in iter(partial(cursor.fetchmany, _ROWS_AT_ONCE), []):
            if not collected.take(rows):
                break
    except DRIVER_ERRORS as error:
        if lock.denied:
            raise EngineError(
                "engine.refused",
                "The engine's own lock refused the statement: it does more than was judged.",
                evidence={"denied": lock.denied[:10], "engine_text": str(error)},
            ) from error
        raise
    finally:
        # Closed before anything else happens: no part of the statement runs once the lock is off.
        cursor.close()
        connection.set_authorizer(None)
        for category, value in previous_limits.items():
            connection.setlimit(category, value)
    if not connection.in_transaction:
        raise EngineError("engine.unknown_outcome", "The statement ended the transaction that it ran in.")
    changed = connection.total_changes - before + emptied
    if changed > plan.limits.rows_changed and not plan.is_read_only:
        raise EngineError(
            "engine.too_many_rows_changed",
            f"More than {plan.limits.rows_changed} rows would change; nothing was changed.",
            evidence={"rows": changed},
        )
    return columns, collected, changed


def changed_by(connection: sqlite3.Connection, plan: Plan, changed: int) -> tuple[tuple[str, int], ...]:
    """Tells the rows that a change changed itself from those that its foreign keys did; several relations of these count as one."""
    own = next((u.relation for u in plan.relations if u.action in _CHANGES), None)
    if own is None or not changed:
        return ()
    (direct,) = connection.execute("SELECT changes()").fetchone()
    others = _followed(_foreign_keys(connection), ascii_lower(own))
    if direct == changed or others <= {ascii_lower(own)}:
        return ((own, changed),)
    names = {ascii_lower(name): name for (name,) in connection.execute("SELECT name FROM main.sqlite_master").fetchall()}
    return (own, direct), (", ".join(sorted(names.get(name, name) for name in others)), changed - direct)


def _followed(keys: Iterable[ForeignKey], changed: str) -> Set[str]:
    """Returns the relations that declared foreign keys change along with one, which may be among them."""
    pending, found = [changed], set[str]()
    while pending:
        parent = pending.pop()
        children = {k.child for k in keys if k.parent == parent and {k.on_delete, k.on_update} & _FOLLOWING}
        pending += children - found
        found |= children
    return found


def _rows_of_dropped(connection: sqlite3.Connection, plan: Plan) -> int:
    """Counts the rows of the tables that the plan drops, up to one more than it may change; SQLite does not count them."""
    rows = 0
    for use in plan.relations:
        if use.action == "drop" and (kind := _kind_of(connection, use.relation)) is not None and kind[0] == "table":
            quoted, most = use.relation.replace('"', '""'), plan.limits.rows_changed - rows + 1
            counted = connection.execute(f'SELECT count(*) FROM (SELECT 1 FROM main."{quoted}" LIMIT {most})')  # noqa: S608 - quoted
            rows += int(counted.fetchone()[0])
    return rows


def _kind_of(connection: sqlite3.Connection, name: str) -> tuple[str] | None:
    found: tuple[str] | None = connection.execute("SELECT type FROM main.sqlite_master WHERE name = ?", (name,)).fetchone()
    return found


def _set_limits(connection: sqlite3.Connection, plan: Plan) -> dict[int, int]:
    """Sets SQLite's own limits; returns the previous ones by category."""
    statement_bytes = len(plan.sql.encode("utf-8", "surrogatepass"))
    value_bytes = plan.limits.result_bytes if plan.is_read_only else max(plan.limits.result_bytes, _WRITE_VALUE_BYTES)
    wanted = {
        sqlite3.SQLITE_LIMIT_LENGTH: max(value_bytes, statement_bytes + 1),
        sqlite3.SQLITE_LIMIT_SQL_LENGTH: max(statement_bytes + 1, _INNER_STATEMENT_BYTES),
        sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 1_000,
        sqlite3.SQLITE_LIMIT_ATTACHED: 0,
        sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
        sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 100,
        sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    }
    return {category: connection.setlimit(category, value) for category, value in wanted.items()}


def _schema_names(connection: sqlite3.Connection, plan: Plan) -> SchemaNames:
    rows = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema IN ('main', 'temp')").fetchall()
    folded = [(ascii_lower(name), kind) for name, kind in rows]
    used = {ascii_lower(u.relation): u.relation for u in plan.relations}
    virtual = [name for name, kind in folded if kind == "virtual" and name in used]
    for name in virtual:
        # Connecting a virtual table declares it, which the authorizer would take for a change of the schema.
        quoted = used[name].replace('"', '""')
        connection.execute(f'SELECT 1 FROM main."{quoted}" LIMIT 0').fetchall()  # noqa: S608 - a name of the schema, quoted
    shadows = [name for name, kind in folded if kind == "shadow"]
    modules = connection.execute("SELECT name FROM pragma_module_list").fetchall()
    return SchemaNames(
        tables=frozenset(name for name, _ in folded),
        views=frozenset(name for name, kind in folded if kind == "view"),
        modules=frozenset(ascii_lower(name) for (name,) in modules),
        shadows={name: frozenset(s for s in shadows if s.startswith(f"{name}_")) for name in virtual},
        foreign_keys=() if plan.is_read_only else _foreign_keys(connection),
    )


def _foreign_keys(connection: sqlite3.Connection) -> tuple[ForeignKey, ...]:
    """Every declared foreign key; one that names no parent columns means the parent's primary key, pair by pair."""
    rows = connection.execute(
        'SELECT t.name, f."from", f."table", coalesce(f."to", (SELECT c.name FROM pragma_table_info(f."table") AS c'
        " WHERE c.pk = f.seq + 1)), f.on_update, f.on_delete"
        " FROM pragma_table_list AS t, pragma_foreign_key_list(t.name) AS f WHERE t.schema = 'main' AND t.type = 'table'"
    ).fetchall()
    return tuple(
        ForeignKey(ascii_lower(child), ascii_lower(column), ascii_lower(parent), ascii_lower(target or ""), update, delete)
        for child, column, parent, target, update, delete in rows
    )


def _bound(params: Mapping[str, Value]) -> dict[str, object]:
    return {name: _plain(value) for name, value in params.items()}


def _plain(value: Value) -> object:
    """SQLite knows five types: times become ISO 8601 text, as its own functions write them, and decimals what a literal would be."""
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (date, clock_time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise EngineError("engine.failed", f"SQLite has no values of the type {type(value).__name__}.")
