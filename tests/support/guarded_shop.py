"""A guard over the shop of `tests.support.schema`, for the ways in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guardrails import Guard, Policy, Principal

__all__ = ["ANA", "LEAD", "POLICY", "open_guard", "tool_entries"]

POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders, customer_names], principals: {groups: [support]}}
  - {id: change-orders, effect: allow, actions: [insert, update], relations: [orders], principals: {groups: [support]}}
  - id: delete-orders
    effect: approve
    actions: [delete]
    relations: [orders]
    principals: {groups: [support]}
    approval: {groups: [leads], reason_required: false}
  - {id: mail, effect: allow, actions: [send_mail, boom, pause, make_pair, summarise, report], principals: {groups: [support]}}
  - {id: refund, effect: approve, actions: [refund], approval: {groups: [leads], reason_required: false}}
columns:
  customers.email: {mask: fixed, value: hidden}
  customers.ssn: {mask: full}
"""
ANA = Principal("ana@example.com", frozenset({"support"}))
LEAD = Principal("lee@example.com", frozenset({"leads"}))


@contextmanager
def open_guard(database: str, folder: Path) -> Iterator[Guard]:
    """Opens a guard with a session of Ana's in force."""
    ledger = f"sqlite:///{folder / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(POLICY), database=database, ledger=ledger) as guard,
        guard.session(principal=ANA, agent="test-agent", model="m"),
    ):
        yield guard


def tool_entries(guard: Guard) -> list[tuple[object, object, object]]:
    """Tool, tool call and type of every intent and refusal in the ledger, in order."""
    entries = (e for e in guard.ledger.entries() if e["type"] in ("intent", "refusal"))
    return [(e.get("tool"), e.get("tool_call"), e["type"]) for e in entries]
