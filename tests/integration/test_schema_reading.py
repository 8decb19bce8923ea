"""Reading the schema through the guard: as the engine answers, for what the principal may read, and as if nothing else were there."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import psycopg
import pymysql
import pytest
from sqlalchemy.engine import make_url

from guardrails import Guard, Policy, Principal
from guardrails.catalog import from_ddl
from guardrails.errors import GuardrailsError
from guardrails.model import ColumnRef, Result, Statement
from guardrails.sql import dialect_name, parse, resolve
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.schema_reading import ASKING, EXTRA, HIDDEN_LAST, LISTS, REFUSED, SAME_AS_THE_ENGINE, SHARED

Make = Callable[[str], str]
"""Makes a database from DDL and returns its URL."""

_EVERYTHING = 'version: 1\nrules: [{id: all, effect: allow, actions: [select], relations: ["*"]}]'
_SOME = """
version: 1
rules:
  - {id: some, effect: allow, actions: [select], columns: [customers.id, customers.name, "customers.Mixed*"]}
  - {id: rest, effect: approve, actions: [select], relations: [order, names]}
  - {id: never, effect: deny, actions: [select], relations: ["order"], principals: {groups: [none]}}
"""
_MASKED = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers, names, payroll, salaries]}
  - {id: no-salaries, effect: deny, actions: [select], relations: [salaries]}
columns:
  customers.name: {mask: full}
  customers.ssn: {mask: deny}
"""
_ANA = Principal("ana@example.com", frozenset({"support"}))


def _sqlite(folder: Path) -> Make:
    def make(ddl: str) -> str:
        path = folder / f"{len(list(folder.iterdir()))}.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(ddl)
        return f"sqlite:///{path}"

    return make


def _postgres(new: Callable[[], str]) -> Make:
    def make(ddl: str) -> str:
        url = new()
        with psycopg.connect(url) as connection:
            connection.execute(ddl)
        return url

    return make


def _duckdb(folder: Path) -> Make:
    def make(ddl: str) -> str:
        path = folder / f"{uuid.uuid4().hex[:12]}.duckdb"
        with closing(duckdb.connect(str(path))) as connection:
            connection.execute(ddl)
        return f"duckdb:///{path}"

    return make


def _mysql(new: Callable[[], str]) -> Make:
    def make(ddl: str) -> str:
        url = new()
        _run_mysql(url, ddl.replace('"', "`"))
        return url

    return make


