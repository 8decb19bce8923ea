"""A small shop on every engine whose changes wait for a person's yes: for what is told of a change before it runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from guardrails import Guard, Policy, Principal
from guardrails.errors import ApprovalRequired
from guardrails.model import ApprovalRequest, Value
from guardrails.previewing import Preview, preview
from tests.support.mysql import connect

__all__ = ["ANA", "LEA", "Shop", "fill", "open_shop"]

POLICY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: ["*"]}
  - {id: secrets, effect: deny, actions: [select], relations: [secrets], principals: {groups: [leads]}}
  - id: change
    effect: approve
    actions: [insert, update, delete, merge, ddl]
    relations: ["*"]
    principals: {groups: [support]}
    approval: {groups: [leads], reason_required: false}
    where: optional
  - {id: unmasking, effect: approve, actions: [select], columns: [customers.card], principals: {groups: [support]},
     approval: {groups: [leads], unmask: true}}
columns:
  customers.email: {mask: email, except: {groups: [support]}}
  customers.credit: {mask: bucket, size: 100, except: {groups: [support]}}
  customers.token: {mask: pseudonym, except: {groups: [support]}}
  customers.card: {mask: full}
rows:
  customers: {predicate: "region = principal.region", except: {groups: [everywhere]}}
limits: {rows_changed: 30}
"""
ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
LEA = Principal("lea@example.com", frozenset({"leads", "everywhere"}), {"region": "EU"})

DDL = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, email VARCHAR(40), credit INTEGER, token VARCHAR(40), card VARCHAR(40),"
    " region VARCHAR(10) NOT NULL)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, amount INTEGER CHECK (amount >= 0), note VARCHAR(60))",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER{cascade})",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(80))",
    "CREATE TABLE secrets (id INTEGER PRIMARY KEY, body VARCHAR(80))",
)
ROWS: dict[str, list[tuple[Value, ...]]] = {
    "customers": [
        (1, "ada@north.example", 120, "t1", "4111", "EU"),
        (2, "bo@south.example", 250, "t2", "4222", "EU"),
        (3, "cy@west.example", 380, "t3", "4333", "US"),
    ],
    "orders": [(1, 1, 5, "a"), (2, 1, 6, "b"), (3, 2, 7, "c"), (4, 3, 8, "d")],
    "items": [(1, 1), (2, 1), (3, 4)],
    "notes": [(i, f"note {i}") for i in range(1, 26)],
    "secrets": [(1, "s")],
}


def fill(
    kind: str, folder: Path, new_server: Callable[[str], str], *, email: str = "ada@north.example", credit: int = 120
) -> str:
    """Makes the shop in a fresh database; returns its URL. The first customer's protected values may be others."""
    # MySQL lets no change through that foreign keys would carry further, and DuckDB has none that do.
    cascade = " REFERENCES orders (id) ON DELETE CASCADE" if kind in ("sqlite", "postgres") else ""
    statements = [s.format(cascade=cascade) for s in DDL]
    rows = ROWS | {"customers": [(1, email, credit, "t1", "4111", "EU"), *ROWS["customers"][1:]]}
    if kind in ("sqlite", "duckdb"):
        path = folder / f"shop.{kind}"
        opened: Any = sqlite3.connect(path) if kind == "sqlite" else duckdb.connect(str(path))
        url, mark = f"{kind}:///{path}", "?"
    else:
        url, mark = new_server(kind), "%s"
        opened = psycopg.connect(url) if kind == "postgres" else connect(url)
    cursor = opened.cursor()
    for statement in statements:
        cursor.execute(statement)
    for table, found in rows.items():
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join([mark] * len(found[0]))})", found)
    opened.commit()
    opened.close()
    return url


@dataclass(frozen=True)
class Shop:
    """An open guard, and the kind of its database."""

    kind: str
    url: str
    guard: Guard

    def run(self, *statements: str) -> None:
        """Runs statements beside the guard, and commits them; not for DuckDB, whose file is the guard's alone."""
        with self.connected() as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Lends a cursor of another connection, in a transaction that is committed at the end."""
        if self.kind == "sqlite":
            opened: Any = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=0)
        else:
            opened = psycopg.connect(self.url) if self.kind == "postgres" else connect(self.url)
            if self.kind == "mysql":
                opened.autocommit(False)
        try:
            yield opened.cursor()
            opened.commit()
        finally:
            opened.close()

    def state(self) -> dict[str, list[str]]:
        """Everything that is stored, read by the guard's engine."""
        from tests.support.plans import make_plan

        catalog = self.guard.database.catalog()
        found = {}
        for table in (*ROWS, "old") if "old" in catalog.relations else ROWS:
            columns = [f"{table}.{c}" for c in catalog.relations[table].column_names]
            place = {"postgres": f"public.{table}", "mysql": f"`{table}`"}.get(self.kind, table)
            dialect: Any = self.kind
            plan = make_plan(f"SELECT * FROM {place}", dialect, uses={table: "select"}, reads=columns)
            found[table] = sorted(map(repr, self.guard.database.execute(plan).rows))
        return found

    def ask(self, sql: str, params: dict[str, Value] | None = None, *, by: Principal = ANA) -> ApprovalRequest:
        """Asks for approval of a statement; returns the request as approvers see it."""
        with self.guard.session(principal=by, agent="helper"), pytest.raises(ApprovalRequired) as caught:
            self.guard.execute(sql, params or {})
        # Who asks is told nothing of what would happen.
        assert caught.value.request.impact is None
        return self.guard.desk.get(caught.value.request.id)

    def look(self, sql: str, params: dict[str, Value] | None = None, *, by: Principal = LEA, asks: Principal = ANA) -> Preview:
        """Asks for approval, and looks at what would change."""
        return preview(self.guard, self.ask(sql, params, by=asks), by)


@contextmanager
def open_shop(kind: str, url: str, folder: Path, policy: str = POLICY) -> Iterator[Shop]:
    """Opens a guard on the shop, with a ledger in the folder."""
    database = url + ("?threads=1" if kind == "duckdb" else "")
    with Guard.open(Policy.from_text(policy), database=database, ledger=f"sqlite:///{folder / 'audit.db'}") as guard:
        yield Shop(kind, url, guard)
