"""Requests that wait for people, and their answers: beside the ledger, safe for several threads, processes and hosts.

    pending ──approve by quorum──▶ approved ──consume──▶ used
       │ └────deny by one────▶ denied   │ └─end_window─▶ ended
       └──────────── time ──────────────┴──▶ expired

Every change is one transaction that checks what it changes, so that of two who race one wins. Times are Unix seconds and always
given by the caller. What counts is decided by `guardrails.approval.desk`, which holds these rows against the signed ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import sqlalchemy as sa

from guardrails.approval.approvers import is_same_person, require_approver
from guardrails.approval.database import Database
from guardrails.approval.hours import require_hours
from guardrails.approval.place import Place
from guardrails.approval.request_rows import RequestRows
from guardrails.approval.review_rows import ReviewRows
from guardrails.approval.rows import request_to_text
from guardrails.approval.status import STATES, ApprovalStatus, Review, State, Vote, VoteAnswer, grant_of
from guardrails.approval.watching import Watcher
from guardrails.errors import Denied, IdentityError
from guardrails.ledger import Appended
from guardrails.model import ApprovalGrant, ApprovalRequest, Principal

if TYPE_CHECKING:
    from guardrails.ledger import Ledger

__all__ = ["ApprovalStatus", "ApprovalStore", "Check", "Record", "State"]

Record: TypeAlias = Callable[[ApprovalRequest], object]
"""Records an answer before it counts; where it returns an `Appended`, the vote keeps where it is recorded."""
Check: TypeAlias = Callable[[ApprovalStatus], object]
"""Looks at what is about to be used; when it raises, it is not."""

_TRIES = 3


class ApprovalStore:
    """The requests of one ledger; made by `ApprovalStore.open`. Safe to share between threads.

    Every method raises Denied (approval.channel_down) when the database cannot be read or written: without it nobody can say yes.
    """

    def __init__(self, place: Place) -> None:
        self._database = Database(place)
        self._requests = RequestRows(self._database)
        self._reviews = ReviewRows(self._database)
        self._watcher = Watcher(self._database)

    @classmethod
    def open(cls, url: str | Path) -> ApprovalStore:
        """Opens the approvals that belong to a ledger, and makes their tables where there are none.

        Args:
            url: The ledger's: ``sqlite:///path``, ``sqlite:///:memory:``, a path, or ``postgresql://…``. Beside a file the approvals
                are in ``<path>.approvals``, in a server in the schema ``<the ledger's>_approvals``, for the ledger's own file and
                schema hold nothing that is not signed.

        Raises:
            UsageError: The URL is not supported (usage.database_unsupported), or the driver is not installed.
        """
        return cls(Place.parse(url))

    @classmethod
    def of(cls, ledger: Ledger) -> ApprovalStore:
        """Opens the approvals that belong to an open ledger; see `open`."""
        return cls(Place.of(ledger))

    def submit(self, request: ApprovalRequest, *, record: Record | None = None) -> ApprovalRequest:
        """Files a request at its `created_at`.

        Args:
            request: What is asked for.
            record: Called with the request before it counts, if it is filed; when it raises, it is not. Where it returns an
                `Appended`, the status tells where the request is recorded.

        Returns:
            The request; the earlier one when the same digest waits already, or is approved and not used yet.

        Raises:
            Denied: Somebody said no to the same digest, and that request's time is not over (approval.denied); or another
                requester's open request has this digest (approval.mismatch).
            UsageError: A parameter is of a type that cannot be kept (usage.input_invalid).
        """
        body = request_to_text(request)
        self._requests.sweep(request.created_at)
        for left in reversed(range(_TRIES)):
            try:
                return self._submit(request, body, record)
            except Denied as error:
                # In a server, somebody else may have filed the same meanwhile; then it is found.
                if not (left and isinstance(error.__cause__, sa.exc.IntegrityError)):
                    raise
        raise AssertionError

    def get(self, request_id: str) -> ApprovalRequest:
        """Returns a request.

        Raises:
            Denied: There is none (approval.unknown).
        """
        with self._database.snapshot() as connection:
            return self._requests.find(connection, request_id).request

    def status(self, request_id: str, *, now: int) -> ApprovalStatus:
        """Returns how far a request has come. Raises as `get` does."""
        self._requests.sweep(now)
        with self._database.snapshot() as connection:
            return self._requests.find(connection, request_id)

    def pending(self, *, now: int | None = None, limit: int | None = None) -> tuple[ApprovalRequest, ...]:
        """Returns the requests that wait for an answer, oldest first; without `now` also those whose time is over."""
        with self._database.snapshot() as connection:
            return self._requests.pending(connection, -1 if now is None else now, limit)

    def page(
        self, *, now: int, states: Iterable[State] = STATES, limit: int = 50, before: str | None = None
    ) -> tuple[ApprovalStatus, ...]:
        """Returns requests in some states, newest first.

        Args:
            now: Unix seconds.
            states: Only these.
            limit: Most of them.
            before: Id of the last request of the page before; None for the first page.
        """
        self._requests.sweep(now)
        with self._database.snapshot() as connection:
            return self._requests.page(connection, tuple(dict.fromkeys(states)), limit, before)

    def count(self, *, now: int) -> dict[State, int]:
        """Returns how many requests are in each state."""
        self._requests.sweep(now)
        with self._database.snapshot() as connection:
            found = self._requests.count(connection)
        return {state: found.get(state, 0) for state in STATES}

    def approve(self, request_id: str, by: Principal, reason: str, now: int, *, record: Record | None = None) -> ApprovalStatus:
        """Says yes to a request. It stays pending until as many different people as the terms want have.

        Args:
            request_id: Of a pending request.
            by: Who says so: not the requester, and of the groups that the request's terms name.
            reason: Why; kept here, never in the ledger.
            now: Unix seconds.
            record: Called with the request before the yes counts; when it raises, there is no yes.

        Returns:
            How far the request has come by that.

        Raises:
            Denied: Unknown (approval.unknown), the time is over (approval.expired), decided already (approval.closed), `by` is
                the requester (approval.self) or no approver (approval.not_approver), has said yes already (approval.voted),
                a reason is missing (approval.reason_required), or now a yes does not count (approval.outside_hours).
            IdentityError: `by` has no id or has expired.
        """
        return self._decide("approved", request_id, by, reason, now, record)

    def deny(self, request_id: str, by: Principal, reason: str, now: int, *, record: Record | None = None) -> ApprovalStatus:
        """Says no to a request, and that decides it; as `approve`, but at any hour and never for want of a reason."""
        return self._decide("denied", request_id, by, reason, now, record)

    def take_up(self, request_id: str, votes: Sequence[Vote], now: int) -> tuple[Vote, ...]:
        """Adds answers that are recorded and are not here: whoever gave them stopped between the two.

        Returns:
            Those that were added; none to a request that does not wait any more.
        """
        taken: list[Vote] = []
        with self._database.transaction() as connection:
            status = self._requests.lock(connection, request_id)
            for vote in votes:
                is_here = any(earlier.entry_index == vote.entry_index for earlier in status.votes)
                if status.state == "pending" and (status.ends_at or 0) > now and not is_here:
                    status = self._requests.vote(connection, status, vote)
                    taken.append(vote)
            if taken:
                self._database.announce(connection)
        return tuple(taken)

    def consume(self, digest: str, now: int, *, check: Check | None = None) -> ApprovalGrant | None:
        """Uses up the approval of a digest: whoever gets the grant is the only one who ever does.

        Args:
            digest: Of what is about to run.
            now: Unix seconds.
            check: Called with the status before it is used; when it raises, it is not.

        Returns:
            The grant; None when nothing with this digest is approved, unused and within its time.
        """
        self._requests.sweep(now)
        with self._database.transaction() as connection:
            status = self._requests.lock_approved(connection, digest, now)
            if status is None:
                return None
            if check:
                check(status)
            self._requests.settle(connection, status.request.id, "used", used_at=now)
            self._database.announce(connection)
        return grant_of(status, "approval")

    def settle(self, request_id: str, state: Literal["used", "ended"], now: int) -> None:
        """Marks an approval as used, or a window as ended, because it was recorded to be."""
        with self._database.transaction() as connection:
            self._requests.settle(connection, request_id, state, used_at=now)
            self._database.announce(connection)

    def waiting(self, digest: str, now: int) -> ApprovalRequest | None:
        """Returns the request of this digest that waits or is approved, None when there is none."""
        found = self.standing(digest, now)
        return found[0] if found else None

    def standing(self, digest: str, now: int) -> tuple[ApprovalRequest, State] | None:
        """Returns the request of this digest that waits or is approved, and which of both; None when there is none."""
        with self._database.snapshot() as connection:
            found = self._requests.of_digest(connection, digest, now)
        return found if found and found[1] != "denied" else None

    def windows(self, digest: str, now: int) -> ApprovalGrant | None:
        """Returns the open window of this digest: a grant ahead that was approved, for any number of statements until it closes."""
        status = self.window(digest, now)
        return grant_of(status, "window") if status else None

    def window(self, digest: str, now: int) -> ApprovalStatus | None:
        """Returns the status of the open window of this digest, None when there is none."""
        with self._database.snapshot() as connection:
            return self._requests.window(connection, digest, now)

    def open_windows(self, *, now: int) -> tuple[ApprovalStatus, ...]:
        """Returns the windows that are open, those that close first at the front."""
        with self._database.snapshot() as connection:
            return self._requests.windows(connection, now)

    def end_window(self, request_id: str, by: Principal, now: int, *, record: Record | None = None) -> ApprovalStatus:
        """Closes a window before its time: whoever may answer its request, or its requester.

        Raises:
            Denied: There is no such request (approval.unknown), it is no open window (approval.closed), or `by` may not
                (approval.not_approver).
            IdentityError: `by` has no id or has expired.
        """
        _require_current(by, now)
        self._requests.sweep(now)
        with self._database.transaction() as connection:
            found = self._requests.lock(connection, request_id)
            if found.request.kind != "grant" or found.state != "approved" or (found.ends_at or 0) <= now:
                raise Denied("approval.closed", "This is no window that is open.")
            if by.actors or not is_same_person(by.id, found.request.requester):
                require_approver(found.request, by, "", is_yes=False)
            self._requests.settle(connection, request_id, "ended", used_at=now)
            if record:
                record(found.request)
            ended = self._requests.find(connection, request_id)
            self._database.announce(connection)
        return ended

    def open_review(self, review: Review, *, record: Callable[[Review], object] | None = None) -> None:
        """Opens the review of what ran without waiting; `record` is called before it counts."""
        self._reviews.open(review, record)

    def review(self, review_id: str) -> Review:
        """Returns a review.

        Raises:
            Denied: There is none (approval.unknown).
        """
        return self._reviews.get(review_id)

    def reviews(self, *, now: int, is_open: bool = True, limit: int | None = None) -> tuple[Review, ...]:
        """Returns the reviews opened by `now` that are open, those due first at the front; or the closed ones, newest first."""
        return self._reviews.list(now, is_open=is_open, limit=limit)

    def close_review(
        self, review_id: str, by: Principal, comment: str, now: int, *, record: Callable[[Review], object] | None = None
    ) -> Review:
        """Closes a review: somebody who may answer the request has looked at what ran, and says what they found.

        Raises:
            Denied: Unknown (approval.unknown), closed already (approval.closed), `by` is who went ahead (approval.self) or no
                approver (approval.not_approver), or there is no comment (approval.reason_required).
            IdentityError: `by` has no id or has expired.
        """
        _require_current(by, now)
        return self._reviews.close(review_id, by, comment, now, record)

    def overdue(self, principal_id: str, now: int) -> bool:
        """Tells whether a review of something that this person ran is open after it was due."""
        return self._reviews.is_overdue(principal_id, now)

    def forget(self, before: int, now: int, *, record: Callable[[int], object] | None = None) -> int:
        """Deletes requests that are decided, used or over, and closed reviews: their statements hold values.

        Args:
            before: What ended before this time, in Unix seconds, at most `now`.
            now: Unix seconds.
            record: Called with the number before anything is deleted for good; when it raises, nothing is.

        Returns:
            How many there were.
        """
        self._requests.sweep(now)
        with self._database.transaction() as connection:
            end = min(before, now)
            count = self._requests.forget(connection, end) + self._reviews.forget(connection, end)
            if record and count:
                record(count)
            if count:
                self._database.announce(connection)
        if count:
            self._database.drop_old_pages()
        return count

    def watch(self, timeout_s: float, since: int | None = None) -> int:
        """Waits until something changes, in whichever process, or the time is over.

        That a request's time is over is no change: whoever waits for an answer knows until when.

        Args:
            timeout_s: For how long.
            since: What the last call returned: what changed meanwhile counts. None: from now on.

        Returns:
            A token for the next call; a larger one than `since` when something changed.
        """
        return self._watcher.wait(timeout_s, since)

    def close(self) -> None:
        """Closes the database. Closing twice is allowed."""
        self._watcher.close()
        self._database.close()

    def __enter__(self) -> ApprovalStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, request: ApprovalRequest, body: str, record: Record | None) -> ApprovalRequest:
        with self._database.transaction() as connection:
            earlier = self._requests.of_digest(connection, request.digest, request.created_at)
            if earlier is not None:
                found, state = earlier
                if state == "denied":
                    raise Denied("approval.denied", "The approver said no to exactly this.")
                if found.requester != request.requester:
                    raise Denied("approval.mismatch", "Somebody else has asked for exactly this.")
                return found
            self._requests.insert(connection, request, body)
            recorded = record(request) if record else None
            if isinstance(recorded, Appended):
                self._requests.change(connection, request.id, entry_index=recorded.index)
            self._database.announce(connection)
        return request

    def _decide(
        self, answer: VoteAnswer, request_id: str, by: Principal, reason: str, now: int, record: Record | None
    ) -> ApprovalStatus:
        _require_current(by, now)
        self._requests.sweep(now)
        with self._database.transaction() as connection:
            found = self._requests.lock(connection, request_id)
            _require_waiting(found, now)
            require_approver(found.request, by, reason, is_yes=answer == "approved")
            if answer == "approved":
                require_hours(found.request.terms, now)
                if any(is_same_person(by.id, earlier) for earlier in found.approvers):
                    raise Denied("approval.voted", "This person has said yes already.")
            recorded = record(found.request) if record else None
            vote = Vote(by.id, by.issuer, by.verified, answer, reason, now)
            if isinstance(recorded, Appended):
                vote = replace(vote, entry_index=recorded.index, leaf_hash=recorded.leaf_hash.hex())
            decided = self._requests.vote(connection, found, vote)
            self._database.announce(connection)
        return decided


def _require_current(by: Principal, now: int) -> None:
    if by.expires_at is not None and by.expires_at <= now:
        raise IdentityError("identity.token_expired", "The approver's token has expired.")


def _require_waiting(status: ApprovalStatus, now: int) -> None:
    if status.state == "expired" or (status.state == "pending" and (status.ends_at or 0) <= now):
        raise Denied("approval.expired", "The request's time is over.")
    if status.state != "pending":
        raise Denied("approval.closed", "The request is already decided or used.")
