"""The SQLite engine on real files: what runs, what its lock refuses, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import StaticPool

from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError
from guardrails.model import Execution, Plan
from tests.support.plans import make_plan
from tests.support.schema import SQLITE_SHOP

_COLUMNS = ["id", "name", "email", "region", "created_at"]
_READS = [f"customers.{c}" for c in _COLUMNS]


def _dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def _files(path: Path) -> set[str]:
    return {p.name for p in path.parent.iterdir()} - {f"{path.name}-shm", f"{path.name}-wal"}


def _refusal(engine: Engine, plan: Plan) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.execute(plan)
    return caught.value


@pytest.fixture(params=["url", "pool", "memory"])
def engine(request: pytest.FixtureRequest, sqlite_path: Path) -> Iterator[Engine]:
    """The shop: by URL, through a pool of SQLAlchemy's, and in memory."""
    if request.param == "url":
        yield open_engine(f"sqlite:///{sqlite_path}")
        return
    if request.param == "pool":
        pool = sa.create_engine(f"sqlite:///{sqlite_path}")
    else:
        pool = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        raw = pool.raw_connection()
        assert raw.driver_connection is not None
        raw.driver_connection.executescript(SQLITE_SHOP)
        raw.close()
    yield open_engine(pool)
    pool.dispose()


def _read(sql: str, **options: float) -> Plan:
    return make_plan(sql, "sqlite", uses={"customers": "select"}, reads=_READS, **options)


def _state(engine: Engine) -> list[tuple[object, ...]]:
    """What the shop holds, as the engine reads it."""
    found: list[tuple[object, ...]] = []
    for name, relation in engine.catalog().relations.items():
        reads = [f"{name}.{c}" for c in relation.column_names]
        columns = ", ".join(relation.column_names)
        plan = make_plan(f"SELECT {columns} FROM main.{name}", "sqlite", uses={name: "select"}, reads=reads)
        if relation.kind == "table":
            found.append((name, *engine.execute(plan).rows))
    return found


# What runs


def test_rows_columns_and_parameters(engine: Engine) -> None:
    plan = make_plan(
        "SELECT id, name FROM main.customers AS c WHERE c.id < :n ORDER BY id",
        *("sqlite",),
        uses={"customers": "select"},
        reads=["customers.id", "customers.name"],
        params={"n": 3},
        version=engine.catalog().version,
    )
    execution = engine.execute(plan)
    assert execution == Execution(("id", "name"), ((1, "Ada"), (2, "Bo")), 0, False, execution.duration_ms)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, 1),
        (2**63 - 1, 2**63 - 1),
        (1.5, 1.5),
        ("é", "é"),
        (b"\0\xff", b"\0\xff"),
        (Decimal("10.50"), 10.5),
        (Decimal("7"), 7),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02 03:04:00+00:00"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ],
)
def test_values_are_bound(engine: Engine, value: object, text: object) -> None:
    assert engine.execute(make_plan("SELECT :v", "sqlite", params={"v": value})).rows == ((text,),)  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [2**63, "\ud800", [1], {"a": 1}])
def test_values_that_sqlite_cannot_hold_are_refused(engine: Engine, value: object) -> None:
    assert _refusal(engine, make_plan("SELECT :v", "sqlite", params={"v": value})).code == "engine.failed"  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM main.customers",
        "WITH c AS (SELECT id FROM main.customers) SELECT count(*) FROM c",
        "SELECT count(*) FROM (SELECT 1)",
        "SELECT value FROM json_each('[1,2]')",
        "SELECT key FROM json_tree('{\"a\":1}') WHERE json_extract('[1]', '$[0]') = 1",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) OVER () FROM r",
        "SELECT upper(name) || '-' || date('now') FROM main.customers WHERE name LIKE 'A%' AND name GLOB 'A*'",
        "SELECT '{\"a\":1}' ->> 'a', coalesce(NULL, 1), iif(1, 2, 3), CURRENT_TIMESTAMP",
        "SELECT c.name FROM main.customers AS c JOIN main.customers AS d USING (id) GROUP BY c.name HAVING max(d.id) > 0",
        "VALUES (1), (2)",
    ],
)
def test_plain_reads_pass_the_lock(engine: Engine, sql: str) -> None:
    assert engine.execute(_read(sql)).rows


