"""A guard as a database driver (PEP 249), for code that runs its own SQL: every statement goes through the guard.

`connect` gives connections without any of their own: the guard runs each statement on its engine. So each write is a transaction of its
own, and `commit` and `rollback` do nothing. Refusals are not translated: `Denied`, `ApprovalRequired` and the like are raised as they
are, so that one handler serves every way in; the errors defined here are those of using the driver wrongly.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from types import TracebackType
from typing import Any, Self, TypeAlias

from guardrails.guard import Guard
from guardrails.model import Params, Result, Row, Value

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2
"""Threads may share the module and connections, not cursors."""
paramstyle = "named"
"""`:name` with a mapping; `?` (SQLite) or `$1` (PostgreSQL) with a sequence work as well."""

Description: TypeAlias = tuple[str, None, None, None, None, None, None]

Date = date
Time = time
Timestamp = datetime
Binary = bytes
DateFromTicks = date.fromtimestamp
TimestampFromTicks = datetime.fromtimestamp
STRING, BINARY, NUMBER, DATETIME, ROWID = str, bytes, float, datetime, int
sqlite_version_info = sqlite3.sqlite_version_info
"""Of the library that SQLite engines use; SQLAlchemy asks for it."""


def TimeFromTicks(ticks: float) -> time:  # noqa: N802  PEP 249 names it so
    """Returns the local time of day of Unix seconds."""
    return datetime.fromtimestamp(ticks).time()  # noqa: DTZ006  PEP 249: local time


class Warning(Exception):  # noqa: A001  PEP 249 names it so
    """Never raised; PEP 249 asks for it."""


class Error(Exception):
    """Base of the errors of using the driver wrongly."""


class InterfaceError(Error):
    """The connection or cursor is closed."""


class DatabaseError(Error):
    """Base of those that concern the database."""


class DataError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class OperationalError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class IntegrityError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class InternalError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class ProgrammingError(DatabaseError):
    """Rows were fetched where there are none."""


class NotSupportedError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


def connect(guard: Guard, *, tool: str = "dbapi") -> Connection:
    """Returns a connection that runs everything through a guard.

    Args:
        guard: The guard; a session must be active when a statement is executed.
        tool: The name under which statements are recorded.
    """
    return Connection(guard, tool)


class Connection:
    """Makes cursors. Holds no transaction: each write is committed, with its ledger entries, when `execute` returns."""

    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    ProgrammingError = ProgrammingError

    def __init__(self, guard: Guard, tool: str) -> None:
        self._guard = guard
        self._tool = tool
        self._is_closed = False

    def cursor(self) -> Cursor:
        """Returns a new cursor.

        Raises:
            InterfaceError: The connection is closed.
        """
        self._require_open()
        return Cursor(self)

    def commit(self) -> None:
        """Does nothing: each write is a transaction of its own."""
        self._require_open()

    def rollback(self) -> None:
        """Does nothing, and takes nothing back: each write is a transaction of its own."""
        self._require_open()

    def close(self) -> None:
        """Closes this connection and its cursors; the guard stays open."""
        self._is_closed = True

    def run(self, sql: str, params: Params) -> Result:
        """Runs one statement; raises as `Guard.execute`."""
        self._require_open()
        return self._guard.execute(sql, params, tool=self._tool)

    def _require_open(self) -> None:
        if self._is_closed:
            raise InterfaceError("The connection is closed.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Cursor:
    """Runs statements and holds the rows of the last one.

    Attributes:
        arraysize: How many rows `fetchmany` fetches unless told.
        result: The guard's result of the last statement, with its receipt and decision; None before the first.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.result: Result | None = None
        self._rows: Iterator[Row] = iter(())
        self._is_closed = False

    @property
    def description(self) -> tuple[Description, ...] | None:
        """The columns by name; None after a statement without rows."""
        columns = self.result.columns if self.result else ()
        return tuple((name, None, None, None, None, None, None) for name in columns) or None

    @property
    def rowcount(self) -> int:
        """Rows of a query, rows changed by a write; -1 before the first statement."""
        if self.result is None:
            return -1
        access = self.result.decision.access
        return len(self.result.rows) if access and access.is_read_only else self.result.rows_changed

    @property
    def lastrowid(self) -> None:
        """Not known; use RETURNING."""
        return

    def execute(self, operation: str, parameters: Mapping[str, Value] | Sequence[Value] | None = None) -> Self:
        """Judges, records and runs one statement.

        Args:
            operation: The SQL.
            parameters: Values by name or by position.

        Raises:
            GuardrailsError: As `Guard.execute`.
            InterfaceError: The cursor or connection is closed.
        """
        self._require_open()
        # A statement that fails leaves no rows of the one before.
        self.result, self._rows = None, iter(())
        self.result = self.connection.run(operation, _params(parameters))
        self._rows = iter(self.result.rows)
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Mapping[str, Value] | Sequence[Value]]) -> Self:
        """Runs a statement for each set of values, each in a transaction of its own; the first failure ends it."""
        for parameters in seq_of_parameters:
            self.execute(operation, parameters)
        return self

    def fetchone(self) -> Row | None:
        """Returns the next row, None after the last."""
        self._require_rows()
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Returns the next rows, `arraysize` of them unless told."""
        self._require_rows()
        wanted = self.arraysize if size is None else size
        return [row for _, row in zip(range(wanted), self._rows, strict=False)]

    def fetchall(self) -> list[Row]:
        """Returns all rows that are left."""
        self._require_rows()
        return list(self._rows)

    def setinputsizes(self, sizes: object) -> None:
        """Does nothing; PEP 249 asks for it."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing; PEP 249 asks for it."""

    def close(self) -> None:
        """Drops the rows and closes the cursor."""
        self._is_closed, self._rows = True, iter(())

    def __iter__(self) -> Iterator[Row]:
        self._require_rows()
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise InterfaceError("The cursor is closed.")

    def _require_rows(self) -> None:
        self._require_open()
        if self.result is None or not self.result.columns:
            raise ProgrammingError("There are no rows to fetch: the last statement returned none.")


def _params(parameters: Any) -> Params:
    if parameters is None:
        return {}
    if isinstance(parameters, Mapping):
        return parameters
    values = list(parameters)
    # An empty sequence says as little as none.
    return values or {}
