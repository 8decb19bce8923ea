"""Rows of requests with their votes, and pages of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from guardrails.approval.rows import request_from_text
from guardrails.approval.schema import Tables
from guardrails.approval.status import ApprovalStatus, State, Vote

__all__ = ["page", "statuses"]

_AT_ONCE = 500


def page(
    connection: sa.Connection, tables: Tables, states: Sequence[State], limit: int, before: str | None
) -> tuple[ApprovalStatus, ...]:
    """Returns requests in these states, newest first; each state by its own index, so that rare ones are not searched for."""
    requests = tables.requests
    newest_first = (requests.c.created_at.desc(), requests.c.id.desc())
    earlier: sa.ColumnElement[bool] = sa.true()
    if before is not None:
        place = connection.execute(sa.select(requests.c.created_at).where(requests.c.id == before)).scalar()
        if place is None:
            return ()
        earlier = sa.tuple_(requests.c.created_at, requests.c.id) < sa.tuple_(sa.literal(place), sa.literal(before))
    found: list[sa.Row[Any]] = []
    for state in states:
        query = sa.select(requests).where(requests.c.state == state, earlier).order_by(*newest_first).limit(limit)
        found += connection.execute(query).all()
    newest = heapq.nlargest(limit, found, key=lambda row: (row.created_at, row.id))
    return statuses(connection, tables, newest)


def statuses(connection: sa.Connection, tables: Tables, rows: Sequence[sa.Row[Any]]) -> tuple[ApprovalStatus, ...]:
    """Returns the statuses in rows of the table of requests, in the same order."""
    votes: dict[str, list[Vote]] = {row.id: [] for row in rows}
    ids = list(votes)
    for start in range(0, len(ids), _AT_ONCE):
        query = sa.select(tables.votes).where(tables.votes.c.request.in_(ids[start : start + _AT_ONCE]))
        for row in connection.execute(query.order_by(tables.votes.c.request, tables.votes.c.number)):
            votes[row.request].append(_vote(row))
    return tuple(
        ApprovalStatus(request_from_text(row.body), row.state, tuple(votes[row.id]), row.decided_at, row.used_at, row.ends_at)
        for row in rows
    )


def _vote(row: sa.Row[Any]) -> Vote:
    return Vote(row.approver, row.issuer, row.verified, row.answer, row.reason, row.at, row.entry_index, row.leaf_hash)