def test_views_need_their_base_columns(engine: Engine) -> None:
    uses = {"customer_emails": "select", "customers": "select"}
    sql = "SELECT address FROM main.customer_emails"
    reads = ["customers.id", "customers.email", "customers.region"]
    assert len(engine.execute(make_plan(sql, "sqlite", uses=uses, reads=reads)).rows) == 3
    assert _refusal(engine, make_plan(sql, "sqlite", uses=uses, reads=reads[:1])).code == "engine.refused"


def test_mask_functions_are_there(engine: Engine) -> None:
    from guardrails.masking import sqlite_functions

    name, (arity, _) = next((n, f) for n, f in sqlite_functions().items() if f[0] == 1)
    assert engine.execute(make_plan(f"SELECT {name}('ada@example.com')", "sqlite")).rows
    assert arity == 1


def test_full_text_tables_are_readable(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE VIRTUAL TABLE notes USING fts5 (body); INSERT INTO notes VALUES ('hello'); CREATE TABLE notes_x (a)"
        )
    engine = open_engine(f"sqlite:///{path}")
    plan = make_plan("SELECT body FROM main.notes", "sqlite", uses={"notes": "select"}, reads=["notes.body"])
    assert engine.execute(plan).rows == (("hello",),)
    for sql in ["SELECT a FROM main.notes_x", "PRAGMA table_info(notes)"]:
        assert (
            _refusal(engine, make_plan(sql, "sqlite", uses={"notes": "select"}, reads=["notes.body"])).code == "engine.refused"
        )
    assert _refusal(engine, make_plan("SELECT block FROM main.notes_data", "sqlite")).code == "engine.refused"


def test_changes_are_counted_and_kept(engine: Engine) -> None:
    plan = make_plan(
        "UPDATE main.orders SET status = :s WHERE region = 'north' RETURNING id",
        *("sqlite",),
        uses={"orders": "update"},
        reads=["orders.region", "orders.id"],
        writes=["orders.status"],
        params={"s": "sent"},
    )
    execution = engine.execute(plan)
    assert (execution.rows_changed, execution.rows) == (3, ((1,), (2,), (4,)))
    check = make_plan(
        "SELECT count(*) FROM main.orders WHERE status = 'sent'", "sqlite", uses={"orders": "select"}, reads=["orders.status"]
    )
    assert engine.execute(check).rows == ((3,),)


def test_upsert_needs_both_actions(engine: Engine) -> None:
    sql = "INSERT INTO main.employees (id, name, salary) VALUES (1, 'Dee', 1) ON CONFLICT (id) DO UPDATE SET salary = excluded.salary"
    plan = make_plan(sql, "sqlite", uses={"employees": "insert"}, writes=["employees.salary"], reads=["employees.id"])
    assert _refusal(engine, plan).code == "engine.refused"


# Limits


def test_rows_are_cut_at_the_limit(engine: Engine) -> None:
    sql = "SELECT id FROM main.customers"
    cut, whole = engine.execute(_read(sql, rows=2)), engine.execute(_read(sql, rows=3))
    assert (len(cut.rows), cut.is_truncated) == (2, True)
    assert (len(whole.rows), whole.is_truncated) == (3, False)


def test_bytes_are_cut_at_the_limit(engine: Engine) -> None:
    series = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 50) SELECT hex(zeroblob(500)) FROM r"
    execution = engine.execute(make_plan(series, "sqlite", result_bytes=5_500))
    assert (len(execution.rows), execution.is_truncated) == (5, True)


def test_a_value_beyond_the_limit_is_an_error(engine: Engine) -> None:
    assert _refusal(engine, make_plan("SELECT zeroblob(2000)", "sqlite", result_bytes=1000)).code == "engine.row_too_large"
    assert (
        _refusal(engine, make_plan("SELECT zeroblob(600), zeroblob(600)", "sqlite", result_bytes=1000)).code
        == "engine.row_too_large"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r WHERE n < 0",
    ],
)
def test_endless_statements_are_stopped(engine: Engine, sql: str) -> None:
    started = time.perf_counter()
    assert _refusal(engine, make_plan(sql, "sqlite", seconds=0.3)).code == "engine.timeout"
    assert time.perf_counter() - started < 1.3
    assert engine.execute(_read("SELECT id FROM main.customers")).rows


