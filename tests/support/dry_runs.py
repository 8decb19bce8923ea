"""A guard over the small shop with a policy that does everything to some column: for the dry run and the console's policy page."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from guardrails import Guard, Policy, Principal
from tests.support.schema import make_sqlite_shop

__all__ = ["ANA", "LEA", "POLICY", "open_shop"]

POLICY = """\
version: 1
purposes:
  support: {description: Help a customer}
  payroll: {description: Pay the people who work here}
rules:
  - id: read-shop
    effect: allow
    actions: [select]
    relations: [customers, orders, customer_names]
    principals: {groups: [support]}
    description: What support needs to help a customer.
  - id: change-orders
    effect: allow
    actions: [update, insert]
    relations: [orders]
    principals: {groups: [support]}
  - id: write-tickets
    effect: allow
    actions: [insert]
    relations: [ticket_log]
    principals: {groups: [support]}
  - id: see-numbers
    effect: approve
    actions: [select]
    relations: [customers]
    columns: [customers.ssn]
    approval: {groups: [leads], quorum: 2, unmask: true}
  - {id: salaries, effect: allow, actions: [select], relations: [employees], purposes: [payroll], principals: {groups: [finance]}}
  - {id: no-amounts, effect: deny, actions: [update], columns: [orders.amount], message: Amounts are not changed here.}
  - {id: nobody-drops, effect: deny, actions: [ddl]}
columns:
  customers.email: {mask: pseudonym, except: {groups: [leads]}}
  customers.ssn: {mask: full}
  customers.created_at: {mask: deny}
  employees.salary: {mask: bucket, size: 10000, min_group: 5}
rows:
  orders: {predicate: "region = principal.region", except: {groups: [leads]}}
limits: {rows: 100, rows_changed: 10}
"""
ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "north"})
LEA = Principal("lea@example.com", frozenset({"support", "leads"}), {"region": "north"})


@contextmanager
def open_shop(folder: Path, *, policy: str = POLICY, script: str = "", keep: Collection[str] = ()) -> Iterator[Guard]:
    """Opens a guard over a shop of its own in a folder, in which `script` has run first; the ledger keeps `keep`."""
    (folder / "policy.yaml").write_text(policy, "utf-8")
    database = make_sqlite_shop(folder / "shop.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)
    loaded = Policy.load(folder / "policy.yaml")
    ledger = f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(loaded, database=f"sqlite:///{database}", ledger=ledger, keep=keep) as guard:
        yield guard
