"""A corpus of analytical questions as analysts and agents write them, over the tables of a subscription business.

`standard.sql` goes to every engine, the other files to the engine of their name. A query starts after a comment that says what is asked and
ends with a semicolon at the end of a line.
"""

from __future__ import annotations

import random
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from tests.support.tpc import Table

__all__ = ["CORPUS", "queries", "tables"]

CORPUS = "analytics"
_FOLDER = Path(__file__).parent
_MOMENT = {"sqlite": "DATETIME", "mysql": "DATETIME"}
_START = date(2025, 1, 1)
_NAMES = [
    "Acme",
    "Bolt",
    "Crux",
    "Dune",
    "Echo",
    "Flux",
    "Gale",
    "Hive",
    "Iris",
    "Jolt",
    "Kite",
    "Luna",
    "Moss",
    "Nova",
    "Opal",
    "Pine",
]
_PLANS, _COUNTRIES = ["free", "team", "business"], ["DE", "FR", "US", "JP"]
_KINDS = ["login", "view", "search", "export", "invite", "checkout"]


def queries(engine: str) -> list[tuple[str, str]]:
    """Returns (name, text) of every query for an engine: the file and the question, and the statement."""
    found: list[tuple[str, str]] = []
    for file in ("standard", engine):
        for part in re.split(r";\s*\n", (_FOLDER / f"{file}.sql").read_text("utf-8")):
            question, _, sql = part.strip().partition("\n")
            if sql:
                found.append((f"{file}: {question.removeprefix('-- ')}", sql.strip()))
    return found


def tables(engine: str) -> list[Table]:
    """Returns the tables with their rows, the same on every engine."""
    made, source, moment = [], random.Random(11), _MOMENT.get(engine, "TIMESTAMP")

    def day(within: int = 420) -> date:
        return _START + timedelta(days=source.randrange(within))

    def instant() -> datetime:
        return datetime(2025, 1, 1) + timedelta(minutes=source.randrange(420 * 24 * 60))  # noqa: DTZ001

    def money(most: int) -> Decimal:
        return Decimal(source.randrange(100, most * 100)) / 100

    def table(name: str, columns: str, rows: list[tuple[object, ...]]) -> None:
        pairs = [part.strip().split(" ", 1) for part in columns.replace("MOMENT", moment).split(";")]
        made.append(Table(name, tuple((n, t) for n, t in pairs), tuple(rows)))

    table(
        "accounts", "id BIGINT; name VARCHAR(80); plan VARCHAR(20); country VARCHAR(2); industry VARCHAR(40); created_on DATE; mrr DECIMAL(12,2)",
        [(i, f"{_NAMES[i % 16]} {i}", source.choice(_PLANS), source.choice(_COUNTRIES), source.choice(["retail", "health", None, "energy"]), day(300), money(900)) for i in range(1, 41)],
    )  # fmt: skip
    table(
        "users", "id BIGINT; account_id BIGINT; email VARCHAR(120); role VARCHAR(20); signed_up DATE; last_seen MOMENT; is_active INTEGER; settings VARCHAR(300)",
        [(i, source.randrange(1, 41), f"{source.choice(_NAMES).lower()}.{i}@{source.choice(['example.com', 'example.org', 'test.dev'])}", source.choice(["admin", "member", "guest"]), day(), instant() if source.random() < 0.9 else None,
          int(source.random() < 0.8), f'{{"theme": "{source.choice(["dark", "light"])}", "tips": {source.randrange(4)}, "tags": ["a", "b{i % 3}"]}}') for i in range(1, 121)],
    )  # fmt: skip
    table(
        "events", "id BIGINT; user_id BIGINT; kind VARCHAR(20); page VARCHAR(60); occurred_at MOMENT; duration_ms INTEGER; properties VARCHAR(300)",
        [(i, source.randrange(1, 121), source.choice(_KINDS), f"/{source.choice(['home', 'docs', 'billing/plans', 'team'])}?ref={source.choice(['ad', 'mail', 'web'])}", instant(), source.randrange(20, 9000) if source.random() < 0.9 else None,
          f'{{"ab": "{source.choice("AB")}", "n": {source.randrange(9)}}}') for i in range(1, 701)],
    )  # fmt: skip
    table(
        "subscriptions", "id BIGINT; account_id BIGINT; plan VARCHAR(20); status VARCHAR(20); started_on DATE; ended_on DATE; amount DECIMAL(12,2); seats INTEGER",
        [(i, source.randrange(1, 41), source.choice(_PLANS), source.choice(["active", "canceled", "paused"]), day(300), day() if source.random() < 0.4 else None, money(400), source.randrange(1, 60)) for i in range(1, 71)],
    )  # fmt: skip
    table(
        "invoices", "id BIGINT; account_id BIGINT; issued_on DATE; due_on DATE; paid_on DATE; amount DECIMAL(12,2); currency VARCHAR(3); status VARCHAR(20)",
        [(i, source.randrange(1, 41), issued, issued + timedelta(days=30), issued + timedelta(days=source.randrange(60)) if source.random() < 0.7 else None, money(2000), source.choice(["EUR", "USD"]),
          source.choice(["paid", "open", "void"])) for i, issued in ((i, day()) for i in range(1, 201))],
    )  # fmt: skip
    table(
        "invoice_items", "invoice_id BIGINT; line INTEGER; product_id BIGINT; quantity INTEGER; unit_price DECIMAL(12,2); discount DECIMAL(5,2)",
        [(i, line, source.randrange(1, 13), source.randrange(1, 9), money(300), Decimal(source.choice(["0.00", "0.10", "0.25"]))) for i in range(1, 201) for line in range(1, source.randrange(2, 5))],
    )  # fmt: skip
    table(
        "products", "id BIGINT; name VARCHAR(60); category VARCHAR(30); price DECIMAL(12,2); attributes VARCHAR(300)",
        [(i, f"Product {chr(64 + i)}", source.choice(["seat", "addon", "service"]), money(300), f'{{"color": "{source.choice(["red", "blue"])}", "weight": {source.randrange(1, 50)}}}') for i in range(1, 13)],
    )  # fmt: skip
    table(
        "tickets", "id BIGINT; account_id BIGINT; user_id BIGINT; subject VARCHAR(120); priority VARCHAR(10); status VARCHAR(20); opened_at MOMENT; closed_at MOMENT; satisfaction INTEGER",
        [(i, source.randrange(1, 41), source.randrange(1, 121), f"{source.choice(['Cannot', 'How to', 'Error:'])} {source.choice(['log in', 'export data', 'pay invoice'])} #{i}", source.choice(["low", "high", "urgent"]),
          source.choice(["open", "closed"]), opened, opened + timedelta(hours=source.randrange(1, 200)) if source.random() < 0.7 else None, source.choice([None, 1, 2, 3, 4, 5])) for i, opened in ((i, instant()) for i in range(1, 151))],
    )  # fmt: skip
    table(
        "employees", "id BIGINT; name VARCHAR(60); manager_id BIGINT; department VARCHAR(30); salary DECIMAL(12,2); hired_on DATE",
        [(i, f"{source.choice(_NAMES)} {i}", None if i == 1 else source.randrange(1, i), source.choice(["sales", "support", "product"]), money(9000), day()) for i in range(1, 31)],
    )  # fmt: skip
    return made
