"""A guard over the shop whose policy speaks of tools: what is allowed, asked, shown and counted of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guardrails import Guard, Policy, Principal

__all__ = ["ANA", "LEAD", "TOOLS", "function_guard", "recorded"]

ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
LEAD = Principal("lee@example.com", frozenset({"leads"}))

TOOLS = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders]}
  - {id: change-orders, effect: allow, actions: [update], relations: [orders]}
  - {id: tools, effect: allow, actions: [plain, many, postpone, "shop.*", send, slow, report, outer, inner, echo]}
  - {id: refunds, effect: approve, actions: [refund], approval: {groups: [leads], reason_required: false}}
  - id: deletes
    effect: approve
    actions: [delete]
    relations: [orders]
    approval: {groups: [leads], reason_required: false}
  - id: mail-inside
    effect: allow
    actions: [mail]
    when: arguments.to.endsWith("@example.com") && size(arguments.tags) < 3
columns:
  customers.ssn: {mask: full}
limits: {rows: 20, seconds: 5, result_bytes: 10000}
tools:
  send: {arguments: {to: {mask: email}, subject: show, body: hide}}
  refund: {arguments: {order: show, secret: hide, to: {mask: email}}}
"""


@contextmanager
def function_guard(database: Path, folder: Path, *, more: str = "", **options: Any) -> Iterator[Guard]:
    """Opens the guard, with further top-level text of the policy; without a session."""
    policy, ledger = Policy.from_text(TOOLS + more), f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(policy, database=f"sqlite:///{database}", ledger=ledger, **options) as guard:
        yield guard


def recorded(guard: Guard, *types: str) -> list[dict[str, Any]]:
    """Returns the entries of some types, in order."""
    return [dict(entry) for entry in guard.ledger.entries() if entry["type"] in (types or ("intent", "refusal", "outcome"))]
