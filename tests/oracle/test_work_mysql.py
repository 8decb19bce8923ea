"""Held transactions on a real MariaDB server: what a read inside cannot do, what the server ends, and that nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import AssertionPool, NullPool, SingletonThreadPool, StaticPool

from guardrails.engines import TransactionalEngine, Work, mysql_connections, mysql_running, open_engine
from guardrails.engines.interrupting import Interrupt
from guardrails.engines.mysql_connections import Session
from guardrails.errors import ConstraintError, EngineError
from guardrails.model import Execution, Plan
from guardrails.sql.lexemes import lexemes_of
from tests.oracle.test_engine_mysql import HOSTILE_READS, HOSTILE_WRITES, MEDDLING
from tests.support.mysql import connect, fill_shop, new_database, own_database
from tests.support.plans import make_plan


@pytest.fixture
def shop(mariadb_url: str) -> Iterator[str]:
    """URL of a database with the shop, of an account that may do anything in it."""
    with own_database(mariadb_url) as url:
        yield fill_shop(url)


@pytest.fixture
def engine(shop: str) -> Iterator[TransactionalEngine]:
    engine = open_engine(shop)
    assert isinstance(engine, TransactionalEngine)
    assert engine.is_transactional
    yield engine
    engine.dispose()


@pytest.fixture
def work(engine: TransactionalEngine) -> Iterator[Work]:
    """A transaction that has changed something already."""
    begun = engine.begin()
    begun.execute(_pay(1, "mine"))
    yield begun
    begun.roll_back()


@pytest.fixture
def admin(shop: str) -> Iterator[pymysql.Connection[Any]]:
    with closing(connect(shop)) as connection:
        yield connection


def _rows(connection: pymysql.Connection[Any], sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _read(sql: str, *relations: str, **options: Any) -> Plan:
    return make_plan(sql, "mysql", uses=dict.fromkeys(relations, "select"), **options)


def _pay(order: int, status: str, **options: Any) -> Plan:
    sql = f"UPDATE `orders` AS `o` SET `status` = '{status}' WHERE `o`.`id` = {order}"
    return make_plan(sql, "mysql", uses={"orders": "update"}, writes=["orders.status"], **options)


def _refusal(work: Work, plan: Plan) -> EngineError:
    with pytest.raises(EngineError) as caught:
        work.execute(plan)
    return caught.value


def _statuses(connection: pymysql.Connection[Any]) -> dict[int, str]:
    return dict(_rows(connection, "SELECT id, status FROM orders"))


@pytest.fixture
def root(mariadb_url: str) -> Iterator[pymysql.Connection[Any]]:
    with closing(connect(mariadb_url)) as connection:
        yield connection


# Reads inside change nothing

_LOGGING = (
    "CREATE TABLE log (v INT) ENGINE = Aria",
    "CREATE SEQUENCE counting",
    "CREATE FUNCTION logged() RETURNS INT BEGIN INSERT INTO log VALUES (1); RETURN 1; END",
    "CREATE FUNCTION same(i INT) RETURNS INT DETERMINISTIC BEGIN INSERT INTO log VALUES (2); RETURN i; END",
    "CREATE FUNCTION outer_one() RETURNS INT RETURN logged()",
)


@pytest.mark.parametrize(
    "view",
    [
        "SELECT logged() AS x, id FROM orders",
        # These two are computed as soon as the server looks for a way to read them, whatever limit stands behind.
        "SELECT id AS x FROM orders WHERE same(1) = 1",
        "SELECT logged() AS x",
        "SELECT MAX(outer_one()) AS x FROM orders",
        "SELECT NEXTVAL(counting) AS x",
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("is_declared", [True, False])
def test_a_view_over_a_function_that_writes_is_not_read(
    work: Work, admin: pymysql.Connection[Any], view: str, is_nested: bool, is_declared: bool
) -> None:
    """Aria and sequences take nothing back, so that the function must not even be called."""
    for sql in (*_LOGGING, f"CREATE VIEW inner_one AS {view}", "CREATE VIEW seen AS SELECT x FROM inner_one"):
        _rows(admin, sql)
    relation = "seen" if is_nested else "inner_one"
    error = _refusal(work, _read(f"SELECT `x` FROM `{relation}`", *([relation] if is_declared else [])))
    assert (error.code, error.evidence["mysql_error"]) == ("engine.refused", 1792)
    assert _rows(admin, "SELECT * FROM log") == []
    assert _rows(admin, "SELECT next_not_cached_value FROM counting") == [(1,)]
    work.execute(_pay(2, "mine"))
    work.commit()
    assert _statuses(admin) == {1: "mine", 2: "mine", 3: "paid", 4: "open"}


_REPLACEMENTS = (
    "CREATE OR REPLACE VIEW seen AS SELECT logged() AS x, id FROM orders",
    "CREATE OR REPLACE VIEW inner_one AS SELECT logged() AS x, id FROM orders",
    "CREATE OR REPLACE FUNCTION harmless() RETURNS INT BEGIN INSERT INTO log VALUES (1); RETURN 1; END",
    "CREATE OR REPLACE PROCEDURE aside() INSERT INTO log VALUES (1)",
)


def test_what_a_read_means_cannot_change_while_it_runs(
    work: Work, admin: pymysql.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the server's look at the read and the read there is no time in which to replace a view or a routine."""
    for sql in (
        *_LOGGING,
        "CREATE PROCEDURE aside() BEGIN END",
        "CREATE FUNCTION harmless() RETURNS INT BEGIN CALL aside(); RETURN 1; END",
        "CREATE VIEW inner_one AS SELECT harmless() AS x, id FROM orders",
        "CREATE VIEW seen AS SELECT x, id FROM inner_one",
        "SET lock_wait_timeout = 1",
    ):
        _rows(admin, sql)
    found: list[int] = []

    def replacing(*arguments: Any) -> Execution:
        for sql in _REPLACEMENTS:
            with pytest.raises(pymysql.OperationalError) as caught:
                _rows(admin, sql)
            found.append(caught.value.args[0])
        return mysql_running.read(*arguments)

    # The lock over the text is not about views, and the plan not about the catalog: what is left is the second session.
    monkeypatch.setattr("guardrails.engines.mysql_work.read", replacing)
    assert work.execute(_read("SELECT `id` FROM `seen`", "seen", seconds=20)).rows == ((1,), (2,), (3,), (4,))
    assert found == [1205] * 4
    monkeypatch.undo()
    # Like everything that a transaction touched, they stay as they are until the end.
    work.commit()
    for sql in _REPLACEMENTS:
        _rows(admin, sql)
    assert _rows(admin, "SELECT * FROM log") == []


