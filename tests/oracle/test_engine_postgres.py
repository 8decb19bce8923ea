"""The PostgreSQL engine on a real server: what runs, what its lock refuses, and that nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import dict_row

from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError, UsageError
from guardrails.model import Execution, Plan
from tests.support.plans import make_plan
from tests.support.schema import POSTGRES_SHOP, make_postgres_shop

_RESET = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"


@pytest.fixture(scope="module")
def shop(new_postgres: Any) -> str:
    """URL of a database with the shop, of this module's own."""
    return make_postgres_shop(new_postgres())


@pytest.fixture(scope="module")
def engine(shop: str) -> Iterator[Engine]:
    """The engine on the shop as it is at the beginning: a test that changes it asks for `changing` or `admin`."""
    engine = open_engine(shop)
    yield engine
    engine.dispose()


@pytest.fixture
def changing(shop: str) -> Iterator[None]:
    """Puts the shop back after the test."""
    yield
    with psycopg.connect(shop) as connection:
        connection.execute(_RESET + POSTGRES_SHOP)


@pytest.fixture
def admin(changing: None, shop: str) -> Iterator[psycopg.Connection[Any]]:
    """A second connection, beside the engine's, to the same shop."""
    with closing(psycopg.connect(shop, autocommit=True)) as connection:
        yield connection


def _read(sql: str, **options: Any) -> Plan:
    return make_plan(sql, "postgres", uses={"customers": "select"}, **options)


def _refusal(engine: Engine, plan: Plan) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.execute(plan)
    return caught.value


def _state(connection: psycopg.Connection[Any]) -> list[Any]:
    tables = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    ).fetchall()
    rows = [(t, connection.execute(f"SELECT t::text FROM {t} AS t ORDER BY 1").fetchall()) for (t,) in tables]  # type: ignore[arg-type]
    objects = connection.execute("SELECT count(*), (SELECT count(*) FROM pg_largeobject_metadata) FROM pg_class").fetchall()
    return [rows, objects]


# What runs


def test_rows_columns_and_parameters(engine: Engine) -> None:
    plan = _read(
        "SELECT c.id, c.name FROM public.customers AS c WHERE c.id < $1 AND c.name <> $2 ORDER BY c.id",
        params={"n": 3, "x": "nobody"},
        version=engine.catalog().version,
    )
    execution = engine.execute(plan)
    assert execution == Execution(("id", "name"), ((1, "Ada"), (2, "Bo")), 0, False, execution.duration_ms)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12.50::numeric", Decimal("12.50")),
        ("1.5::float8", 1.5),
        ("'2026-01-02'::date", date(2026, 1, 2)),
        ("'2026-01-02 03:04+00'::timestamptz", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("'1 day 2 hours'::interval", timedelta(days=1, hours=2)),
        ("'00000000-0000-0000-0000-000000000005'::uuid", UUID(int=5)),
        ("ARRAY[1, NULL, 3]", [1, None, 3]),
        ("'{\"a\": [1, null]}'::jsonb", {"a": [1, None]}),
        ("'\\x00ff'::bytea", b"\0\xff"),
        ("true", True),
        ("NULL", None),
        ("int4range(1, 5)", "[1, 5)"),
        ("'10.0.0.1'::inet", "10.0.0.1"),
        ("'infinity'::date", "infinity"),
        ("'-infinity'::timestamptz", "-infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("ROW(1, 'a')", ["1", "a"]),
        ("ARRAY['infinity'::timestamp]", ["infinity"]),
    ],
)
def test_values_come_back_as_python_values(engine: Engine, expression: str, value: object) -> None:
    got = engine.execute(make_plan(f"SELECT {expression} AS v", "postgres")).rows[0][0]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("cast", "value", "back"),
    [
        ("jsonb", {"a": [1]}, {"a": [1]}),
        ("jsonb", [{"a": 1}], [{"a": 1}]),
        ("int[]", [1, 2], [1, 2]),
        ("numeric", Decimal("1.10"), Decimal("1.10")),
        ("text", None, None),
        ("bytea", b"\0", b"\0"),
        ("uuid", UUID(int=1), UUID(int=1)),
        ("date", "2026-01-02", date(2026, 1, 2)),
    ],
)
def test_values_are_bound(engine: Engine, cast: str, value: Any, back: object) -> None:
    assert engine.execute(make_plan(f"SELECT $1::{cast}", "postgres", params={"v": value})).rows == ((back,),)


