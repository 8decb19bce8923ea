"""A change that a person has to approve: asked, answered by somebody else, run once.

Run it: python examples/approval.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from guardrails import ApprovalRequired, Denied, Guard, Policy, Principal

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
  - {id: change-orders, effect: approve, actions: [update], relations: [orders], approval: {groups: [leads]}}
columns:
  customers.email: {mask: pseudonym}
"""


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    ana, lee = Principal("ana@example.com", groups={"support"}), Principal("lee@example.com", groups={"leads"})
    statement = "UPDATE orders SET status = 'paid' WHERE id = 1"
    with (
        Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard,
        guard.session(principal=ana, agent="support-bot"),
    ):
        try:
            guard.execute(statement)
        except ApprovalRequired as waiting:
            print(waiting.for_model())
            request = waiting.request
        try:
            guard.approve(request.id, by=ana, reason="I asked for it.")
        except Denied as refusal:
            print(refusal.message)
        guard.approve(request.id, by=lee, reason="The payment has arrived.")
        print(guard.execute(statement).rows_changed, "row changed")
        try:
            guard.execute(statement)
        except ApprovalRequired as waiting:
            print("Asked again:", waiting.code)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