@pytest.fixture(scope="module")
def meddled(mariadb_url: str) -> Iterator[tuple[TransactionalEngine, pymysql.Connection[Any]]]:
    """A shop with what a read could misuse, which stays as it is as long as none does, and a second connection to it."""
    with own_database(mariadb_url) as url, closing(connect(fill_shop(url))) as connection:
        for statement in (*_LOGGING, *MEDDLING):
            _rows(connection, statement)
        engine = open_engine(url)
        assert isinstance(engine, TransactionalEngine)
        yield engine, connection
        engine.dispose()


@pytest.mark.parametrize("sql", HOSTILE_READS)
def test_a_read_plan_does_nothing_else(meddled: tuple[TransactionalEngine, pymysql.Connection[Any]], sql: str) -> None:
    engine, admin = meddled
    _rows(admin, "UPDATE orders SET status = 'paid' WHERE id = 1")
    work = engine.begin()
    try:
        work.execute(_pay(1, "mine"))
        assert _refusal(work, _read(sql, "customers")).code == "engine.refused"
        assert work.execute(_read("SELECT `status` FROM `orders` WHERE `id` = 1", "orders")).rows == (("mine",),)
        work.commit()
    finally:
        work.roll_back()
    assert _rows(admin, "SELECT next_not_cached_value FROM counting") == [(1,)]
    assert _rows(admin, "SELECT * FROM ticket_log UNION ALL SELECT * FROM log") == []
    assert _statuses(admin) == {1: "mine", 2: "open", 3: "paid", 4: "open"}