@pytest.mark.parametrize("value", ["\0", "\ud800"])
def test_text_that_postgres_cannot_hold_is_refused(engine: Engine, value: str) -> None:
    assert _refusal(engine, make_plan("SELECT $1::text", "postgres", params={"v": value})).code == "engine.failed"


def test_changes_are_counted_and_kept(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    plan = make_plan(
        "UPDATE public.orders SET status = $1 WHERE region = 'north' RETURNING id",
        *("postgres",),
        uses={"orders": "update"},
        writes=["orders.status"],
        params={"s": "sent"},
        version=engine.catalog().version,
    )
    execution = engine.execute(plan)
    assert (execution.rows_changed, sorted(execution.rows)) == (3, [(1,), (2,), (4,)])
    assert admin.execute("SELECT count(*) FROM orders WHERE status = 'sent'").fetchall() == [(3,)]
    assert engine.execute(plan).rows_changed == 3


# Limits


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 136, 137, 500])
def test_rows_are_cut_at_the_limit(engine: Engine, rows: int) -> None:
    for there in (rows, rows + 1):
        execution = engine.execute(make_plan(f"SELECT generate_series(1, {there})", "postgres", rows=rows))
        assert [r[0] for r in execution.rows] == list(range(1, rows + 1))
        assert execution.is_truncated == (there > rows)


def test_an_endless_result_is_not_loaded(engine: Engine) -> None:
    sql = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"
    execution = engine.execute(make_plan(sql, "postgres", rows=200))
    assert (len(execution.rows), execution.is_truncated) == (200, True)


def test_bytes_are_cut_at_the_limit(engine: Engine) -> None:
    execution = engine.execute(
        make_plan("SELECT repeat('x', 1000) FROM generate_series(1, 50)", "postgres", result_bytes=5_500)
    )
    assert (len(execution.rows), execution.is_truncated) == (5, True)
    assert _refusal(engine, make_plan("SELECT repeat('x', 2000)", "postgres", result_bytes=1000)).code == "engine.row_too_large"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "SELECT pg_sleep(10)",
        "SELECT generate_series(1, 20), pg_sleep(0.04)",
    ],
)
def test_endless_statements_are_stopped(engine: Engine, sql: str) -> None:
    started = time.perf_counter()
    assert _refusal(engine, make_plan(sql, "postgres", seconds=0.4)).code == "engine.timeout"
    assert time.perf_counter() - started < 1.4
    assert engine.execute(_read("SELECT id FROM public.customers")).rows


