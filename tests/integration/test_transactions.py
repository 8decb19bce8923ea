"""Transactions of a guard: what is kept, what is taken back, and what the ledger says of both, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import contextvars
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from guardrails import ApprovalRequired, Denied, EngineError, Guard, IdentityError, LedgerError, Policy, Principal, UsageError
from guardrails.engines import TransactionalEngine, open_engine
from guardrails.engines.interrupting import Interrupt
from guardrails.integrations import dbapi
from guardrails.ledger.verify import verify
from guardrails.transactions import Transaction
from tests.support.guarded_shop import ANA, LEAD, POLICY, open_guard
from tests.support.plans import make_plan
from tests.support.schema import make_postgres_shop
from tests.support.shop_urls import shop_url

SET = "UPDATE orders SET status = :status WHERE id = :id"
GET = "SELECT status FROM orders WHERE id = 1"


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def database(request: pytest.FixtureRequest) -> str:
    return shop_url(request, request.param)


@pytest.fixture
def guard(database: str, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(database, tmp_path) as opened:
        yield opened


@pytest.fixture
def transaction(guard: Guard) -> Transaction:
    begun = guard.begin()
    assert begun is not None
    return begun


def change(guard: Guard, transaction: Transaction | None, status: str, order: int = 1) -> int:
    return guard.execute(SET, {"status": status, "id": order}, transaction=transaction).rows_changed


def seen(guard: Guard, transaction: Transaction | None = None) -> object:
    return guard.execute(GET, transaction=transaction).rows[0][0]


def ends(guard: Guard) -> list[object]:
    """The status of every outcome of a change or a transaction, in order."""
    return [
        e["status"] for e in guard.ledger.entries() if e["type"] == "outcome" and ("transaction" in e or e.get("rows_changed"))
    ]


def test_kept_together(guard: Guard, transaction: Transaction, tmp_path: Path) -> None:
    assert change(guard, transaction, "a") == change(guard, transaction, "b", 2) == 1
    assert (seen(guard, transaction), seen(guard)) == ("a", "paid")
    transaction.commit()
    assert seen(guard) == "a"
    entries = list(guard.ledger.entries())
    place = [e["transaction"] for e in entries if "transaction" in e]
    assert len({p["id"] for p in place}) == 1
    (begin,) = [e for e in entries if e.get("action")]
    assert (begin["type"], begin["action"]["name"], begin["principal"]["id"]) == ("intent", "transaction", ANA.id)
    (end,) = [e for e in entries if e.get("intent") == begin["id"]]
    assert (end["status"], end["rows_changed"], end["transaction"]["statements"]) == ("ok", 2, 3)
    # The read before the outcome of all belongs to it and is done; the changes are not.
    assert ends(guard) == ["uncommitted", "uncommitted", "ok", "ok"]
    assert verify(tmp_path / "audit.db").problems == ()


def test_taken_back(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    transaction.roll_back()
    assert seen(guard) == "paid"
    assert ends(guard) == ["uncommitted", "rolled_back"]
    # Neither end does anything twice, and the next change begins another.
    transaction.roll_back()
    transaction.commit()
    change(guard, transaction, "b")
    transaction.commit()
    assert seen(guard) == "b"
    assert len({e["transaction"]["id"] for e in guard.ledger.entries() if "transaction" in e}) == 2


def test_as_a_context(guard: Guard) -> None:
    begun = guard.begin()
    assert begun is not None
    with pytest.raises(Denied), begun:
        [guard.execute(sql, transaction=begun) for sql in ("UPDATE orders SET status = 'a' WHERE id = 1", "DROP TABLE orders")]
    assert seen(guard) == "paid"
    with begun:
        change(guard, begun, "b")
    assert seen(guard) == "b"


def test_reads_hold_nothing(guard: Guard, transaction: Transaction) -> None:
    assert seen(guard, transaction) == "paid"
    assert not transaction.is_begun
    transaction.commit()
    assert not any("transaction" in e for e in guard.ledger.entries())


def test_a_failure_takes_back_itself_alone(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    with pytest.raises(EngineError):
        guard.execute("UPDATE orders SET amount = -1 WHERE id = 1", transaction=transaction)
    with pytest.raises(Denied):
        guard.execute("DELETE FROM customers WHERE id = 1", transaction=transaction)
    transaction.commit()
    assert seen(guard) == "a"


def test_limits_hold_inside(database: str, tmp_path: Path) -> None:
    policy = Policy.from_text(POLICY + "limits: {rows_changed: 2, rows: 3}\n")
    with (
        Guard.open(policy, database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=ANA, agent="test-agent"),
    ):
        transaction = guard.begin()
        change(guard, transaction, "a")
        with pytest.raises(EngineError, match="too_many_rows_changed"):
            guard.execute("UPDATE orders SET status = 'x' WHERE id > 0", transaction=transaction)
        result = guard.execute("SELECT id FROM orders", transaction=transaction)
        assert (len(result.rows), result.is_truncated) == (3, True)


def test_masks_hold_inside(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    assert guard.execute("SELECT DISTINCT email FROM customers", transaction=transaction).rows == (("hidden",),)


def test_savepoints(guard: Guard, transaction: Transaction) -> None:
    transaction.save("before")
    change(guard, transaction, "a")
    transaction.save("middle")
    change(guard, transaction, "b")
    transaction.roll_back_to("middle")
    assert seen(guard, transaction) == "a"
    (undone,) = [e["transaction"] for e in guard.ledger.entries() if e["type"] == "transaction.rolled_back"]
    assert (undone["from"], undone["to"]) == (2, 2)
    change(guard, transaction, "c")
    transaction.release("middle")
    transaction.roll_back_to("before")
    assert seen(guard, transaction) == "paid"
    change(guard, transaction, "d")
    transaction.commit()
    assert seen(guard) == "d"
    with pytest.raises(UsageError):
        transaction.roll_back_to("before")


def test_savepoint_names_are_no_sql(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    transaction.save("x; DROP TABLE orders; --")
    change(guard, transaction, "b")
    transaction.roll_back_to("x; DROP TABLE orders; --")
    transaction.commit()
    assert seen(guard) == "a"


def test_statements_cannot_end_it(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    for sql in ("COMMIT", "ROLLBACK", "SAVEPOINT a", "RELEASE guardrails_plan", "END", "BEGIN"):
        with pytest.raises(Denied):
            guard.execute(sql, transaction=transaction)
    transaction.roll_back()
    assert seen(guard) == "paid"


def test_it_belongs_to_one_session(guard: Guard, transaction: Transaction) -> None:
    change(guard, transaction, "a")
    with guard.session(principal=Principal("bob@example.com", frozenset({"support"})), agent="other"):
        for sql in (GET, "UPDATE orders SET status = 'b' WHERE id = 2"):
            with pytest.raises(UsageError, match="other_session"):
                guard.execute(sql, transaction=transaction)
    transaction.roll_back()


def test_approval_inside(guard: Guard, transaction: Transaction) -> None:
    delete = "DELETE FROM orders WHERE id = 4"
    change(guard, transaction, "a")
    with pytest.raises(ApprovalRequired) as caught:
        guard.execute(delete, transaction=transaction)
    # What it would change is found out inside: outside it would wait for the transaction's own locks.
    impact = guard.pending()[0].impact
    assert impact is not None
    assert (impact.rows, impact.error) == ((("orders", 1),), "")
    guard.approve(caught.value.request.id, by=LEAD)
    assert guard.execute(delete, transaction=transaction).rows_changed == 1
    transaction.roll_back()
    assert guard.execute("SELECT id FROM orders WHERE id = 4").rows == ((4,),)


def test_a_read_inside_can_be_ended(guard: Guard, transaction: Transaction) -> None:
    """The caller is gone; what was changed before is still there to be kept or taken back."""
    change(guard, transaction, "a")
    interrupt = Interrupt()
    interrupt.ask()
    with interrupt.in_force(), pytest.raises(EngineError, match=r"engine\.cancelled"):
        seen(guard, transaction)
    transaction.commit()
    assert seen(guard) == "a"


def test_an_expired_principal_keeps_nothing(guard: Guard, transaction: Transaction) -> None:
    principal = Principal("carl@example.com", frozenset({"support"}), expires_at=int(time.time()) + 3_600)
    with guard.session(principal=principal, agent="a"):
        change(guard, transaction, "a")
        # The hour passes.
        object.__setattr__(principal, "expires_at", 1)
        with pytest.raises(IdentityError, match="token_expired"):
            transaction.commit()
    assert seen(guard) == "paid"
    assert ends(guard) == ["uncommitted", "rolled_back"]


def test_a_connection_that_is_gone_takes_back(guard: Guard) -> None:
    """Whoever waits for its locks gets them, and the ledger knows how it ended."""
    connection = dbapi.connect(guard)
    connection.execute("UPDATE orders SET status = 'lost' WHERE id = 1")
    del connection
    assert change(guard, None, "b", 1) == 1
    assert seen(guard) == "b"
    assert ends(guard).count("rolled_back") == 1


def test_closing_takes_back(database: str, tmp_path: Path) -> None:
    with open_guard(database, tmp_path) as guard:
        change(guard, guard.begin(), "a")
    with open_guard(database, tmp_path) as again:
        assert seen(again) == "paid"
        assert ends(again) == ["uncommitted", "rolled_back"]


def test_what_cannot_be_recorded_cannot_be_kept(
    guard: Guard, transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(guard, transaction, "a")
    append, calls = guard.ledger.append, []

    def failing(entry: dict[str, Any], **options: Any) -> object:
        calls.append(entry["type"])
        if calls == ["intent", "outcome"]:
            raise LedgerError("ledger.unavailable", "The disk is full.")
        return append(entry, **options)

    monkeypatch.setattr(guard.ledger, "append", failing)
    with pytest.raises(LedgerError):
        change(guard, transaction, "b", 2)
    with pytest.raises(EngineError, match="taken back"):
        transaction.commit()
    assert calls[:2] == ["intent", "outcome"]
    assert seen(guard) == "paid"


def test_a_lost_transaction_is_rolled_back(postgres_db: str, tmp_path: Path) -> None:
    with open_guard(make_postgres_shop(postgres_db), tmp_path) as guard:
        transaction = guard.begin()
        assert transaction is not None
        change(guard, transaction, "a")
        with psycopg.connect(postgres_db, autocommit=True) as admin:
            # Of this database alone: other tests have transactions on the same server.
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
        with pytest.raises(EngineError):
            change(guard, transaction, "b")
        held = transaction._work
        with pytest.raises(EngineError):
            transaction.commit()
        # Given back at once, and not when the garbage is collected.
        assert held is not None
        assert guard.database.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert seen(guard) == "paid"
        assert ends(guard)[-1] != "ok"


def test_a_deferred_constraint_fails_the_commit(postgres_db: str, tmp_path: Path) -> None:
    make_postgres_shop(postgres_db)
    with psycopg.connect(postgres_db) as admin:
        admin.execute("UPDATE orders SET status = id::text")
        admin.execute("ALTER TABLE orders ADD UNIQUE (status) DEFERRABLE INITIALLY DEFERRED")
    with open_guard(postgres_db, tmp_path) as guard:
        transaction = guard.begin()
        assert transaction is not None
        change(guard, transaction, "2")
        with pytest.raises(EngineError):
            transaction.commit()
        assert seen(guard) == "1"
        assert ends(guard) == ["uncommitted", "error"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_catalog.lo_create(0)",
        "SELECT pg_catalog.nextval('public.numbers')",
        "SELECT pg_catalog.set_config('transaction_read_only', 'off', true), pg_catalog.lo_create(0)",
        "SELECT pg_catalog.pg_logical_emit_message(true, 'a', 'b')",
    ],
)
def test_a_read_inside_changes_nothing(postgres_db: str, sql: str) -> None:
    """The second lock: whatever the first let through, a plan that reads is rolled back, and refused where it changed something."""
    make_postgres_shop(postgres_db)
    with psycopg.connect(postgres_db) as admin:
        admin.execute("CREATE SEQUENCE numbers")
    engine = open_engine(postgres_db)
    assert isinstance(engine, TransactionalEngine)
    work = engine.begin()
    try:
        change = make_plan(
            "UPDATE public.orders SET status = 'a'", "postgres", uses={"orders": "update"}, writes=["orders.status"]
        )
        assert work.execute(change).rows_changed == 4
        with pytest.raises(EngineError):
            work.execute(make_plan(sql, "postgres"))
        # The transaction goes on, and may still change.
        assert work.execute(change).rows_changed == 4
        work.commit()
    finally:
        work.roll_back()
        engine.dispose()
    with psycopg.connect(postgres_db) as admin:
        assert admin.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)
        assert admin.execute("SELECT DISTINCT status FROM orders").fetchall() == [("a",)]


@pytest.mark.parametrize(
    "sql", ["PRAGMA query_only = OFF", "DELETE FROM orders", "ATTACH ':memory:' AS x", "ROLLBACK", "VACUUM"]
)
def test_the_authorizer_holds_inside(sqlite_path: Path, sql: str) -> None:
    engine = open_engine(f"sqlite:///{sqlite_path}")
    assert isinstance(engine, TransactionalEngine)
    work = engine.begin()
    try:
        change = make_plan("UPDATE orders SET status = 'a'", "sqlite", uses={"orders": "update"}, writes=["orders.status"])
        assert work.execute(change).rows_changed == 4
        with pytest.raises(EngineError):
            work.execute(make_plan(sql, "sqlite"))
        with pytest.raises(EngineError):
            work.execute(make_plan(f"/* a */ {sql}", "sqlite", uses={"tickets": "update"}, writes=["tickets.body"]))
        work.commit()
    finally:
        work.roll_back()
        engine.dispose()
    with closing(sqlite3.connect(sqlite_path)) as connection:
        assert connection.execute("SELECT count(*), min(status) FROM orders").fetchone() == (4, "a")


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_schema_changes_inside(database: str, tmp_path: Path) -> None:
    rules = "version: 1\nrules: [{id: all, effect: allow, actions: [read, write, ddl], relations: ['*']}]"
    with (
        Guard.open(Policy.from_text(rules), database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=ANA, agent="test-agent"),
    ):
        transaction = guard.begin()
        assert transaction is not None
        guard.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(10))", transaction=transaction)
        guard.execute("INSERT INTO notes VALUES (1, 'a')", transaction=transaction)
        assert guard.execute("SELECT body FROM notes", transaction=transaction).rows == (("a",),)
        with pytest.raises(Denied, match="relation_unknown"):
            guard.execute("SELECT body FROM notes")
        transaction.roll_back()
        with pytest.raises(Denied, match="relation_unknown"):
            guard.execute("SELECT body FROM notes", transaction=transaction)


def test_threads_take_turns(guard: Guard, transaction: Transaction) -> None:
    def work(order: int) -> None:
        for n in range(5):
            change(guard, transaction, f"{order}-{n}", order)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(contextvars.copy_context().run, work, order) for order in range(1, 5)]
        for future in running:
            future.result()
    transaction.commit()
    rows = guard.execute("SELECT id, status FROM orders ORDER BY id").rows
    assert rows == tuple((order, f"{order}-4") for order in range(1, 5))
    intents = [e for e in guard.ledger.entries() if e["type"] == "intent" and "statement" in e and "transaction" in e]
    numbers = [e["transaction"]["number"] for e in intents]
    assert numbers == list(range(1, 21))


def test_a_killed_process_leaves_an_unknown_end(sqlite_path: Path, tmp_path: Path) -> None:
    """Recovery marks the transaction's own intent; the database has rolled back."""
    url = f"sqlite:///{sqlite_path}"
    child = os.fork()
    if not child:
        with open_guard(url, tmp_path) as guard:
            change(guard, guard.begin(), "a")
            os._exit(9)
    os.waitpid(child, 0)
    with open_guard(url, tmp_path) as guard:
        (unknown,) = [e for e in guard.ledger.entries() if e["type"] == "outcome.unknown"]
        (begin,) = [e for e in guard.ledger.entries() if e.get("action")]
        assert unknown["intent"] == begin["id"]
    with closing(sqlite3.connect(sqlite_path)) as connection:
        assert connection.execute("SELECT status FROM orders WHERE id = 1").fetchone() == ("paid",)
