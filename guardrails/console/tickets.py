"""Tickets: random texts that stand for a sign-in, a one-time link or a sign-in under way, kept where all console processes find them.

Only a ticket's SHA-256 is stored, so who reads the table cannot sign in with it; what it stands for is stored under a MAC (HMAC-SHA256,
RFC 2104) whose key is the processes' own, so who writes the table cannot sign in either.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.schema import CreateSchema, CreateTable

from guardrails.errors import UsageError
from guardrails.ledger.location import Location

__all__ = ["SECRET_VARIABLE", "TicketKind", "Tickets"]

SECRET_VARIABLE = "GUARDRAILS_CONSOLE_SECRET"  # noqa: S105  a name
"""Names the secret that console processes share; each has its own when it is not set."""

TicketKind: TypeAlias = Literal["session", "link", "transaction"]

_SUFFIX = ".tickets"
_SCHEMA_SUFFIX = "_console"
"""In PostgreSQL beside the ledger's schema, in which nothing else may be."""
_LEAST_SECRET_BYTES = 32
_MOST_TOKEN_CHARACTERS = 64


class Tickets:
    """The tickets of one ledger's consoles; made by `Tickets.open`. Safe to share between threads.

    Args:
        engine: Of the database.
        schema: Of the table, None for the default one.
        secret: Key of the MACs, 32 bytes or more.
        clock_s: Unix time in seconds.
    """

    def __init__(
        self, engine: sa.Engine, *, schema: str | None, secret: bytes, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._secret = secret
        self._clock_s = clock_s
        metadata = sa.MetaData(schema=schema)
        self._table = sa.Table(
            "console_tickets",
            metadata,
            sa.Column("digest", sa.String(64), primary_key=True),
            sa.Column("kind", sa.String(16), nullable=False),
            sa.Column("data", sa.Text, nullable=False),
            sa.Column("mac", sa.String(64), nullable=False),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
        )
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # Two that create at the same time would fail over each other.
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('guardrails console_tickets'))"))
                connection.execute(CreateSchema(schema or "public", if_not_exists=True))
            connection.execute(CreateTable(self._table, if_not_exists=True))

    @classmethod
    def open(cls, url: str | Path, *, secret: bytes | None = None, clock_s: Callable[[], float] = time.time) -> Tickets:
        """Opens the tickets that belong to a ledger: ``<path>.tickets`` beside a file, in PostgreSQL the
        schema ``<ledger's schema>_console``.

        Args:
            url: The ledger's.
            secret: What the console's processes share; by default GUARDRAILS_CONSOLE_SECRET, or else a random one, with which
                sign-ins are good in this process only.
            clock_s: Unix time in seconds.

        Raises:
            UsageError: The secret is shorter than 32 bytes (usage.input_invalid).
        """
        given = secret if secret is not None else os.environ.get(SECRET_VARIABLE, "").encode()
        if given and len(given) < _LEAST_SECRET_BYTES:
            raise UsageError("usage.input_invalid", f"The console's secret is shorter than {_LEAST_SECRET_BYTES} bytes.")
        engine, schema = _engine(Location.parse(url))
        return cls(engine, schema=schema, secret=given or secrets.token_bytes(_LEAST_SECRET_BYTES), clock_s=clock_s)

    def issue(self, kind: TicketKind, data: Mapping[str, Any], *, lifetime_s: float) -> str:
        """Makes a ticket that stands for `data` (JSON) for so many seconds, and returns its text."""
        token = secrets.token_urlsafe(32)
        now = int(self._clock_s())
        digest, text, expires_at = _digest(token), json.dumps(dict(data)), int(now + lifetime_s)
        row = {"digest": digest, "kind": kind, "data": text, "expires_at": expires_at}
        with self._engine.begin() as connection:
            connection.execute(self._table.delete().where(self._table.c.expires_at <= now))
            connection.execute(self._table.insert().values(mac=self._mac(digest, kind, text, expires_at), **row))
        return token

    def read(self, kind: TicketKind, token: str) -> dict[str, Any] | None:
        """Returns what a ticket stands for; None when there is no such ticket or its time is over."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(self._table).where(self._table.c.digest == _digest(token))).mappings().first()
        return self._data(kind, row)

    def take(self, kind: TicketKind, token: str) -> dict[str, Any] | None:
        """As `read`, once: of all who try, one gets it."""
        with self._engine.begin() as connection:
            wanted = sa.and_(self._table.c.digest == _digest(token), self._table.c.kind == kind)
            row = connection.execute(self._table.delete().where(wanted).returning(self._table)).mappings().first()
        return self._data(kind, row)

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def _data(self, kind: TicketKind, row: Mapping[Any, Any] | None) -> dict[str, Any] | None:
        if row is None or row["kind"] != kind or row["expires_at"] <= self._clock_s():
            return None
        mac = self._mac(row["digest"], row["kind"], row["data"], row["expires_at"])
        if not hmac.compare_digest(mac, row["mac"]):
            return None
        found: dict[str, Any] = json.loads(row["data"])
        return found

    def _mac(self, digest: str, kind: str, data: str, expires_at: int) -> str:
        return hmac.new(self._secret, json.dumps([digest, kind, data, expires_at]).encode(), "sha256").hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token[:_MOST_TOKEN_CHARACTERS].encode("utf-8", "backslashreplace")).hexdigest()


def _engine(location: Location) -> tuple[sa.Engine, str | None]:
    if location.postgres is not None:
        import psycopg

        from guardrails.ledger.stores.postgres_connect import Target

        target = Target.parse(location.postgres)
        return sa.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(target.conninfo)
        ), f"{target.schema}{_SCHEMA_SUFFIX}"
    path = location.beside(_SUFFIX)
    if path is None:
        one = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0}  # A second connection would be a second database.
        return sa.create_engine("sqlite://", connect_args={"check_same_thread": False}, **one), None
    # It says who is signed in: for its owner alone.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}), None
