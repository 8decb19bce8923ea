"""Reading the schema through the guard: as the engine answers, for what the principal may read, and as if nothing else were there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from guardrails import Guard, Policy, Principal
from guardrails.catalog import from_ddl
from guardrails.errors import GuardrailsError
from guardrails.model import ColumnRef, Result, Statement
from guardrails.sql import dialect_name, parse, resolve

Make = Callable[[str], str]
"""Makes a database from DDL and returns its URL."""

_SHARED = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL DEFAULT 'it''s', "Mixed Case" NUMERIC(10, 2), ssn TEXT);
CREATE TABLE "order" (customer_id INTEGER NOT NULL, line INTEGER NOT NULL, note CHAR(3), at TIMESTAMP, PRIMARY KEY (line, customer_id));
CREATE TABLE salaries (id INTEGER PRIMARY KEY, amount BIGINT);
CREATE VIEW names AS SELECT id, name FROM customers;
CREATE VIEW payroll AS SELECT c.name, s.amount FROM customers c JOIN salaries s ON s.id = c.id;
INSERT INTO customers VALUES (1, 'order', 1.5, '078-05-1120'), (2, 'salaries', NULL, NULL);
"""
_EXTRA = {
    "sqlite": """
CREATE TABLE "we""ird" ("a'b" INT, untyped, made AS (untyped || 'x') VIRTUAL, kept INTEGER AS (1) STORED, "INTEGER" real NOT NULL);
CREATE TABLE keyless (id INTEGER NOT NULL PRIMARY KEY, b BLOB DEFAULT (1 + 1)) WITHOUT ROWID;
CREATE VIRTUAL TABLE notes USING fts5(title, body);
""",
    "postgres": """
CREATE SCHEMA hr; CREATE TYPE hr."Mood" AS ENUM ('ok', 'sad'); CREATE DOMAIN hr.code AS varchar(7); CREATE SEQUENCE numbers;
CREATE TABLE hr."People" (
    id bigint GENERATED ALWAYS AS IDENTITY, mood hr."Mood", moods hr."Mood"[], code hr.code, n int[] DEFAULT '{}', made int DEFAULT
    nextval('numbers'), twice bigint GENERATED ALWAYS AS (id * 2) STORED, b bit(4), vb bit varying, i interval day to second(3),
    t time(2), tz timestamptz(0), d date DEFAULT now(), r real, dp double precision, num numeric, c "char", s smallint, j jsonb,
    u uuid, boo boolean NOT NULL DEFAULT true, v varchar, "say ""so"" again" text, money money, arr varchar(5)[], tt timetz
);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM customers;
""",
}
_HIDDEN_LAST = "DROP VIEW payroll; DROP TABLE salaries; ALTER TABLE customers DROP COLUMN ssn;"
"""Takes away what `_SOME` hides."""

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


