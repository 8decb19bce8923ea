"""Rows of reviews: what ran on broken glass, until somebody else has looked at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from guardrails.approval.approvers import person_key, require_approver
from guardrails.approval.database import Database
from guardrails.approval.rows import database_text, request_from_text, request_to_text
from guardrails.approval.status import Review
from guardrails.errors import Denied
from guardrails.model import Principal

__all__ = ["ReviewRows"]


class ReviewRows:
    """The reviews in a database of approvals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.tables.reviews

    def open(self, review: Review, record: Callable[[Review], object] | None) -> None:
        """Adds a review."""
        with self._database.transaction() as connection:
            connection.execute(
                sa.insert(self._table).values(
                    id=review.id, person=database_text(person_key(review.request.requester)), reason=database_text(review.reason),
                    opened_at=review.opened_at, due_at=review.due_at, closed_at=None, closed_by="", comment="",
                    body=request_to_text(review.request),
                )
            )  # fmt: skip
            if record:
                record(review)
            self._database.announce(connection)

    def get(self, review_id: str) -> Review:
        """Returns a review; raises Denied (approval.unknown) when there is none."""
        with self._database.snapshot() as connection:
            return self._get(connection, review_id)

    def list(self, now: int, *, is_open: bool, limit: int | None) -> tuple[Review, ...]:
        """Returns the reviews opened by `now` that are open, those due first at the front; or the closed ones, newest first."""
        table = self._table
        query = sa.select(table).where(table.c.opened_at <= now).limit(limit)
        if is_open:
            query = query.where(table.c.closed_at.is_(None)).order_by(table.c.due_at, table.c.id)
        else:
            query = query.where(table.c.closed_at.is_not(None)).order_by(table.c.closed_at.desc(), table.c.id)
        with self._database.snapshot() as connection:
            return tuple(_review(row) for row in connection.execute(query))

    def close(self, review_id: str, by: Principal, comment: str, now: int, record: Callable[[Review], object] | None) -> Review:
        """Closes a review; see `ApprovalStore.close_review`."""
        table = self._table
        with self._database.transaction() as connection:
            connection.execute(sa.select(table.c.id).where(table.c.id == review_id).with_for_update())
            found = self._get(connection, review_id)
            if not found.is_open:
                raise Denied("approval.closed", "The review is closed already.")
            require_approver(found.request, by, comment, is_yes=False)
            if not comment.strip():
                raise Denied("approval.reason_required", "Closing a review needs a comment.")
            closed = replace(found, closed_by=by.id, comment=comment, closed_at=now)
            values = {"closed_at": now, "closed_by": database_text(by.id), "comment": database_text(comment)}
            connection.execute(sa.update(table).where(table.c.id == review_id).values(values))
            if record:
                record(closed)
            self._database.announce(connection)
        return closed

    def forget(self, connection: sa.Connection, before: int) -> int:
        """Deletes reviews that were closed before then; returns how many."""
        table = self._table
        return connection.execute(sa.delete(table).where(table.c.closed_at.is_not(None), table.c.closed_at < before)).rowcount

    def is_overdue(self, principal_id: str, now: int) -> bool:
        """Tells whether an open review of this person's is past its time."""
        table = self._table
        query = sa.select(table.c.id).where(
            table.c.person == database_text(person_key(principal_id)), table.c.closed_at.is_(None), table.c.due_at <= now
        )
        with self._database.snapshot() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def _get(self, connection: sa.Connection, review_id: str) -> Review:
        row = connection.execute(sa.select(self._table).where(self._table.c.id == review_id)).first()
        if row is None:
            raise Denied("approval.unknown", "There is no such review.")
        return _review(row)


def _review(row: sa.Row[Any]) -> Review:
    request = request_from_text(row.body)
    return Review(row.id, request, row.reason, row.opened_at, row.due_at, row.closed_by, row.comment, row.closed_at)
