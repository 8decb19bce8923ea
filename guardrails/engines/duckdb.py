"""DuckDB: one transaction a plan, on a connection without files, network, extensions, variables, and settings that anybody may change.

Reads run in a READ ONLY transaction, which still lets temporary relations, ATTACH and settings of the session through: each plan has a
connection of its own, its text is one statement of the kind that was judged by DuckDB's own parser, and no macro stands in the
place of a built-in function. A clock beside it interrupts what takes too long.
Source: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import duckdb

from guardrails.catalog import duckdb_digest, read_duckdb, shadowing_macros
from guardrails.engines.base import RowCollector, require_rehearsable
from guardrails.engines.duckdb_failures import duckdb_failure
from guardrails.engines.interrupting import interruptible
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, DialectName, Execution, Plan, Row, Value
from guardrails.sql.duckdb_parser import LOCKED
from guardrails.sql.lexemes import lexemes_of

__all__ = ["DuckdbEngine", "plain_value"]

_ROWS_AT_ONCE = 100
_FIRST_WORDS = frozenset({"(", "SELECT", "VALUES", "WITH", "INSERT", "UPDATE", "DELETE"})
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE"})
_MACROS_SECONDS = 1.0
_KINDS = {
    "select": duckdb.StatementType.SELECT,
    "insert": duckdb.StatementType.INSERT,
    "update": duckdb.StatementType.UPDATE,
    "delete": duckdb.StatementType.DELETE,
}
_DRIVER_ERRORS = (duckdb.Error, OverflowError, UnicodeError, RuntimeError)


class DuckdbEngine:
    """A DuckDB file as an engine (see `guardrails.engines.base.Engine`).

    Args:
        name: Label for the ledger.
        path: The file.
        is_read_only: Opens it for reading alone, so that other processes may read it too.
        settings: DuckDB's `threads` and `memory_limit`, where they are not to be the engine's own.
    """

    dialect: DialectName = "duckdb"

    def __init__(self, name: str, path: Path, *, is_read_only: bool, settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._catalog: Catalog | None = None
        self._macros_read_at = -_MACROS_SECONDS
        self._path = path
        self._is_read_only = is_read_only
        self._settings = dict(settings or {})
        self._root = self._connected()

    def checked(self) -> DuckdbEngine:
        """Returns itself once the database has answered.

        Raises:
            UsageError: It does not (``usage.database_unreachable``).
        """
        try:
            self.catalog()
        except EngineError as error:
            raise UsageError(
                "usage.database_unreachable", "The DuckDB file cannot be read.", evidence=error.evidence
            ) from error
        return self

    def catalog(self) -> Catalog:
        """Returns the schema as it is now; cached as long as its digest stays the same."""
        with self._lend() as connection, _transaction(connection, is_read_only=True):
            self._check_macros(connection)
            known = self._catalog
            if known is None or known.version != duckdb_digest(connection):
                known = read_duckdb(connection)
        self._catalog = known
        return known

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down."""
        return self._perform(plan, is_rehearsal=False)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and rolls back; no other change of this engine runs meanwhile."""
        require_rehearsable(plan)
        rehearsed = self._perform(plan, is_rehearsal=True)
        changed = tuple(sorted({u.relation for u in plan.relations if u.action != "select"}))
        # One statement changes one relation: there are no triggers, and foreign keys change nothing.
        return replace(rehearsed, changed_by=tuple((relation, rehearsed.rows_changed) for relation in changed))

    def _perform(self, plan: Plan, *, is_rehearsal: bool) -> Execution:
        if plan.dialect != self.dialect:
            raise UsageError("usage.bug", "The plan is for another engine.")
        started = time.perf_counter()
        self._check(plan)
        with self._turn(plan, started), self._lend() as connection:
            clock = threading.Timer(plan.limits.seconds, connection.interrupt)
            clock.daemon = True
            clock.start()
            try:
                with _transaction(connection, is_read_only=plan.is_read_only, is_kept=not (plan.is_read_only or is_rehearsal)):
                    self._check_macros(connection)
                    if plan.catalog_version and duckdb_digest(connection) != plan.catalog_version:
                        raise EngineError("engine.schema_changed", "The schema changed since the statement was judged.")
                    with interruptible(connection.interrupt) if plan.is_read_only else nullcontext():
                        columns, collected, changed = _run(connection, plan)
                    # Past here the commit must go through.
                    clock.cancel()
            finally:
                clock.cancel()
        duration_ms = (time.perf_counter() - started) * 1000
        return Execution(columns, tuple(collected.rows), changed, collected.is_truncated, duration_ms)

    @contextmanager
    def _turn(self, plan: Plan, started: float) -> Iterator[None]:
        """Lets changes take turns: of two at once that meet in a row DuckDB fails the later, though the other be a rehearsal."""
        if plan.is_read_only:
            yield
            return
        if not self._changing.acquire(timeout=max(0.0, started + plan.limits.seconds - time.perf_counter())):
            raise EngineError("engine.timeout", "The data was locked by others for too long.")
        try:
            yield
        finally:
            self._changing.release()

    def dispose(self) -> None:
        """Closes what this engine opened itself."""
        self._root.close()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, str | bool | int | float | list[str]] = {**self._settings, **LOCKED, "lock_configuration": "true"}
        try:
            return duckdb.connect(str(self._path), read_only=self._is_read_only, config=config)
        except duckdb.Error as error:
            raise UsageError(
                "usage.database_unreachable", "The DuckDB file cannot be opened.", evidence={"engine_text": str(error)}
            ) from error

    def _check(self, plan: Plan) -> None:
        """DuckDB's own parser has the last word on the text."""
        try:
            statements = duckdb.extract_statements(plan.sql)
        except duckdb.Error as error:
            raise duckdb_failure(error) from error
        allowed = {_KINDS[a] for a in plan.actions if a in _KINDS} if not plan.is_explain else {duckdb.StatementType.EXPLAIN}
        if not plan.is_read_only and _holds_several_changes(plan):
            message = "DuckDB does not tell how many rows the changes inside a WITH clause change."
            raise EngineError("engine.refused", message, hint="Make one change in one statement.")
        is_one = len(statements) == 1 and statements[0].type in allowed
        # DESCRIBE and SUMMARIZE are queries to the engine.
        if not is_one or not (plan.is_explain or lexemes_of(plan.sql, "duckdb")[0].text.upper() in _FIRST_WORDS):
            raise EngineError("engine.refused", "The engine takes the text for another kind of statement.")

    def _check_macros(self, connection: duckdb.DuckDBPyConnection) -> None:
        """A macro may stand in the place of any built-in function, and even of `+`; looked for once a second."""
        now = time.monotonic()
        if now < self._macros_read_at + _MACROS_SECONDS:
            return
        if found := shadowing_macros(connection):
            raise EngineError(
                "engine.refused",
                "A macro has the name of a built-in function, so that no statement means what it says.",
                hint="An administrator must drop or rename it.",
                evidence={"macros": found[:20]},
            )
        self._macros_read_at = now

    @contextmanager
    def _lend(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lends a connection of its own, so that nothing temporary outlives a plan."""
        try:
            with self._lock:
                connection = self._root.cursor()
            try:
                yield connection
            finally:
                connection.close()
        except _DRIVER_ERRORS as error:
            if isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
                self._restart()
            raise duckdb_failure(error) from error

    def _restart(self) -> None:
        """After a fatal error DuckDB takes nothing more until the file is opened again; what was committed is in it."""
        with self._lock:
            self._root.close()
            self._root = self._connected()


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection, *, is_read_only: bool, is_kept: bool = False) -> Iterator[None]:
    """Begins, and commits at the end what is to be kept; rolls back everything else."""
    connection.execute("BEGIN TRANSACTION READ ONLY" if is_read_only else "BEGIN TRANSACTION")
    is_open = True
    try:
        yield
        if is_kept:
            is_open = False
            connection.execute("COMMIT")
    finally:
        if is_open:
            connection.execute("ROLLBACK")


def _run(connection: duckdb.DuckDBPyConnection, plan: Plan) -> tuple[tuple[str, ...], RowCollector, int]:
    collected = RowCollector(plan.limits)
    returns = plan.is_read_only or plan.is_explain or _is_returning(plan)
    cursor = connection.execute(plan.sql, dict(plan.params)) if plan.params else connection.execute(plan.sql)
    columns = tuple(d[0] for d in cursor.description or ()) if returns else ()
    changed, is_full = 0, False
    for rows in iter(partial(cursor.fetchmany, _ROWS_AT_ONCE), []):
        if not returns:
            changed += sum(int(r[0]) for r in rows)
            continue
        changed += 0 if plan.is_read_only else len(rows)
        if not is_full and not collected.take(_plain_rows(rows)):
            is_full = True
            if plan.is_read_only:
                break
    if changed > plan.limits.rows_changed and not plan.is_read_only:
        raise EngineError(
            "engine.too_many_rows_changed",
            f"More than {plan.limits.rows_changed} rows would change; nothing was changed.",
            evidence={"rows": changed},
        )
    return columns, collected, changed


def _holds_several_changes(plan: Plan) -> bool:
    """Whether a change stands anywhere but at the statement's own beginning, behind which its number of rows would hide."""
    depth = 0
    for lexeme in lexemes_of(plan.sql, "duckdb"):
        if lexeme.kind == "sign":
            depth += (lexeme.text == "(") - (lexeme.text == ")")
        elif depth and lexeme.kind == "word" and lexeme.text.upper() in _CHANGES:
            return True
    return False


def _is_returning(plan: Plan) -> bool:
    return any(x.kind == "word" and x.text.upper() == "RETURNING" for x in lexemes_of(plan.sql, "duckdb"))


def _plain_rows(rows: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    for row in rows:
        yield tuple(plain_value(value) for value in row)


def plain_value(value: Any) -> Value:
    """Structs and maps become mappings with text for keys, rows and arrays lists."""
    match value:
        case Mapping():
            return {k if isinstance(k, str) else str(k): plain_value(v) for k, v in value.items()}
        case list() | tuple():
            return [plain_value(v) for v in value]
        case bytearray() | memoryview():
            return bytes(value)
        case _:
            return cast("Value", value)