@pytest.fixture(params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    folder = tmp_path / "databases"
    folder.mkdir()
    return _sqlite(folder) if dialect == "sqlite" else _postgres(request.getfixturevalue("new_postgres"))


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
    with psycopg.connect(url) as connection:
        found = connection.execute(sql)
        return [d.name for d in found.description or ()], found.fetchall()


def _code(guard: Guard, sql: str) -> str:
    with pytest.raises(GuardrailsError) as caught:
        guard.execute(sql)
    return caught.value.code


def _names(result: Result) -> list[object]:
    return [row[0] for row in result.rows]


_COLUMN_LIST = (
    "SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, is_nullable, data_type,"
    " character_maximum_length, numeric_precision, numeric_scale, datetime_precision, udt_name, is_generated"
    " FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    " ORDER BY table_schema, table_name, ordinal_position"
)
_SAME_AS_THE_ENGINE = {
    "sqlite": [
        "PRAGMA table_info(customers)",
        'pragma main.Table_Info("we""ird") ;',
        "/* a */ PRAGMA table_xinfo('we\"ird') -- b",
        "PRAGMA table_xinfo([ORDER])",
        "PRAGMA table_info(`keyless`)",
        "PRAGMA table_xinfo(names)",
        "PRAGMA table_info(nosuch)",
        "SELECT * FROM pragma_table_info('order')",
        "SELECT name FROM pragma_table_xinfo('customers', 'main') WHERE pk = 0",
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        " AND name NOT LIKE 'notes~_%' ESCAPE '~' ORDER BY name",
        "SELECT type, name, tbl_name FROM main.sqlite_schema WHERE type = 'view' ORDER BY 2 DESC",
        "SELECT count(*), count(DISTINCT type) FROM sqlite_master WHERE name IN ('customers', 'names')",
        "SELECT m.name, p.name, p.type FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p WHERE m.tbl_name <> 'notes'"
        " AND m.name NOT LIKE 'notes_%' AND m.type IN ('table', 'view') ORDER BY m.name, p.cid",
        "SELECT m.name, p.name FROM sqlite_master m LEFT JOIN pragma_table_info(upper(m.name)) p ON p.pk > 0"
        " WHERE m.name IN ('customers', 'order', 'names') ORDER BY 1, 2",
        "SELECT m.name, (SELECT group_concat(x.name) FROM pragma_table_info(m.name) x) FROM sqlite_master m WHERE m.type = 'view'"
        " ORDER BY 1",
        "SELECT c.name, p.name FROM customers c, pragma_table_info(c.name) p ORDER BY 1, p.cid",
        "SELECT * FROM pragma_table_info((SELECT name FROM sqlite_master WHERE name LIKE 'ord%'))",
        "SELECT schema, name, type, ncol FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%' ORDER BY name",
        "SELECT name, ncol FROM pragma_table_list('names')",
        "SELECT * FROM pragma_table_info('customers', 'temp')",
        "WITH sqlite_master AS (SELECT 7 AS x) SELECT * FROM sqlite_master",
    ],
    "postgres": [
        _COLUMN_LIST,
        "SELECT table_name, current_schema FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1",
        "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'hr') ORDER BY 1, 2, 3",
        "SELECT table_name FROM INFORMATION_SCHEMA.Tables WHERE table_schema = 'public' AND table_name LIKE '%s' ORDER BY table_name",
        "SELECT column_name, column_default FROM information_schema.columns WHERE table_name = 'customers' ORDER BY ordinal_position",
        "SELECT table_schema, table_name, count(*), max(length(column_name)) FROM information_schema.columns c"
        " JOIN information_schema.tables t USING (table_catalog, table_schema, table_name)"
        " WHERE table_schema IN ('hr', 'public') GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2",
        "SELECT table_schema, table_name FROM information_schema.views WHERE table_schema = 'public' ORDER BY 2",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN ('public', 'hr') ORDER BY 1",
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'hr') ORDER BY 1, 2",
        "SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = 'public' ORDER BY 1",
        "SELECT * FROM (SELECT matviewname FROM pg_matviews) AS x",
        "SELECT c.name, t.table_type FROM customers c JOIN information_schema.tables t ON t.table_name = c.name ORDER BY 1",
        "SELECT upper(table_name) || '!' FROM information_schema.tables WHERE table_name ~ '^[no]' AND table_schema = 'public' ORDER BY 1",
    ],
}  # fmt: skip


def test_who_may_read_everything_sees_what_the_engine_says(dialect: str, make: Make, tmp_path: Path) -> None:
    url = make(_SHARED + _EXTRA[dialect])
    with _guarded(url, _EVERYTHING, tmp_path) as guard:
        for sql in _SAME_AS_THE_ENGINE[dialect]:
            result = guard.execute(sql)
            assert (list(result.columns), list(result.rows)) == _asked(url, sql), sql


