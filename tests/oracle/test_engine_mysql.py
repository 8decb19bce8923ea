"""The MySQL engine on a real MariaDB server: what runs, what its lock refuses, and that nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pymysql
import pytest
import sqlalchemy as sa
from pymysql.constants import CLIENT
from sqlalchemy.engine import URL, make_url

from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError, UsageError
from guardrails.model import Execution, Plan
from tests.support.mysql import connect, fill_shop, new_database, own_database, run, without_relations
from tests.support.plans import make_plan


@pytest.fixture(scope="module")
def shop(mariadb_url: str) -> Iterator[str]:
    """URL of a database with the shop, of this module's own."""
    with new_database(mariadb_url) as url:
        yield fill_shop(url)


@pytest.fixture(scope="module")
def engine(shop: str) -> Iterator[Engine]:
    """Of an account that may do anything in the shop, and sees nothing of what other tests make."""
    target = make_url(shop)
    name = f"e{target.database}"
    run(shop, f"CREATE USER {name}", f"GRANT ALL ON {target.database}.* TO {name}")
    engine = open_engine(target.set(username=name, password=None).render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    run(shop, f"DROP USER {name}")


@pytest.fixture
def changing(shop: str) -> Iterator[None]:
    """Puts the shop back after the test."""
    yield
    without_relations(shop)
    fill_shop(shop)


@pytest.fixture
def admin(changing: None, shop: str) -> Iterator[pymysql.Connection[Any]]:
    """A second connection, beside the engine's, to the same shop."""
    with closing(connect(shop)) as connection:
        yield connection


@pytest.fixture
def account(shop: str) -> Iterator[tuple[str, str]]:
    """A fresh account: its name for GRANT, and the URL that it opens the shop with."""
    name = f"g{make_url(shop).database}"[:30]
    run(shop, f"CREATE USER {name}@'%' IDENTIFIED BY 'secret'")
    yield f"{name}@'%'", make_url(shop).set(username=name, password="secret").render_as_string(hide_password=False)
    run(shop, f"DROP USER {name}@'%'")


def _read(sql: str, **options: Any) -> Plan:
    return make_plan(sql, "mysql", uses={"customers": "select"}, **options)


def _write(sql: str, table: str, action: str, *columns: str, **options: Any) -> Plan:
    return make_plan(sql, "mysql", uses={table: action}, writes=[f"{table}.{c}" for c in columns], **options)


def _refusal(engine: Engine, plan: Plan) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.execute(plan)
    return caught.value


def _rows(connection: pymysql.Connection[Any], sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _state(connection: pymysql.Connection[Any]) -> list[Any]:
    tables = _rows(connection, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1")
    return [(t, sorted(map(repr, _rows(connection, f"SELECT * FROM `{t}`")))) for (t,) in tables]


# What runs


def test_rows_columns_and_parameters(engine: Engine) -> None:
    plan = _read(
        "SELECT `c`.`id` AS `id`, `c`.`name` AS `n` FROM `customers` AS `c` WHERE `c`.`id` < :n AND `c`.`name` <> :x ORDER BY `c`.`id`",
        params={"n": 3, "x": "nobody"},
        version=engine.catalog().version,
    )
    execution = engine.execute(plan)
    assert execution == Execution(("id", "n"), ((1, "Ada"), (2, "Bo")), 0, False, execution.duration_ms)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("CAST(12.50 AS DECIMAL(5, 2))", Decimal("12.50")),
        ("1.5e0", 1.5),
        ("DATE('2026-01-02')", date(2026, 1, 2)),
        ("TIMESTAMP('2026-01-02 03:04:05.5')", datetime(2026, 1, 2, 3, 4, 5, 500000)),  # noqa: DTZ001
        ("SEC_TO_TIME(-3600)", timedelta(hours=-1)),
        ("x'00ff'", b"\0\xff"),
        ("TRUE", 1),
        ("NULL", None),
        ("'é日😀'", "é日😀"),
        ("STR_TO_DATE('2026-00-00', '%Y-%m-%d')", "2026-00-00"),
        ("JSON_ARRAY(1, NULL)", "[1, null]"),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_values_come_back_as_python_values(engine: Engine, expression: str, value: object) -> None:
    got = engine.execute(make_plan(f"SELECT {expression} AS `v`", "mysql")).rows[0][0]
    assert got == value
    assert type(got) is type(value)


HOSTILE_TEXTS = [
    *(
        "it's",
        "back\\slash",
        "\\",
        "\\'",
        "'; DROP TABLE customers; -- ",
        "%s",
        ":x",
        "\n\r\t\x1a\0",
        '"',
        "`",
        "/* */",
        "-- ",
        "#",
    ),
    *("é日😀", "\xbf'", "\xbf\\'", "縗'", "\u00a5'", "\u2019", "a\\\\'b", "''", "\\0", "_binary'x'", "\ud7ff", "\uffff"),
]


@pytest.mark.parametrize("value", HOSTILE_TEXTS)
def test_texts_are_bound_exactly(engine: Engine, value: str) -> None:
    """Alone, between constants of the same kind, and as a name that looks like a placeholder."""
    sql = "SELECT :x AS `v`, ':x' AS `w`, HEX(:x) AS `h`, 'a\\\\' AS `:x`, CONCAT(:x, '''', :y) AS `j`"
    plan = make_plan(sql, "mysql", params={"x": value, "y": "\\'"})
    execution = engine.execute(plan)
    assert execution.rows == ((value, ":x", value.encode().hex().upper(), "a\\", f"{value}'\\'"),)
    assert execution.columns == ("v", "w", "h", ":x", "j")


@pytest.mark.parametrize(
    ("value", "back"),
    [
        *(
            (None, None),
            (True, 1),
            (-5, -5),
            (2**63, 2**63),
            (1.5, 1.5),
            (1e-300, 1e-300),
            (-0.0, 0.0),
            (b"\0'\\", b"\0'\\"),
            (b"", b""),
        ),
        *((Decimal("1.10"), Decimal("1.10")), (Decimal("-1E+3"), -1000), (date(2026, 1, 2), date(2026, 1, 2))),
        (datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, 3, 4, 5, 6)),  # noqa: DTZ001
        *((timedelta(hours=-30, microseconds=5), timedelta(hours=-30, microseconds=5)), (UUID(int=1), str(UUID(int=1)))),
        *(({"a": ["it's"]}, '{"a": ["it\'s"]}'), ([1, "x"], '[1, "x"]')),
    ],
)
def test_values_are_bound(engine: Engine, value: Any, back: object) -> None:
    assert engine.execute(make_plan("SELECT :v AS `v`", "mysql", params={"v": value})).rows == ((back,),)


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf"), Decimal("NaN"), datetime.now().astimezone(), object()])
def test_values_that_mysql_cannot_hold_are_refused(engine: Engine, value: Any) -> None:
    assert _refusal(engine, make_plan("SELECT :v AS `v`", "mysql", params={"v": value})).code == "engine.failed"


def test_changes_are_counted_and_kept(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    version = engine.catalog().version
    plan = _write(
        "UPDATE `orders` AS `o` SET `status` = :s WHERE `o`.`region` = 'north'", "orders", "update", "status",
        params={"s": "sent"}, version=version,
    )  # fmt: skip
    assert engine.execute(plan).rows_changed == 3
    assert _rows(admin, "SELECT COUNT(*) FROM orders WHERE status = 'sent'") == [(3,)]
    assert engine.execute(plan).rows_changed == 3
    plan = _write("DELETE FROM `orders` WHERE `orders`.`id` = 1 RETURNING `orders`.`id` AS `id`", "orders", "delete", "id")
    execution = engine.execute(plan)
    assert (execution.columns, execution.rows, execution.rows_changed) == (("id",), ((1,),), 1)
    plan = _write("INSERT INTO `employees` VALUES (9, :n, 1)", "employees", "insert", "name", params={"n": "it's"})
    assert engine.execute(plan).rows_changed == 1
    assert _rows(admin, "SELECT name FROM employees WHERE id = 9") == [("it's",)]


def test_a_trigger_that_changes_its_own_row_only_may_run(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    assert engine.execute(_write("INSERT INTO `tickets` VALUES (2, ' x ')", "tickets", "insert", "body")).rows_changed == 1
    assert _rows(admin, "SELECT body FROM tickets WHERE id = 2") == [("x",)]


# Limits


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 500])
def test_rows_are_cut_at_the_limit(engine: Engine, rows: int) -> None:
    series = (
        "WITH RECURSIVE `r` (`n`) AS (SELECT 1 AS `1` UNION ALL SELECT `r`.`n` + 1 AS `x` FROM `r` WHERE `r`.`n` < {}) "
        "SELECT `n` FROM `r`"
    )
    for there in (rows, rows + 1):
        execution = engine.execute(make_plan(f"{series.format(there)} LIMIT {there}", "mysql", rows=rows))
        assert [r[0] for r in execution.rows] == list(range(1, rows + 1))
        assert execution.is_truncated == (there > rows)


def test_a_large_result_is_not_loaded(engine: Engine) -> None:
    sql = "SELECT REPEAT('x', 100000) AS `x` FROM `orders` AS `a`, `orders` AS `b`, `orders` AS `c`, `orders` AS `d`, `orders` AS `e`"
    started = time.perf_counter()
    execution = engine.execute(make_plan(sql, "mysql", uses={"orders": "select"}, rows=5))
    assert (len(execution.rows), execution.is_truncated) == (5, True)
    assert time.perf_counter() - started < 2
    assert engine.execute(_read("SELECT `id` FROM `customers`")).rows


def test_bytes_are_cut_at_the_limit(engine: Engine) -> None:
    sql = "SELECT REPEAT('x', 1000) AS `x` FROM `orders` AS `a`, `orders` AS `b`"
    execution = engine.execute(make_plan(sql, "mysql", uses={"orders": "select"}, result_bytes=5_500))
    assert (len(execution.rows), execution.is_truncated) == (5, True)
    assert (
        _refusal(engine, make_plan("SELECT REPEAT('x', 2000) AS `x`", "mysql", result_bytes=1000)).code
        == "engine.row_too_large"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS `n` FROM `o` AS `a`, `o` AS `b`, `o` AS `c`, `o` AS `d`, `o` AS `e`, `o` AS `f`, `o` AS `g`, `o` AS `h`,"
        " `o` AS `i`, `o` AS `j`, `o` AS `k`, `o` AS `l`, `o` AS `m` WHERE RAND() < 0",
        "SELECT MD5(REPEAT(`a`.`id`, 3000)) AS `n` FROM `o` AS `a`, `o` AS `b`, `o` AS `c`, `o` AS `d`, `o` AS `e`, `o` AS `f`, `o` AS `g`,"
        " `o` AS `h`, `o` AS `i`, `o` AS `j`, `o` AS `k` WHERE RAND() < 0 OR `a`.`id` > 3",
    ],
)
def test_endless_statements_are_stopped(engine: Engine, sql: str) -> None:
    started = time.perf_counter()
    plan = make_plan(
        sql.replace("`o`", "`orders`"), "mysql", uses={"orders": "select"}, seconds=0.4, rows=10**9, result_bytes=10**12
    )
    assert _refusal(engine, plan).code == "engine.timeout"
    assert time.perf_counter() - started < 2
    assert engine.execute(_read("SELECT `id` FROM `customers`")).rows


@pytest.mark.parametrize("lock", ["LOCK TABLES employees WRITE", "ROW"])
def test_a_lock_held_by_others_is_a_timeout(engine: Engine, admin: pymysql.Connection[Any], lock: str) -> None:
    started = time.perf_counter()
    if lock == "ROW":
        _rows(admin, "SET autocommit = 0")
        _rows(admin, "UPDATE employees SET salary = 1")
        plan = _write("UPDATE `employees` AS `e` SET `salary` = 2", "employees", "update", "salary", seconds=1)
    else:
        _rows(admin, lock)
        plan = make_plan("SELECT `id` FROM `employees`", "mysql", uses={"employees": "select"}, seconds=1)
    assert _refusal(engine, plan).code == "engine.timeout"
    assert time.perf_counter() - started < 3
    admin.rollback()
    _rows(admin, "UNLOCK TABLES")


def test_too_many_changes_are_rolled_back(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    before = _state(admin)
    for sql, action in {
        "UPDATE `orders` AS `o` SET `status` = 'x'": "update",
        "UPDATE `orders` AS `o` SET `status` = `o`.`status`": "update",
        "DELETE FROM `orders`": "delete",
        "INSERT INTO `orders` SELECT `id` + 10 AS `i`, 1 AS `c`, 1 AS `a`, 'x' AS `s`, 'x' AS `r`, NOW() AS `d` FROM `orders`": "insert",
    }.items():
        plan = _write(sql, "orders", action, "status", rows_changed=3)
        assert _refusal(engine, plan).code == "engine.too_many_rows_changed"
        assert _state(admin) == before


# Hostile statements: the plan says that customers are read, the text does something else.

HOSTILE_READS = [
    "INSERT INTO ticket_log VALUES ('x')",
    "INSERT INTO `ticket_log` VALUES ('x')",
    "UPDATE `customers` SET `name` = 'x'",
    "DELETE FROM `customers`",
    "DELETE FROM `customers` RETURNING *",
    "REPLACE INTO `employees` VALUES (1, 'x', 1)",
    "SELECT `id` FROM `customers` INTO OUTFILE '/tmp/guardrails-out'",
    "SELECT `id` INTO OUTFILE '/tmp/guardrails-out' FROM `customers`",
    "SELECT 1 INTO @x",
    "SELECT @x := 1",
    "SELECT @@version",
    "SELECT 1; DELETE FROM `customers`",
    "SELECT 1;",
    "COMMIT",
    "COMMIT; DELETE FROM `customers`",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "BEGIN",
    "START TRANSACTION READ WRITE",
    "SAVEPOINT s",
    "SET autocommit = 1",
    "SET SESSION TRANSACTION READ WRITE",
    "SET STATEMENT max_statement_time = 0 FOR SELECT 1",
    "SET PASSWORD = ''",
    "SET GLOBAL general_log = 1",
    "SELECT `id` FROM `customers` FOR UPDATE",
    "SELECT `id` FROM `customers` LOCK IN SHARE MODE",
    "SELECT `id` FROM `customers` WAIT 1",
    "CREATE TABLE copy AS SELECT 1",
    "CREATE TEMPORARY TABLE scratch (a INT)",
    "CREATE OR REPLACE VIEW customer_names AS SELECT 1",
    "TRUNCATE `customers`",
    "TRUNCATE TABLE `customers`",
    "DROP TABLE `customers`",
    "ALTER TABLE `customers` ADD COLUMN x INT",
    "RENAME TABLE `customers` TO `c`",
    "ANALYZE TABLE `customers`",
    "ANALYZE SELECT 1",
    "OPTIMIZE TABLE `customers`",
    "FLUSH TABLES",
    "LOCK TABLES `customers` WRITE",
    "HANDLER `customers` OPEN",
    "LOAD DATA INFILE '/etc/hosts' INTO TABLE `ticket_log`",
    "LOAD DATA LOCAL INFILE '/etc/hosts' INTO TABLE `ticket_log`",
    "CALL meddle()",
    "DO SLEEP(9)",
    "DO RELEASE_ALL_LOCKS()",
    "SELECT SLEEP(9)",
    "SELECT BENCHMARK(100000000, MD5('x'))",
    "SELECT GET_LOCK('x', 1)",
    "SELECT LOAD_FILE('/etc/hosts')",
    "SELECT meddled()",
    "SELECT `meddled`()",
    "SELECT LAST_INSERT_ID(5)",
    "SELECT NEXTVAL(`counting`)",
    "SELECT NEXT VALUE FOR counting",
    "SELECT SETVAL(counting, 9)",
    "SELECT USER()",
    "SELECT CURRENT_USER",
    "SELECT * FROM mysql.user",
    "SELECT `User` FROM `mysql`.`user`",
    "SHOW TABLES",
    "SHOW GRANTS",
    "DESCRIBE `customers`",
    "EXPLAIN SELECT 1",
    "PREPARE p FROM 'DELETE FROM customers'",
    "EXECUTE IMMEDIATE 'DELETE FROM customers'",
    "BEGIN NOT ATOMIC DELETE FROM customers; END",
    "XA START 'x'",
    "KILL 1",
    "SHUTDOWN",
    "INSTALL SONAME 'x'",
    "GRANT ALL ON *.* TO root@localhost",
    "/*! DELETE FROM `customers` */",
    "SELECT 1 /*! INTO OUTFILE '/tmp/guardrails-out' */",
    "SELECT 1 /*M! , SLEEP(9) */",
    "SELECT 1 -- x",
    "SELECT 1 # x",
    'SELECT "x"',
    "SELECT 1 PROCEDURE ANALYSE()",
    "SELECT {d '2026-01-01'}",
    "SELECT id FROM customers",
    "SELECT `id` FROM `custom",
    "SELECT 'x",
    "",
]


MEDDLING = (
    "CREATE PROCEDURE meddle() INSERT INTO ticket_log VALUES ('x')",
    "CREATE FUNCTION meddled() RETURNS INT BEGIN INSERT INTO ticket_log VALUES ('x'); RETURN 1; END",
)


@pytest.fixture(scope="module")
def meddled(mariadb_url: str) -> Iterator[tuple[Engine, pymysql.Connection[Any]]]:
    """A shop with what a read could misuse, which stays as it is as long as none does, and a second connection to it."""
    with own_database(mariadb_url) as url, closing(connect(fill_shop(url))) as connection:
        for statement in ("CREATE SEQUENCE counting", *MEDDLING):
            _rows(connection, statement)
        engine = open_engine(url)
        yield engine, connection
        engine.dispose()


@pytest.mark.parametrize("sql", HOSTILE_READS)
def test_a_read_plan_does_nothing_else(meddled: tuple[Engine, pymysql.Connection[Any]], sql: str) -> None:
    engine, admin = meddled
    before = _state(admin), _rows(admin, "SELECT next_not_cached_value FROM counting")
    started = time.perf_counter()
    error = _refusal(engine, _read(sql))
    assert time.perf_counter() - started < 2
    assert error.code == "engine.refused"
    assert "customers" not in error.for_model()
    assert engine.execute(_read("SELECT `id` FROM `customers`")).rows
    assert (_state(admin), _rows(admin, "SELECT next_not_cached_value FROM counting")) == before


@pytest.mark.parametrize(
    "sql", ["INSERT INTO `ticket_log` VALUES ('x')", "DELETE FROM `employees`", "UPDATE `customers` SET `name` = 'x'"]
)
def test_the_server_refuses_changes_in_a_read_plan_by_itself(
    engine: Engine, admin: pymysql.Connection[Any], sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock over the text, the transaction still is READ ONLY."""
    from guardrails.engines import mysql_running
    from guardrails.sql.lexemes import lexemes_of

    monkeypatch.setattr(mysql_running, "checked_lexemes", lambda plan: lexemes_of(plan.sql, "mysql"))
    before = _state(admin)
    assert _refusal(engine, _read(sql)).evidence["mysql_error"] == 1792
    assert _state(admin) == before


HOSTILE_WRITES = [
    "DELETE FROM `employees`",
    "INSERT INTO `ticket_log` VALUES ('x')",
    "UPDATE `orders` SET `status` = 'x'; DELETE FROM `employees`",
    "UPDATE IGNORE `orders` SET `status` = 'x'",
    "UPDATE `orders` SET `status` = @x := 'x'",
    "UPDATE `orders` SET `status` = (SELECT 1 INTO @x)",
    "UPDATE `orders` SET `status` = SLEEP(1)",
    "COMMIT",
    "ROLLBACK",
    "TRUNCATE `orders`",
    "DROP TABLE `orders`",
    "ALTER TABLE `orders` DROP COLUMN `status`",
    "CALL meddle()",
    "SELECT 1",
    "LOAD DATA INFILE '/etc/hosts' INTO TABLE `orders`",
    "SET autocommit = 1",
]


@pytest.mark.parametrize("sql", HOSTILE_WRITES)
def test_a_write_plan_changes_nothing_else(engine: Engine, admin: pymysql.Connection[Any], sql: str) -> None:
    before = _state(admin)
    assert _refusal(engine, _write(sql, "orders", "update", "status")).code == "engine.refused"
    assert _state(admin) == before


# Effects beyond the relation that is changed


def test_effects_of_triggers_are_refused_before_they_happen(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    before = _state(admin)
    plan = _write("UPDATE `tickets` AS `t` SET `body` = 'x'", "tickets", "update", "body")
    error = _refusal(engine, plan)
    assert (error.code, error.evidence["relation"]) == ("engine.refused", "tickets")
    assert _state(admin) == before


@pytest.mark.parametrize(
    ("body", "is_plain"),
    [
        ("SET new.name = UPPER(new.name)", True),
        ("BEGIN IF new.salary IS NULL THEN SET new.salary = 0; ELSE SET new.salary = ROUND(new.salary, -1); END IF; END", True),
        ("SET @last = new.name", False),
        ("SET new.salary = (SELECT MAX(id) FROM customers)", False),
        ("SET new.name = meddled()", False),
        ("BEGIN SET new.name = 'x'; DELETE FROM orders; END", False),
        ("CALL meddle()", False),
        ("SET new.salary = NEXT VALUE FOR counting", False),
        ("SET new.name = 'x' /* INSERT */", False),
    ],
)
def test_triggers_are_judged_by_what_they_do(engine: Engine, admin: pymysql.Connection[Any], body: str, is_plain: bool) -> None:
    for statement in (
        "CREATE SEQUENCE counting",
        "CREATE PROCEDURE meddle() INSERT INTO ticket_log VALUES ('x')",
        "CREATE FUNCTION meddled() RETURNS VARCHAR(9) BEGIN INSERT INTO ticket_log VALUES ('x'); RETURN 'x'; END",
        f"CREATE TRIGGER watching BEFORE INSERT ON employees FOR EACH ROW {body}",
    ):
        _rows(admin, statement)
    plan = _write("INSERT INTO `employees` VALUES (9, 'x', 5)", "employees", "insert", "name")
    if is_plain:
        assert engine.execute(plan).rows_changed == 1
    else:
        assert _refusal(engine, plan).code == "engine.refused"
        assert _rows(admin, "SELECT COUNT(*) FROM ticket_log") == [(0,)]


def test_an_account_that_sees_no_triggers_has_its_rows_counted(
    admin: pymysql.Connection[Any], account: tuple[str, str], shop: str
) -> None:
    grantee, url = account
    database = make_url(shop).database
    _rows(admin, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {grantee}")
    writer = open_engine(url)
    before = _state(admin)
    error = _refusal(writer, _write("UPDATE `tickets` AS `t` SET `body` = 'x'", "tickets", "update", "body"))
    assert (error.code, "TRIGGER" in error.hint) == ("engine.refused", True)
    assert _state(admin) == before
    assert (
        writer.execute(_write("UPDATE `employees` AS `e` SET `salary` = 1", "employees", "update", "salary")).rows_changed == 2
    )
    assert writer.execute(_write("INSERT INTO `tickets` VALUES (3, 'x')", "tickets", "insert", "body")).rows_changed == 1
    writer.dispose()


@pytest.mark.parametrize(
    ("sql", "action", "column"),
    [
        ("DELETE FROM `customers` WHERE `customers`.`id` = 1", "delete", "id"),
        ("DELETE `c` FROM `customers` AS `c` WHERE `c`.`id` = 1", "delete", "id"),
    ],
)
def test_foreign_keys_that_change_other_relations_are_refused(
    engine: Engine, admin: pymysql.Connection[Any], sql: str, action: str, column: str
) -> None:
    before = _state(admin)
    assert _refusal(engine, _write(sql, "customers", action, column)).code == "engine.refused"
    assert _state(admin) == before
    allowed = replace(
        _write(sql, "customers", action, column), writes=make_plan("", "mysql", writes=["customers.id", "orders.id"]).writes
    )
    assert engine.execute(allowed).rows_changed == 1


def test_foreign_keys_that_only_restrict_are_the_server_s_business(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    _rows(admin, "ALTER TABLE orders DROP FOREIGN KEY orders_of")
    _rows(admin, "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id) ON UPDATE CASCADE")
    plan = _write("DELETE FROM `customers` WHERE `customers`.`id` = 1", "customers", "delete", "id")
    assert _refusal(engine, plan).code == "engine.failed"
    plan = _write("UPDATE `customers` AS `c` SET `name` = 'x'", "customers", "update", "name")
    assert engine.execute(plan).rows_changed == 3
    plan = _write("UPDATE `customers` AS `c` SET `id` = `c`.`id` + 10", "customers", "update", "id")
    assert _refusal(engine, plan).code == "engine.refused"


@pytest.mark.parametrize("storage", ["MyISAM", "Aria", "MEMORY"])
def test_tables_that_cannot_be_rolled_back_are_never_changed(
    engine: Engine, admin: pymysql.Connection[Any], storage: str
) -> None:
    _rows(admin, f"CREATE TABLE loose (a INT) ENGINE = {storage}")
    _rows(admin, "INSERT INTO loose VALUES (1)")
    for sql, action in {"DELETE FROM `loose`": "delete", "INSERT INTO `loose` VALUES (2)": "insert"}.items():
        assert _refusal(engine, _write(sql, "loose", action, "a")).code == "engine.refused"
    assert _rows(admin, "SELECT a FROM loose") == [(1,)]
    assert engine.execute(make_plan("SELECT `a` FROM `loose`", "mysql", uses={"loose": "select"})).rows == ((1,),)


# The schema's version, and what stands before a name


def test_the_catalog_is_cached_until_the_schema_changes(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    # Other tests make databases on the same server at the same time, and those are in the catalog too.
    assert any(engine.catalog() is engine.catalog() for _ in range(20))
    _rows(admin, "CREATE TABLE more (a INT)")
    assert "more" in engine.catalog().relations


@pytest.mark.parametrize(
    ("sql", "uses"),
    [("SELECT `id` FROM `customers`", {"customers": "select"}), ("DELETE FROM `employees`", {"employees": "delete"})],
)
def test_a_plan_for_another_schema_does_not_run(
    engine: Engine, admin: pymysql.Connection[Any], sql: str, uses: dict[str, str]
) -> None:
    version = engine.catalog().version
    _rows(admin, "ALTER TABLE customers RENAME COLUMN ssn TO number")
    before = _state(admin)
    assert _refusal(engine, make_plan(sql, "mysql", uses=uses, version=version)).code == "engine.schema_changed"
    assert _refusal(engine, make_plan(sql, "mysql", uses=uses, version="no version")).code == "engine.schema_changed"
    assert _state(admin) == before


def test_a_change_of_another_database_says_nothing_of_this_one(engine: Engine, mariadb_url: str) -> None:
    plan = _read("SELECT `id` FROM `customers`", version=engine.catalog().version)
    with new_database(mariadb_url) as other:
        run(other, "CREATE TABLE t (a INT)")
        engine.catalog()
        assert engine.execute(plan).rows


def test_a_stored_function_with_the_name_of_a_built_in_is_not_called(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    """`any_value` is MySQL's; MariaDB would call the function of the database."""
    _rows(admin, "CREATE FUNCTION any_value(a INT) RETURNS VARCHAR(80) RETURN (SELECT MAX(ssn) FROM customers)")
    plan = _read("SELECT ANY_VALUE(1) AS `v`")
    engine.catalog()
    error = _refusal(engine, plan)
    assert (error.code, error.evidence["functions"]) == ("engine.refused", ["any_value"])


def test_a_temporary_table_of_the_application_hides_nothing(shop: str) -> None:
    pool = sa.create_engine(
        shop.replace("mysql:", "mysql+pymysql:"), pool_size=1, max_overflow=0, connect_args={"charset": "utf8mb4"}
    )
    lent = open_engine(pool)
    with pool.connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE customers AS SELECT 1 AS id, 'fake' AS name")
    assert _refusal(lent, _read("SELECT `id` FROM `customers`")).code == "engine.refused"
    assert lent.execute(make_plan("SELECT `id` FROM `employees`", "mysql", uses={"employees": "select"})).rows
    pool.dispose()


# Failure


@pytest.mark.parametrize(
    ("sql", "code", "part"),
    [
        ("SELECT 9223372036854775807 + `id` AS `x` FROM `customers`", "engine.failed", "out of the range"),
        ("SELECT (SELECT `id` FROM `customers`) AS `x`", "engine.failed", "more than one row"),
        ("SELECT REGEXP_INSTR(`ssn`, '(') AS `x` FROM `customers`", "engine.failed", "not well formed"),
        (
            "SELECT `name` COLLATE utf8mb4_bin = `name` COLLATE utf8mb4_general_ci AS `x` FROM `customers`",
            "engine.failed",
            "collations",
        ),
        ("SELECT `nosuch` FROM `customers`", "engine.refused", "in this form"),
        ("SELECT SUM(`id`, 1) AS `x` FROM `customers`", "engine.refused", "in this form"),
    ],
)
def test_errors_for_the_model_name_the_class_and_hold_no_data(engine: Engine, sql: str, code: str, part: str) -> None:
    error = _refusal(engine, _read(sql))
    assert error.code == code
    assert part in error.message
    assert "078-05-1120" not in error.for_model()
    assert "customers" not in error.for_model()
    assert error.evidence["mysql_error"]


def test_constraints_change_nothing(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    before = _state(admin)
    for sql, column in {
        "UPDATE `orders` AS `o` SET `customer_id` = 99": "customer_id",
        "UPDATE `orders` AS `o` SET `amount` = -1": "amount",
        "UPDATE `orders` AS `o` SET `id` = 1": "id",
        "UPDATE `orders` AS `o` SET `status` = NULL": "status",
        "UPDATE `orders` AS `o` SET `status` = REPEAT('x', 99)": "status",
        "UPDATE `orders` AS `o` SET `created_at` = 'yesterday'": "created_at",
        "UPDATE `orders` AS `o` SET `amount` = 1 / 0": "amount",
    }.items():
        assert _refusal(engine, _write(sql, "orders", "update", column)).code == "engine.failed", sql
    assert _state(admin) == before


def test_a_connection_lost_during_the_commit_has_an_unknown_outcome(
    engine: Engine, admin: pymysql.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from guardrails.engines.mysql_connections import Session

    lift = Session.lift_time_limit

    def killed(session: Session) -> None:
        lift(session)
        _rows(admin, f"KILL {session.connection.thread_id()}")

    monkeypatch.setattr(Session, "lift_time_limit", killed)
    plan = _write("DELETE FROM `employees` WHERE `employees`.`id` = 1", "employees", "delete", "id")
    assert _refusal(engine, plan).code == "engine.unknown_outcome"
    monkeypatch.undo()
    assert engine.execute(_read("SELECT `id` FROM `customers`")).rows


def test_a_killed_connection_is_replaced(engine: Engine, admin: pymysql.Connection[Any]) -> None:
    engine.execute(_read("SELECT 1 AS `1`"))
    own = admin.thread_id()
    for (thread,) in _rows(admin, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE()"):
        if thread != own:
            _rows(admin, f"KILL {thread}")
    assert engine.execute(_read("SELECT 1 AS `1`")).rows == ((1,),)


# Accounts and lent pools


def test_statements_run_with_the_account_s_rights(admin: pymysql.Connection[Any], account: tuple[str, str], shop: str) -> None:
    grantee, url = account
    database = make_url(shop).database
    _rows(admin, f"GRANT SELECT ON {database}.employees TO {grantee}")
    _rows(admin, f"GRANT SELECT (id, name) ON {database}.customers TO {grantee}")
    reader = open_engine(url)
    assert set(reader.catalog().relations) == {"customers", "employees"}
    assert reader.execute(make_plan("SELECT `id` FROM `employees`", "mysql", uses={"employees": "select"})).rows
    assert reader.execute(_read("SELECT `name` FROM `customers`")).rows
    assert _refusal(reader, _read("SELECT `ssn` FROM `customers`")).code == "engine.refused"
    assert _refusal(reader, make_plan("SELECT `id` FROM `orders`", "mysql", uses={"orders": "select"})).code == "engine.refused"
    assert _refusal(reader, _write("DELETE FROM `employees`", "employees", "delete", "id")).code == "engine.refused"
    reader.dispose()
    with pytest.raises(UsageError, match=r"usage\.database_unreachable"):
        open_engine(make_url(url).set(password="wrong").render_as_string(hide_password=False))


def test_a_lent_connection_comes_back_as_it_was(shop: str) -> None:
    arguments = {
        "charset": "utf8mb4",
        "init_command": "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES', lock_wait_timeout = 77",
    }
    pool = sa.create_engine(shop.replace("mysql:", "mysql+pymysql:"), pool_size=1, max_overflow=0, connect_args=arguments)
    lent = open_engine(pool)
    assert lent.execute(_read("SELECT 'a\\\\' AS `v`, `id` FROM `customers` WHERE `id` = :n", params={"n": 1})).rows == (
        ("a\\", 1),
    )
    assert lent.execute(_read("SELECT :v AS `v`", params={"v": "\\'"})).rows == (("\\'",),)
    _refusal(lent, _read("DELETE FROM `customers`"))
    _refusal(lent, _read("SELECT `nosuch` FROM `customers`"))
    lent.dispose()
    with pool.connect() as connection:
        settings = (
            "SELECT @@sql_mode, @@lock_wait_timeout, @@max_statement_time, @@tx_read_only, @@autocommit, @@sql_auto_is_null"
        )
        found = tuple(connection.exec_driver_sql(settings).one())
        assert found == ("PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES", 77, Decimal(0), 0, 0, 0)
        connection.exec_driver_sql("UPDATE employees SET salary = salary")
    pool.dispose()


@pytest.mark.parametrize(
    "arguments",
    [
        {"charset": "latin1"},
        {"charset": "gbk"},
        {"charset": "utf8mb4", "client_flag": CLIENT.MULTI_STATEMENTS},
        {"charset": "utf8mb4", "local_infile": True},
    ],
)
def test_connections_that_read_text_otherwise_are_not_used(shop: str, arguments: dict[str, Any]) -> None:
    pool = sa.create_engine(shop.replace("mysql:", "mysql+pymysql:"), connect_args=arguments)
    with pytest.raises(UsageError, match=r"usage\.database_unreachable"):
        open_engine(pool)
    pool.dispose()


@pytest.mark.parametrize(
    "query", ["charset=gbk", "charset=latin1&local_infile=1", "init_command=SET+NAMES+gbk", "client_flag=65536"]
)
def test_a_url_cannot_make_the_engine_s_own_connections_so(shop: str, query: str) -> None:
    engine = open_engine(f"{shop}?{query}")
    assert engine.execute(make_plan("SELECT :v AS `v`", "mysql", params={"v": "\xbf'"})).rows == (("\xbf'",),)
    engine.dispose()


def _label(url: str) -> str:
    parts = make_url(url)
    return URL.create("mysql", host=parts.host, port=parts.port, database=parts.database).render_as_string()


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_every_spelling_of_the_url_opens(shop: str, scheme: str) -> None:
    engine = open_engine(shop.replace("mysql:", f"{scheme}:"))
    assert (engine.dialect, engine.name) == ("mysql", _label(shop))
    engine.dispose()


def test_threads_run_side_by_side(engine: Engine) -> None:
    def work(_: int) -> int:
        return len(engine.execute(_read("SELECT `id` FROM `customers`")).rows)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(40))) == [3] * 40


def test_nothing_of_a_session_is_left_for_the_next_plan(engine: Engine) -> None:
    settings = "SELECT `a`.`id` FROM `customers` AS `a`, `customers` AS `b` LIMIT 9"
    engine.execute(_read(settings, rows=1))
    _refusal(engine, _read("SELECT 9223372036854775807 + `id` AS `x` FROM `customers`"))
    assert (
        engine.execute(
            _write("UPDATE `employees` AS `e` SET `salary` = `e`.`salary`", "employees", "update", "salary")
        ).rows_changed
        == 2
    )
    assert _refusal(engine, replace(_read("UPDATE `employees` AS `e` SET `salary` = 0"))).code == "engine.refused"
