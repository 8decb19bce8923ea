"""An SQLAlchemy engine for code whose SQL never shows in its arguments: everything that it executes is guarded.

Run it: python examples/sqlalchemy_engine.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from guardrails import Denied, Guard, Policy, Principal

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, status TEXT);
CREATE TABLE salaries (name TEXT, amount INTEGER);
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
    """A tool as it may already exist: it looks at the schema and builds its SQL itself."""
    schema = sa.MetaData()
    schema.reflect(engine)
    customers, orders = schema.tables["customers"], schema.tables["orders"]
    query = sa.select(customers.c.name, sa.func.count()).join_from(customers, orders).where(orders.c.status == "open")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query.group_by(customers.c.name).order_by(customers.c.name))]


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard:
        engine = guard.engine()
        with guard.session(principal=Principal("ana@example.com", groups={"support"}), agent="support-bot"):
            print(sa.inspect(engine).get_table_names(), open_orders(engine))
            try:
                with engine.begin() as connection:
                    connection.execute(sa.text("UPDATE orders SET status = 'paid' WHERE id = 1"))
            except Denied as refusal:
                print(refusal.for_model())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