_ASKING = {
    "sqlite": [
        "SELECT * FROM sqlite_master",
        "SELECT name FROM sqlite_schema WHERE name LIKE '%a%' OR sql LIKE '%salar%'",
        "SELECT * FROM sqlite_master WHERE sql LIKE '%ssn%'",
        "SELECT m.name, p.* FROM sqlite_master m, pragma_table_xinfo(m.name) p",
        "SELECT p.name FROM pragma_table_info('salaries') p",
        "PRAGMA table_info(salaries)",
        "PRAGMA table_xinfo(payroll)",
        "PRAGMA table_info(customers)",
        "PRAGMA table_list",
        "PRAGMA table_list(salaries)",
        "SELECT c.name, p.name FROM customers c LEFT JOIN pragma_table_info(c.name) p",
        "SELECT c.name FROM customers c WHERE EXISTS (SELECT 1 FROM sqlite_master m WHERE m.name = c.name)",
        "SELECT count(*), sum(length(sql)) FROM sqlite_master",
        "EXPLAIN QUERY PLAN SELECT * FROM sqlite_master",
        "SELECT rootpage FROM sqlite_master",
        "SELECT * FROM sqlite_master WHERE ssn = 1",
    ],
    "postgres": [
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%alar%' OR table_type = 'VIEW'",
        "SELECT c.name, t.* FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name",
        "SELECT t FROM information_schema.columns t WHERE t::text LIKE '%ssn%'",
        "SELECT row_to_json(t) FROM information_schema.columns AS t WHERE column_name <> 'id'",
        "SELECT count(*), max(ordinal_position) FROM information_schema.columns GROUP BY table_name",
        "SELECT * FROM pg_tables NATURAL JOIN (SELECT 'public' AS schemaname) AS x",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.schemata",
        "EXPLAIN (COSTS FALSE, VERBOSE) SELECT * FROM information_schema.columns",
        "SELECT self_referencing_column_name FROM information_schema.tables",
    ],
}  # fmt: skip


def _outcome(guard: Guard, sql: str) -> object:
    try:
        result = guard.execute(sql)
    except GuardrailsError as error:
        return error.code, error.message, error.hint
    # The database's own name is in every row of the information schema.
    catalogs = [i for i, name in enumerate(result.columns) if name == "table_catalog" or name == "catalog_name"]
    rows = [tuple(v for i, v in enumerate(row) if i not in catalogs) for row in result.rows]
    return result.columns, str(rows).replace(guard.engine.name.rpartition("/")[2], "")


def test_who_may_read_some_sees_it_as_if_nothing_else_were_there(dialect: str, make: Make, tmp_path: Path) -> None:
    with_hidden, without = make(_SHARED), make(_SHARED + _HIDDEN_LAST)
    (tmp_path / "other").mkdir()
    with _guarded(with_hidden, _SOME, tmp_path) as full, _guarded(without, _SOME, tmp_path / "other") as bare:
        outcomes = {sql: (_outcome(full, sql), _outcome(bare, sql)) for sql in _ASKING[dialect]}
    for sql, (one, other) in outcomes.items():
        assert one == other, sql
        assert "ssn" not in str(one) or "ssn" in sql, sql
    assert "customers" in str(outcomes[_ASKING[dialect][0]])


def test_a_column_that_is_denied_is_not_listed_and_a_masked_one_is(dialect: str, make: Make, tmp_path: Path) -> None:
    tables, columns = _LISTS[dialect]
    with _guarded(make(_SHARED), _MASKED, tmp_path) as guard:
        # The view `payroll` reads `salaries`, which a rule forbids.
        assert _names(guard.execute(tables)) == ["customers", "names"]
        assert _names(guard.execute(columns.format("customers"))) == ["id", "name", "Mixed Case"]
        assert _names(guard.execute(columns.format("names"))) == ["id", "name"]
        assert guard.execute(columns.format("payroll")).rows == guard.execute(columns.format("salaries")).rows == ()
        if dialect == "sqlite":
            (sql,) = guard.execute("SELECT sql FROM sqlite_master WHERE name = 'customers'").rows[0]
            assert "ssn" not in str(sql)
            assert sqlite3.connect(":memory:").execute(str(sql)) is not None


_LISTS = {
    "sqlite": (
        "SELECT name FROM sqlite_master ORDER BY name",
        "SELECT name FROM pragma_table_info('{}') ORDER BY cid",
    ),
    "postgres": (
        "SELECT table_name FROM information_schema.tables ORDER BY table_name",
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position",
    ),
}
"""How the relations, and the columns of one of them, are listed."""


