"""A console with something in it: requests in every state, sessions, refusals, an open window and reviews; and callers of every kind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.testclient import TestClient

from guardrails import Guard, Principal
from guardrails.approval.desk import ApprovalDesk
from guardrails.approval.status import Review
from guardrails.console import Console, ConsoleSettings, create_app
from guardrails.console.pages.signing_in import one_time_link
from guardrails.console.projection import Projection
from guardrails.console.sessions import cookie_name
from guardrails.console.tickets import Tickets
from guardrails.errors import ApprovalRequired, Denied
from guardrails.identity import JwtVerifier
from guardrails.model import ApprovalRequest, ApprovalTerms, Statement
from tests.support.dry_runs import POLICY, open_shop

__all__ = ["BASE", "PEOPLE", "SECRET", "Working", "open_console", "person", "token"]

BASE = "http://127.0.0.1:8600"
SECRET = "pinkelephant"
"""A value in statements, parameters, reasons and comments, which only some may see."""
ISSUER = "https://id.example.com"
AUDIENCE = "guardrails-console"
KEY = Ed25519PrivateKey.generate()
PEOPLE = {
    "ana": ("support",),
    "lea": ("support", "leads"),
    "lee": ("leads",),
    "ada": ("auditors",),
    "sue": ("leads", "auditors", "support"),
    "vic": ("visitors",),
    "nil": (),
}
"""By name the groups of a requester, somebody who asks and approves, an approver, an auditor, somebody who may do everything, a mere
viewer, and somebody who may not look at all."""
TERMS = ApprovalTerms(groups=("leads",))
VERIFIER = JwtVerifier(ISSUER, AUDIENCE, keys={"k": KEY.public_key()}, attributes=["region"])


def token(name: str, **claims: object) -> str:
    """A token of one of PEOPLE, good for an hour."""
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"{name}@example.com", "groups": list(PEOPLE[name]), "region": "north"}
    return jwt.encode(said | {"exp": int(time.time()) + 3600} | claims, KEY, "EdDSA", headers={"kid": "k"})


def person(name: str) -> Principal:
    """One of PEOPLE, as their token says."""
    return VERIFIER.principal(token(name))


@dataclass(frozen=True)
class Working:
    """A console at work."""

    console: Console
    app: Starlette
    guard: Guard
    desk: ApprovalDesk

    def client(self, name: str | None = None) -> httpx.Client:
        """A caller: one of PEOPLE by a bearer token, or nobody."""
        headers = {"Authorization": f"Bearer {token(name)}"} if name else {}
        return TestClient(self.app, base_url=BASE, headers=headers, follow_redirects=False)

    def browser(self, name: str) -> httpx.Client:
        """A browser in which one of PEOPLE is signed in."""
        client = TestClient(self.app, base_url=BASE, follow_redirects=False)
        link = one_time_link(self.console, person(name)).partition("token=")[2]
        client.post("/signin/link", data={"token": link})
        return client

    def form_token(self, client: httpx.Client) -> str:
        """What the forms of a signed-in browser carry."""
        kept = self.console.tickets.read("session", client.cookies[cookie_name(self.console.settings)])
        return str(kept["csrf_token"]) if kept else ""

    def fill(self) -> None:
        """Lets things happen."""
        sql = f"SELECT ssn FROM customers WHERE name <> '{SECRET}'"
        with self.guard.session(principal=person("ana"), agent="helper", model="m", purpose="support"):
            self.guard.execute(f"SELECT name, email FROM customers WHERE name <> '{SECRET}'")
            with suppress(Denied):
                self.guard.execute("DROP TABLE orders")
            with suppress(ApprovalRequired):
                self.guard.execute(sql)
        self.ask("open0001")
        self.ask("open0002", terms=ApprovalTerms(groups=("leads",), quorum=2))
        now, lee = self.now, person("lee")
        for name in ("done0001", "nope0001"):
            self.ask(name)
        self.desk.approve("done0001", lee, SECRET, now)
        self.desk.deny("nope0001", lee, SECRET, now)
        self.desk.approve("open0002", lee, SECRET, now)
        self.ask("window01", kind="grant", window_s=3600)
        self.desk.approve("window01", lee, SECRET, now)
        for name in ("review01", "review02"):
            self.review(name)
        self.desk.close_review("review02", lee, SECRET, now)

    def ask(self, name: str, **more: Any) -> None:
        """Files a request of Ana's."""
        self.desk.submit(self.request(name, person("ana"), **more))

    def review(self, name: str) -> None:
        """Opens the review of something that Lea ran without waiting."""
        request = self.request(f"of{name}", person("lea"))
        self.desk.open_review(Review(name, request, SECRET, self.now, self.now + 3600))

    @property
    def now(self) -> int:
        return int(time.time())

    def request(self, name: str, requester: Principal, **more: Any) -> ApprovalRequest:
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
            fields.pop("terms"), self.now, self.now + 3600, **fields,
        )  # fmt: skip


@contextmanager
def open_console(folder: Path) -> Iterator[Working]:
    """Opens a console over a shop of its own in a folder."""
    settings = ConsoleSettings(
        base_url=BASE,
        viewer_groups=frozenset({"support", "visitors"}),
        approver_groups=frozenset({"leads"}),
        auditor_groups=frozenset({"auditors"}),
        sign_in_tries=10_000,
    )
    with open_shop(folder, policy=POLICY, keep=("sql", "result")) as guard, Projection.open(guard.ledger) as projection:
        tickets = Tickets.open(folder / "audit.db")
        console = Console(settings, guard.desk, guard.ledger, tickets, tokens=VERIFIER, guard=guard, projection=projection)
        working = Working(console, create_app(console), guard, guard.desk)
        working.fill()
        yield working
        tickets.close()
