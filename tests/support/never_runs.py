"""Rejected means never runs: what a database holds before and after, what a tool of the application's own was handed, what was intended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType

from guardrails import Guard

__all__ = ["FORBIDDEN", "Recorder", "check_never_intended", "contents", "nothing_runs"]

FORBIDDEN: Mapping[str, str] = MappingProxyType(
    {
        "drop": "DROP TABLE orders",
        "unapproved": "DELETE FROM orders WHERE id = 4",
        "unapproved-returning": "DELETE FROM orders RETURNING *",
        "two-statements": "SELECT 1; DELETE FROM orders",
        "hidden-in-comment": "SELECT 1 /*! ; DELETE FROM orders */; DELETE FROM orders",
        "other-table": "UPDATE customers SET email = 'x@example.com'",
        "insert-elsewhere": "INSERT INTO employees VALUES (9, 'Eve', 1)",
        "copy-protected": "INSERT INTO orders SELECT 9, 1, 1, email, ssn, '' FROM customers",
        "pragma": "PRAGMA writable_schema = 1",
        "attach": "ATTACH DATABASE ':memory:' AS other",
        "create": "CREATE TABLE stolen AS SELECT * FROM customers",
        "vacuum": "VACUUM INTO '/tmp/stolen.db'",
    }
)
"""Statements that the story's policy never lets run on its own, by a short name for test ids."""


def contents(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in a SQLite file, by table; read past the guard."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid').fetchall() for name in tables}


@contextmanager
def nothing_runs(database: Path) -> Iterator[None]:
    """Whatever happens inside leaves the database as it was."""
    before = contents(database)
    yield
    assert contents(database) == before


def check_never_intended(guard: Guard, *call_ids: str) -> None:
    """None of these calls ever got as far as an intent, so none can have an outcome."""
    intended = {entry.get("tool_call") for entry in guard.ledger.entries() if entry["type"] == "intent"}
    assert intended.isdisjoint(call_ids), intended & set(call_ids)


class Recorder:
    """A tool of the application's own that runs what it gets on a connection of its own, past the guard, and notes every statement."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.seen: list[str] = []

    def run_sql(self, sql: str) -> list[tuple[object, ...]]:
        """Runs a statement.

        Args:
            sql: One SQL statement.
        """
        self.seen.append(sql)
        with closing(sqlite3.connect(self._database)) as connection, connection:
            return connection.execute(sql).fetchall()