def test_masks_and_rules_hold_beside_the_schema(dialect: str, make: Make, tmp_path: Path) -> None:
    joined = {
        "sqlite": "SELECT c.name, p.name FROM customers c LEFT JOIN pragma_table_info(c.name) p",
        "postgres": "SELECT c.name, t.table_name FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name",
    }[dialect]
    with _guarded(make(_SHARED), _MASKED, tmp_path) as guard:
        assert guard.execute(joined).rows == (("***", None), ("***", None))
        if dialect == "sqlite":
            assert guard.execute("SELECT cid FROM pragma_table_info((SELECT max(name) FROM customers))").rows == ()
        schema = "sqlite_master" if dialect == "sqlite" else "information_schema.tables"
        for sql, code in {
            f"SELECT 1 FROM {schema}, salaries": "policy.denied",
            f"SELECT (SELECT max(ssn) FROM customers) FROM {schema}": "policy.column_denied",
            f'WITH t AS (SELECT * FROM {schema}) SELECT note FROM t, "order"': "policy.no_rule",
            f"INSERT INTO customers (id) SELECT 7 FROM {schema}": "policy.no_rule",
        }.items():
            assert _code(guard, sql) == code, sql


_REFUSED = {
    "sqlite": {
        "SELECT * FROM sqlite_temp_master": "sql.relation_unknown",
        "SELECT * FROM temp.sqlite_master": "sql.relation_unknown",
        "SELECT * FROM sqlite_stat1": "sql.relation_unknown",
        "SELECT * FROM sqlite_sequence": "sql.relation_unknown",
        "SELECT * FROM dbstat": "sql.relation_unknown",
        "SELECT * FROM pragma_table_info": "sql.relation_unknown",
        'SELECT * FROM "pragma_table_info()"': "sql.relation_unknown",
        "SELECT * FROM pragma_database_list": "sql.relation_unknown",
        "SELECT * FROM pragma_table_info('customers', 'main', 1)": "sql.construct_unsupported",
        "SELECT * FROM pragma_table_info()": "sql.construct_unsupported",
        "SELECT * FROM pragma_index_list('customers')": "sql.function_not_allowed",
        "SELECT * FROM pragma_journal_mode('wal')": "sql.function_not_allowed",
        "SELECT name FROM customers c JOIN pragma_table_info(c.name) USING (name)": "sql.construct_unsupported",
        "UPDATE sqlite_master SET sql = ''": "sql.relation_unknown",
        "DELETE FROM sqlite_schema": "sql.relation_unknown",
        "CREATE VIEW v AS SELECT * FROM sqlite_master": "sql.construct_unsupported",
        "PRAGMA table_info": "sql.statement_unsupported",
        "PRAGMA table_info = customers": "sql.statement_unsupported",
        "PRAGMA temp.table_info(customers)": "sql.statement_unsupported",
        "PRAGMA user_version": "sql.statement_unsupported",
        "PRAGMA user_version = 5": "sql.statement_unsupported",
        "PRAGMA writable_schema(1)": "sql.statement_unsupported",
        "PRAGMA index_list(customers)": "sql.statement_unsupported",
        "PRAGMA table_info(customers); DROP TABLE customers": "sql.multiple_statements",
        "EXPLAIN PRAGMA table_info(customers)": "sql.statement_unsupported",
        "DESCRIBE customers": "sql.statement_unsupported",
        "SHOW TABLES": "sql.statement_unsupported",
    },
    "postgres": {
        "SELECT * FROM pg_class": "sql.relation_unknown",
        "SELECT * FROM pg_catalog.pg_stats": "sql.relation_unknown",
        "SELECT * FROM pg_attribute": "sql.relation_unknown",
        "SELECT * FROM public.pg_tables": "sql.relation_unknown",
        "SELECT * FROM tables": "sql.relation_unknown",
        'SELECT * FROM "information_schema.tables"': "sql.relation_unknown",
        'SELECT * FROM "INFORMATION_SCHEMA"."TABLES"': "sql.relation_unknown",
        "SELECT * FROM information_schema.role_table_grants": "sql.relation_unknown",
        "SELECT tableowner FROM pg_tables": "sql.column_unknown",
        "SELECT 'customers'::regclass": "sql.construct_unsupported",
        "DELETE FROM information_schema.tables": "sql.relation_unknown",
        "CREATE VIEW v AS SELECT * FROM information_schema.tables": "sql.construct_unsupported",
        "SELECT * FROM information_schema.tables FOR UPDATE": "sql.construct_unsupported",
        "SHOW ALL": "sql.statement_unsupported",
        "SHOW server_version": "sql.statement_unsupported",
        "SHOW TABLES": "sql.statement_unsupported",
        "PRAGMA table_info(customers)": "sql.statement_unsupported",
        "DESCRIBE customers": "sql.statement_unsupported",
    },
}