@pytest.mark.parametrize("sql", HOSTILE_WRITES)
def test_a_write_plan_changes_nothing_else(work: Work, admin: pymysql.Connection[Any], sql: str) -> None:
    plan = make_plan(sql, "mysql", uses={"orders": "update"}, writes=["orders.status"])
    assert _refusal(work, plan).code == "engine.refused"
    assert _statuses(admin)[1] == "paid"
    work.commit()
    assert _statuses(admin) == {1: "mine", 2: "open", 3: "paid", 4: "open"}
    assert len(_rows(admin, "SELECT * FROM employees")) == 2


def test_a_statement_that_ends_the_transaction_is_not_called_taken_back(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is judged can do so; without the lock over the text it shows."""
    monkeypatch.setattr(mysql_running, "checked_lexemes", lambda plan: lexemes_of(plan.sql, "mysql"))
    error = _refusal(work, make_plan("COMMIT", "mysql", uses={"orders": "update"}, writes=["orders.status"]))
    assert (error.code, "whole" in error.message) == ("engine.unknown_outcome", False)
    with pytest.raises(EngineError, match="The transaction is over"):
        work.commit()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO `log` VALUES (1)",
        "UPDATE `orders` SET `status` = 'x'",
        "DELETE FROM `orders` RETURNING `id`",
        "SELECT logged()",
        "SELECT NEXTVAL(counting)",
        "COMMIT",
        "DROP TABLE `log`",
        "SELECT 1 FROM `orders` INTO @x",
        "SELECT 1) UNION (SELECT 1",
    ],
)
def test_the_server_refuses_changes_in_a_read_plan_by_itself(
    work: Work, admin: pymysql.Connection[Any], sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock over the text there still is the session that may only read, and that takes nothing but a query."""
    for statement in _LOGGING:
        _rows(admin, statement)
    monkeypatch.setattr(mysql_running, "checked_lexemes", lambda plan: lexemes_of(plan.sql, "mysql"))
    assert _refusal(work, _read(sql, "customers")).evidence["mysql_error"] in (1064, 1792)
    monkeypatch.undo()
    assert _rows(admin, "SELECT * FROM log") == []
    work.commit()
    assert _statuses(admin) == {1: "mine", 2: "open", 3: "paid", 4: "open"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT `a`.`id`, `b`.`id` FROM `orders` AS `a` JOIN `orders` AS `b` ON `a`.`id` = `b`.`id` ORDER BY `a`.`id` LIMIT 1",
        "WITH `t` AS (SELECT `id` AS `i` FROM `orders`) SELECT `i`, `i` FROM `t` ORDER BY 1 LIMIT 1",
        "WITH RECURSIVE `t` AS (SELECT 1 AS `i` UNION ALL SELECT `i` + 1 FROM `t` WHERE `i` < 1) SELECT `i`, 1 FROM `t`",
        "(SELECT 1 AS `x`, 1 AS `y`) UNION (SELECT 1, 1) ORDER BY `x` LIMIT 1",
        "SELECT 1 AS `x`, 1 AS `x` UNION ALL SELECT 2, 2 LIMIT 1",
        "SELECT 1 AS `x`, 1 AS `y` EXCEPT SELECT 2, 2",
        "SELECT COUNT(*) - 3 AS `n`, `region` = 'south' AS `s` FROM `orders` GROUP BY `region` HAVING `n` < 0 AND `s` = 1",
        "SELECT SUM(1), COUNT(*) FROM `orders` WHERE `id` = 1 GROUP BY `region` WITH ROLLUP LIMIT 1",
        "SELECT ROW_NUMBER() OVER (ORDER BY `id`), 1 FROM `orders` LIMIT 1",
        "SELECT DISTINCT 1, 1 FROM (SELECT `id` FROM `orders` LIMIT 9223372036854775807) AS `d`",
        "SELECT 1, EXISTS(SELECT 1 FROM `orders` AS `i` WHERE `i`.`id` = `o`.`id`) FROM `orders` AS `o` LIMIT 1",
    ],
)
def test_every_form_of_a_query_runs(engine: TransactionalEngine, work: Work, sql: str) -> None:
    rows = work.execute(_read(sql, "orders")).rows
    assert [tuple(map(abs, row)) for row in rows] == [(abs(row[0]), abs(row[1])) for row in rows]
    assert engine.execute(_read(sql, "orders")).rows == rows  # type: ignore[attr-defined]


