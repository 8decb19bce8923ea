"""The guard itself: one statement at a time, synchronous and asynchronous.

Run it: python examples/guard.py
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from guardrails import Denied, Guard, Policy, Principal

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


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    ana = Principal("ana@example.com", groups={"support"})
    with (
        Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard,
        guard.session(principal=ana, agent="support-bot"),
    ):
        result = guard.execute("SELECT name, email FROM customers WHERE id = :id", {"id": 1})
        print(result.columns, result.rows, "recorded at leaf", result.receipt.leaf_index)
        try:
            guard.execute("DELETE FROM customers")
        except Denied as refusal:
            print(refusal.for_model())
        decision = guard.check("SELECT email FROM customers")
        print(decision.effect, decision.sql)
        print(asyncio.run(count_open(guard)))


async def count_open(guard: Guard) -> int:
    result = await guard.aexecute("SELECT COUNT(*) FROM orders WHERE status = ?", ["open"])
    return result.rows[0][0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