def test_everything_else_about_the_engine_is_refused(dialect: str, make: Make, tmp_path: Path) -> None:
    everything = _EVERYTHING.replace("[select]", "[all]")
    with _guarded(make(_SHARED), everything, tmp_path) as guard:
        for sql, code in _REFUSED[dialect].items():
            assert _code(guard, sql) == code, sql


def test_a_stored_view_of_the_schema_stays_closed(dialect: str, make: Make, tmp_path: Path) -> None:
    source = "sqlite_master" if dialect == "sqlite" else "information_schema.tables"
    views = f"CREATE VIEW leak AS SELECT * FROM {source};"
    if dialect == "sqlite":
        views += "CREATE VIEW leaking AS SELECT * FROM pragma_table_info('salaries');"
    with _guarded(make(_SHARED + views), _EVERYTHING, tmp_path) as guard:
        assert _code(guard, "SELECT * FROM leak") == "sql.view_opaque"
        assert "leak" not in str(guard.execute(_LISTS[dialect][0]).rows)
        if dialect == "sqlite":
            assert _code(guard, "SELECT * FROM leaking") == "sql.view_opaque"


def test_what_was_shown_is_recorded(dialect: str, make: Make, tmp_path: Path) -> None:
    sql, kind = ("PRAGMA table_list", "show") if dialect == "sqlite" else ("SELECT * FROM information_schema.tables", "select")
    with _guarded(make(_SHARED), _SOME, tmp_path) as guard:
        access = guard.execute(sql).decision.access
        assert access is not None
        assert (access.kind, access.actions, access.relations, access.reads) == (kind, ("select",), (), ())
        assert access.reads_schema
        intent = next(e for e in guard.ledger.entries() if e["type"] == "intent")
        assert (intent["statement"]["kind"], intent["decision"]["visible"]) == (kind, ["customers", "names", "order"])
        assert guard.execute("SELECT id FROM customers").decision.obligations.visible is None


def test_nobody_sees_anything_without_a_rule(dialect: str, make: Make, tmp_path: Path) -> None:
    nobody = _EVERYTHING.replace('["*"]', '["*"], principals: {groups: [none]}')
    with _guarded(make(_SHARED), nobody, tmp_path) as guard:
        for sql in (_LISTS[dialect][0], _LISTS[dialect][1].format("customers")):
            result = guard.execute(sql)
            assert (result.rows, len(result.columns)) == ((), 1)
    forbidden = nobody.replace("rules: [", "rules: [{id: no, effect: deny, actions: [all]}, ")
    with _guarded(make(_SHARED), forbidden, tmp_path) as guard:
        assert _code(guard, _LISTS[dialect][0]) == "policy.denied"


def test_names_of_any_kind_stay_names(dialect: str, make: Make, tmp_path: Path) -> None:
    names = [
        *("a'b", 'c"d', "e\\'; DROP TABLE customers; --", "/* f", "?1", ":g"),
        *("$1", "gr_rows", "\N{SNOWMAN}", "x\ny", "%s", "column1"),
    ]
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names]
    url = make("".join(f"CREATE TABLE {name} (id INTEGER, {name} TEXT);" for name in quoted))
    with _guarded(url, _EVERYTHING, tmp_path) as guard:
        assert sorted(map(str, _names(guard.execute(_LISTS[dialect][0])))) == sorted(names)
        every = {
            "sqlite": "SELECT p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE p.cid = 1",
            "postgres": "SELECT column_name FROM information_schema.columns WHERE ordinal_position = 2",
        }[dialect]
        assert sorted(map(str, _names(guard.execute(every)))) == sorted(names)


def test_a_table_of_the_users_own_goes_before_what_describes_the_schema(dialect: str) -> None:
    name = "pragma_table_list" if dialect == "sqlite" else "information_schema.tables"
    catalog = from_ddl(f"CREATE TABLE {name} (secret TEXT);", dialect_name(dialect))
    access = resolve(parse(Statement(f"SELECT secret FROM {name}", {}, catalog.dialect)), catalog).access
    assert access.reads == (ColumnRef(name, "secret"),)
    assert not access.reads_schema