def test_explain(work: Work) -> None:
    assert work.execute(_explain("EXPLAIN SELECT `id` FROM `orders`")).rows
    assert _refusal(work, _explain("EXPLAIN DELETE FROM `orders`")).code == "engine.refused"


def _explain(sql: str) -> Plan:
    return replace(_read(sql, "orders"), is_explain=True)


# A result that is cut costs nothing


def test_a_cut_result_keeps_the_transaction(work: Work, admin: pymysql.Connection[Any]) -> None:
    huge = "SELECT `a`.`seq` FROM `seq` AS `a`, `seq` AS `b`"
    _rows(admin, "CREATE TABLE seq AS SELECT seq FROM seq_1_to_3000")
    started = time.perf_counter()
    for limits in ({"rows": 1}, {"rows": 150}, {"result_bytes": 100}, {"rows": 1_000}):
        execution = work.execute(_read(huge, "seq", **limits))
        assert execution.is_truncated
        assert len(execution.rows) <= 1_000
    # Nine million rows were not read: that takes half a minute.
    assert time.perf_counter() - started < 4
    small = work.execute(_read("SELECT `id` FROM `orders` ORDER BY `id`", "orders", rows=3))
    assert (small.rows, small.is_truncated) == (((1,), (2,), (3,)), True)
    assert _refusal(work, _read(huge, "seq", seconds=0.4, rows=10**8, result_bytes=10**9)).code == "engine.timeout"
    work.commit()
    assert _statuses(admin)[1] == "mine"


def test_a_read_is_ended_while_it_runs(work: Work, admin: pymysql.Connection[Any]) -> None:
    _rows(admin, "CREATE TABLE seq AS SELECT seq FROM seq_1_to_3000")
    slow = _read("SELECT COUNT(*) AS `n` FROM `seq` AS `a`, `seq` AS `b`, `seq` AS `c`", "seq", seconds=30)
    interrupt = Interrupt()
    timer = threading.Timer(0.5, interrupt.ask)
    started = time.perf_counter()
    timer.start()
    with interrupt.in_force():
        assert _refusal(work, slow).code == "engine.cancelled"
    assert time.perf_counter() - started < 5
    work.execute(_pay(2, "mine"))
    work.commit()
    assert (_statuses(admin)[1], _statuses(admin)[2]) == ("mine", "mine")


# What fails takes back itself alone, and what the server ends is over


def test_a_failing_change_takes_back_itself_alone(work: Work, admin: pymysql.Connection[Any]) -> None:
    _rows(admin, "CREATE TABLE plain (v INT) ENGINE = Aria")
    _rows(admin, "CREATE TABLE old (v INT) ENGINE = MyISAM")
    for table in ("plain", "old"):
        sql = f"INSERT INTO `{table}` VALUES (1)"
        plan = make_plan(sql, "mysql", uses={table: "insert"}, writes=[f"{table}.v"])
        assert "cannot undo" in _refusal(work, plan).message
    double = make_plan(
        "UPDATE `orders` AS `o` SET `id` = 7 WHERE `o`.`id` > 0", "mysql", uses={"orders": "update"}, writes=["orders.id"]
    )
    assert isinstance(_refusal(work, double), ConstraintError)
    everything = make_plan(
        "UPDATE `orders` AS `o` SET `status` = 'x'",
        "mysql",
        uses={"orders": "update"},
        writes=["orders.status"],
        rows_changed=3,
    )
    assert _refusal(work, everything).code == "engine.too_many_rows_changed"
    rehearsed = work.rehearse(_pay(2, "x"))
    assert (rehearsed.rows_changed, rehearsed.changed_by) == (1, (("orders", 1),))
    logged = make_plan("UPDATE `tickets` AS `t` SET `body` = 'x'", "mysql", uses={"tickets": "update"}, writes=["tickets.body"])
    assert "trigger" in _refusal(work, logged).message
    work.commit()
    assert _statuses(admin) == {1: "mine", 2: "open", 3: "paid", 4: "open"}
    assert _rows(admin, "SELECT * FROM plain UNION ALL SELECT * FROM old UNION ALL SELECT * FROM ticket_log") == []


