"""Rows of requests with their votes: reading, locking, answering, ending, and pages of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from guardrails.approval.approvers import is_same_person, person_key
from guardrails.approval.database import Database
from guardrails.approval.rows import database_text, request_from_text
from guardrails.approval.schema import OPEN
from guardrails.approval.status import ApprovalStatus, State, Vote
from guardrails.errors import Denied
from guardrails.model import ApprovalRequest

__all__ = ["RequestRows"]

_AT_ONCE = 500


class RequestRows:
    """The requests in a database of approvals. Methods that take a connection are called inside a transaction or a snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requests = database.tables.requests
        self._votes = database.tables.votes

    def sweep(self, now: int) -> None:
        """Writes down which requests' time is over, where there are any: it stays over, whatever the clock does later."""
        requests = self._requests
        due = sa.select(requests.c.id).where(OPEN, requests.c.ends_at <= now)
        with self._database.snapshot() as connection:
            if connection.execute(due.limit(1)).first() is None:
                return
        with self._database.transaction() as connection:
            # What somebody else holds right now is theirs to find over.
            ids = due.order_by(requests.c.id).with_for_update(skip_locked=True)
            connection.execute(sa.update(requests).where(requests.c.id.in_(ids)).values(state="expired"))
            self._database.announce(connection)

    def of_digest(self, connection: sa.Connection, digest: str, now: int) -> tuple[ApprovalRequest, State] | None:
        """Returns what stands in the way of a new request of this digest: an open one, or a denied one within its time."""
        requests = self._requests
        query = (
            sa.select(requests.c.body, requests.c.state)
            .where(
                requests.c.digest == digest, sa.or_(OPEN, sa.and_(requests.c.state == "denied", requests.c.expires_at > now))
            )
            .order_by(sa.case((requests.c.state == "denied", 1), else_=0))
        )
        row = connection.execute(query).first()
        return None if row is None else (request_from_text(row.body), row.state)

    def insert(self, connection: sa.Connection, request: ApprovalRequest, body: str) -> None:
        """Adds a request that waits."""
        connection.execute(
            sa.insert(self._requests).values(
                id=request.id, digest=request.digest, requester=database_text(request.requester), state="pending",
                created_at=request.created_at, expires_at=request.expires_at, ends_at=request.expires_at,
                is_window=int(request.kind == "grant"), body=body,
            )
        )  # fmt: skip

    def find(self, connection: sa.Connection, request_id: str) -> ApprovalStatus:
        """Returns a request's status; raises Denied (approval.unknown) when there is none."""
        rows = connection.execute(sa.select(self._requests).where(self._requests.c.id == request_id)).all()
        if not rows:
            raise Denied("approval.unknown", "There is no such request.")
        return self._statuses(connection, rows)[0]

    def lock(self, connection: sa.Connection, request_id: str) -> ApprovalStatus:
        """Returns a request's status, which nobody else changes until this transaction ends."""
        requests = self._requests
        connection.execute(sa.select(requests.c.id).where(requests.c.id == request_id).with_for_update())
        return self.find(connection, request_id)

    def lock_approved(self, connection: sa.Connection, digest: str, now: int) -> ApprovalStatus | None:
        """Returns the approved request of a digest that is no window, locked as by `lock`; None when there is none."""
        query = self._approved(now, is_window=False).where(self._requests.c.digest == digest).with_for_update()
        row = connection.execute(query).first()
        return None if row is None else self.find(connection, row.id)

    def vote(self, connection: sa.Connection, status: ApprovalStatus, vote: Vote) -> ApprovalStatus:
        """Adds an answer to a pending request that is locked, and decides the request where that is due.

        Returns:
            The status by that; unchanged where the same person has said yes already.
        """
        request = status.request
        if vote.answer == "approved" and any(is_same_person(vote.by, earlier) for earlier in status.approvers):
            return status
        connection.execute(
            sa.insert(self._votes).values(
                request=request.id, number=len(status.votes) + 1, person=database_text(person_key(vote.by)),
                approver=database_text(vote.by), issuer=vote.issuer and database_text(vote.issuer), verified=vote.verified,
                answer=vote.answer, reason=database_text(vote.reason), at=vote.at, entry_index=vote.entry_index,
                leaf_hash=vote.leaf_hash,
            )
        )  # fmt: skip
        voted = replace(status, votes=(*status.votes, vote))
        if vote.answer == "denied":
            self.settle(connection, request.id, "denied", decided_at=vote.at)
        elif len(voted.approvers) >= request.terms.quorum:
            ends_at = vote.at + request.window_s if request.kind == "grant" else request.expires_at
            self.settle(connection, request.id, "approved", decided_at=vote.at, ends_at=ends_at)
        return self.find(connection, request.id)

    def settle(self, connection: sa.Connection, request_id: str, state: State, **values: Any) -> None:
        """Puts a request into a state."""
        self.change(connection, request_id, state=state, **values)

    def change(self, connection: sa.Connection, request_id: str, **values: Any) -> None:
        """Sets columns of a request."""
        connection.execute(sa.update(self._requests).where(self._requests.c.id == request_id).values(values))

    def forget(self, connection: sa.Connection, before: int) -> int:
        """Deletes what is decided and whose time was over before then, with its answers; returns how many requests that were."""
        requests, votes = self._requests, self._votes
        old = sa.select(requests.c.id).where(
            requests.c.state.not_in(("pending", "approved")), requests.c.expires_at < before, requests.c.ends_at < before
        )
        connection.execute(sa.delete(votes).where(votes.c.request.in_(old)))
        return connection.execute(sa.delete(requests).where(requests.c.id.in_(old))).rowcount

    def pending(self, connection: sa.Connection, now: int, limit: int | None) -> tuple[ApprovalRequest, ...]:
        """Returns the requests that wait, oldest first."""
        requests = self._requests
        query = (
            sa.select(requests.c.body)
            .where(requests.c.state == "pending", requests.c.ends_at > now)
            .order_by(requests.c.created_at, requests.c.id)
            .limit(limit)
        )
        return tuple(request_from_text(body) for body in connection.execute(query).scalars())

    def page(
        self, connection: sa.Connection, states: Sequence[State], limit: int, before: str | None
    ) -> tuple[ApprovalStatus, ...]:
        """Returns requests in these states, newest first; each state by its own index, so that rare ones are not searched for."""
        requests = self._requests
        earlier: sa.ColumnElement[bool] = sa.true()
        if before is not None:
            place = connection.execute(sa.select(requests.c.created_at).where(requests.c.id == before)).scalar()
            if place is None:
                return ()
            earlier = sa.tuple_(requests.c.created_at, requests.c.id) < sa.tuple_(sa.literal(place), sa.literal(before))
        found: list[sa.Row[Any]] = []
        for state in states:
            query = sa.select(requests).where(requests.c.state == state, earlier)
            found += connection.execute(query.order_by(requests.c.created_at.desc(), requests.c.id.desc()).limit(limit)).all()
        newest = heapq.nlargest(limit, found, key=lambda row: (row.created_at, row.id))
        return self._statuses(connection, newest)

    def count(self, connection: sa.Connection) -> dict[str, int]:
        """Returns how many requests are in each state that any is in."""
        query = sa.select(self._requests.c.state, sa.func.count()).group_by(self._requests.c.state)
        return {row[0]: row[1] for row in connection.execute(query)}

    def window(self, connection: sa.Connection, digest: str, now: int) -> ApprovalStatus | None:
        """Returns the open window of a digest, None when there is none."""
        row = connection.execute(self._approved(now, is_window=True).where(self._requests.c.digest == digest)).first()
        return None if row is None else self.find(connection, row.id)

    def windows(self, connection: sa.Connection, now: int) -> tuple[ApprovalStatus, ...]:
        """Returns the open windows, those that close first at the front."""
        query = self._approved(now, is_window=True).order_by(self._requests.c.ends_at, self._requests.c.id)
        return self._statuses(connection, connection.execute(query).all())

    def _approved(self, now: int, *, is_window: bool) -> sa.Select[Any]:
        requests = self._requests
        return sa.select(requests).where(
            requests.c.state == "approved", requests.c.ends_at > now, requests.c.is_window == int(is_window)
        )

    def _statuses(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> tuple[ApprovalStatus, ...]:
        votes: dict[str, list[Vote]] = {row.id: [] for row in rows}
        ids = list(votes)
        for start in range(0, len(ids), _AT_ONCE):
            query = sa.select(self._votes).where(self._votes.c.request.in_(ids[start : start + _AT_ONCE]))
            for row in connection.execute(query.order_by(self._votes.c.request, self._votes.c.number)):
                votes[row.request].append(_vote(row))
        return tuple(_status(row, tuple(votes[row.id])) for row in rows)


def _status(row: sa.Row[Any], votes: tuple[Vote, ...]) -> ApprovalStatus:
    request = request_from_text(row.body)
    return ApprovalStatus(request, row.state, votes, row.decided_at, row.used_at, row.ends_at, row.entry_index)


def _vote(row: sa.Row[Any]) -> Vote:
    return Vote(row.approver, row.issuer, row.verified, row.answer, row.reason, row.at, row.entry_index, row.leaf_hash)