def test_a_lock_held_by_others_is_a_timeout(sqlite_path: Path) -> None:
    engine = open_engine(f"sqlite:///{sqlite_path}")
    with contextlib.closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        plan = make_plan("DELETE FROM main.employees", "sqlite", uses={"employees": "delete"}, seconds=0.2)
        assert _refusal(engine, plan).code == "engine.timeout"


def test_too_many_changes_are_rolled_back(engine: Engine) -> None:
    before = _state(engine)
    plan = make_plan(
        "UPDATE main.orders SET status = 'x'", "sqlite", uses={"orders": "update"}, writes=["orders.status"], rows_changed=3
    )
    assert _refusal(engine, plan).code == "engine.too_many_rows_changed"
    assert _state(engine) == before


def test_cascades_count_as_changes(sqlite_path: Path) -> None:
    engine = open_engine(f"sqlite:///{sqlite_path}")
    sql = "DELETE FROM main.customers WHERE id = 1"
    options = {"uses": {"customers": "delete"}, "reads": ["customers.id"], "writes": ["customers.id"]}
    assert _refusal(engine, make_plan(sql, "sqlite", rows_changed=2, **options)).code == "engine.too_many_rows_changed"  # type: ignore[arg-type]
    assert engine.execute(make_plan(sql, "sqlite", rows_changed=3, **options)).rows_changed == 3  # type: ignore[arg-type]


# Hostile statements: the plan says that customers are read, the text does something else.

_HOSTILE_READS = [
    "ATTACH ':memory:' AS other",
    "ATTACH '{folder}/new.db' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.db'",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA data_version",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA user_version = 7",
    "PRAGMA database_list",
    "DELETE FROM customers",
    "DELETE FROM customers RETURNING *",
    "INSERT INTO customers VALUES (9, 'x', 'x', 'x', 'x', 'x')",
    "WITH c AS (SELECT 1) INSERT INTO ticket_log SELECT * FROM c",
    "WITH c AS (SELECT 1) DELETE FROM customers RETURNING id",
    "REPLACE INTO customers VALUES (1, 'x', 'x', 'x', 'x', 'x')",
    "UPDATE customers SET name = 'x'",
    "UPDATE sqlite_master SET sql = 'x'",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE customers (a)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TEMP TRIGGER t AFTER DELETE ON customers BEGIN SELECT 1; END",
    "CREATE INDEX i ON customers (name)",
    "CREATE VIRTUAL TABLE t USING fts5 (a)",
    "CREATE TABLE t AS SELECT * FROM customers",
    "DROP TABLE customers",
    "DROP VIEW customer_names",
    "ALTER TABLE customers RENAME TO c",
    "ALTER TABLE customers ADD COLUMN c",
    "REINDEX",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "RELEASE s",
    "EXPLAIN DELETE FROM customers",
    "EXPLAIN QUERY PLAN DELETE FROM customers",
    "SELECT load_extension('{folder}/x.so')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('{folder}/new', 'x')",
    "SELECT sqlite_compileoption_get(0)",
    "SELECT last_insert_rowid()",
    "SELECT sql FROM sqlite_master",
    "SELECT count(*) FROM sqlite_master",
    "SELECT sql FROM sqlite_schema",
    "SELECT sql FROM sqlite_temp_master",
    "SELECT name FROM pragma_table_info('customers')",
    "SELECT count(*) FROM pragma_table_info('customers')",
    "SELECT name FROM pragma_database_list",
    "SELECT * FROM dbstat",
    "SELECT count(*) FROM sqlite_dbpage",
    "SELECT ssn FROM customers",
    "SELECT c.ssn FROM customers AS c",
    "SELECT id FROM customers WHERE ssn LIKE '0%'",
    "SELECT id FROM customers ORDER BY ssn",
    "SELECT * FROM (SELECT * FROM customers)",
    "SELECT rowid FROM ticket_log",
    "SELECT salary FROM employees",
    "SELECT count(*) FROM employees",
    "SELECT EXISTS (SELECT 1 FROM employees)",
    "SELECT id FROM customers UNION SELECT salary FROM employees",
    "SELECT address FROM customer_emails",
    "SELECT 1; DELETE FROM customers",
    "SELECT id FROM customers; ATTACH ':memory:' AS other",
    "SELECT",
]


