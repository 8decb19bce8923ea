"""DuckDB under lock-down: nothing but the judged statement happens, within the limits, and its failures have names."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError, UsageError
from guardrails.model import ColumnRef, Limits, Plan, RelationUse

_DDL = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, credit DECIMAL(10, 2), tags VARCHAR[], since DATE);
CREATE TABLE notes (id INTEGER, body VARCHAR);
CREATE SEQUENCE counter;
INSERT INTO customers VALUES (1, 'Ann', 10.5, ['a', 'b'], '2026-01-02'), (2, 'Bob', NULL, [], NULL), (3, 'Cid', 7, NULL, '2026-03-04');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute(_DDL)
    return path


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    opened = open_engine(f"duckdb:///{path}?threads=1")
    yield opened
    opened.dispose()


def _plan(sql: str, *actions: str, **limits: float) -> Plan:
    done = actions or ("select",)
    uses = tuple(RelationUse("customers", a) for a in done)
    wanted = Limits(**{"rows": 1000, "seconds": 10, **limits})  # type: ignore[arg-type]
    return Plan(sql, {}, "duckdb", done, uses, (ColumnRef("customers", "id"),), (), wanted)


def _code(engine: Engine, plan: Plan) -> str:
    with pytest.raises(EngineError) as caught:
        engine.execute(plan)
    return caught.value.code


def test_rows_come_as_plain_values(engine: Engine) -> None:
    sql = "SELECT id, credit, tags, since, {'a': 1, 'b': [1]} AS s, MAP {1: 'x'} AS m FROM customers ORDER BY id LIMIT 1"
    found = engine.execute(_plan(sql))
    assert found.columns == ("id", "credit", "tags", "since", "s", "m")
    assert repr(found.rows[0]) == "(1, Decimal('10.50'), ['a', 'b'], datetime.date(2026, 1, 2), {'a': 1, 'b': [1]}, {'1': 'x'})"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO notes VALUES (1, 'x')",
        "DELETE FROM customers",
        "CREATE TEMP TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "ATTACH ':memory:' AS other",
        "SET VARIABLE x = 1",
        "SET threads = 4",
        "PRAGMA database_list",
        "COPY customers TO '/tmp/guardrails-duckdb-probe.csv'",
        "INSTALL httpfs",
        "EXPLAIN SELECT 1",
        "CALL pragma_version()",
        "CHECKPOINT",
        "DESCRIBE customers",
        "SELECT nextval('counter')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
    ],
)
def test_a_plan_that_reads_does_nothing_else(engine: Engine, path: Path, sql: str) -> None:
    assert _code(engine, _plan(sql)) in ("engine.refused", "engine.failed")
    assert engine.execute(_plan("SELECT count(*) AS n FROM customers")).rows == ((3,),)
    assert not Path("/tmp/guardrails-duckdb-probe.csv").exists()


def test_no_variable_of_the_process_is_a_relation(engine: Engine) -> None:
    local_frame = [1, 2, 3]
    assert local_frame
    assert _code(engine, _plan("SELECT * FROM local_frame")) == "engine.refused"


def test_limits(engine: Engine) -> None:
    found = engine.execute(_plan("SELECT id FROM customers ORDER BY id", rows=2))
    assert (found.rows, found.is_truncated) == (((1,), (2,)), True)
    started = time.perf_counter()
    slow = "SELECT count(*) FROM range(100000000) a, range(1000) b WHERE a.range + b.range = 7"
    assert _code(engine, _plan(slow, seconds=0.5)) == "engine.timeout"
    assert time.perf_counter() - started < 8
    assert _code(engine, _plan("SELECT repeat('x', 100000) AS t", result_bytes=1000)) == "engine.row_too_large"


def test_changes_are_counted_and_taken_back(engine: Engine) -> None:
    insert = "INSERT INTO customers (id, name) VALUES (10, 'x'), (11, 'y'), (12, 'z')"
    for sql in (insert, f"{insert} RETURNING id"):
        assert _code(engine, _plan(sql, "insert", rows_changed=2)) == "engine.too_many_rows_changed"
        assert engine.execute(_plan("SELECT count(*) AS n FROM customers")).rows == ((3,),)
    found = engine.execute(_plan(insert, "insert"))
    assert (found.columns, found.rows, found.rows_changed) == ((), (), 3)
    found = engine.execute(_plan("UPDATE customers SET name = 'q' WHERE id > 9 RETURNING id", "update", rows=1))
    assert (found.columns, len(found.rows), found.rows_changed) == (("id",), 1, 3)
    assert engine.execute(_plan("DELETE FROM customers WHERE id > 9", "delete")).rows_changed == 3
    assert _code(engine, _plan("DELETE FROM customers", "update")) == "engine.refused"


@pytest.mark.parametrize(
    ("sql", "actions", "code", "said"),
    [
        ("SELECT CAST(name AS INTEGER) FROM customers", ("select",), "engine.failed", "form"),
        ("INSERT INTO customers (id, name) VALUES (1, 'x')", ("insert",), "engine.failed", "constraint"),
        ("SELECT 9223372036854775807 + id::BIGINT FROM customers", ("select",), "engine.failed", "range"),
        ("SELECT missing FROM customers", ("select",), "engine.failed", "fit"),
    ],
)
def test_failures_have_names_and_quote_nothing(
    engine: Engine, sql: str, actions: tuple[str, ...], code: str, said: str
) -> None:
    with pytest.raises(EngineError) as caught:
        engine.execute(_plan(sql, *actions))
    assert caught.value.code == code
    assert said in caught.value.message
    assert "Ann" not in caught.value.message


def test_a_changed_schema_is_noticed(engine: Engine, path: Path) -> None:
    before = engine.catalog()
    assert engine.catalog() is before
    stale = replace(_plan("SELECT id FROM customers"), catalog_version=before.version)
    assert len(engine.execute(stale).rows) == 3
    changes = [
        "ALTER TABLE notes ADD COLUMN more INTEGER",
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE OR REPLACE VIEW v AS SELECT 2 AS a",
    ]
    for change in [*changes, "CREATE INDEX i ON notes (id)", "CREATE TYPE mood AS ENUM ('x')"]:
        known = engine.catalog().version
        _elsewhere(path, change)
        assert _code(engine, replace(stale, catalog_version=known)) == "engine.schema_changed"
        assert engine.catalog().version != known


def _elsewhere(path: Path, sql: str) -> None:
    """Runs SQL on another connection of this process; another process cannot open the file for writing."""
    from guardrails.sql.duckdb_parser import LOCKED

    config: dict[str, str | bool | int | float | list[str]] = {**LOCKED, "threads": "1", "lock_configuration": "true"}
    with closing(duckdb.connect(str(path), config=config)) as connection:
        connection.execute(sql)


@pytest.mark.parametrize("name", ["upper", "sum", '"+"', "count_star", "current_date"])
def test_a_macro_in_the_place_of_a_built_in_function_stops_everything(engine: Engine, path: Path, name: str) -> None:
    arguments = {'"+"': "a, b", "count_star": "", "current_date": ""}.get(name, "x")
    _elsewhere(path, f"CREATE MACRO {name}({arguments}) AS 7")
    time.sleep(1.1)
    assert _code(engine, _plan("SELECT id FROM customers")) == "engine.refused"
    with pytest.raises(EngineError):
        engine.catalog()
    _elsewhere(path, f"DROP MACRO {name}")
    assert len(engine.execute(_plan("SELECT id FROM customers")).rows) == 3


def test_threads_share_an_engine(engine: Engine) -> None:
    found: list[int] = []

    def work() -> None:
        for _ in range(10):
            found.append(len(engine.execute(_plan("SELECT id FROM customers")).rows))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 40


def test_opening(path: Path, tmp_path: Path) -> None:
    read_only = open_engine(f"duckdb:///{path}?access_mode=read_only&memory_limit=200MB")
    assert _code(read_only, _plan("DELETE FROM customers WHERE id = 1", "delete")) in ("engine.refused", "engine.failed")
    read_only.dispose()
    for url, code in [
        ("duckdb:///:memory:", "usage.database_unsupported"),
        ("duckdb://", "usage.database_unsupported"),
        (f"duckdb:///{path}?enable_external_access=true", "usage.database_unsupported"),
        (f"duckdb:///{tmp_path / 'missing.duckdb'}", "usage.database_unreachable"),
    ]:
        with pytest.raises(UsageError) as caught:
            open_engine(url)
        assert caught.value.code == code
    (tmp_path / "text.duckdb").write_text("no database" * 1000)
    with pytest.raises(UsageError) as caught:
        open_engine(f"duckdb:///{tmp_path / 'text.duckdb'}")
    assert caught.value.code == "usage.database_unreachable"
