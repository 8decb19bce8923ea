"""How fast the console's pages answer over a large ledger: medians over HTTP, as a browser on the same machine sees them.

    python -m benchmarks.console --size 1000000 --requests 1000 --folder /var/tmp/console     built once, used again afterwards
    python -m benchmarks.console --size 1000000 --postgres postgresql://…/database            the projection in PostgreSQL

The ledger is one that agents could have filled (`benchmarks.console_ledger`); the requests are filed in its approvals and wait. Every
page is asked for `--rounds` times in turn, each time another place in the lists; what is printed is the median and the largest. The
console runs in a process of its own. Exit status 1 when a median is above 300 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import random
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.console_ledger import build
from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.console import Console, ConsoleSettings, create_app
from guardrails.console.pages.signing_in import one_time_link
from guardrails.console.projection import Projection
from guardrails.console.tickets import Tickets
from guardrails.ledger import Ledger
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal, Statement
from guardrails.policy import Policy

LIMIT_MS = 300
KIM = Principal("kim@example.com", frozenset({"leads", "auditors"}))
POLICY = """
version: 1
rules:
  - {id: rule-1, effect: allow, actions: [read], relations: [customers]}
columns:
  customers.column_1: {mask: full}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where the ledger is, or is to be; a temporary folder by default")
    parser.add_argument("--postgres", metavar="URL", help="keep the projection there")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"bench-{options.size}.db"
        prepare(path, options.size, options.requests, options.postgres)
        address, cookie, sessions, requests = stack.enter_context(serving(path, options.postgres))
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        slow = measure(address, cookie, options.size, sessions, requests, options.rounds)
        print(f"load {os.getloadavg()[0]:.1f}")
    sys.exit(1 if slow else 0)


def prepare(path: Path, size: int, requests: int, postgres: str | None) -> None:
    """Makes what is not there yet: ledger, requests, projection."""
    began = time.perf_counter()
    if not path.exists():
        build(path, size)
        print(f"built {size:,} entries in {time.perf_counter() - began:.0f} s")
    with Ledger.open(path) as ledger, ApprovalStore.open(path) as store:
        desk = ApprovalDesk(store, ledger)
        missing = requests - desk.count(now=int(time.time())).get("pending", 0)
        for number in range(missing):
            desk.submit(_request(number))
        began = time.perf_counter()
        with Projection.open(ledger, postgres) as projection:
            folded = projection.refresh()
        print(f"{missing} requests filed; {folded:,} entries folded in {time.perf_counter() - began:.0f} s")


@contextmanager
def serving(path: Path, postgres: str | None) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Serves the console in another process; yields address, cookie, and ids of sessions and of requests."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(path, postgres, theirs), daemon=True)
    process.start()
    address, link, sessions, requests = ours.recv()
    token = link.partition("token=")[2]
    form = urlencode({"token": token})
    while True:
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        try:
            connection.request("POST", "/signin/link", form, {"Content-Type": "application/x-www-form-urlencoded"})
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    answer = connection.getresponse()
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    try:
        yield address, cookie, sessions, requests
    finally:
        process.terminate()
        process.join()


def serve(path: Path, postgres: str | None, pipe: multiprocessing.connection.Connection) -> None:
    """Runs the console."""
    import socket

    import uvicorn

    from guardrails.console.projection.queries import Queries

    # Named as TCP, so that asyncio does not wait for acknowledgements (TCP_NODELAY).
    with socket.socket(proto=socket.IPPROTO_TCP) as listening, ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        ledger = stack.enter_context(Ledger.open(path, read_only=True))
        store = stack.enter_context(ApprovalStore.open(path))
        projection = stack.enter_context(Projection.open(ledger, postgres))
        settings = ConsoleSettings(base_url=address, auditor_groups={"auditors"})
        desk = ApprovalDesk(store, ledger)
        policy = Policy.from_text(POLICY)
        console = Console(settings, desk, ledger, Tickets.open(path), policy=policy, projection=projection)
        projection.follow()
        sessions = [row.address for row in Queries(projection).sessions(limit=1000)]
        requests = [request.id for request in desk.pending(now=int(time.time()))]
        pipe.send((address, one_time_link(console, KIM), sessions, requests))
        uvicorn.Server(uvicorn.Config(create_app(console), log_level="warning", lifespan="off")).run(sockets=[listening])