@pytest.mark.parametrize("sql", _HOSTILE_READS)
def test_a_read_plan_does_nothing_else(sqlite_path: Path, sql: str) -> None:
    before, files = _dump(sqlite_path), _files(sqlite_path)
    pool = sa.create_engine(f"sqlite:///{sqlite_path}")
    for database in (f"sqlite:///{sqlite_path}", pool):
        engine = open_engine(database)
        plan = _read(sql.replace("{folder}", str(sqlite_path.parent)))
        error = _refusal(engine, plan)
        assert error.code in ("engine.refused", "engine.failed")
        assert "customers" not in error.for_model()
        assert engine.execute(_read("SELECT id FROM main.customers")).rows
    pool.dispose()
    assert _dump(sqlite_path) == before
    assert _files(sqlite_path) == files


_HOSTILE_WRITES = [
    "DELETE FROM orders",
    "INSERT INTO orders VALUES (9, 1, 1, 'x', 'x', 'x')",
    "UPDATE orders SET amount = 0",
    "UPDATE orders SET status = 'x', amount = 0",
    "UPDATE customers SET name = 'x'",
    "UPDATE orders SET status = (SELECT salary FROM employees)",
    "UPDATE orders SET status = 'x' WHERE amount > 1",
    "UPDATE orders SET status = 'x' RETURNING amount",
    "INSERT INTO orders (id, customer_id, amount, status, region, created_at) VALUES (1, 1, 1, 'x', 'x', 'x')"
    " ON CONFLICT (id) DO UPDATE SET status = 'x'",
    "PRAGMA writable_schema = ON",
    "ATTACH ':memory:' AS other",
    "DROP TABLE orders",
    "COMMIT",
    "ROLLBACK",
    "VACUUM",
    "UPDATE tickets SET body = 'x'",
    "UPDATE sqlite_master SET sql = NULL",
]


@pytest.mark.parametrize("sql", _HOSTILE_WRITES)
def test_a_write_plan_changes_nothing_else(sqlite_path: Path, sql: str) -> None:
    before = _dump(sqlite_path)
    engine = open_engine(f"sqlite:///{sqlite_path}")
    plan = make_plan(sql, "sqlite", uses={"orders": "update"}, writes=["orders.status"], reads=["orders.id", "orders.status"])
    assert _refusal(engine, plan).code in ("engine.refused", "engine.failed")
    assert _dump(sqlite_path) == before


def test_effects_of_triggers_are_refused(engine: Engine) -> None:
    before = _state(engine)
    plan = make_plan("UPDATE main.tickets SET body = 'x'", "sqlite", uses={"tickets": "update"}, writes=["tickets.body"])
    assert _refusal(engine, plan).code == "engine.refused"
    assert _state(engine) == before


