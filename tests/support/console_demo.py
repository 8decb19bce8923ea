"""A console over a shop where agents have been at work: policy, database, sessions, requests in every state, windows, reviews.

The tests in a browser, the screenshots of the documentation and benchmarks use the same. Everybody in it is invented.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guardrails import ApprovalRequired, Denied, EngineError, Guard, Principal
from guardrails.console import Console, ConsoleSettings
from guardrails.console.pages.signing_in import one_time_link
from guardrails.console.projection import Projection
from guardrails.console.serving import ConsoleServer, listening
from guardrails.console.signins import SignInFlow, SignIns
from guardrails.console.tickets import Tickets
from guardrails.demo.shop import build_shop
from guardrails.model import Value

__all__ = ["ANA", "BO", "KIM", "LEA", "MAX", "POLICY", "ConsoleDemo", "open_demo", "serve"]

POLICY = """
version: 1
purposes:
  support: {description: Helping one customer at a time}
  analytics: {description: Sums and trends over sales}
rules:
  - id: support-reads
    effect: allow
    actions: [select]
    relations: [customers, orders, order_items, products, payments, tickets]
    principals: {groups: [support]}
    description: Whoever helps customers reads what they bought.
  - id: leads-read
    effect: allow
    actions: [select]
    relations: [customers, orders, payments, tickets]
    principals: {groups: [leads]}
  - id: tickets-are-closed
    effect: allow
    actions: [update]
    relations: [tickets]
    columns: [tickets.status]
    principals: {groups: [support]}
  - id: refunds-need-a-lead
    effect: approve
    actions: [update]
    relations: [payments]
    principals: {groups: [support]}
    approval: {groups: [leads], expires: 2h, window: 1h, break_glass: {groups: [on-call], review: 24h}}
    message: Refunds wait for a lead.
  - id: orders-need-two
    effect: approve
    actions: [update, delete]
    relations: [orders]
    principals: {groups: [support]}
    approval: {groups: [leads], quorum: 2, expires: 8h}
  - id: numbers-are-lifted
    effect: approve
    actions: [select]
    relations: [customers]
    columns: [customers.ssn]
    principals: {groups: [support]}
    approval: {groups: [privacy], expires: 30m, unmask: true}
  - id: nobody-drops
    effect: deny
    actions: [ddl]
    description: The schema belongs to migrations.
columns:
  customers.email: {mask: pseudonym}
  customers.phone: {mask: partial, first: 0, last: 2}
  customers.ssn: {mask: full}
  payments.card_number: {mask: partial, first: 0, last: 4}
rows:
  tickets: {predicate: "region = principal.region", except: {groups: [leads]}}