def test_a_lock_timeout_takes_back_the_statement_alone(engine: TransactionalEngine, work: Work, admin: Any) -> None:
    other = engine.begin()
    other.execute(_pay(2, "other"))
    started = time.perf_counter()
    error = _refusal(work, _pay(2, "mine", seconds=1))
    assert error.code == "engine.timeout"
    assert "whole" not in error.message
    assert time.perf_counter() - started < 3
    other.roll_back()
    work.execute(_pay(3, "mine"))
    work.commit()
    assert _statuses(admin) == {1: "mine", 2: "open", 3: "mine", 4: "open"}


def test_a_deadlock_takes_back_everything_of_one(engine: TransactionalEngine, admin: pymysql.Connection[Any]) -> None:
    works = [engine.begin(), engine.begin()]
    for number, work in enumerate(works):
        work.execute(_pay(number + 1, f"by {number}"))

    def cross(number: int) -> EngineError | None:
        try:
            works[number].execute(_pay(2 - number, f"by {number}", seconds=10))
        except EngineError as error:
            return error
        return None

    with ThreadPoolExecutor(2) as threads:
        errors = list(threads.map(cross, (0, 1)))
    victim = 0 if errors[0] is not None else 1
    lost = errors[victim]
    assert lost is not None
    assert errors[1 - victim] is None
    assert (lost.code, lost.evidence["mysql_error"]) == ("engine.timeout", 1213)
    assert lost.message.endswith("The whole transaction was taken back.")
    for again in (
        lambda: works[victim].execute(_pay(3, "late")),
        lambda: works[victim].execute(_read("SELECT `id` FROM `orders`", "orders")),
        lambda: works[victim].rehearse(_pay(3, "late")),
        lambda: works[victim].save("a"),
        works[victim].catalog,
        works[victim].commit,
    ):
        with pytest.raises(EngineError, match="The transaction is over"):
            again()
    works[victim].roll_back()
    works[1 - victim].commit()
    winner = f"by {1 - victim}"
    assert _statuses(admin) == {1: winner, 2: winner, 3: "paid", 4: "open"}


