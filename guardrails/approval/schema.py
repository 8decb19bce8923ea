"""The tables of the approvals, the same in SQLite and PostgreSQL, and how those of the first release are carried over."""

from __future__ import annotations

import json
from typing import Any, cast

import sqlalchemy as sa

from guardrails.approval.approvers import person_key
from guardrails.approval.rows import request_to_text
from guardrails.errors import Denied
from guardrails.model import ApprovalRequest, ApprovalTerms

__all__ = ["FORMAT", "OPEN", "Tables", "prepare"]

FORMAT = 2
OPEN = sa.text("state IN ('pending', 'approved')")
"""The states that time ends; written out, so that SQLite sees that the partial index serves."""
_STATES = "state IN ('pending', 'approved', 'denied', 'expired', 'used', 'ended')"
_ADVISORY_LOCK = 4_823_197_004_151_663_102
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_EARLIER = "id, digest, requester, agent, purpose, sql, summary, groups, expires_s, is_reason_required, created_at, expires_at"


class Tables:
    """The tables.

    Args:
        schema: The PostgreSQL schema that they are in; None in SQLite.
    """

    def __init__(self, schema: str | None) -> None:
        self.schema = schema
        self.metadata = sa.MetaData(schema=schema)
        self.about = sa.Table(
            "about",
            self.metadata,
            sa.Column("id", _INTEGER, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
            sa.Column("format", _INTEGER, nullable=False),
            sa.Column("changes", _INTEGER, nullable=False),
            sqlite_strict=True,
        )
        self.requests = sa.Table(
            "requests",
            self.metadata,
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("digest", sa.Text, nullable=False),
            sa.Column("requester", sa.Text, nullable=False),
            sa.Column("state", sa.Text, sa.CheckConstraint(_STATES), nullable=False),
            sa.Column("created_at", _INTEGER, nullable=False),
            sa.Column("expires_at", _INTEGER, nullable=False),
            sa.Column("ends_at", _INTEGER, nullable=False),
            sa.Column("decided_at", _INTEGER),
            sa.Column("used_at", _INTEGER),
            sa.Column("is_window", _INTEGER, nullable=False),
            sa.Column("entry_index", _INTEGER),
            sa.Column("body", sa.Text, nullable=False),
            sa.Index("open_requests", "digest", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
            sa.Index("requests_by_digest", "digest"),
            sa.Index("requests_by_state", "state", "created_at", "id"),
            sa.Index("requests_by_end", "state", "ends_at"),
            sqlite_strict=True,
        )
        self.votes = sa.Table(
            "votes",
            self.metadata,
            sa.Column("request", sa.Text, sa.ForeignKey(self.requests.c.id), primary_key=True),
            sa.Column("number", _INTEGER, primary_key=True, autoincrement=False),
            sa.Column("person", sa.Text, nullable=False),
            sa.Column("approver", sa.Text, nullable=False),
            sa.Column("issuer", sa.Text),
            sa.Column("verified", sa.Text, nullable=False),
            sa.Column("answer", sa.Text, sa.CheckConstraint("answer IN ('approved', 'denied')"), nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("at", _INTEGER, nullable=False),
            sa.Column("entry_index", _INTEGER),
            sa.Column("leaf_hash", sa.Text, nullable=False),
            sqlite_strict=True,
        )
        self.reviews = sa.Table(
            "reviews",
            self.metadata,
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("person", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("opened_at", _INTEGER, nullable=False),
            sa.Column("due_at", _INTEGER, nullable=False),
            sa.Column("closed_at", _INTEGER),
            sa.Column("closed_by", sa.Text, nullable=False),
            sa.Column("comment", sa.Text, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.Index("reviews_by_closing", "closed_at", "due_at"),
            sa.Index("reviews_by_person", "person", "closed_at", "due_at"),
            sqlite_strict=True,
        )


def prepare(connection: sa.Connection, tables: Tables) -> None:
    """Makes the tables where there are none, and carries over those of the first release. Runs inside a transaction.

    Raises:
        Denied: They are of a release that this one does not know (approval.channel_down).
    """
    names = _names(connection, tables.schema)
    if "about" not in names and tables.schema is not None:
        # Of several processes that open the approvals at the same time, one makes the tables.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        names = _names(connection, tables.schema)
    if "about" not in names:
        _create(connection, tables, is_earlier="requests" in names)
    found = connection.execute(sa.select(tables.about.c.format)).scalar()
    if found != FORMAT:
        evidence = {"found": found, "needed": FORMAT}
        raise Denied("approval.channel_down", "The approvals are of another release.", evidence=evidence)


def _names(connection: sa.Connection, schema: str | None) -> set[str]:
    if schema is None:
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")
        return set(connection.execute(query).scalars())
    query = sa.text("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = :schema")
    return set(connection.execute(query, {"schema": schema}).scalars())


def _create(connection: sa.Connection, tables: Tables, *, is_earlier: bool) -> None:
    if tables.schema is not None:
        has_schema = connection.execute(
            sa.text("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = :schema"), {"schema": tables.schema}
        ).scalar()
        if not has_schema:
            connection.execute(sa.schema.CreateSchema(tables.schema))
    if is_earlier:
        connection.execute(sa.text("ALTER TABLE requests RENAME TO earlier_requests"))
        connection.execute(sa.text("DROP INDEX IF EXISTS open_requests"))
        connection.execute(sa.text("DROP INDEX IF EXISTS requests_by_digest"))
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(tables.about).values(id=1, format=FORMAT, changes=1))
    if is_earlier:
        _carry_over(connection, tables)


def _carry_over(connection: sa.Connection, tables: Tables) -> None:
    """Takes the requests of the first release along; its answers have no entry index, and are looked up by the request's id."""
    query = sa.text(f"SELECT {_EARLIER}, state, approver, reason, decided_at, used_at FROM earlier_requests")  # noqa: S608
    for row in connection.execute(query).all():
        request = _earlier_request(tuple(row))
        state, approver, reason, decided_at, used_at = row[12:]
        connection.execute(
            sa.insert(tables.requests).values(
                id=request.id,
                digest=request.digest,
                requester=request.requester,
                state=state,
                created_at=request.created_at,
                expires_at=request.expires_at,
                ends_at=request.expires_at,
                decided_at=decided_at,
                used_at=used_at,
                is_window=0,
                body=request_to_text(request),
            )
        )
        if approver is not None:
            connection.execute(
                sa.insert(tables.votes).values(
                    request=request.id,
                    number=1,
                    person=person_key(approver),
                    approver=approver,
                    issuer=None,
                    verified="unverified",
                    answer="denied" if state == "denied" else "approved",
                    reason=reason or "",
                    at=decided_at,
                    entry_index=None,
                    leaf_hash="",
                )
            )
    connection.execute(sa.text("DROP TABLE earlier_requests"))


def _earlier_request(row: tuple[Any, ...]) -> ApprovalRequest:
    (id_, digest, requester, agent, purpose, sql, summary, groups, expires_s, is_reason_required, created_at, expires_at) = (
        cast("tuple[str, str, str, str | None, str | None, str, str, str, int, int, int, int]", row[:12])
    )
    terms = ApprovalTerms(tuple(json.loads(groups)), expires_s, bool(is_reason_required))
    return ApprovalRequest(id_, digest, requester, agent, purpose, sql, summary, terms, created_at, expires_at)
