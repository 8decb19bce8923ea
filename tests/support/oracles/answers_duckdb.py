"""What DuckDB answers, in its own words, for holding a regenerated text against the original one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import duckdb

from guardrails.catalog import read_duckdb
from guardrails.model import Catalog, DialectName
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.oracles.answers import Answer

__all__ = ["DuckdbAnswers"]


class DuckdbAnswers:
    """A database in memory, with one thread, so that rows come in one order.

    Args:
        fill: Makes schema and rows.
        seconds: How long a statement may run.
    """

    dialect: DialectName = "duckdb"

    def __init__(self, fill: Callable[[duckdb.DuckDBPyConnection], None], seconds: float = 1.0) -> None:
        self._fill = fill
        self._seconds = seconds
        self._open()

    def _open(self) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {**LOCKED, "threads": "1"}
        self.connection = duckdb.connect(":memory:", config=config)
        self._fill(self.connection)

    def catalog(self) -> Catalog:
        return read_duckdb(self.connection)

    def accepts(self, sql: str) -> bool:
        try:
            self.connection.execute(f"EXPLAIN {sql}").fetchall()
        except duckdb.Error:
            return False
        return True

    def pair(self, original: str, regenerated: str) -> tuple[Answer, Answer]:
        # In one transaction, in which the clock stands still.
        self.connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            return self._answer(original), self._answer(regenerated)
        finally:
            self._end()

    def close(self) -> None:
        self.connection.close()

    def _end(self) -> None:
        try:
            self.connection.execute("ROLLBACK")
            self.connection.execute("SELECT 1").fetchall()
        except duckdb.Error:
            # After a defect of its own DuckDB takes nothing more.
            self.connection.close()
            self._open()

    def _answer(self, sql: str) -> Answer:
        clock = threading.Timer(self._seconds, self.connection.interrupt)
        clock.start()
        try:
            cursor = self.connection.execute(sql)
            columns = tuple((d[0], str(d[1])) for d in cursor.description or ())
            # Some values compare unequal to themselves, or equal to others of another type.
            return Answer(columns, tuple(tuple(repr(v) for v in row) for row in cursor.fetchall()))
        except duckdb.InterruptException:
            return Answer(error="interrupted", is_late=True)
        except duckdb.Error as error:
            is_broken = isinstance(error, (duckdb.FatalException, duckdb.InternalException))
            return Answer(error=type(error).__name__, is_late=is_broken or "Current transaction is aborted" in str(error))
        finally:
            clock.cancel()