def _run_mysql(url: str, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Runs one or more statements; returns the last result."""
    target = make_url(url)
    with closing(
        pymysql.connect(
            host=target.host, port=target.port or 3306, user=target.username, database=target.database,
            charset="utf8mb4", autocommit=True, client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute(sql)
        while cursor.nextset():
            pass
        return [d[0] for d in cursor.description or ()], list(cursor.fetchall())


@pytest.fixture(params=["sqlite", "postgres", "mysql", "duckdb"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    if dialect == "sqlite":
        folder = tmp_path / "databases"
        folder.mkdir()
        yield _sqlite(folder)
    elif dialect == "duckdb":
        yield _duckdb(tmp_path)
    elif dialect == "postgres":
        yield _postgres(request.getfixturevalue("new_postgres"))
    else:
        yield _mysql(request.getfixturevalue("new_mariadb_now"))


@contextmanager
def _guarded(url: str, policy: str, folder: Path) -> Iterator[Guard]:
    ledger = f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(Policy.from_text(policy), database=url, ledger=ledger) as guard, guard.session(principal=_ANA):
        yield guard


def _asked(url: str, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """What the engine itself says."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            cursor = connection.execute(sql)
            return [d[0] for d in cursor.description], cursor.fetchall()
    if url.startswith("mysql"):
        return _run_mysql(url, sql)
    if url.startswith("duckdb"):
        settings = {**LOCKED, "lock_configuration": "true"}
        with closing(duckdb.connect(url.removeprefix("duckdb:///"), config=settings)) as asking:
            answer = asking.execute(sql)
            return [d[0] for d in answer.description or ()], answer.fetchall()
    with psycopg.connect(url) as connection:
        found = connection.execute(sql)
        return [d.name for d in found.description or ()], found.fetchall()


def _code(guard: Guard, sql: str) -> str:
    with pytest.raises(GuardrailsError) as caught:
        guard.execute(sql)
    return caught.value.code


def _names(result: Result) -> list[object]:
    return [row[0] for row in result.rows]


def test_who_may_read_everything_sees_what_the_engine_says(dialect: str, make: Make, tmp_path: Path) -> None:
    url = make(SHARED + EXTRA[dialect])
    with _guarded(url, _EVERYTHING, tmp_path) as guard:
        for sql in SAME_AS_THE_ENGINE[dialect]:
            result = guard.execute(sql)
            assert (list(result.columns), list(result.rows)) == _asked(url, sql), sql


def _outcome(guard: Guard, sql: str) -> object:
    try:
        result = guard.execute(sql)
    except GuardrailsError as error:
        return error.code, error.message, error.hint
    # The database's own name is in every row of the information schema.
    catalogs = [i for i, name in enumerate(result.columns) if name == "table_catalog" or name == "catalog_name"]
    rows = [tuple(v for i, v in enumerate(row) if i not in catalogs) for row in result.rows]
    return str((result.columns, rows)).replace(guard.database.name.rpartition("/")[2], "")


def test_who_may_read_some_sees_it_as_if_nothing_else_were_there(dialect: str, make: Make, tmp_path: Path) -> None:
    with_hidden, without = make(SHARED), make(SHARED + HIDDEN_LAST)
    (tmp_path / "other").mkdir()
    with _guarded(with_hidden, _SOME, tmp_path) as full, _guarded(without, _SOME, tmp_path / "other") as bare:
        outcomes = {sql: (_outcome(full, sql), _outcome(bare, sql)) for sql in ASKING[dialect]}
    for sql, (one, other) in outcomes.items():
        assert one == other, sql
        assert "ssn" not in str(one) or "ssn" in sql, sql
    assert "customers" in str(outcomes[ASKING[dialect][0]])


def test_a_column_that_is_denied_is_not_listed_and_a_masked_one_is(dialect: str, make: Make, tmp_path: Path) -> None:
    tables, columns = LISTS[dialect]
    with _guarded(make(SHARED), _MASKED, tmp_path) as guard:
        # The view `payroll` reads `salaries`, which a rule forbids.
        assert _names(guard.execute(tables)) == ["customers", "names"]
        assert _names(guard.execute(columns.format("customers"))) == ["id", "name", "Mixed Case"]
        assert _names(guard.execute(columns.format("names"))) == ["id", "name"]
        assert guard.execute(columns.format("payroll")).rows == guard.execute(columns.format("salaries")).rows == ()
        if dialect == "mysql":
            ((_, sql),) = guard.execute("SHOW CREATE TABLE customers").rows
            assert "ssn" not in str(sql)
        if dialect == "sqlite":
            (sql,) = guard.execute("SELECT sql FROM sqlite_master WHERE name = 'customers'").rows[0]
            assert "ssn" not in str(sql)
            assert sqlite3.connect(":memory:").execute(str(sql)) is not None


def test_masks_and_rules_hold_beside_the_schema(dialect: str, make: Make, tmp_path: Path) -> None:
    joined = {
        "sqlite": "SELECT c.name, p.name FROM customers c LEFT JOIN pragma_table_info(c.name) p",
    }.get(
        dialect, "SELECT c.name, t.table_name FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name"
    )
    with _guarded(make(SHARED), _MASKED, tmp_path) as guard:
        assert guard.execute(joined).rows == (("***", None), ("***", None))
        if dialect == "sqlite":
            assert guard.execute("SELECT cid FROM pragma_table_info((SELECT max(name) FROM customers))").rows == ()
        quote = "`" if dialect == "mysql" else '"'
        schema = "sqlite_master" if dialect == "sqlite" else "information_schema.tables"
        for sql, code in {
            f"SELECT 1 FROM {schema}, salaries": "policy.denied",
            f"SELECT (SELECT max(ssn) FROM customers) FROM {schema}": "policy.column_denied",
            f"WITH t AS (SELECT * FROM {schema}) SELECT line FROM t, {quote}order{quote}": "policy.no_rule",
            f"INSERT INTO customers (id) SELECT 7 FROM {schema}": "policy.no_rule",
        }.items():
            assert _code(guard, sql) == code, sql


def test_everything_else_about_the_engine_is_refused(dialect: str, make: Make, tmp_path: Path) -> None:
    everything = _EVERYTHING.replace("[select]", "[all]")
    with _guarded(make(SHARED), everything, tmp_path) as guard:
        for sql, code in REFUSED[dialect].items():
            assert _code(guard, sql) == code, sql


def test_a_stored_view_of_the_schema_stays_closed(dialect: str, make: Make, tmp_path: Path) -> None:
    source = "sqlite_master" if dialect == "sqlite" else "information_schema.tables"
    views = f"CREATE VIEW leak AS SELECT * FROM {source};"
    if dialect == "sqlite":
        views += "CREATE VIEW leaking AS SELECT * FROM pragma_table_info('salaries');"
    with _guarded(make(SHARED + views), _EVERYTHING, tmp_path) as guard:
        assert _code(guard, "SELECT * FROM leak") == "sql.view_opaque"
        assert "leak" not in str(guard.execute(LISTS[dialect][0]).rows)
        if dialect == "sqlite":
            assert _code(guard, "SELECT * FROM leaking") == "sql.view_opaque"


def test_what_was_shown_is_recorded(dialect: str, make: Make, tmp_path: Path) -> None:
    sql, kind = {
        "sqlite": ("PRAGMA table_list", "show"),
        "postgres": ("SELECT * FROM information_schema.tables", "select"),
        "mysql": ("SHOW TABLES", "show"),
        "duckdb": ("DESCRIBE customers", "show"),
    }[dialect]
    with _guarded(make(SHARED), _SOME, tmp_path) as guard:
        access = guard.execute(sql).decision.access
        assert access is not None
        assert (access.kind, access.actions, access.relations, access.reads) == (kind, ("select",), (), ())
        assert access.reads_schema
        intent = next(e for e in guard.ledger.entries() if e["type"] == "intent")
        assert (intent["statement"]["kind"], intent["decision"]["visible"]) == (kind, ["customers", "names", "order"])
        assert guard.execute("SELECT id FROM customers").decision.obligations.visible is None


def test_nobody_sees_anything_without_a_rule(dialect: str, make: Make, tmp_path: Path) -> None:
    nobody = _EVERYTHING.replace('["*"]', '["*"], principals: {groups: [none]}')
    with _guarded(make(SHARED), nobody, tmp_path) as guard:
        for sql in (LISTS[dialect][0], LISTS[dialect][1].format("customers")):
            result = guard.execute(sql)
            assert (result.rows, len(result.columns)) == ((), 1)
    forbidden = nobody.replace("rules: [", "rules: [{id: no, effect: deny, actions: [all]}, ")
    with _guarded(make(SHARED), forbidden, tmp_path) as guard:
        assert _code(guard, LISTS[dialect][0]) == "policy.denied"


def test_names_of_any_kind_stay_names(dialect: str, make: Make, tmp_path: Path) -> None:
    names = [
        *("a'b", 'c"d', "e\\'; DROP TABLE customers; --", "/* f", "?1", ":g"),
        *("$1", "gr_rows", "\N{SNOWMAN}", "x\ny", "%s", "column1"),
    ]
    if dialect == "mysql":
        # In its tests `"` becomes the mark of names, and no name of MySQL's may look like a number.
        names.remove('c"d')
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names]
    url = make("".join(f"CREATE TABLE {name} (id INTEGER, {name} TEXT);" for name in quoted))
    with _guarded(url, _EVERYTHING, tmp_path) as guard:
        assert sorted(map(str, _names(guard.execute(LISTS[dialect][0])))) == sorted(names)
        every = {
            "sqlite": "SELECT p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE p.cid = 1",
        }.get(
            dialect,
            "SELECT column_name FROM information_schema.columns WHERE ordinal_position = 2 AND table_schema = current_schema()",
        )
        assert sorted(map(str, _names(guard.execute(every)))) == sorted(names)


def test_a_table_of_the_users_own_goes_before_what_describes_the_schema(dialect: str) -> None:
    name = "pragma_table_list" if dialect == "sqlite" else "information_schema.tables"
    catalog = from_ddl(f"CREATE TABLE {name} (secret TEXT);", dialect_name(dialect))
    access = resolve(parse(Statement(f"SELECT secret FROM {name}", {}, catalog.dialect)), catalog).access
    assert access.reads == (ColumnRef(name, "secret"),)
    assert not access.reads_schema
