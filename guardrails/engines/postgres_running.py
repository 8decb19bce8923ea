"""Running one plan in an open PostgreSQL transaction: its settings, reading through a cursor, changing with every row counted.

The transaction's beginning and end are the caller's: `guardrails.engines.postgres` gives each plan its own, `postgres_work` holds one
for several.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

from guardrails.catalog import postgres_digest
from guardrails.engines.base import RowCollector
from guardrails.engines.failures import postgres_failure
from guardrails.engines.postgres_changes import Changes
from guardrails.engines.postgres_values import bound, plain_row, register_loaders
from guardrails.errors import EngineError, GuardrailsError
from guardrails.model import IndexUse, Plan

__all__ = [
    "SCAN_SETTINGS",
    "commit",
    "finish",
    "is_idle",
    "make_immediate",
    "read",
    "settings_of",
    "translated",
    "write",
]

_DATA_ACTIONS = frozenset({"select", "insert", "update", "delete", "merge"})
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


def settings_of(plan: Plan) -> dict[str, str]:
    """Returns what is in force while a plan runs, in its transaction alone."""
    timeout_ms = max(1, int(plan.limits.seconds * 1000))
    return (
        _SETTINGS
        | dict(SCAN_SETTINGS[plan.index_use])
        | ({"enable_hashagg": "off"} if plan.is_grouped_by_sorting else {})
        | {
            "statement_timeout": str(timeout_ms),
            "lock_timeout": str(timeout_ms),
            "idle_in_transaction_session_timeout": str(timeout_ms + 10_000),
        }
    )


def read(
    connection: psycopg.Connection[Any], plan: Plan, deadline: float, *, is_alone: bool = True
) -> tuple[tuple[str, ...], RowCollector]:
    """Declares a cursor, fetches in growing portions until a limit is reached, then checks what must hold of the transaction.

    `is_alone`: nothing else runs in the transaction, so that having changed anything at all shows in its id.
    """
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    register_loaders(cursor)
    if plan.is_explain:
        return _explain(connection, cursor, plan, is_alone=is_alone)
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
    _require_unchanged(connection, plan, is_alone=is_alone)
    return columns, collected


def _explain(
    connection: psycopg.Connection[Any], cursor: psycopg.RawCursor[Any], plan: Plan, *, is_alone: bool
) -> tuple[tuple[str, ...], RowCollector]:
    """Asks for the plan of a query, which no cursor can be declared for."""
    with connection.pipeline():
        cursor.execute(plan.sql, bound(plan.params))
    collected = RowCollector(plan.limits)
    collected.take(plain_row(row) for row in cursor.fetchall())
    columns = tuple(d.name for d in cursor.description or ())
    _require_unchanged(connection, plan, is_alone=is_alone)
    return columns, collected


def _require_unchanged(connection: psycopg.Connection[Any], plan: Plan, *, is_alone: bool) -> None:
    _require_open(connection)
    # Under the statement's own locks: what it read cannot have changed its shape since, and cannot before the end.
    _require_version(connection, plan)
    if not is_alone:
        return
    row = connection.execute("SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NULL").fetchone()
    if row is None or row[0] is not True:
        raise EngineError("engine.refused", "The statement would change something, and it may only read.")


def write(
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


def is_idle(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status == pq.TransactionStatus.IDLE


def _require_version(connection: psycopg.Connection[Any], plan: Plan) -> None:
    if plan.catalog_version and postgres_digest(connection) != plan.catalog_version:
        raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")


def _require_open(connection: psycopg.Connection[Any]) -> None:
    if connection.info.transaction_status != pq.TransactionStatus.INTRANS:
        raise EngineError("engine.unknown_outcome", "The statement ended the transaction that it ran in.")


def make_immediate(connection: psycopg.Connection[Any]) -> None:
    """Makes what waits for the commit happen now: it fails here if the commit would."""
    with translated():
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def commit(connection: psycopg.Connection[Any]) -> None:
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


def finish(connection: psycopg.Connection[Any]) -> None:
    """Rolls back what is still open and releases advisory locks, which no rollback releases."""
    if connection.closed or connection.info.transaction_status == pq.TransactionStatus.UNKNOWN:
        return
    with translated():
        connection.execute("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()")


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's exceptions into ours."""
    try:
        yield
    except GuardrailsError:
        raise
    except _DRIVER_ERRORS as error:
        raise postgres_failure(error) from error