def test_after_the_end_the_server_itself_lets_nothing_change(
    work: Work, root: pymysql.Connection[Any], admin: pymysql.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nobody asked whether the transaction is still there."""
    session = work._session  # type: ignore[attr-defined]
    session.execute("ROLLBACK")
    monkeypatch.setattr(Session, "is_in_transaction", True)
    assert _refusal(work, _pay(1, "late")).evidence["mysql_error"] in (1792, 1305)
    monkeypatch.undo()
    assert _statuses(admin)[1] == "paid"


def test_a_killed_session(work: Work, root: pymysql.Connection[Any], admin: pymysql.Connection[Any]) -> None:
    _rows(root, f"KILL {work._thread}")  # type: ignore[attr-defined]
    for again in (lambda: work.execute(_pay(2, "late")), work.catalog, work.commit):
        with pytest.raises(EngineError, match="The transaction is over"):
            again()
    work.roll_back()
    assert _statuses(admin)[1] == "paid"


def test_a_session_killed_while_it_waits(engine: TransactionalEngine, work: Work, root: Any, admin: Any) -> None:
    other = engine.begin()
    other.execute(_pay(2, "other"))
    timer = threading.Timer(0.5, lambda: _rows(root, f"KILL {work._thread}"))  # type: ignore[attr-defined]
    timer.start()
    error = _refusal(work, _pay(2, "mine", seconds=20))
    assert error.message.endswith("The whole transaction was taken back.")
    work.roll_back()
    other.commit()
    assert _statuses(admin) == {1: "paid", 2: "other", 3: "paid", 4: "open"}


def test_a_session_lost_during_the_commit(work: Work, root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = Session.execute

    def killed(session: Session, sql: str) -> int:
        if sql == "COMMIT":
            _rows(root, f"KILL {session.connection.thread_id()}")
        return execute(session, sql)

    monkeypatch.setattr(Session, "execute", killed)
    with pytest.raises(EngineError, match=r"engine\.unknown_outcome"):
        work.commit()


def test_one_that_waits_too_long_is_over(engine: TransactionalEngine, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_connections, "_IDLE_S", 1)
    work = engine.begin()
    work.execute(_pay(1, "late"))
    time.sleep(2.5)
    # Its locks are free.
    _rows(admin, "UPDATE orders SET status = 'other' WHERE id = 1")
    with pytest.raises(EngineError, match="The transaction is over"):
        work.commit()
    assert _statuses(admin)[1] == "other"


def test_a_change_of_the_schema_that_waits_lets_reads_wait(work: Work, shop: str, admin: pymysql.Connection[Any]) -> None:
    """The server lets nobody else open the table before whoever waits for it; the transaction itself is not harmed."""
    with closing(connect(shop)) as other, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(_rows, other, "ALTER TABLE orders ADD COLUMN note INT")
        time.sleep(0.5)
        error = _refusal(work, _read("SELECT `id` FROM `orders`", "orders", seconds=1))
        assert (error.code, "whole" in error.message) == ("engine.timeout", False)
        work.execute(_pay(2, "mine"))
        work.commit()
        waiting.result(timeout=20)
    assert (_statuses(admin)[1], _statuses(admin)[2]) == ("mine", "mine")


def test_another_schema_than_was_judged(engine: TransactionalEngine, work: Work, admin: pymysql.Connection[Any]) -> None:
    version = work.catalog().version
    assert work.execute(_pay(2, "mine", version=version)).rows_changed == 1
    _rows(admin, "CREATE VIEW another AS SELECT id FROM customers")
    for plan in (_pay(3, "x", version=version), _read("SELECT `id` FROM `orders`", "orders", version=version)):
        assert _refusal(work, plan).code == "engine.schema_changed"
    assert work.execute(_pay(3, "mine", version=work.catalog().version)).rows_changed == 1


# Where the sessions come from


def test_a_pool_that_keeps_nothing(shop: str, admin: pymysql.Connection[Any]) -> None:
    url = shop.replace("mysql:", "mysql+pymysql:")
    pool = sa.create_engine(url, poolclass=NullPool, connect_args={"charset": "utf8mb4"})
    lent = open_engine(pool)
    assert isinstance(lent, TransactionalEngine)
    work = lent.begin()
    work.execute(_pay(1, "mine"))
    assert work.execute(_read("SELECT `status` FROM `orders`", "orders", rows=1)).rows == (("mine",),)
    work.commit()
    lent.dispose()
    assert _statuses(admin)[1] == "mine"


@pytest.mark.parametrize("end", ["commit", "roll_back"])
def test_an_application_s_connection_comes_back_as_it_was(shop: str, admin: pymysql.Connection[Any], end: str) -> None:
    first = "SET sql_mode = 'ANSI_QUOTES', lock_wait_timeout = 77, idle_transaction_timeout = 99, idle_write_transaction_timeout = 98"
    pool = sa.create_engine(
        shop.replace("mysql:", "mysql+pymysql:"),
        pool_size=1,
        max_overflow=0,
        connect_args={"charset": "utf8mb4", "init_command": first},
    )
    lent = open_engine(pool)
    assert isinstance(lent, TransactionalEngine)
    work = lent.begin()
    work.execute(_pay(1, "mine"))
    # The one connection of the pool is the transaction's: reads have their second one elsewhere.
    assert work.execute(_read("SELECT `status` FROM `orders`", "orders", rows=1)).rows == (("mine",),)
    getattr(work, end)()
    with pool.connect() as connection:
        settings = (
            "SELECT @@sql_mode, @@lock_wait_timeout, @@max_statement_time, @@tx_read_only, @@autocommit,"
            " @@idle_transaction_timeout, @@idle_write_transaction_timeout, @@tx_isolation, @@in_transaction"
        )
        found = tuple(connection.exec_driver_sql(settings).one())
        assert found == ("ANSI_QUOTES", 77, 0, 0, 0, 99, 98, "REPEATABLE-READ", 0)
    lent.dispose()
    pool.dispose()
    assert _statuses(admin)[1] == ("mine" if end == "commit" else "paid")


@pytest.mark.parametrize(("level", "expected"), [("READ COMMITTED", "REPEATABLE READ"), ("SERIALIZABLE", "SERIALIZABLE")])
def test_isolation(shop: str, root: Any, admin: pymysql.Connection[Any], level: str, expected: str) -> None:
    """Never weaker than the dialect of the guarded engines says; a read does not wait for rows of its own transaction."""
    first = f"SET SESSION TRANSACTION ISOLATION LEVEL {level}"
    pool = sa.create_engine(
        shop.replace("mysql:", "mysql+pymysql:"), connect_args={"charset": "utf8mb4", "init_command": first}
    )
    lent = open_engine(pool)
    assert isinstance(lent, TransactionalEngine)
    work = lent.begin()
    work.execute(_pay(1, "mine"))
    sql = f"SELECT trx_isolation_level FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = {work._thread}"  # type: ignore[attr-defined]
    assert _rows(root, sql) == [(expected,)]
    assert work.execute(_read("SELECT `status` FROM `orders` WHERE `id` = 1", "orders", seconds=2)).rows == (("mine",),)
    if expected == "REPEATABLE READ":
        _rows(admin, "UPDATE orders SET status = 'other' WHERE id = 2")
        assert work.execute(_read("SELECT `status` FROM `orders` WHERE `id` = 2", "orders")).rows == (("open",),)
    work.roll_back()
    lent.dispose()
    pool.dispose()


def test_a_second_session_elsewhere_judges_no_reads(shop: str, mariadb_url: str) -> None:
    """Connections to different places, by a proxy for instance: what one is told says nothing about the other."""
    with new_database(mariadb_url) as elsewhere:
        targets = iter([shop, elsewhere])
        pool = sa.create_engine(
            "mysql+pymysql://", creator=lambda: connect(next(targets)), pool_size=1, max_overflow=0, pool_reset_on_return=None
        )
        lent = open_engine(pool)
        assert isinstance(lent, TransactionalEngine)
        work = lent.begin()
        work.execute(_pay(1, "mine"))
        error = _refusal(work, _read("SELECT `id` FROM `orders`", "orders"))
        assert (error.code, "same server" in error.message) == ("engine.refused", True)
        assert work.execute(_pay(2, "mine")).rows_changed == 1
        work.roll_back()
        lent.dispose()
        pool.dispose()


@pytest.mark.parametrize("kind", [StaticPool, AssertionPool, SingletonThreadPool])
def test_no_transaction_without_a_connection_to_spare(shop: str, kind: type[sa.Pool]) -> None:
    url = shop.replace("mysql:", "mysql+pymysql:")
    pool = sa.create_engine(url, poolclass=kind, connect_args={"charset": "utf8mb4"})
    lent = open_engine(pool)
    assert isinstance(lent, TransactionalEngine)
    assert not lent.is_transactional
    lent.dispose()
    pool.dispose()
