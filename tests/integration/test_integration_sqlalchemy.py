"""The guard as a driver (PEP 249) and as an SQLAlchemy engine, on SQLite and PostgreSQL, with Core and the ORM."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from guardrails import ApprovalRequired, Denied, Guard, UsageError
from guardrails.integrations import dbapi
from guardrails.integrations.sqlalchemy import guarded_engine
from tests.support.guarded_shop import LEAD, open_guard, tool_entries
from tests.support.schema import make_postgres_shop


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    region: Mapped[str]
    created_at: Mapped[datetime]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customers.id"))
    amount: Mapped[Decimal]
    status: Mapped[str]
    region: Mapped[str]
    created_at: Mapped[datetime]


@pytest.fixture(params=["sqlite", "postgres"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    if request.param == "sqlite":
        database = f"sqlite:///{request.getfixturevalue('sqlite_path')}"
    else:
        database = make_postgres_shop(request.getfixturevalue("postgres_db"))
    with open_guard(database, tmp_path) as opened:
        yield opened


def test_nothing_is_asked_when_connecting(guard: Guard) -> None:
    before = guard.ledger.size
    with guarded_engine(guard).connect():
        pass
    assert guard.ledger.size == before


def test_core(guard: Guard) -> None:
    engine = guarded_engine(guard)
    assert engine.dialect.name == {"sqlite": "sqlite", "postgres": "postgresql"}[guard.database.dialect]
    table = Customer.__table__
    with engine.connect() as connection:
        query = (
            sa.select(table.c.id, table.c.email, table.c.created_at).where(table.c.id.in_([1, 2])).order_by(table.c.id).limit(1)
        )
        assert connection.execute(query).all() == [(1, "hidden", datetime.fromisoformat("2026-01-05T10:00"))]
        assert connection.scalar(sa.text("SELECT COUNT(*) FROM orders WHERE status = :status"), {"status": "open"}) == 2
        placeholder = "?" if guard.database.dialect == "sqlite" else "$1"
        found = connection.exec_driver_sql(f"SELECT amount FROM orders WHERE id = {placeholder}", (3,)).scalar_one()
        assert float(found) == 30.25
        with pytest.raises(Denied):
            connection.execute(sa.text("SELECT salary FROM employees"))
    assert {tool for tool, _, _ in tool_entries(guard)} == {"sqlalchemy"}


def test_orm_reads_and_writes(guard: Guard) -> None:
    engine = guarded_engine(guard)
    with Session(engine) as session:
        query = sa.select(Order).join(Customer).where(Customer.name == "Ada").order_by(Order.id)
        orders = session.scalars(query).all()
        assert [(o.id, o.amount) for o in orders] == [(1, Decimal("10.50")), (2, Decimal("20.00"))]
        orders[1].status = "paid"
        session.add(
            Order(
                id=9,
                customer_id=1,
                amount=Decimal("5.25"),
                status="open",
                region="north",
                created_at=datetime.fromisoformat("2026-05-01"),
            )
        )
        session.commit()
    with Session(engine) as session:
        assert session.get_one(Order, 2).status == "paid"
        assert session.get_one(Order, 9).amount == Decimal("5.25")


def test_writes_are_not_taken_back(guard: Guard) -> None:
    engine = guarded_engine(guard)
    table = Order.__table__
    with engine.connect() as connection:
        assert connection.execute(sa.update(table).where(table.c.id == 1).values(status="new")).rowcount == 1
        connection.rollback()
        assert connection.scalar(sa.select(table.c.status).where(table.c.id == 1)) == "new"


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
    inspector = sa.inspect(guarded_engine(guard))
    if guard.database.dialect == "sqlite":
        assert inspector.get_table_names() == ["customers", "orders"]
        return
    # SQLAlchemy reads PostgreSQL's own catalogs, which hold more than the principal may see.
    with pytest.raises(Denied):
        inspector.get_table_names()


def test_json_comes_back_parsed(postgres_db: str, tmp_path: Path) -> None:
    make_postgres_shop(postgres_db)
    with psycopg.connect(postgres_db) as connection:
        connection.execute("""ALTER TABLE orders ADD COLUMN note jsonb DEFAULT '{"a": [1]}'""")
    table = sa.table("orders", sa.column("id", sa.Integer), sa.column("note", sa.JSON))
    with open_guard(postgres_db, tmp_path) as guard, guarded_engine(guard).connect() as connection:
        assert connection.execute(sa.select(table.c.note).where(table.c.id == 1)).scalar_one() == {"a": [1]}


def test_driver(guard: Guard) -> None:
    connection = dbapi.connect(guard)
    with connection.cursor() as cursor:
        assert (cursor.description, cursor.rowcount, cursor.fetchmany.__self__) == (None, -1, cursor)
        cursor.execute("SELECT id, name FROM customers WHERE id <= :most ORDER BY id", {"most": 3})
        assert cursor.description is not None
        assert [column[0] for column in cursor.description] == ["id", "name"]
        assert cursor.rowcount == 3
        assert cursor.fetchone() == (1, "Ada")
        assert cursor.fetchmany() == [(2, "Bo")]
        assert list(cursor) == [(3, "Cy")]
        assert (cursor.fetchone(), cursor.fetchall()) == (None, [])
        assert cursor.result is not None
        assert cursor.result.receipt.intent_index is not None
        cursor.executemany("UPDATE orders SET status = :s WHERE id = :i", [{"s": "a", "i": 1}, {"s": "b", "i": 2}])
        assert (cursor.rowcount, cursor.description, cursor.lastrowid) == (1, None, None)
        with pytest.raises(dbapi.ProgrammingError):
            cursor.fetchall()
        with pytest.raises(Denied):
            cursor.execute("SELECT * FROM employees")
        with pytest.raises(dbapi.ProgrammingError):
            cursor.fetchone()
    with pytest.raises(dbapi.InterfaceError):
        cursor.execute("SELECT 1")
    connection.commit()
    connection.rollback()
    connection.close()
    with pytest.raises(dbapi.InterfaceError):
        connection.cursor()
    assert {tool for tool, _, _ in tool_entries(guard)} == {"dbapi"}


def test_no_session(sqlite_path: Path, tmp_path: Path) -> None:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as guard:
        engine = guarded_engine(guard)
    with pytest.raises(UsageError, match=r"usage\.no_session"), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
