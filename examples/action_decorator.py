"""`@guard.action`: anything else that an agent does, under the same policy and in the same ledger.

Run it: python examples/action_decorator.py
"""

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
  - id: mail-inside
    effect: allow
    actions: [email.send]
    when: arguments.to.endsWith("@example.com")
tools:
  email.send: {seconds: 20, arguments: {to: {mask: pseudonym}}}
rates:
  - {tools: ["email.*"], calls: 2, per: 1m}
"""


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    outbox: list[tuple[str, str]] = []
    with Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard:

        @guard.action("email.send")
        def send_email(to: str, body: str) -> str:
            outbox.append((to, body))
            return "sent"

        with guard.session(principal=Principal("ana@example.com", groups={"support"}), agent="support-bot"):
            print(send_email("ada@example.com", body="Your order is on its way."), outbox)
            for to in ("ada@elsewhere.example", "bo@example.com", "cy@example.com"):
                try:
                    print(send_email(to, body="Hello."))
                except Denied as refusal:  # another domain, and then one mail too many
                    print(refusal.for_model())
        for entry in guard.ledger.entries():
            print(entry["type"], entry.get("action"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