limits: {rows: 200, rows_changed: 20, seconds: 10}
"""

ANA = Principal("ana@example.com", frozenset({"support", "on-call"}), {"region": "north"})
MAX = Principal("max@example.com", frozenset({"support"}), {"region": "south"})
BO = Principal("bo@example.com", frozenset({"leads"}), {"region": "north"})
LEA = Principal("lea@example.com", frozenset({"leads", "privacy"}), {"region": "south"})
KIM = Principal("kim@example.com", frozenset({"auditors"}), {"region": "north"})

_READS = (
    ("SELECT id, subject, status FROM tickets WHERE status = 'open'", {}),
    ("SELECT name, email, phone FROM customers WHERE id = :id", {"id": 17}),
    ("SELECT id, status, total_cents FROM orders WHERE customer_id = :id ORDER BY id", {"id": 17}),
    (
        "SELECT p.id, p.card_number, p.amount_cents FROM payments AS p JOIN orders AS o ON o.id = p.order_id WHERE o.customer_id = :id",
        {"id": 17},
    ),
    ("SELECT region, count(*), sum(total_cents) FROM orders GROUP BY region", {}),
    ("SELECT name FROM products WHERE category = 'home'", {}),
)
_REFUSED = (
    "SELECT name, salary_cents FROM employees",
    "DROP TABLE tickets",
    "SELECT name FROM customers; DELETE FROM customers",
    "DELETE FROM payments WHERE id = 9",
)


@dataclass(frozen=True)
class ConsoleDemo:
    """A console that is open over a seeded shop.

    Args:
        console: The console.
        guard: The guard of the agents; of its own, as in another process.
        requests: Ids of a session (``session``), and of requests and reviews by what they are for: ``refund``, ``quorum``, ``unmask``, ``window``, ``denied``,
            ``used``, ``open_window``, ``review``.
    """

    console: Console
    guard: Guard
    requests: Mapping[str, str]

    def link(self, principal: Principal) -> str:
        """Returns a one-time link for a person."""
        return one_time_link(self.console, principal)


@contextmanager
def open_demo(
    folder: Path,
    *,
    base_url: str = "http://127.0.0.1:8600",
    ledger: str | None = None,
    provider: SignInFlow | None = None,
    sessions: int = 3,
    settings: Mapping[str, object] | None = None,
) -> Iterator[ConsoleDemo]:
    """Builds the shop in a folder, lets agents work, and opens a console.

    Args:
        folder: An empty folder.
        base_url: Where the console is reached.
        ledger: URL of the ledger; a file in the folder by default.
        provider: Where people sign in, besides links.
        sessions: Sessions of agents that only read.
        settings: Further `ConsoleSettings`.
    """
    build_shop(folder / "shop.db", customers=80, orders=400)
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    database, log = f"sqlite:///{folder / 'shop.db'}", ledger or f"sqlite:///{folder / 'audit.db'}"
    options = {"database": database, "ledger": log, "keep": ("sql", "params", "executed", "result", "message")}
    with Guard.open(folder / "policy.yaml", **options) as guard, Guard.open(folder / "policy.yaml", **options) as own:
        requests = _work(guard, sessions)
        given = {"auditor_groups": frozenset({"auditors"}), "approver_groups": frozenset({"leads", "privacy"})} | dict(
            settings or {}
        )
        tickets, projection = Tickets.open(log), Projection.open(own.ledger, log)
        projection.follow()
        console = Console(
            ConsoleSettings(base_url=base_url, **given),
            own.desk,
            own.ledger,
            tickets,
            SignIns(provider, "the shop's provider"),
            own,
            own.policy,
            projection,
        )
        try:
            yield ConsoleDemo(console, guard, requests)
        finally:
            projection.close()
            tickets.close()


@contextmanager
def serve(make: Callable[[str], Console]) -> Iterator[str]:
    """Serves a console on loopback in a thread; yields its address.

    Args:
        make: Makes the console for an address.
    """
    with listening("127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = ConsoleServer(make(address))
        thread = threading.Thread(target=functools.partial(server.run, sockets=[listener]))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield address
        finally:
            server.should_exit = True
            thread.join()


def _work(guard: Guard, sessions: int) -> dict[str, str]:
    """Lets agents work; returns the requests by name."""
    for number in range(sessions):
        who, agent = ((ANA, "refund-bot"), (MAX, "ticket-bot"))[number % 2]
        with guard.session(
            principal=who, agent=agent, model="gpt-5.2-mini", purpose="support", conversation_id=f"chat-{number}"
        ):
            guard.note("user", "Customer 17 says that a parcel is missing. Which orders are open, and what was paid?")
            for sql, params in _READS[number % 2 :: 2]:
                guard.execute(sql, params, tool="run_query")
            guard.note("assistant", "Two orders are open; the card ends in the digits that the customer named.")
            with suppress(Denied):
                guard.execute(_REFUSED[number % len(_REFUSED)], tool="run_query")
    with guard.session(principal=MAX, agent="ticket-bot", model="gpt-5.2-mini", purpose="support") as session:
        guard.note("user", "The parcel of payment 40 came back. Give the customer the money.")
        guard.execute(
            "SELECT p.id, p.amount_cents, p.card_number FROM payments AS p WHERE p.id = :id", {"id": 40}, tool="run_query"
        )
        used = _ask(guard, "UPDATE payments SET refunded = 1 WHERE id = :id", {"id": 40})
        guard.approve(used, by=BO, reason="The parcel went back to the warehouse, see ticket 12.")
        guard.execute("UPDATE payments SET refunded = 1 WHERE id = :id", {"id": 40}, tool="run_query")
        denied = _ask(guard, "UPDATE payments SET refunded = 1 WHERE order_id < 200", {})
        guard.deny(denied, by=LEA, reason="This is half of the shop. Which payment is meant?")
        window = guard.request_window("refunds-need-a-lead", seconds=3600, reason="Returns of the recalled kettles").id
        with suppress(EngineError, Denied):
            guard.execute("UPDATE tickets SET status = 'closed' WHERE id = 3 AND region = 'south'")
    with guard.session(principal=ANA, agent="refund-bot", model="gpt-5.2-mini", purpose="support"):
        opened = guard.request_window("refunds-need-a-lead", seconds=1800, reason="Lost parcels of last week").id
        guard.approve(opened, by=BO, reason="Until noon.")
        guard.execute("UPDATE payments SET refunded = 1 WHERE id = :id", {"id": 61}, tool="run_query")
    with guard.session(principal=ANA, agent="night-bot", model="gpt-5.2-mini", purpose="support"):
        with guard.break_glass("The card processor charges twice and nobody of the leads answers."):
            guard.execute("UPDATE payments SET refunded = 1 WHERE id = :id", {"id": 88}, tool="run_query")
        quorum = _ask(
            guard,
            "UPDATE orders SET status = :status WHERE status = 'open' AND region = 'north' AND id < 60",
            {"status": "cancelled"},
        )
        guard.approve(quorum, by=BO, reason="The warehouse in the north is closed.")
        unmask = _ask(guard, "SELECT id, name, ssn FROM customers WHERE id = :id", {"id": 17})
        refund = _ask(guard, "UPDATE payments SET refunded = :refunded WHERE order_id IN (131, 132)", {"refunded": 1})
    review = guard.desk.reviews(now=int(time.time()))[0].id
    return {
        "session": session.context.session_id,
        "used": used,
        "denied": denied,
        "window": window,
        "open_window": opened,
        "quorum": quorum,
        "unmask": unmask,
        "refund": refund,
        "review": review,
    }


def _ask(guard: Guard, sql: str, params: Mapping[str, Value]) -> str:
    """Runs a statement that waits for approval; returns the id of its request."""
    try:
        guard.execute(sql, params, tool="run_query")
    except ApprovalRequired as waiting:
        return waiting.request.id
    raise AssertionError(f"{sql} does not wait for approval")
