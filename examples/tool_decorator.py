"""`@guard.tool`: your own function that takes SQL gets the statement that the guard regenerated.

Run it: python examples/tool_decorator.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

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
    with Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard:

        @guard.tool
        def run_query(sql: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            """Runs a query over a connection of its own; `params` takes the values that the guard binds."""
            with closing(sqlite3.connect(folder / "shop.db")) as database:
                guard.register_masks(database)  # SQLite has no hash functions, so the masks bring theirs
                database.row_factory = sqlite3.Row
                return [dict(row) for row in database.execute(sql, params or {})]

        @guard.tool
        def ask(sql: str) -> list[dict[str, Any]]: ...  # without a body, the guard runs it on its own, locked-down engine

        with guard.session(principal=Principal("ana@example.com", groups={"support"}), agent="support-bot"):
            print(run_query("SELECT name, email FROM customers ORDER BY id"))
            print(ask("SELECT status, COUNT(*) AS n FROM orders GROUP BY status ORDER BY status"))
            try:
                run_query("DROP TABLE customers")
            except Denied as refusal:
                print(refusal.for_model())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
