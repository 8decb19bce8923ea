"""A guard as a database driver (PEP 249), for code that runs its own SQL: every statement goes through the guard.

Changes are kept by `commit` and taken back by `rollback` on SQLite, PostgreSQL and MariaDB. On DuckDB each change is committed when it
returns, and a `rollback` after one is refused aloud (`usage.no_rollback`). Refusals are not translated: `Denied`, `ApprovalRequired` and
the like are raised as they are, so that one handler serves every way in; the errors defined here are those of using the driver wrongly.
A violated constraint, which programs expect and handle, is both a `ConstraintError` and an `IntegrityError`.
What a driver offers beside PEP 249 and would pass the guard by (scripts, COPY, backups, functions of the application's) is refused.
"""

from __future__ import annotations

import sqlite3
import warnings
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from itertools import islice
from types import TracebackType
from typing import NoReturn, Self, TypeAlias

from guardrails.adapters.executor import Executor
from guardrails.adapters.styles import Parameters, as_written
from guardrails.errors import ConstraintError, UsageError
from guardrails.model import DialectName, Params, Result, Row
from guardrails.transactions import Transaction

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
    "NotOffered",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "TruncationWarning",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "sqlite_version_info",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2
"""Threads may share the module and connections, not cursors."""
paramstyle = "named"
"""`:name` with a mapping, but `$name` on DuckDB. With a sequence `?` on SQLite, MariaDB and DuckDB, `$1` on PostgreSQL and DuckDB. What was
written for psycopg or PyMySQL (`%s`, `%(name)s`) works as well."""

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
    """A constraint would be violated. What is raised is a `guardrails.errors.ConstraintError` too."""


class InternalError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class ProgrammingError(DatabaseError):
    """Rows were fetched where there are none."""


class NotSupportedError(DatabaseError):
    """Never raised; PEP 249 asks for it."""


class _Violated(ConstraintError, IntegrityError):
    """Both at once."""


class NotOffered(UsageError, AttributeError):
    """The guard's driver does not have this, on purpose or because no driver has it."""


class TruncationWarning(UserWarning):
    """A limit of the policy cut a result off."""


def connect(guard: Executor, *, tool: str = "dbapi", tool_call_id: str | None = None, autocommit: bool = False) -> Connection:
    """Returns a connection that runs everything through a guard.

    Args:
        guard: The guard; a session must be active when a statement is executed.
        tool: The name under which statements are recorded.
        tool_call_id: An agent framework's id of the call that they belong to, for the ledger.
        autocommit: Each change is committed when it returns.
    """
    return Connection(guard, tool, tool_call_id, autocommit=autocommit)


