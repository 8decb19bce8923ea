"""An SQLAlchemy engine for code whose SQL never shows in its arguments: everything that it executes is guarded.

Run it: python examples/sqlalchemy_engine.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from guardrails import Denied, Guard, Policy, Principal
from guardrails.integrations.sqlalchemy import guarded_engine

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, status TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bo', 'bo@example.com');
INSERT INTO orders VALUES (1, 1, 'open'), (2, 1, 'paid'), (3, 2, 'open');
"""
POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders], principals: {groups: [support]}}
columns:
  customers.email: {mask: pseudonym}
"""


def open_orders(engine: sa.Engine) -> list[tuple[str, int]]:
    """A tool as it may already exist: it builds its SQL itself."""
    customers = sa.table("customers", sa.column("id"), sa.column("name"))
    orders = sa.table("orders", sa.column("customer_id"), sa.column("status"))
    query = (
        sa.select(customers.c.name, sa.func.count())
        .join_from(customers, orders, orders.c.customer_id == customers.c.id)
        .where(orders.c.status == "open")
        .group_by(customers.c.name)
        .order_by(customers.c.name)
    )
    with engine.connect() as connection:
        return [(name, count) for name, count in connection.execute(query)]


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard:
        engine = guarded_engine(guard)
        with guard.session(principal=Principal("ana@example.com", groups={"support"}), agent="support-bot"):
            print(open_orders(engine))
            try:
                with engine.begin() as connection:
                    connection.execute(sa.text("UPDATE orders SET status = 'paid' WHERE id = 1"))
            except Denied as refusal:
                print(refusal.for_model())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