def test_a_lock_held_by_others_is_a_timeout(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE employees IN ACCESS EXCLUSIVE MODE")
        assert _refusal(engine, make_plan("SELECT id FROM public.employees", "postgres", seconds=0.3)).code == "engine.timeout"


@pytest.mark.parametrize(
    "sql", ["UPDATE public.orders SET status = 'x'", "WITH d AS (UPDATE public.orders SET status = 'x') SELECT 1"]
)
def test_too_many_changes_are_rolled_back(engine: Engine, admin: psycopg.Connection[Any], sql: str) -> None:
    before = _state(admin)
    plan = make_plan(sql, "postgres", uses={"orders": "update"}, writes=["orders.status"], rows_changed=3)
    assert _refusal(engine, plan).code == "engine.too_many_rows_changed"
    assert _state(admin) == before


def test_cascades_count_as_changes(engine: Engine, changing: None) -> None:
    plan = make_plan("DELETE FROM public.customers WHERE id = 1", "postgres", uses={"customers": "delete"}, rows_changed=2)
    assert _refusal(engine, plan).code == "engine.too_many_rows_changed"
    plan = make_plan("DELETE FROM public.customers WHERE id = 1", "postgres", uses={"customers": "delete"}, rows_changed=3)
    assert engine.execute(plan).rows_changed == 3


def test_partitions_belong_to_their_parent(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    admin.execute("CREATE TABLE base (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF base FOR VALUES IN (1)")
    plan = make_plan(
        "INSERT INTO public.base VALUES (1)", "postgres", uses={"base": "insert"}, version=engine.catalog().version
    )
    assert engine.execute(plan).rows_changed == 1


# Hostile statements: the plan says that customers are read, the text does something else.

_HOSTILE_READS = [
    "INSERT INTO public.ticket_log VALUES ('x')",
    "UPDATE public.customers SET name = 'x'",
    "DELETE FROM public.customers RETURNING *",
    "WITH d AS (DELETE FROM public.customers RETURNING *) SELECT * FROM d",
    "WITH d AS (INSERT INTO public.ticket_log VALUES ('x') RETURNING body) SELECT body FROM d",
    "SELECT * INTO public.copy FROM public.customers",
    "CREATE TABLE public.copy AS SELECT 1",
    "CREATE TEMP TABLE scratch (a int)",
    "TRUNCATE public.customers",
    "DROP TABLE public.customers CASCADE",
    "ALTER TABLE public.customers ADD COLUMN x int",
    "SELECT id FROM public.customers FOR UPDATE",
    "COPY public.customers TO PROGRAM 'true'",
    "COPY public.customers TO STDOUT",
    "COPY (SELECT 1) TO '/tmp/guardrails-copy'",
    "SELECT 1; DELETE FROM public.customers",
    "COMMIT; DELETE FROM public.customers",
    "SELECT 1; COMMIT; DELETE FROM public.customers",
    "COMMIT",
    "ROLLBACK",
    "END",
    "BEGIN",
    "SAVEPOINT s",
    "PREPARE TRANSACTION 'x'",
    "SET TRANSACTION READ WRITE",
    "SET search_path = public",
    "RESET ALL",
    "DISCARD ALL",
    "SET ROLE postgres",
    "LOCK TABLE public.customers",
    "LISTEN x",
    "NOTIFY x",
    "PREPARE p AS DELETE FROM public.customers",
    "EXECUTE p",
    "DECLARE c CURSOR FOR SELECT 1",
    "CLOSE ALL",
    "CALL public.nothing()",
    "DO $$ BEGIN DELETE FROM public.customers; END $$",
    "EXPLAIN ANALYZE DELETE FROM public.customers",
    "EXPLAIN SELECT 1",
    "VACUUM",
    "ANALYZE",
    "CHECKPOINT",
    "LOAD 'x'",
    "SHOW all",
    "MERGE INTO public.employees e USING public.customers c ON e.id = c.id WHEN MATCHED THEN DELETE",
    "SELECT nextval('public.seq')",
    "SELECT setval('public.seq', 9)",
    "SELECT txid_current()",
    "SELECT pg_logical_emit_message(true, 'x', 'x')",
    "SELECT public.meddle()",
    "SELECT id FROM customers",
    "TABLE customers",
    "",
]


@pytest.mark.parametrize("sql", _HOSTILE_READS)
def test_a_read_plan_does_nothing_else(engine: Engine, admin: psycopg.Connection[Any], sql: str) -> None:
    admin.execute(
        "CREATE SEQUENCE public.seq; CREATE PROCEDURE public.nothing() LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION public.meddle() RETURNS int LANGUAGE sql AS 'INSERT INTO public.ticket_log VALUES (''x''); SELECT 1'"
    )
    before = _state(admin), admin.execute("SELECT last_value, is_called FROM seq").fetchall()
    error = _refusal(engine, _read(sql))
    assert error.code in ("engine.refused", "engine.failed", "engine.schema_changed")
    assert "customers" not in error.for_model()
    assert engine.execute(_read("SELECT id FROM public.customers")).rows
    assert (_state(admin), admin.execute("SELECT last_value, is_called FROM seq").fetchall()) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT lo_create(0)",
        "SELECT pg_notify('channel', 'x')",
        "SELECT set_config('search_path', 'public', false)",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT pg_advisory_lock(4711)",
        "SELECT pg_advisory_xact_lock(4711)",
    ],
)
def test_what_a_read_only_transaction_allows_leaves_nothing_behind(
    engine: Engine, admin: psycopg.Connection[Any], sql: str
) -> None:
    """READ ONLY lets these run (some, by version); the first lock knows none of the functions, and the rollback undoes them."""
    admin.execute("LISTEN channel")
    before = _state(admin)
    try:
        engine.execute(_read(sql))
    except EngineError as error:
        code = error.code
    else:
        code = "ran"
    assert code in ("ran", "engine.refused")
    assert _state(admin) == before
    assert list(admin.notifies(timeout=0.1, stop_after=1)) == []
    assert admin.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchall() == [(0,)]
    assert _refusal(engine, _read("SELECT id FROM customers")).code == "engine.schema_changed"
    assert _refusal(engine, _read("DELETE FROM public.customers")).code == "engine.refused"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM public.employees",
        "INSERT INTO public.ticket_log VALUES ('x')",
        "WITH d AS (DELETE FROM public.employees RETURNING id) UPDATE public.orders SET status = 'x' FROM d",
        "UPDATE public.orders SET status = 'x'; DELETE FROM public.employees",
        "COMMIT; DELETE FROM public.employees",
        "COMMIT",
        "ROLLBACK",
        "COPY public.employees TO PROGRAM 'true'",
        "COPY public.ticket_log FROM PROGRAM 'echo x'",
        "SELECT public.meddle()",
        "VACUUM",
    ],
)
def test_a_write_plan_changes_nothing_else(engine: Engine, admin: psycopg.Connection[Any], sql: str) -> None:
    admin.execute(
        "CREATE FUNCTION public.meddle() RETURNS int LANGUAGE sql AS 'INSERT INTO public.ticket_log VALUES (''x''); SELECT 1'"
    )
    before = _state(admin)
    error = _refusal(engine, make_plan(sql, "postgres", uses={"orders": "update"}, writes=["orders.status"]))
    assert error.code in ("engine.refused", "engine.failed", "engine.unknown_outcome")
    assert _state(admin) == before