@given(
    shown=st.sets(st.sampled_from(_COLUMNS), min_size=1),
    filtered=st.sets(st.sampled_from(_COLUMNS)),
    sorted_by=st.sets(st.sampled_from(_COLUMNS)),
    allowed=st.sets(st.sampled_from(_COLUMNS)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_the_plans_columns_are_readable(
    sqlite_path: Path, shown: set[str], filtered: set[str], sorted_by: set[str], allowed: set[str]
) -> None:
    where = " AND ".join(f"{c} IS NOT NULL" for c in sorted(filtered)) or "TRUE"
    order = f" ORDER BY {', '.join(sorted(sorted_by))}" if sorted_by else ""
    sql = f"SELECT {', '.join(sorted(shown))} FROM main.customers WHERE {where}{order}"
    plan = make_plan(sql, "sqlite", uses={"customers": "select"}, reads=[f"customers.{c}" for c in sorted(allowed)])
    engine = open_engine(f"sqlite:///{sqlite_path}")
    if shown | filtered | sorted_by <= allowed:
        engine.execute(plan)
    else:
        assert _refusal(engine, plan).code == "engine.refused"


# DDL


def test_schema_changes_stay_within_their_plan(sqlite_path: Path) -> None:
    engine = open_engine(f"sqlite:///{sqlite_path}")
    for sql, verb, relation in [
        ("CREATE TABLE main.notes (id INTEGER PRIMARY KEY, body UNIQUE)", "create", "notes"),
        ("CREATE INDEX main.notes_body ON notes (body)", "create", "notes"),
        ("ALTER TABLE main.notes ADD COLUMN author", "alter", "notes"),
        ("ALTER TABLE main.notes RENAME COLUMN author TO writer", "alter", "notes"),
        ("DROP TABLE main.notes", "drop", "notes"),
    ]:
        engine.execute(make_plan(sql, "sqlite", uses={relation: verb}, version=engine.catalog().version))
        for hostile in [
            "DROP TABLE main.customers",
            "CREATE TABLE main.other (a)",
            "DELETE FROM main.customers",
            "SELECT ssn FROM customers",
        ]:
            assert _refusal(engine, make_plan(hostile, "sqlite", uses={relation: verb})).code == "engine.refused"
    assert "notes" not in engine.catalog().relations


# The schema's version


def test_the_catalog_is_cached_until_the_schema_changes(engine: Engine) -> None:
    first = engine.catalog()
    assert engine.catalog() is first
    engine.execute(make_plan("CREATE TABLE main.more (a)", "sqlite", uses={"more": "create"}))
    assert engine.catalog().version != first.version
    assert "more" in engine.catalog().relations


def test_a_plan_for_another_schema_does_not_run(engine: Engine) -> None:
    version = engine.catalog().version
    engine.execute(make_plan("CREATE TABLE main.more (a)", "sqlite", uses={"more": "create"}))
    plan = make_plan("DELETE FROM main.employees", "sqlite", uses={"employees": "delete"}, version=version)
    assert _refusal(engine, plan).code == "engine.schema_changed"


# What the engine leaves behind


def test_a_lent_connection_comes_back_as_it_was(sqlite_path: Path) -> None:
    pool = sa.create_engine(f"sqlite:///{sqlite_path}", poolclass=StaticPool)
    engine = open_engine(pool)
    with contextlib.suppress(EngineError):
        engine.execute(_read("SELECT ssn FROM customers"))
    engine.execute(_read("SELECT id FROM customers"))
    with pool.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA query_only").scalar() == 0
        connection.execute(sa.text("UPDATE customers SET ssn = 'x'"))
        connection.execute(sa.text("ATTACH ':memory:' AS other"))
        raw = connection.connection.driver_connection
        assert raw is not None
        assert raw.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) > 100_000_000
    pool.dispose()


def test_an_open_transaction_of_the_application_is_not_touched(sqlite_path: Path) -> None:
    pool = sa.create_engine(f"sqlite:///{sqlite_path}", poolclass=StaticPool)
    engine = open_engine(pool)
    with pool.connect() as connection:
        connection.execute(sa.text("UPDATE customers SET name = 'x'"))
        assert _refusal(engine, _read("SELECT id FROM customers")).code == "engine.failed"
        connection.rollback()
    assert engine.execute(_read("SELECT name FROM customers")).rows[0] == ("Ada",)
    pool.dispose()


def test_threads_run_side_by_side(engine: Engine) -> None:
    def work(_: int) -> int:
        return len(engine.execute(_read("SELECT id FROM main.customers")).rows)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(20))) == [3] * 20


def test_a_write_ahead_log_is_read(sqlite_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT INTO customers VALUES (4, 'Di', NULL, NULL, 'east', '')")
        engine = open_engine(f"sqlite:///{sqlite_path}")
        assert len(engine.execute(_read("SELECT id FROM main.customers")).rows) == 4
    assert len(engine.execute(_read("SELECT id FROM main.customers")).rows) == 4


def test_errors_for_the_model_hold_no_data(engine: Engine) -> None:
    plan = make_plan(
        "UPDATE main.orders SET amount = -1",
        *("sqlite",),
        uses={"orders": "update"},
        writes=["orders.amount"],
    )
    error = _refusal(engine, plan)
    assert (error.code, error.message) == ("engine.failed", "A constraint would be violated.")
    assert "amount" in str(error.evidence["engine_text"])
