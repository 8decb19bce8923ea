"""Approvals on both engines: a ledger with its desk in a file, and one in a PostgreSQL schema of its own."""

from __future__ import annotations

import itertools
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.ledger import Ledger
from guardrails.ledger.keys import create_key, load_key
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal

NOW = 1_700_000_000
"""When it is, at a bench whose ledger's clock stands still."""
ANA = "ana@example.com"
BO = Principal("bo@example.com", frozenset({"finance"}))
LEA = Principal("lea@example.com", frozenset({"finance"}))
KIM = Principal("kim@example.com", frozenset({"sales"}))

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Bench:
    """Where a ledger and its approvals are: in a file, or in a schema of its own where there is a `server`.

    Args:
        url: The ledger's.
        key: File of the signing key, for a ledger in a server.
        server: URL of the server's database.
        schema: The ledger's schema.
        is_timeless: The ledger's clock stands at `NOW`; otherwise it is the real one.
    """

    url: str
    key: Path | None = None
    server: str = ""
    schema: str = ""
    is_timeless: bool = True

    @classmethod
    def in_file(cls, folder: Path) -> Bench:
        return cls(f"sqlite:///{folder / 'audit.db'}")

    @classmethod
    def in_server(cls, server: str, folder: Path, *, is_timeless: bool = True) -> Bench:
        schema = f"log_{uuid.uuid4().hex[:12]}"
        create_key(folder / "log.key", "approvals.example/log")
        return cls(
            f"{server}{'&' if '?' in server else '?'}ledger_schema={schema}", folder / "log.key", server, schema, is_timeless
        )

    @contextmanager
    def desk(self) -> Iterator[ApprovalDesk]:
        """Opens ledger and approvals, as one more process would."""
        signer = load_key(self.key) if self.key else None
        clock = (lambda: NOW * 1_000_000_000) if self.is_timeless else time.time_ns
        with Ledger.open(self.url, signer=signer, clock_ns=clock) as ledger, ApprovalStore.open(self.url) as store:
            yield ApprovalDesk(store, ledger)

    def tamper(self, statement: str) -> int:
        """Runs a statement on the tables of the approvals, as whoever can write to them could; returns the rows it changed."""
        if not self.server:
            path = self.url.removeprefix("sqlite:///") + ".approvals"
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(statement).rowcount
        with closing(psycopg.connect(self.server, autocommit=True)) as connection:
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(f"{self.schema}_approvals")))
            return connection.execute(statement).rowcount  # type: ignore[arg-type]


def asked(digest: str = "", now: int = NOW, **terms: object) -> ApprovalRequest:
    """A new request of Ana's to people of finance, good for 100 seconds."""
    number = next(_NUMBERS)
    wanted = {"groups": ("finance",), "expires_s": 100} | terms
    return ApprovalRequest(
        id=f"request-{number}",
        digest=digest or f"digest-{number}",
        requester=ANA,
        agent="refund-bot",
        purpose="refunds",
        sql="UPDATE orders SET state = 'refunded' WHERE id = 7",
        summary="update; writes orders.state",
        terms=ApprovalTerms(**wanted),  # type: ignore[arg-type]
        created_at=now,
        expires_at=now + 100,
    )


def ahead(window_s: int, now: int = NOW, **terms: object) -> ApprovalRequest:
    """A new request for a grant ahead."""
    return replace(asked(now=now, window_s=3_600, **terms), kind="grant", sql="", window_s=window_s)
