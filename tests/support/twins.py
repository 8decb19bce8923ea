"""Twin databases: the corpus schema twice, differing in protected columns only, behind the library's own engines."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import psycopg
import pymysql
import sqlalchemy as sa

from guardrails.engines import Engine, open_engine
from guardrails.engines.duckdb import plain_value
from guardrails.errors import EngineError, GuardrailsError
from guardrails.masking import mask_expression
from guardrails.model import (
    Catalog,
    Column,
    ColumnRef,
    Limits,
    Mask,
    MaskExpression,
    Obligations,
    Plan,
    RowFilter,
    Statement,
)
from guardrails.sql import parse, resolve, rewrite
from guardrails.sql.barriers import Placements
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.corpus import PROTECTED, rows, statements
from tests.support.mysql import SETTLED_TIES, connect, run

KEY = b"k" * 32
LIMITS = Limits(rows=100_000, seconds=20)
MASKED = Obligations(masks=tuple(Mask(ColumnRef(t, c), "full") for t, names in PROTECTED.items() for c in names), limits=LIMITS)
"""Value-independent masks on every protected column: nothing of them may show, in values, order, counts or errors."""
FILTERED = Obligations(
    masks=MASKED.masks,
    row_filters=(RowFilter("customers", "region = principal.region", (("region", "EU"),)),),
    limits=LIMITS,
)
_HIDING: dict[str, tuple[str, tuple[tuple[str, str | int], ...]]] = {
    "email": ("partial", (("nulls", "hide"),)),
    "ssn": ("partial", (("nulls", "hide"),)),
    "credit": ("bucket", (("nulls", "hide"), ("size", 10**6))),
    "salary": ("bucket", (("nulls", "hide"), ("size", 10**6))),
}
HIDING = Obligations(
    masks=tuple(Mask(ColumnRef(t, c), *_HIDING[c]) for t, names in PROTECTED.items() for c in names), limits=LIMITS
)
"""Masks that keep NULL by themselves, with options under which every value and every NULL of the corpus comes out alike."""
ROWS_ONLY = Obligations(row_filters=FILTERED.row_filters, limits=LIMITS)
PLAIN = Obligations(limits=LIMITS)

Answer = tuple[object, ...]
_CATALOGS: dict[str, Catalog] = {}
_SCHEMAS: dict[str, int] = {}
_PLANS: dict[tuple[object, ...], tuple[Plan, object]] = {}
_KEPT_PLANS = 2_000


def fill_sqlite(path: Path, secret: int) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements():
            connection.execute(statement)
        for table, row in rows(secret):
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()
    return f"sqlite:///{path}"


def fill_postgres(url: str, secret: int) -> str:
    with psycopg.connect(url) as connection:
        for statement in statements():
            connection.execute(statement)
        for table, row in rows(secret):
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return url


def fill_duckdb(path: Path, secret: int) -> str:
    with closing(duckdb.connect(str(path))) as connection:
        for statement in statements():
            connection.execute(statement)
        for table, row in rows(secret):
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row))
    # With one thread, rows come in the same order each time.
    return f"duckdb:///{path}?threads=1"


def fill_mysql(url: str, secret: int) -> str:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements("mysql"):
            cursor.execute(statement)
        for table, row in rows(secret):
            cursor.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
        cursor.execute("ANALYZE TABLE customers, orders, employees")
    return url


CHANGE_HIDDEN = (
    "UPDATE customers SET name = name || 'q', credit = 77, email = 'h' || id WHERE region <> 'EU'",
    "DELETE FROM customers WHERE region <> 'EU' AND id % 2 = 0",
)
"""Changes rows that the filter on region hides, in every way."""


def change_hidden(url: str) -> str:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in CHANGE_HIDDEN:
                connection.execute(statement)
            connection.commit()
    elif url.startswith("duckdb"):
        with closing(duckdb.connect(url.removeprefix("duckdb:///").partition("?")[0])) as changing:
            for statement in CHANGE_HIDDEN:
                changing.execute(statement)
    elif url.startswith("mysql"):
        run(url, "SET sql_mode = 'PIPES_AS_CONCAT'", *CHANGE_HIDDEN)
    else:
        with psycopg.connect(url) as connection:
            for statement in CHANGE_HIDDEN:
                connection.execute(statement.encode())
    return url


@dataclass(frozen=True)
class Database:
    """One twin: our engine, and the raw one for comparison."""

    engine: Engine
    url: str
    placements: Placements | None = None

    @property
    def dialect(self) -> str:
        return self.engine.dialect

    def catalog(self) -> Catalog:
        """The catalog as it was at first: the schema of twins does not change, and the engine checks that when it runs a plan."""
        if self.url not in _CATALOGS:
            _CATALOGS[self.url] = self.engine.catalog()
        return _CATALOGS[self.url]

    def raw(self, sql: str) -> Answer:
        """Runs the text as it is, without any guard: columns and rows, or the fact that it fails."""
        if self.dialect == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                try:
                    cursor = connection.execute(sql)
                    return tuple(d[0] for d in cursor.description or ()), tuple(cursor.fetchall())
                except sqlite3.Error as error:
                    return ("error", str(error))
        if self.dialect == "duckdb":
            path = self.url.removeprefix("duckdb:///").partition("?")[0]
            settings = {**LOCKED, "lock_configuration": "true", "threads": "1"}
            with closing(duckdb.connect(path, config=settings)) as asking:
                try:
                    # Never committed: the driver takes several statements in one text.
                    asking.begin()
                    found = asking.execute(sql)
                    return tuple(d[0] for d in found.description or ()), tuple(
                        tuple(plain_value(v) for v in r) for r in found.fetchall()
                    )
                except duckdb.Error as error:
                    return ("error", str(error))
        if self.dialect == "mysql":
            with closing(connect(self.url, SETTLED_TIES)) as plain, plain.cursor() as reader:
                try:
                    reader.execute(sql)
                    return tuple(d[0] for d in reader.description or ()), tuple(reader.fetchall())
                except pymysql.MySQLError as error:
                    return ("error", str(error))
        with psycopg.connect(self.url) as connection, psycopg.RawCursor(connection) as cursor:
            try:
                cursor.execute(sql.encode())
                return tuple(d.name for d in cursor.description or ()), tuple(cursor.fetchall())
            except psycopg.Error as error:
                return ("error", str(error).splitlines()[0])
            finally:
                connection.rollback()

    def plan(self, sql: str, obligations: Obligations = PLAIN) -> Plan:
        """The guard's plan for a statement, as `guardrails.flow.judge` makes it after a permit.

        It depends on the statement, the obligations and the schema alone, so that twins with one schema share it.
        """
        key = (self._schema(), sql, repr(obligations), id(self.placements))  # an obligation may bind lists, which have no hash
        if key not in _PLANS:
            while len(_PLANS) >= _KEPT_PLANS:
                del _PLANS[next(iter(_PLANS))]
            # Beside the plan stands what its key names by address, which so is of nothing else meanwhile.
            _PLANS[key] = (self._made(sql, obligations), self.placements)
        return replace(_PLANS[key][0], catalog_version=self.catalog().version)

    def _schema(self) -> int:
        """A number that databases have in common whose catalogs differ in nothing but their version."""
        if self.url not in _SCHEMAS:
            plain = replace(self.catalog(), version="")
            alike = (n for url, n in _SCHEMAS.items() if replace(_CATALOGS[url], version="") == plain)
            _SCHEMAS[self.url] = next(alike, len(_SCHEMAS))
        return _SCHEMAS[self.url]

    def _made(self, sql: str, obligations: Obligations) -> Plan:
        catalog = self.catalog()
        resolved = resolve(parse(Statement(sql, {}, self.engine.dialect)), catalog)
        rewritten = rewrite(resolved, obligations, catalog, self.mask, placements=self.placements)
        access = resolved.access
        return Plan(
            rewritten.sql, rewritten.params, self.engine.dialect, access.actions, access.relations, rewritten.reads,
            access.writes, obligations.limits, catalog.version, is_explain=access.kind == "explain", settings=rewritten.settings,
            index_use=rewritten.index_use, is_grouped_by_sorting=rewritten.is_grouped_by_sorting,
        )  # fmt: skip

    def mask(self, mask: Mask, column: Column) -> MaskExpression:
        return mask_expression(mask, column, self.engine.dialect, KEY)

    def run(self, plan: Plan) -> Answer:
        """Runs a plan under lock-down: columns and rows, the rows before a limit, or the code and class of the failure."""
        try:
            execution = self.engine.execute(plan)
        except EngineError as error:
            return ("error", error.code, error.message)
        return (execution.columns, execution.rows) if not execution.is_truncated else ("truncated", *execution.rows)

    def guarded(self, sql: str, obligations: Obligations = PLAIN) -> Answer:
        """Plans and runs; a refusal of the SQL layer is an answer too."""
        try:
            plan = self.plan(sql, obligations)
        except GuardrailsError as error:
            return ("refused", error.code, error.message)
        return self.run(plan)


def engine_of(url: str) -> Engine:
    """Opens our engine; on MariaDB over a pool of which every session decides between equals in the same way."""
    if not url.startswith("mysql"):
        return open_engine(url)
    arguments = {"charset": "utf8mb4", "init_command": SETTLED_TIES}
    return open_engine(sa.create_engine(url.replace("mysql:", "mysql+pymysql:"), connect_args=arguments))


def open_twins(urls: Sequence[str]) -> tuple[Database, Database]:
    one, two = (Database(engine_of(url), url) for url in urls)
    return one, two
