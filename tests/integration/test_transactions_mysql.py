"""Transactions of a guard on MariaDB: what the server ends of its own accord is on record, and never called done."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from guardrails import Denied, EngineError, Guard, Policy
from guardrails.integrations import dbapi
from guardrails.ledger.verify import verify
from guardrails.transactions import Transaction
from tests.support.guarded_shop import ANA
from tests.support.mysql import connect, fill_shop, own_database
from tests.support.shop_models import Order

RULES = """
version: 1
rules: [{id: all, effect: allow, actions: [read, write], relations: ['*']}]
limits: {seconds: 3, rows: 3}
"""
SET = "UPDATE orders SET status = :status WHERE id = :id"


@pytest.fixture
def shop(mariadb_url: str) -> Iterator[str]:
    with own_database(mariadb_url) as url:
        yield fill_shop(url)


@pytest.fixture
def guard(shop: str, tmp_path: Path) -> Iterator[Guard]:
    with (
        Guard.open(Policy.from_text(RULES), database=shop, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened,
        opened.session(principal=ANA, agent="test-agent"),
    ):
        yield opened


@pytest.fixture
def root(mariadb_url: str) -> Iterator[pymysql.Connection[Any]]:
    with closing(connect(mariadb_url)) as connection:
        yield connection


def rows(connection: pymysql.Connection[Any], sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def begin(guard: Guard) -> Transaction:
    begun = guard.begin()
    assert begun is not None
    return begun


def change(guard: Guard, transaction: Transaction, status: str, order: int = 1) -> None:
    guard.execute(SET, {"status": status, "id": order}, transaction=transaction)


def statuses(shop: str) -> dict[int, str]:
    with closing(connect(shop)) as connection:
        return dict(rows(connection, "SELECT id, status FROM orders"))


def ends(guard: Guard) -> list[object]:
    """The status of every outcome of a change or a transaction, in order."""
    return [e["status"] for e in guard.ledger.entries() if e["type"] == "outcome" and "transaction" in e]


def kill(shop: str, root: pymysql.Connection[Any]) -> None:
    """Ends the sessions in which something was changed that is not committed."""
    account = sa.make_url(shop).username
    sql = (
        "SELECT p.ID FROM information_schema.PROCESSLIST p JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID"
        f" WHERE p.USER = '{account}' AND t.trx_rows_modified > 0"
    )
    ((thread,),) = rows(root, sql)
    rows(root, f"KILL {thread}")


def test_a_deadlock_of_two(guard: Guard, shop: str, tmp_path: Path) -> None:
    both = [begin(guard), begin(guard)]
    for number, transaction in enumerate(both):
        change(guard, transaction, f"by {number}", number + 1)

    def cross(number: int) -> EngineError | None:
        try:
            change(guard, both[number], f"by {number}", 2 - number)
        except EngineError as error:
            return error
        return None

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(contextvars.copy_context().run, cross, number) for number in (0, 1)]
        errors = [future.result() for future in running]
    (victim,) = [number for number in (0, 1) if errors[number] is not None]
    lost = errors[victim]
    assert lost is not None
    assert lost.for_model().startswith(
        "Refused (engine.timeout): The data was locked by others for too long. The whole transaction"
    )
    with pytest.raises(EngineError, match="over"):
        change(guard, both[victim], "late", 3)
    with pytest.raises(EngineError, match="over"):
        both[victim].commit()
    both[1 - victim].commit()
    assert statuses(shop) == {1: f"by {1 - victim}", 2: f"by {1 - victim}", 3: "paid", 4: "open"}
    assert ends(guard)[-2:] == ["error", "ok"]
    # The next change begins another.
    change(guard, both[victim], "again", 3)
    both[victim].commit()
    assert statuses(shop)[3] == "again"
    assert verify(tmp_path / "audit.db").problems == ()


def test_a_lock_timeout_costs_one_statement(guard: Guard, shop: str) -> None:
    transaction, other = begin(guard), begin(guard)
    change(guard, transaction, "mine")
    change(guard, other, "other", 2)
    with pytest.raises(EngineError, match=r"engine\.timeout"):
        change(guard, transaction, "mine", 2)
    other.roll_back()
    transaction.commit()
    assert statuses(shop) == {1: "mine", 2: "open", 3: "paid", 4: "open"}
    assert ends(guard) == ["uncommitted", "uncommitted", "error", "rolled_back", "ok"]


def test_a_cut_result_and_then_the_commit(guard: Guard, shop: str) -> None:
    with dbapi.connect(guard) as connection:
        connection.execute("UPDATE orders SET status = 'mine' WHERE id = 1")
        with pytest.warns(dbapi.TruncationWarning):
            found = connection.execute("SELECT a.id FROM orders a, orders b, orders c, orders d ORDER BY a.id").fetchall()
        assert found == [(1,)] * 3
        connection.execute("UPDATE orders SET status = 'mine' WHERE id = 2")
    assert statuses(shop) == {1: "mine", 2: "mine", 3: "paid", 4: "open"}
    assert ends(guard) == ["uncommitted", "ok", "uncommitted", "ok"]


@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
def test_a_table_that_takes_nothing_back(guard: Guard, shop: str, root: pymysql.Connection[Any], engine: str) -> None:
    table = f"{sa.make_url(shop).database}.plain"
    rows(root, f"CREATE TABLE {table} (v INT) ENGINE = {engine}")
    transaction = begin(guard)
    change(guard, transaction, "mine")
    with pytest.raises(EngineError, match="cannot undo changes"):
        guard.execute("INSERT INTO plain (v) VALUES (1)", transaction=transaction)
    transaction.commit()
    assert (rows(root, f"SELECT * FROM {table}"), statuses(shop)[1]) == ([], "mine")


@pytest.mark.parametrize(
    ("end", "status"), [(Transaction.commit, "error"), (Transaction.roll_back, "rolled_back")], ids=["commit", "roll_back"]
)
def test_a_killed_connection_is_not_called_done(
    guard: Guard, shop: str, root: pymysql.Connection[Any], tmp_path: Path, end: Callable[[Transaction], None], status: str
) -> None:
    transaction = begin(guard)
    change(guard, transaction, "mine")
    kill(shop, root)
    with pytest.raises(EngineError, match="over"):
        change(guard, transaction, "mine", 2)
    if status == "error":
        with pytest.raises(EngineError, match="over"):
            end(transaction)
    else:
        end(transaction)
    assert ends(guard)[0] == "uncommitted"
    assert ends(guard)[-1] == status
    assert statuses(shop) == {1: "paid", 2: "open", 3: "paid", 4: "open"}
    assert verify(tmp_path / "audit.db").problems == ()
    # A connection of its own for the next one.
    with transaction:
        change(guard, transaction, "again")
    assert statuses(shop)[1] == "again"


def test_a_view_over_a_function_that_writes(guard: Guard, shop: str, root: pymysql.Connection[Any]) -> None:
    transaction = begin(guard)
    change(guard, transaction, "mine")
    root.select_db(str(sa.make_url(shop).database))
    for sql in (
        "CREATE TABLE log (v INT) ENGINE = Aria",
        "CREATE FUNCTION logged() RETURNS INT BEGIN INSERT INTO log VALUES (1); RETURN 1; END",
        "CREATE VIEW seen AS SELECT id FROM orders WHERE logged() = 1",
    ):
        rows(root, sql)
    # The engine's own lock, which refuses it as well, is tested in tests/oracle/test_work_mysql.py.
    with pytest.raises(Denied, match=r"sql\.view_opaque"):
        guard.execute("SELECT id FROM seen", transaction=transaction)
    transaction.commit()
    assert (rows(root, "SELECT * FROM log"), statuses(shop)[1]) == ([], "mine")


def test_many_transactions_read_at_once(shop: str, tmp_path: Path) -> None:
    """Whoever holds a connection of the pool needs no other one of it, so that all come to their end."""
    pool = sa.create_engine(
        shop.replace("mysql:", "mysql+pymysql:"),
        pool_size=4,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"charset": "utf8mb4"},
    )
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(RULES), database=pool, ledger=ledger) as guard,
        guard.session(principal=ANA, agent="test-agent"),
    ):
        engine = guard.engine()

        def work(number: int) -> str:
            with Session(engine) as session:
                order = session.get_one(Order, number)
                for turn in range(5):
                    order.status = f"{number}-{turn}"
                    session.flush()
                    session.refresh(order)
                session.commit()
                return order.status

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(contextvars.copy_context().run, work, number) for number in (1, 2, 3, 4)]
            assert [future.result() for future in running] == ["1-4", "2-4", "3-4", "4-4"]
    pool.dispose()
    assert statuses(shop) == {number: f"{number}-4" for number in (1, 2, 3, 4)}
