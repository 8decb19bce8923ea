"""How fast the approvals are with many requests: what a console's pages and a waiting agent ask, at the median.

    python -m benchmarks.approvals [--pending 1000] [--decided 100000] [--postgres URL]

The decided requests are written as rows at once; what is measured then goes the usual ways. The PostgreSQL database must be an empty
one that may be filled.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.approval.rows import request_to_text
from guardrails.ledger import Ledger
from guardrails.ledger.keys import Ed25519Signer
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal, Statement

NOW = int(time.time())
BO = Principal("bo@example.com", frozenset({"finance"}))
TERMS = ApprovalTerms(("finance",))
DECIDED = ("used", "denied", "expired", "used", "used")


def request(number: int, created_at: int) -> ApprovalRequest:
    sql = f"UPDATE orders SET state = 'refunded' WHERE id = {number}"
    return ApprovalRequest(
        uuid.uuid4().hex, uuid.uuid4().hex * 2, "ana@example.com", "refund-bot", "refunds", sql, "update; writes orders.state",
        TERMS, created_at, created_at + 900, rules=("refunds",), statement=Statement(sql), understood={"effect": "approve"},
    )  # fmt: skip


def fill(store: ApprovalStore, decided: int) -> None:
    tables = store._database.tables
    rows, votes = [], []
    for number in range(decided):
        asked, state = request(number, NOW - 1_000_000 + 9 * number), DECIDED[number % len(DECIDED)]
        rows.append(
            {
                "id": asked.id, "digest": asked.digest, "requester": asked.requester, "state": state,
                "created_at": asked.created_at, "expires_at": asked.expires_at, "ends_at": asked.expires_at,
                "decided_at": asked.created_at + 5, "used_at": None, "is_window": 0, "entry_index": None,
                "body": request_to_text(asked),
            }
        )  # fmt: skip
        votes.append(
            {
                "request": asked.id, "number": 1, "person": BO.id, "approver": BO.id, "issuer": None, "verified": "jwt",
                "answer": "denied" if state == "denied" else "approved", "reason": "checked", "at": asked.created_at + 5,
                "entry_index": None, "leaf_hash": "",
            }
        )  # fmt: skip
    with store._database.transaction() as connection:
        for start in range(0, decided, 5_000):
            connection.execute(sa.insert(tables.requests), rows[start : start + 5_000])
            connection.execute(sa.insert(tables.votes), votes[start : start + 5_000])


def median_ms(work: Callable[[], object], times: int = 30) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def round_trip(desk: ApprovalDesk) -> None:
    asked = desk.submit(request(0, NOW))
    desk.approve(asked.id, BO, "checked", NOW)
    if desk.consume(asked.digest, NOW, requester=asked.requester, terms=TERMS) is None:
        raise SystemExit("the yes did not count")


def measure(desk: ApprovalDesk, pending: int) -> None:
    ids = [desk.store.submit(request(number, NOW)).id for number in range(pending)]
    window = ApprovalRequest(
        uuid.uuid4().hex, "window", "ana@example.com", None, None, "", "", ApprovalTerms(("finance",), window_s=3600), NOW,
        NOW + 900, kind="grant", window_s=3600,
    )  # fmt: skip
    desk.submit(window)
    desk.approve(window.id, BO, "a quiet evening", NOW)
    page = desk.page(now=NOW, limit=50)
    for name, work in {
        "pending, all": lambda: desk.pending(now=NOW),
        "pending, 50": lambda: desk.pending(now=NOW, limit=50),
        "count by state": lambda: desk.count(now=NOW),
        "page of 50, all states": lambda: desk.page(now=NOW, limit=50),
        "page of 50, denied, after 500": lambda: desk.page(now=NOW, states=("denied",), limit=50, before=page[-1].request.id),
        "status": lambda: desk.status(ids[0], now=NOW),
        "consume of what nobody asked": lambda: desk.consume("none", NOW),
        "a window's use": lambda: desk.windows("window", NOW, requester="ana@example.com", terms=window.terms),
        "submit, approve, consume": lambda: round_trip(desk),
    }.items():
        print(f"  {median_ms(work):8.2f} ms  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pending", type=int, default=1_000)
    parser.add_argument("--decided", type=int, default=100_000)
    parser.add_argument("--postgres", metavar="URL", help="measure there too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        urls = [f"sqlite:///{Path(folder) / 'audit.db'}", *([given.postgres] if given.postgres else [])]
        for url in urls:
            signer = Ed25519Signer.generate("bench.example/log") if url == given.postgres else None
            with Ledger.open(url, signer=signer) as ledger, ApprovalDesk(ApprovalStore.of(ledger), ledger) as desk:
                fill(desk.store, given.decided)
                print(f"{'PostgreSQL' if signer else 'SQLite'}: {given.pending} pending, {given.decided} decided")
                measure(desk, given.pending)


if __name__ == "__main__":
    main()
