"""How a transaction of the ledger begins on a PostgreSQL connection: durable whatever the settings say, and alone.

Alone means that it holds the head's row, as every append does. Before there is one, those who would begin a ledger wait for each
other at an advisory lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from guardrails.ledger.stores.base import Head
from guardrails.ledger.stores.postgres_connect import Connection, qualified
from guardrails.ledger.stores.postgres_statements import HEAD, LOCK_HEAD, Statement, head_of

__all__ = ["DURABLY", "FIRST_LOCK", "begin_and_lock", "begin_snapshot", "lock_head", "run_all"]

DURABLY = (
    "SELECT set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
)
"""Raises synchronous_commit to ``on`` for this transaction; it is never lowered."""

_WAIT = "SELECT set_config('lock_timeout', '{ms}', true)"
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
FIRST_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('guardrails ledger ' || %s, 0))"
"""Held by whoever makes tables or a first head, as there is no row to lock yet."""
_XID = "SELECT pg_current_xact_id()::text"
_NOT_THERE = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)


def begin_and_lock(connection: Connection, schema: str, *, wait_s: float | None = None) -> tuple[Head | None, str]:
    """Begins a transaction that holds the ledger's lock, and returns the head and the transaction's id.

    Args:
        connection: In autocommit mode.
        schema: The ledger's.
        wait_s: How long to wait for the lock, instead of the connection's own setting.

    Returns:
        None for a head when there is no ledger yet; then the lock is that of beginning one.
    """
    script = [_BEGIN, DURABLY]
    if wait_s is not None:
        script.append(_WAIT.replace("{ms}", str(round(1000 * wait_s))))
    try:
        row = _last_row(connection, [*script, LOCK_HEAD], schema)
    except _NOT_THERE:
        connection.execute("ROLLBACK")
        _last_row(connection, script, schema)
        row = None
    except psycopg.errors.UndefinedColumn:
        # Tables of an older revision: there is nothing to lock for a release that does not know them.
        connection.execute("ROLLBACK")
        _last_row(connection, script, schema)
        return None, str(_last_row(connection, [_XID], schema))
    return _locked(connection, schema) if row is None else (head_of(row), str(row[7]))


def lock_head(connection: Connection, schema: str) -> Head | None:
    """Takes the ledger's lock in the transaction that `connection` is in; None when there is no ledger."""
    return _locked(connection, schema)[0]


def begin_snapshot(connection: Connection, schema: str) -> Head | None:
    """Begins a transaction that reads one state, and returns the head in it; None when there is no ledger yet."""
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    try:
        row = _last_row(connection, [begin, HEAD], schema)
    except (*_NOT_THERE, psycopg.errors.UndefinedColumn):
        connection.execute("ROLLBACK")
        connection.execute(begin)
        row = None
    return None if row is None else head_of(row)


def run_all(connection: Connection, schema: str, statements: Sequence[Statement]) -> None:
    """Runs statements in one round trip; when one fails, none after it is run."""
    with connection.pipeline():
        for template, parameters in statements:
            connection.execute(qualified(template, schema), parameters)


def _locked(connection: Connection, schema: str) -> tuple[Head | None, str]:
    connection.execute(FIRST_LOCK, (schema,))
    found = connection.execute("SELECT to_regclass(%s), pg_current_xact_id()::text", (f'"{schema}".head',)).fetchone()
    if found is None or found[0] is None:
        return None, "" if found is None else str(found[1])
    # A statement of its own, so that it sees what those before us at the lock have made.
    row = connection.execute(qualified(LOCK_HEAD, schema)).fetchone()
    return (None, str(found[1])) if row is None else (head_of(row), str(row[7]))


def _last_row(connection: Connection, script: Sequence[str], schema: str) -> tuple[Any, ...] | None:
    """Runs a script in one round trip and returns the first row of its last statement."""
    cursor = connection.execute(qualified("; ".join(script), schema))
    while cursor.nextset():
        pass
    return cursor.fetchone()