def test_effects_of_triggers_are_refused(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    before = _state(admin)
    plan = make_plan("UPDATE public.tickets SET body = 'x'", "postgres", uses={"tickets": "update"}, writes=["tickets.body"])
    error = _refusal(engine, plan)
    assert (error.code, error.evidence["relations"]) == ("engine.refused", ["public.ticket_log"])
    assert _state(admin) == before


def test_counts_of_earlier_plans_do_not_count(engine: Engine, changing: None) -> None:
    one = make_plan("DELETE FROM public.employees WHERE id = 1", "postgres", uses={"employees": "delete"}, rows_changed=1)
    other = make_plan(
        "UPDATE public.orders SET status = 'x' WHERE id = 1", "postgres", uses={"orders": "update"}, rows_changed=1
    )
    assert [engine.execute(p).rows_changed for p in (one, other, other, other)] == [1, 1, 1, 1]


# The schema's version


def test_the_catalog_is_cached_until_the_schema_changes(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    first = engine.catalog()
    assert engine.catalog() is first
    admin.execute("CREATE TABLE more (a int)")
    assert "more" in engine.catalog().relations


@pytest.mark.parametrize(
    ("sql", "uses"),
    [("SELECT id FROM public.customers", {"customers": "select"}), ("DELETE FROM public.employees", {"employees": "delete"})],
)
def test_a_plan_for_another_schema_does_not_run(
    engine: Engine, admin: psycopg.Connection[Any], sql: str, uses: dict[str, str]
) -> None:
    version = engine.catalog().version
    admin.execute("ALTER TABLE customers RENAME COLUMN ssn TO number")
    before = _state(admin)
    assert _refusal(engine, make_plan(sql, "postgres", uses=uses, version=version)).code == "engine.schema_changed"
    assert _state(admin) == before


# Failure


@pytest.mark.parametrize(
    ("sql", "code", "part"),
    [
        ("SELECT 1 / (id - 1) FROM public.customers", "engine.failed", "Division by zero"),
        ("SELECT ssn::int FROM public.customers", "engine.failed", "form of its type"),
        ("SELECT (2147483647 + id) FROM public.customers", "engine.failed", "out of the range"),
        ("SELECT id || 1 FROM public.customers WHERE name > 1", "engine.failed", "does not fit the types"),
        ("SELECT (SELECT id FROM public.customers)", "engine.failed", "more than one row"),
    ],
)
def test_errors_for_the_model_name_the_class_and_hold_no_data(engine: Engine, sql: str, code: str, part: str) -> None:
    error = _refusal(engine, _read(sql))
    assert error.code == code
    assert part in error.message
    assert "078-05-1120" not in error.for_model()
    assert error.evidence["sqlstate"]


def test_a_constraint_that_fails_at_the_commit_changes_nothing(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    admin.execute("ALTER TABLE orders ALTER CONSTRAINT orders_customer_id_fkey DEFERRABLE INITIALLY DEFERRED")
    before = _state(admin)
    plan = make_plan(
        "UPDATE public.orders SET customer_id = 99", "postgres", uses={"orders": "update"}, writes=["orders.customer_id"]
    )
    assert _refusal(engine, plan).code == "engine.failed"
    assert _state(admin) == before


def test_a_connection_lost_during_the_commit_has_an_unknown_outcome(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    admin.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER dies AFTER DELETE ON employees DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
    )
    plan = make_plan("DELETE FROM public.employees WHERE id = 1", "postgres", uses={"employees": "delete"})
    assert _refusal(engine, plan).code == "engine.unknown_outcome"
    assert engine.execute(_read("SELECT id FROM public.customers")).rows


def test_a_killed_connection_is_replaced(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    engine.execute(_read("SELECT 1"))
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert engine.execute(_read("SELECT 1")).rows == ((1,),)


# Roles and lent pools


def test_statements_run_as_the_role(engine: Engine, admin: psycopg.Connection[Any], shop: str) -> None:
    role = "Guardrails reader"
    admin.execute(f'DROP ROLE IF EXISTS "{role}"')  # type: ignore[arg-type]
    admin.execute(f'CREATE ROLE "{role}"; GRANT USAGE ON SCHEMA public TO "{role}"; GRANT SELECT ON employees TO "{role}"')  # type: ignore[arg-type]
    try:
        reader = open_engine(shop, role=role)
        assert reader.execute(make_plan("SELECT current_user::text", "postgres")).rows == ((role,),)
        assert reader.execute(make_plan("SELECT id FROM public.employees", "postgres")).rows
        assert _refusal(reader, _read("SELECT id FROM public.customers")).code == "engine.refused"
        reader.dispose()
        with pytest.raises(UsageError, match=r"usage\.database_unreachable"):
            open_engine(shop, role="nobody")
    finally:
        admin.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')  # type: ignore[arg-type]


def test_a_lent_connection_comes_back_as_it_was(engine: Engine, shop: str) -> None:
    pool = sa.create_engine(shop.replace("postgresql://", "postgresql+psycopg://"), pool_size=1, max_overflow=0)
    with closing(pool.raw_connection()) as raw:
        assert isinstance(raw.driver_connection, psycopg.Connection)
        raw.driver_connection.row_factory = dict_row  # type: ignore[assignment]
    lent = open_engine(pool)
    assert lent.execute(_read("SELECT id FROM public.customers WHERE id = $1", params={"n": 1})).rows == ((1,),)
    _refusal(lent, _read("DELETE FROM public.customers"))
    lent.dispose()
    raw = pool.raw_connection()
    connection = raw.driver_connection
    assert isinstance(connection, psycopg.Connection)
    assert connection.row_factory is dict_row
    assert connection.autocommit is False
    assert connection.execute(
        "SELECT current_setting('statement_timeout') AS s, current_setting('search_path') AS p"
    ).fetchone() == {
        "s": "0",
        "p": '"$user", public',
    }
    raw.close()
    pool.dispose()


def test_threads_run_side_by_side(engine: Engine) -> None:
    def work(_: int) -> int:
        return len(engine.execute(_read("SELECT id FROM public.customers")).rows)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(40))) == [3] * 40


def test_an_index_does_not_order_the_rows_by_a_covered_column(engine: Engine, admin: psycopg.Connection[Any]) -> None:
    admin.execute(
        "CREATE TABLE wide (id int, secret int, pad text);"
        "INSERT INTO wide SELECT n, 1000 - n, repeat('x', 500) FROM generate_series(1, 999) n;"
        "CREATE INDEX ON wide (secret) INCLUDE (id)"
    )
    admin.execute("VACUUM ANALYZE wide")
    rows = engine.execute(make_plan("SELECT id FROM public.wide", "postgres", uses={"wide": "select"})).rows
    assert [r[0] for r in rows] == list(range(1, 1000))