class Connection:
    """Makes cursors, and keeps or takes back what they change.

    As a context manager it commits, or rolls back after an error, and closes.
    """

    __slots__ = ("__weakref__", "_autocommit", "_guard", "_is_closed", "_tool", "_tool_call_id", "_transaction", "_written")

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, guard: Executor, tool: str, tool_call_id: str | None = None, *, autocommit: bool = False) -> None:
        self._guard = guard
        self._tool = tool
        self._tool_call_id = tool_call_id
        self._transaction = guard.begin()
        if self._transaction is not None:
            # Nobody can commit any more on a connection that is gone.
            weakref.finalize(self, self._transaction.let_go).atexit = False
        self._autocommit = autocommit
        self._written = 0
        self._is_closed = False

    @property
    def dialect(self) -> DialectName:
        """Whose SQL it speaks."""
        return self._guard.database.dialect

    @property
    def autocommit(self) -> bool:
        """Whether each change is committed when it returns."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if self._has_changes and value != self._autocommit:
            raise ProgrammingError("Changes are neither committed nor rolled back yet.")
        self._autocommit = value

    def cursor(self) -> Cursor:
        """Returns a new cursor.

        Raises:
            InterfaceError: The connection is closed.
        """
        self._require_open()
        return Cursor(self)

    def execute(self, operation: str, parameters: Parameters | None = None) -> Cursor:
        """Executes a statement on a new cursor, and returns that."""
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        """Keeps what was changed.

        Raises:
            EngineError: The database could not; also an `IntegrityError` where a deferred constraint would be violated.
        """
        self._require_open()
        self._written = 0
        if self._transaction is not None:
            with _violations():
                self._transaction.commit()

    def rollback(self) -> None:
        """Takes back what was changed since the last commit.

        Raises:
            UsageError: The engine has committed it already (usage.no_rollback).
        """
        self._require_open()
        self._take_back()

    def save(self, name: str) -> None:
        """Sets a savepoint."""
        self._savepoints().save(name)

    def roll_back_to(self, name: str) -> None:
        """Takes back everything since a savepoint."""
        self._savepoints().roll_back_to(name)

    def release(self, name: str) -> None:
        """Lets go of a savepoint."""
        self._savepoints().release(name)

    def close(self) -> None:
        """Rolls back, and closes this connection and its cursors; the guard stays open."""
        if not self._is_closed:
            self._is_closed = True
            self._take_back()

    def run(self, sql: str, params: Params, *, tool: str | None = None, tool_call_id: str | None = None) -> Result:
        """Runs one statement; raises as `Guard.execute`."""
        self._require_open()
        with _violations():
            result = self._guard.execute(
                sql,
                params,
                tool=tool or self._tool,
                tool_call_id=tool_call_id or self._tool_call_id,
                transaction=None if self._autocommit else self._transaction,
            )
        access = result.decision.access
        if self._transaction is None and not self._autocommit and (access is None or not access.is_read_only):
            self._written += 1
        if result.is_truncated:
            warnings.warn("A limit of the policy cut the result off.", TruncationWarning, stacklevel=4)
        return result

    @property
    def _has_changes(self) -> bool:
        return bool(self._written) or (self._transaction is not None and self._transaction.is_begun)

    def _take_back(self) -> None:
        written, self._written = self._written, 0
        if self._transaction is not None:
            self._transaction.roll_back()
        elif written:
            raise UsageError("usage.no_rollback", f"Statements that changed something are committed already: {written}.")

    def _savepoints(self) -> Transaction:
        self._require_open()
        if self._transaction is None or self._autocommit:
            raise UsageError("usage.no_rollback", "There are no savepoints where each change is committed by itself.")
        return self._transaction

    def _require_open(self) -> None:
        if self._is_closed:
            raise InterfaceError("The connection is closed.")

    def __getattr__(self, name: str) -> NoReturn:
        raise _not_offered("connection", name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and not self._is_closed:
                self.commit()
        finally:
            self.close()


class Cursor:
    """Runs statements and holds the rows of the last one.

    Attributes:
        arraysize: How many rows `fetchmany` fetches unless told.
        result: The guard's result of the last statement, with its receipt and decision; None before the first.
    """

    __slots__ = ("__weakref__", "_changed", "_is_closed", "_rows", "arraysize", "connection", "result")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.result: Result | None = None
        self._rows: Iterator[Row] = iter(())
        self._changed: int | None = None
        self._is_closed = False

    @property
    def description(self) -> tuple[Description, ...] | None:
        """The columns by name; None after a statement without rows."""
        columns = self.result.columns if self.result else ()
        return tuple((name, None, None, None, None, None, None) for name in columns) or None

    @property
    def rowcount(self) -> int:
        """Rows of a query, rows changed by a write (by all of them after `executemany`); -1 before the first statement."""
        if self._changed is not None:
            return self._changed
        return -1 if self.result is None else _rows_of(self.result)

    @property
    def lastrowid(self) -> None:
        """Not known; use RETURNING."""
        return

    def execute(self, operation: str, parameters: Parameters | None = None) -> Self:
        """Judges, records and runs one statement.

        Args:
            operation: The SQL, with the guard's placeholders or those of the engine's usual driver.
            parameters: Values by name or by position.

        Raises:
            GuardrailsError: As `Guard.execute`; also an `IntegrityError` where a constraint would be violated.
            InterfaceError: The cursor or connection is closed.
        """
        return self.run(*as_written(self.connection.dialect, operation, parameters))

    def run(self, sql: str, params: Params, *, tool: str | None = None, tool_call_id: str | None = None) -> Self:
        """As `execute`, with placeholders of the guard's alone; `tool` and `tool_call_id` stand in place of the connection's."""
        self._require_open()
        # A statement that fails leaves no rows of the one before.
        self.result, self._rows, self._changed = None, iter(()), None
        self.result = self.connection.run(sql, params, tool=tool, tool_call_id=tool_call_id)
        self._rows = iter(self.result.rows)
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters]) -> Self:
        """Runs a statement for each set of values; the first failure ends it. The rows that they return are not kept."""
        changed = 0
        for parameters in seq_of_parameters:
            self.execute(operation, parameters)
            changed += max(self.rowcount, 0)
        self.count(changed)
        return self

    def count(self, changed: int) -> None:
        """Says how many rows several executions changed together, whose rows are not kept."""
        self._rows, self._changed = iter(()), changed

    def nextset(self) -> None:
        """There is one set of rows, always."""
        self._require_open()

    def fetchone(self) -> Row | None:
        """Returns the next row, None after the last."""
        self._require_rows()
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Returns the next rows, `arraysize` of them unless told."""
        self._require_rows()
        return list(islice(self._rows, self.arraysize if size is None else size))

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

    def __getattr__(self, name: str) -> NoReturn:
        raise _not_offered("cursor", name)

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


@contextmanager
def _violations() -> Iterator[None]:
    try:
        yield
    except ConstraintError as error:
        raise _Violated(error.code, error.message, hint=error.hint, evidence=error.evidence) from error


def _rows_of(result: Result) -> int:
    access = result.decision.access
    return len(result.rows) if access and access.is_read_only else result.rows_changed


def _not_offered(what: str, name: str) -> NotOffered:
    return NotOffered("usage.not_guarded", f"A guarded {what} has no {name[:60]!r}.")
