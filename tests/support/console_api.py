"""A console with something in it: requests in every state, sessions, refusals, an open window and reviews; and callers of every kind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.testclient import TestClient

from guardrails import Guard, Principal
from guardrails.approval.desk import ApprovalDesk
from guardrails.approval.status import Review
from guardrails.approval.store import ApprovalStore
from guardrails.console import Console, ConsoleSettings, create_app
from guardrails.console.projection import Projection
from guardrails.console.tickets import Tickets
from guardrails.errors import ApprovalRequired, Denied, IdentityError
from guardrails.model import ApprovalRequest, ApprovalTerms, Statement
from tests.support.dry_runs import ANA, LEA, POLICY, open_shop

__all__ = ["BASE", "PEOPLE", "SECRET", "Tokens", "Working", "open_console"]

BASE = "http://127.0.0.1:8600"
SECRET = "pinkelephant"
"""A value in statements, parameters, reasons and comments, which only some may see."""
PEOPLE = {
    "ana": ANA,
    "lea": LEA,
    "lee": Principal("lee@example.com", frozenset({"leads"})),
    "ada": Principal("ada@example.com", frozenset({"auditors"})),
    "vic": Principal("vic@example.com", frozenset({"visitors"})),
    "nil": Principal("nil@example.com"),
}
"""Requester, requester and approver, approver, auditor, a mere viewer, and somebody who may not look at all."""
TERMS = ApprovalTerms(groups=("leads",))


class Tokens:
    """Takes the names of PEOPLE for tokens: what verifies real ones is tested with the identity."""

    def principal(self, token: str) -> Principal:
        if token == "expired":
            raise IdentityError("identity.token_expired", "The token has expired.")
        if token not in PEOPLE:
            raise IdentityError("identity.token_invalid", "The token is not valid.")
        return PEOPLE[token]


@dataclass(frozen=True)
class Working:
    """A console at work."""

    console: Console
    app: Starlette
    guard: Guard
    desk: ApprovalDesk

    def client(self, person: str | None = None) -> httpx.Client:
        """A caller: one of PEOPLE by a bearer token, or nobody."""
        headers = {"Authorization": f"Bearer {person}"} if person else {}
        return TestClient(self.app, base_url=BASE, headers=headers, follow_redirects=False)

    def fill(self) -> None:
        """Lets things happen."""
        sql = f"SELECT ssn FROM customers WHERE name <> '{SECRET}'"
        with self.guard.session(principal=ANA, agent="helper", model="m", purpose="support"):
            self.guard.execute(f"SELECT name, email FROM customers WHERE name <> '{SECRET}'")
            with suppress(Denied):
                self.guard.execute("DROP TABLE orders")
            with suppress(ApprovalRequired):
                self.guard.execute(sql)
        self.ask("open0001")
        self.ask("open0002", terms=ApprovalTerms(groups=("leads",), quorum=2))
        now = int(time.time())
        for name in ("done0001", "nope0001"):
            self.ask(name)
        self.desk.approve("done0001", PEOPLE["lee"], SECRET, now)
        self.desk.deny("nope0001", PEOPLE["lee"], SECRET, now)
        self.desk.approve("open0002", PEOPLE["lee"], SECRET, now)
        self.ask("window01", kind="grant", window_s=3600)
        self.desk.approve("window01", PEOPLE["lee"], SECRET, now)
        for name in ("review01", "review02"):
            request = self.request(f"of{name}", PEOPLE["lea"])
            self.desk.open_review(Review(name, request, SECRET, now, now + 3600))
        self.desk.close_review("review02", PEOPLE["lee"], SECRET, now)

    def ask(self, name: str, requester: Principal = ANA, **more: Any) -> None:
        self.desk.submit(self.request(name, requester, **more))

    def request(self, name: str, requester: Principal = ANA, **more: Any) -> ApprovalRequest:
        now = int(time.time())
        sql = f"UPDATE orders SET status = '{SECRET}' WHERE id = 1"
        fields: dict[str, Any] = {
            "summary": "update; writes orders.status",
            "terms": TERMS,
            "statement": Statement(sql, {"value": SECRET}),
            "understood": {"normalised": "UPDATE orders SET status = ? WHERE id = ?"},
            "why": SECRET,
            "rules": ("see-numbers",),
            "session_id": "of-ana",
        }
        fields |= more
        return ApprovalRequest(
            name, f"{name:>064}".replace(" ", "0"), requester.id, "helper", "support", sql, fields.pop("summary"),
            fields.pop("terms"), now, now + 3600, **fields,
        )  # fmt: skip


@contextmanager
def open_console(folder: Path) -> Iterator[Working]:
    """Opens a console over a shop of its own in a folder."""
    settings = ConsoleSettings(
        base_url=BASE,
        viewer_groups=frozenset({"support", "visitors"}),
        approver_groups=frozenset({"leads"}),
        auditor_groups=frozenset({"auditors"}),
    )
    with (
        open_shop(folder, policy=POLICY) as guard,
        ApprovalDesk(ApprovalStore.of(guard.ledger), guard.ledger) as desk,
        Projection.open(guard.ledger) as projection,
    ):
        tickets = Tickets.open(folder / "audit.db")
        console = Console(settings, desk, guard.ledger, tickets, tokens=Tokens(), guard=guard, projection=projection)
        working = Working(console, create_app(console), guard, desk)
        working.fill()
        yield working
        tickets.close()