def measure(address: str, cookie: str, size: int, sessions: list[str], requests: list[str], rounds: int) -> list[str]:
    """Asks for every page in turn and prints how long it took; returns the pages that are too slow."""
    chance = random.Random(1)
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, page in pages(chance, size, sessions, requests).items():
            began = time.perf_counter()
            connection.request("GET", page, headers={"Cookie": cookie})
            answer = connection.getresponse()
            body = answer.read()
            times.setdefault(name, []).append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                raise SystemExit(f"{page} answered {answer.status}: {re.sub(rb'<[^>]+>', b' ', body)[:300]!r}")
    slow = []
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:<48} {median:7.1f} ms, at most {max(found):7.1f}")
        slow += [name] if median > LIMIT_MS else []
    print(json.dumps({"pages": len(times), "slowest_median_ms": round(max(statistics.median(t) for t in times.values()), 1)}))
    return slow


def pages(chance: random.Random, size: int, sessions: list[str], requests: list[str]) -> dict[str, str]:
    """Returns an address for each page, another one each time where the page has many."""
    index, person = chance.randrange(size), f"person{chance.randrange(200)}@example.com"
    proofs = urlencode([("index", n) for n in range(index, min(size, index + 50))])
    return {
        "inbox": "/inbox",
        "inbox, further on": f"/inbox?before={chance.choice(requests)}",
        "a request": f"/requests/{chance.choice(requests)}",
        "windows": "/windows",
        "reviews": "/reviews",
        "live": "/live",
        "sessions": "/sessions",
        "sessions, far back": f"/sessions?before={index}",
        "sessions of a person": "/sessions?" + urlencode({"principal": person}),
        "a session": f"/sessions/{chance.choice(sessions)}",
        "ledger": "/ledger",
        "ledger, far back": f"/ledger?before={index}",
        "ledger, from a moment on": f"/ledger?at={time.strftime('%Y-%m-%dT%H:%M', time.gmtime(time.time() - chance.random() * 7e6))}",
        "ledger, one type": "/ledger?kind=refusal",
        "ledger, a person": "/ledger?" + urlencode({"principal": person}),
        "ledger, a person and a rare type": "/ledger?" + urlencode({"principal": person, "kind": "approval.requested"}),
        "ledger, a session": f"/ledger?session={chance.choice(sessions)}",
        "an entry": f"/ledger/{index}",
        "evidence for an entry": f"/ledger/proofs?index={index}",
        "evidence for 50 entries": f"/ledger/proofs?{proofs}",
        "a consistency proof": f"/ledger/consistency?from={index + 1}&to={size}",
        **{f"statistics, {period}": f"/statistics?period={period}" for period in ("day", "week", "month", "quarter", "all")},
        "policy": "/policy",
    }


def _request(number: int) -> ApprovalRequest:
    now = int(time.time())
    sql = f"UPDATE payments SET refunded = 1 WHERE order_id = {number}"
    return ApprovalRequest(
        id=uuid.uuid4().hex,
        digest=f"{random.getrandbits(256):064x}",
        requester=f"person{number % 200}@example.com",
        agent="refund-bot",
        purpose="support",
        sql=sql,
        summary="update; writes payments.refunded",
        terms=ApprovalTerms(groups=("leads",), expires_s=30 * 86_400, quorum=1 + number % 2),
        created_at=now,
        expires_at=now + 30 * 86_400,
        rules=("refunds",),
        policy_digest="0" * 64,
        session_id=f"{number:032x}",
        statement=Statement(sql, {}, "sqlite"),
        understood={"effect": "approve", "reads": ["payments.order_id"], "writes": ["payments.refunded"]},
    )


if __name__ == "__main__":
    main()
