"""What an engine answers, in its own words: names, types and rows as it sends them, or its error.

For holding a regenerated text against the original one, without the library's engines in between.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import pq
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from guardrails.catalog import read_sqlite
from guardrails.model import Catalog, DialectName
from tests.support.oracles.postgres import catalog_of

__all__ = ["Answer", "Answers", "PostgresAnswers", "SqliteAnswers"]


@dataclass(frozen=True)
class Answer:
    """Columns as (name, type) and rows, or the engine's error; `is_late` says that it took too long to say anything."""

    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    error: str | None = None
    is_late: bool = False


class Answers(Protocol):
    """One engine with one schema."""

    dialect: DialectName

    def catalog(self) -> Catalog: ...

    def accepts(self, sql: str) -> bool:
        """Whether the engine takes the text as one statement; nothing is run."""
        ...

    def pair(self, original: str, regenerated: str) -> tuple[Answer, Answer]:
        """Runs both at one moment, the second as the library's engine would set the session up."""
        ...

    def close(self) -> None: ...


class SqliteAnswers:
    """A database in memory.

    Args:
        fill: Makes schema and rows.
        seconds: How long a statement may run.
    """

    dialect: DialectName = "sqlite"

    def __init__(self, fill: Callable[[sqlite3.Connection], None], seconds: float = 1.0) -> None:
        self._seconds = seconds
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        fill(self.connection)

    def catalog(self) -> Catalog:
        return read_sqlite(self.connection)

    def accepts(self, sql: str) -> bool:
        try:
            self.connection.execute(f"EXPLAIN {sql}").close()
        except (sqlite3.Error, sqlite3.Warning):
            return False
        return True

    def pair(self, original: str, regenerated: str) -> tuple[Answer, Answer]:
        return self._answer(original), self._answer(regenerated)

    def close(self) -> None:
        self.connection.close()

    def _answer(self, sql: str) -> Answer:
        deadline = time.perf_counter() + self._seconds
        self.connection.set_progress_handler(lambda: time.perf_counter() > deadline, 5_000)
        try:
            cursor = self.connection.execute(sql)
            rows = cursor.fetchall()
        except sqlite3.Error as error:
            return Answer(error=str(error), is_late="interrupted" in str(error))
        finally:
            self.connection.set_progress_handler(None, 0)
        # SQLite's types are the values'.
        typed = tuple(tuple((type(value).__name__, value) for value in row) for row in rows)
        return Answer(tuple((d[0], "") for d in cursor.description or ()), typed)


class PostgresAnswers:
    """A database of its own on a server, dropped at the end.

    Args:
        server: URL of a maintenance database.
        fill: Makes schema and rows in an empty database, given its URL.
        timeout_ms: How long a statement may run.
    """

    dialect: DialectName = "postgres"

    def __init__(self, server: str, fill: Callable[[str], object], timeout_ms: int = 1_000) -> None:
        self._server = server
        self._name = f"gr_answers_{uuid.uuid4().hex[:12]}"
        with closing(psycopg.connect(server, autocommit=True)) as connection:
            connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(self._name)))
        url = make_url(server).set(database=self._name).render_as_string(hide_password=False)
        fill(url)
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute(f"SET statement_timeout = {timeout_ms}; SET jit = off".encode())

    def catalog(self) -> Catalog:
        return catalog_of(self.connection)

    def accepts(self, sql: str) -> bool:
        return self.connection.pgconn.prepare(b"", sql.encode()).status == pq.ExecStatus.COMMAND_OK

    def pair(self, original: str, regenerated: str) -> tuple[Answer, Answer]:
        # In one transaction, in which the clock stands still.
        self.connection.pgconn.exec_(b"BEGIN READ ONLY; SAVEPOINT s")
        asked = self._answer(original)
        self.connection.pgconn.exec_(b"ROLLBACK TO s; SET LOCAL search_path = pg_catalog, pg_temp")
        answered = self._answer(regenerated)
        self.connection.pgconn.exec_(b"ROLLBACK")
        return asked, answered

    def close(self) -> None:
        self.connection.close()
        with closing(psycopg.connect(self._server, autocommit=True)) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self._name)))

    def _answer(self, sql: str) -> Answer:
        result = self.connection.pgconn.exec_params(sql.encode(), None)
        if result.status != pq.ExecStatus.TUPLES_OK:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            return Answer(error=state or "no rows", is_late=state == "57014")
        fields = range(result.nfields)
        columns = tuple(((result.fname(f) or b"").decode(), f"{result.ftype(f)}({result.fmod(f)})") for f in fields)
        rows = tuple(tuple(result.get_value(row, f) for f in fields) for row in range(result.ntuples))
        return Answer(columns, rows)
