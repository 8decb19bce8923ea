"""SQLAlchemy's engines over a guard: Core, the ORM, transactions and reflection, on all four databases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from guardrails import ApprovalRequired, ConstraintError, Denied, EngineError, Guard, Policy, UsageError
from guardrails.integrations import dbapi
from guardrails.integrations.sqlalchemy import guarded_engine
from tests.support.guarded_shop import ANA, LEAD, POLICY, open_guard, tool_entries
from tests.support.schema import make_postgres_shop
from tests.support.shop_models import Customer, Order
from tests.support.shop_urls import ENGINES, shop_url

MAY = datetime.fromisoformat("2026-05-01")


@pytest.fixture(params=ENGINES)
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(shop_url(request, request.param), tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def transactional(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(shop_url(request, request.param), tmp_path) as opened:
        yield opened


@pytest.fixture(params=["duckdb"])
def committing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(shop_url(request, request.param), tmp_path) as opened:
        yield opened


def test_nothing_is_asked_when_connecting(guard: Guard) -> None:
    before = guard.ledger.size
    with guarded_engine(guard).connect():
        pass
    assert guard.ledger.size == before


def test_core(guard: Guard) -> None:
    engine = guard.engine()
    table = Customer.__table__
    with engine.connect() as connection:
        query = (
            sa.select(table.c.id, table.c.email, table.c.created_at).where(table.c.id.in_([1, 2])).order_by(table.c.id).limit(1)
        )
        assert connection.execute(query).all() == [(1, "hidden", datetime.fromisoformat("2026-01-05T10:00"))]
        assert connection.scalar(sa.text("SELECT COUNT(*) FROM orders WHERE status = :status"), {"status": "open"}) == 2
        placeholder = {"postgres": "%s", "mysql": "%s"}.get(guard.database.dialect, "?")
        found = connection.exec_driver_sql(f"SELECT amount FROM orders WHERE id = {placeholder}", (3,)).scalar_one()
        assert float(found) == 30.25
        assert connection.execute(sa.text("SELECT id FROM customers WHERE name LIKE 'A%'")).all() == [(1,)]
        with pytest.raises(Denied):
            connection.execute(sa.text("SELECT salary FROM employees"))
        with pytest.raises(Denied):
            connection.execute(sa.text("DROP TABLE orders"))
    assert {tool for tool, _, _ in tool_entries(guard)} == {"sqlalchemy"}
    assert {e["principal"]["id"] for e in guard.ledger.entries() if e["type"] in ("intent", "refusal")} == {ANA.id}


def test_names_in_the_ledger(guard: Guard) -> None:
    engine = guard.engine(tool="reports").execution_options(guardrails_tool_call_id="call-7")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.execute(sa.text("SELECT 2"), execution_options={"guardrails_tool": "weekly"})
    assert tool_entries(guard) == [("reports", "call-7", "intent"), ("weekly", "call-7", "intent")]


def test_orm(guard: Guard) -> None:
    with Session(guard.engine()) as session:
        query = sa.select(Order).join(Customer).where(Customer.name == "Ada").order_by(Order.id)
        orders = session.scalars(query).all()
        assert [(o.id, o.amount) for o in orders] == [(1, Decimal("10.50")), (2, Decimal("20.00"))]
        # The identity map and lazy loading.
        assert session.get(Order, 2) is orders[1]
        assert orders[1].customer.email == "hidden"
        assert [o.id for o in orders[1].customer.orders] == [1, 2]
        orders[1].status = "paid"
        session.add(an_order(9, amount=Decimal("5.25")))
        session.commit()
    with Session(guard.engine()) as session:
        assert session.get_one(Order, 2).status == "paid"
        assert session.get_one(Order, 9).amount == Decimal("5.25")
        loaded = session.scalars(sa.select(Customer).options(selectinload(Customer.orders)).order_by(Customer.id)).all()
        assert [len(c.orders) for c in loaded] == [3, 1, 1]


def test_a_violated_constraint_is_what_a_program_expects(guard: Guard) -> None:
    with Session(guard.engine()) as session:
        session.add(an_order(1))
        with pytest.raises(sa.exc.IntegrityError) as violated:
            session.flush()
        session.rollback()
    assert isinstance(violated.value, ConstraintError)
    assert isinstance(violated.value.orig, dbapi.IntegrityError)
    assert str(violated.value).startswith("[engine.failed] A constraint would be violated.")
    assert "INSERT INTO orders" in str(violated.value.statement)
    assert violated.value.evidence["engine_text"]
    if guard.database.dialect in ("postgres", "duckdb"):
        # The others make NULL or 0 of it.
        with guard.engine().connect() as connection, pytest.raises(EngineError) as other:
            connection.execute(sa.text("SELECT CAST(name AS INTEGER) FROM customers"))
        assert not isinstance(other.value, (ConstraintError, sa.exc.SQLAlchemyError))


async def test_a_violated_constraint_of_an_asynchronous_engine(transactional: Guard) -> None:
    async with AsyncSession(transactional.async_engine()) as session:
        async with session.begin_nested():
            session.add(an_order(50))
        with pytest.raises(sa.exc.IntegrityError):
            async with session.begin_nested():
                session.add(an_order(1))
        # As one does it everywhere: go on after what is there already.
        assert await session.get(Order, 50) is not None
        await session.commit()


def test_a_constraint_that_waits_for_the_commit(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = shop_url(request, "postgres")
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE orders ADD CONSTRAINT later UNIQUE (amount) DEFERRABLE INITIALLY DEFERRED")
    with open_guard(url, tmp_path) as guard:
        for kind, committing in (
            (sa.exc.IntegrityError, guard.engine().connect()),
            (dbapi.IntegrityError, dbapi.connect(guard)),
        ):
            update = "UPDATE orders SET amount = 20 WHERE id = 3"
            committing.execute(sa.text(update) if isinstance(committing, sa.Connection) else update)
            with pytest.raises(kind):
                committing.commit()
            committing.close()
        assert guard.execute("SELECT amount FROM orders WHERE id = 3").rows == ((Decimal("30.25"),),)


def test_bulk_insert_and_returning(guard: Guard) -> None:
    rows = [
        {"id": 100 + n, "customer_id": 1, "amount": n, "status": "new", "region": "north", "created_at": MAY}
        for n in range(120)
    ]
    with Session(guard.engine()) as session:
        ids = session.scalars(sa.insert(Order).returning(Order.id), rows).all()
        assert sorted(ids) == [row["id"] for row in rows]
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).where(Order.status == "new")) == 120
    # Neither a statement for each row, nor one for all of them, which limits would refuse.
    assert len([e for e in guard.ledger.entries() if e["type"] == "intent" and "statement" in e]) < 10


def test_streaming(guard: Guard) -> None:
    with guard.engine().connect().execution_options(yield_per=2) as connection:
        parts = list(connection.execute(sa.select(Order.__table__.c.id).order_by(Order.__table__.c.id)).partitions())
    assert [[row.id for row in part] for part in parts] == [[1, 2], [3, 4]]


def test_rollback(transactional: Guard) -> None:
    engine = transactional.engine()
    with Session(engine) as session:
        session.get_one(Order, 1).status = "new"
        session.flush()
        assert session.scalar(sa.select(Order.status).where(Order.id == 1)) == "new"
        session.rollback()
        assert session.get_one(Order, 1).status == "paid"
        with session.begin_nested() as outer:
            session.get_one(Order, 2).status = "kept"
            session.flush()
            inner = session.begin_nested()
            session.get_one(Order, 2).status = "undone"
            session.flush()
            inner.rollback()
            assert outer.is_active
        session.commit()
        assert session.get_one(Order, 2).status == "kept"
    with engine.connect() as connection:
        # Not committed, so not kept.
        connection.execute(sa.text("UPDATE orders SET status = 'lost' WHERE id = 1"))
    with pytest.raises(EngineError), engine.begin() as connection:
        connection.execute(sa.text("UPDATE orders SET status = 'lost', amount = id - 2 WHERE id < 3"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "paid"
    outcomes = [e["status"] for e in transactional.ledger.entries() if e["type"] == "outcome" and "transaction" in e]
    assert (outcomes.count("rolled_back"), outcomes[-1]) == (3, "rolled_back")


def test_autocommit(transactional: Guard) -> None:
    engine = transactional.engine()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("UPDATE orders SET status = 'kept' WHERE id = 1"))
        connection.rollback()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "kept"
        # The connection came back without the option.
        connection.execute(sa.text("UPDATE orders SET status = 'lost' WHERE id = 1"))
        connection.rollback()
        assert connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "kept"
    other = "SERIALIZABLE" if transactional.database.dialect == "mysql" else "REPEATABLE READ"
    with pytest.raises(sa.exc.ArgumentError), engine.connect() as connection:
        connection.execution_options(isolation_level=other)


def test_no_silent_rollback(committing: Guard) -> None:
    engine = committing.engine()
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE orders SET status = 'new' WHERE id = 1"))
        with pytest.raises(UsageError, match=r"usage\.no_rollback"):
            connection.rollback()
    with engine.connect() as connection:
        # Nothing was written: there is nothing to take back.
        assert connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "new"
        connection.rollback()
    with pytest.raises(UsageError, match=r"usage\.no_rollback"), engine.connect() as connection:
        connection.execute(sa.text("UPDATE orders SET status = 'x' WHERE id = 1"))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE orders SET status = 'y' WHERE id = 1"))
    with pytest.raises(UsageError, match=r"usage\.no_rollback"), engine.connect() as connection:
        connection.begin_nested()


def test_no_two_phase(guard: Guard) -> None:
    with pytest.raises(UsageError, match=r"usage\.not_guarded"), guard.engine().connect() as connection:
        connection.begin_twophase()


def test_approval_reaches_the_caller(guard: Guard) -> None:
    engine = guarded_engine(guard, tool="clean_up")
    statement = sa.delete(Order.__table__).where(Order.__table__.c.id == 4)
    with engine.begin() as connection:
        with pytest.raises(ApprovalRequired) as caught:
            connection.execute(statement)
        guard.approve(caught.value.request.id, by=LEAD)
        assert connection.execute(statement).rowcount == 1
    assert tool_entries(guard)[-1][0] == "clean_up"


def test_reflection_shows_what_may_be_read(guard: Guard) -> None:
    before = guard.ledger.size
    inspector = sa.inspect(guard.engine())
    assert inspector.get_table_names() == ["customers", "orders"]
    assert inspector.get_view_names() == ["customer_names"]
    assert not inspector.has_table("employees")
    with pytest.raises(sa.exc.NoSuchTableError):
        inspector.get_columns("employees")
    columns = {c["name"]: c for c in inspector.get_columns("orders")}
    assert list(columns) == ["id", "customer_id", "amount", "status", "region", "created_at"]
    assert isinstance(columns["id"]["type"], sa.Integer)
    assert isinstance(columns["amount"]["type"], sa.Numeric)
    assert (columns["amount"]["type"].precision, columns["amount"]["type"].scale) == (10, 2)
    assert isinstance(columns["status"]["type"], sa.String)
    assert not columns["status"]["nullable"]
    assert inspector.get_pk_constraint("orders")["constrained_columns"] == ["id"]
    (key,) = inspector.get_foreign_keys("orders")
    assert (key["constrained_columns"], key["referred_table"], key["referred_columns"]) == (
        ["customer_id"],
        "customers",
        ["id"],
    )
    assert inspector.get_view_definition("customer_names") == ""
    orders = sa.Table("orders", sa.MetaData(), autoload_with=guard.engine())
    assert [c.name for c in orders.primary_key] == ["id"]
    whole = sa.MetaData()
    whole.reflect(guard.engine(), views=True)
    assert sorted(whole.tables) == ["customer_names", "customers", "orders"]
    assert guard.ledger.size == before
    with guard.engine().connect() as connection:
        assert connection.execute(sa.select(orders.c.amount).where(orders.c.id == 1)).scalar_one() == Decimal("10.50")


def test_reflection_hides_columns(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    policy = POLICY.replace("customers.ssn: {mask: full}", "customers.ssn: {mask: deny}")
    url = shop_url(request, "postgres")
    with (
        Guard.open(Policy.from_text(policy), database=url, ledger=f"sqlite:///{tmp_path / 'a.db'}") as guard,
        guard.session(principal=ANA, agent="a"),
    ):
        inspector = sa.inspect(guard.engine())
        assert [c["name"] for c in inspector.get_columns("customers")] == ["id", "name", "email", "region", "created_at"]
        assert [u["column_names"] for u in inspector.get_unique_constraints("customers")] == [["email"]]


def test_json_comes_back_parsed(postgres_db: str, tmp_path: Path) -> None:
    make_postgres_shop(postgres_db)
    with psycopg.connect(postgres_db) as connection:
        connection.execute("""ALTER TABLE orders ADD COLUMN note jsonb DEFAULT '{"a": [1]}'""")
    table = sa.table("orders", sa.column("id", sa.Integer), sa.column("note", sa.JSON))
    with open_guard(postgres_db, tmp_path) as guard, guarded_engine(guard).connect() as connection:
        assert connection.execute(sa.select(table.c.note).where(table.c.id == 1)).scalar_one() == {"a": [1]}


def test_no_session(sqlite_path: Path, tmp_path: Path) -> None:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as guard:
        engine = guarded_engine(guard)
    with pytest.raises(UsageError, match=r"usage\.no_session"), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))


def test_another_database_is_refused(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = shop_url(request, "sqlite")
    with open_guard(url, tmp_path) as guard:
        assert guard.engine(url).dialect.name == "sqlite"
        assert guard.async_engine(url.replace("sqlite:", "sqlite+aiosqlite:")).dialect.is_async
        for other in ("sqlite:///elsewhere.db", "sqlite://", "postgresql://localhost/shop", f"{url}x"):
            with pytest.raises(UsageError, match=r"usage\.other_database"):
                guard.engine(other)
        with pytest.raises(UsageError, match="asynchronous"):
            guard.engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        with pytest.raises(UsageError, match="does not parse"):
            guard.engine("nonsense")


def an_order(number: int, **values: object) -> Order:
    given = {"customer_id": 1, "amount": Decimal(1), "status": "open", "region": "north", "created_at": MAY}
    return Order(id=number, **(given | values))


def test_without_greenlet_only_asynchronous_engines_are_missing(sqlite_path: Path) -> None:
    code = """
import sys
sys.modules["greenlet"] = None
from guardrails import Guard, Policy, UsageError
from guardrails.integrations.sqlalchemy import guarded_engine
policy = Policy.from_text("version: 1\\nrules: [{id: r, effect: deny, actions: [all]}]")
with Guard.open(policy, database=sys.argv[1], ledger="sqlite:///:memory:") as guard:
    print(guard.engine().dialect.name)
    try:
        guard.async_engine()
    except UsageError as error:
        print(error.code)
"""
    command = [sys.executable, "-c", code, f"sqlite:///{sqlite_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["sqlite", "usage.extra_missing"], done.stderr
