"""Where answers are given and used: every one is a signed entry of the ledger, and what the ledger does not say does not count.

The store is a list to work with, and whoever can write to its tables could plant a yes there or set a used one back. So before a yes
is used, each vote is held against its own entry in the ledger, and the use itself becomes an entry first. The entries of a request
are its id's session, by which the ledger finds them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from guardrails.approval.approvers import is_same_person
from guardrails.approval.evidence import Evidence, require_as_asked, require_as_opened, unclosed_reviews
from guardrails.approval.recording import (
    Entry,
    answer_entry,
    ended_entry,
    forgotten_entry,
    request_entry,
    review_closed_entry,
    review_opened_entry,
    used_entry,
)
from guardrails.approval.status import STATES, ApprovalStatus, Review, State, Vote, grant_of
from guardrails.approval.store import ApprovalStore
from guardrails.errors import Denied
from guardrails.ledger import Appended, Ledger
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Principal

__all__ = ["ApprovalDesk"]


class ApprovalDesk:
    """The approvals of one ledger, recorded and verified. Safe to share between threads.

    Args:
        store: The requests and answers.
        ledger: Records them; they belong together.
    """

    def __init__(self, store: ApprovalStore, ledger: Ledger) -> None:
        self.store = store
        self.ledger = ledger

    def submit(self, request: ApprovalRequest, call: Mapping[str, object] | None = None) -> ApprovalRequest:
        """Files a request, recorded as ``approval.requested`` in its session when it is new; see `ApprovalStore.submit`.

        `call` are further fields of the entry: in which call of a tool it was asked.
        """
        return self.store.submit(request, record=lambda asked: self._append(request_entry(asked, call)))

    def get(self, request_id: str) -> ApprovalRequest:
        """Returns a request; see `ApprovalStore.get`."""
        return self.store.get(request_id)

    def status(self, request_id: str, *, now: int) -> ApprovalStatus:
        """Returns how far a request has come; see `ApprovalStore.status`."""
        return self.store.status(request_id, now=now)

    def waiting(self, digest: str, now: int) -> ApprovalRequest | None:
        """Returns the open request of this digest, which `submit` would return too; None when there is none."""
        return self.store.waiting(digest, now)

    def pending(self, *, now: int | None = None, limit: int | None = None) -> tuple[ApprovalRequest, ...]:
        """Returns the requests that wait for an answer, oldest first; see `ApprovalStore.pending`."""
        return self.store.pending(now=now, limit=limit)

    def page(
        self, *, now: int, states: Iterable[State] = STATES, limit: int = 50, before: str | None = None
    ) -> tuple[ApprovalStatus, ...]:
        """Returns requests in some states, newest first; see `ApprovalStore.page`."""
        return self.store.page(now=now, states=states, limit=limit, before=before)

    def count(self, *, now: int) -> dict[State, int]:
        """Returns how many requests are in each state."""
        return self.store.count(now=now)

    def watch(self, timeout_s: float, since: int | None = None) -> int:
        """Waits until something changes; see `ApprovalStore.watch`."""
        return self.store.watch(timeout_s, since)

    def approve(self, request_id: str, by: Principal, reason: str, now: int) -> ApprovalStatus:
        """Says yes, recorded before it counts; see `ApprovalStore.approve`.

        Raises:
            Denied: As there; or the request is not the one that was recorded (approval.forged).
            IdentityError: As there.
            LedgerError: The ledger cannot be read or written: nothing was answered.
        """
        status, taken = self._caught_up(request_id, now)
        if any(vote.answer == "approved" and is_same_person(vote.by, by.id) for vote in taken):
            return status

        def record(request: ApprovalRequest) -> Appended:
            require_as_asked(self.ledger, status, request)
            return self._record_answer(request, "approved", by, reason)

        return self.store.approve(request_id, by, reason, now, record=record)

    def deny(self, request_id: str, by: Principal, reason: str, now: int) -> ApprovalStatus:
        """Says no, recorded before it counts; see `ApprovalStore.deny`."""
        status, taken = self._caught_up(request_id, now)
        if any(vote.answer == "denied" and is_same_person(vote.by, by.id) for vote in taken):
            return status
        record = functools.partial(self._record_answer, answer="denied", by=by, reason=reason)
        return self.store.deny(request_id, by, reason, now, record=record)

    def consume(
        self, digest: str, now: int, *, requester: str | None = None, terms: ApprovalTerms | None = None
    ) -> ApprovalGrant | None:
        """Uses up the approval of a digest, when the ledger says that it is one and was never used; recorded as ``approval.used``.

        Args:
            digest: Of what is about to run.
            now: Unix seconds.
            requester: Id of who is about to run it; by default who asked, as the store says.
            terms: On which terms, as the policy in force says; by default those that the store holds.

        Returns:
            The grant; None when nothing with this digest is approved, unused and within its time.

        Raises:
            Denied: The ledger does not say what the store says (approval.forged).
            LedgerError: The ledger cannot be read or written: nothing was used.
        """
        if not self._stands(digest, now):
            return None
        spent: list[str] = []

        def check(status: ApprovalStatus) -> None:
            evidence = Evidence.of(self.ledger, status.request.id)
            if evidence.is_used:
                spent.append(status.request.id)
            if status.request.kind == "grant":
                evidence.refuse("It is a window.")
            evidence.require_yes(status, digest, now, requester=requester, terms=terms)
            self._append(used_entry(status.request))

        try:
            return self.store.consume(digest, now, check=check)
        except Denied:
            if spent:  # whoever asks again makes a new request then
                self.store.settle(spent[0], "used", now)
            raise

    def is_approved(self, digest: str, now: int) -> bool:
        """Tells whether the store has a yes to this digest that nobody has used, and uses none: whether it counts, `consume` says."""
        return self._stands(digest, now)

    def windows(
        self, digest: str, now: int, *, requester: str | None = None, terms: ApprovalTerms | None = None
    ) -> ApprovalGrant | None:
        """Returns the open window of this digest, when the ledger says that there is one. Arguments and errors as of `consume`."""
        if not self._stands(digest, now):
            return None
        status = self.store.window(digest, now)
        if status is None:
            return None
        evidence = Evidence.of(self.ledger, status.request.id)
        if evidence.is_ended:
            self.store.settle(status.request.id, "ended", now)
        if status.request.kind != "grant":
            evidence.refuse("It is no window.")
        evidence.require_yes(status, digest, now, requester=requester, terms=terms)
        return grant_of(status, "window")

    def open_windows(self, *, now: int) -> tuple[ApprovalStatus, ...]:
        """Returns the windows that are open, those that close first at the front."""
        return self.store.open_windows(now=now)

    def end_window(self, request_id: str, by: Principal, now: int) -> ApprovalStatus:
        """Closes a window before its time, recorded as ``approval.window.ended``; see `ApprovalStore.end_window`."""
        return self.store.end_window(request_id, by, now, record=lambda request: self._append(ended_entry(request, by)))

    def open_review(self, review: Review) -> Review:
        """Opens the review of what runs without waiting, recorded as ``approval.review.opened``."""
        self.store.open_review(review, record=lambda opened: self._append(review_opened_entry(opened)))
        return review

    def review(self, review_id: str) -> Review:
        """Returns a review; see `ApprovalStore.review`."""
        return self.store.review(review_id)

    def reviews(self, *, now: int, is_open: bool = True, limit: int | None = None) -> tuple[Review, ...]:
        """Returns reviews; see `ApprovalStore.reviews`."""
        return self.store.reviews(now=now, is_open=is_open, limit=limit)

    def close_review(self, review_id: str, by: Principal, comment: str, now: int) -> Review:
        """Closes a review, recorded as ``approval.review.closed``; see `ApprovalStore.close_review`."""

        def record(closed: Review) -> Appended:
            require_as_opened(self.ledger, closed)
            return self._append(review_closed_entry(closed, by))

        return self.store.close_review(review_id, by, comment, now, record=record)

    def overdue(self, principal_id: str, now: int) -> bool:
        """Tells whether this person has a review that is open after it was due."""
        return self.store.overdue(principal_id, now)

    def forget(self, before: int, now: int) -> int:
        """Deletes old requests and reviews from the approvals, recorded as ``approval.forgotten``; see `ApprovalStore.forget`."""
        return self.store.forget(before, now, record=lambda count: self._append(forgotten_entry(count, min(before, now))))

    def lost_reviews(self, now: int) -> tuple[str, ...]:
        """Returns the ids of reviews that the ledger has as open and the store has not: somebody took them out.

        Raises:
            LedgerError: The ledger cannot be read, or was tampered with.
        """
        return tuple(sorted(unclosed_reviews(self.ledger) - {review.id for review in self.store.reviews(now=now)}))

    def close(self) -> None:
        """Closes the store; the ledger is whoever opened it's to close."""
        self.store.close()

    def __enter__(self) -> ApprovalDesk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stands(self, digest: str, now: int) -> bool:
        """Tells whether a request of this digest may be approved, after taking up what was answered."""
        standing = self.store.standing(digest, now)
        if standing is not None and standing[1] == "pending":
            return self._caught_up(standing[0].id, now)[0].state == "approved"
        return standing is not None

    def _caught_up(self, request_id: str, now: int) -> tuple[ApprovalStatus, tuple[Vote, ...]]:
        """Takes up answers that were recorded before whoever gave them stopped, so that what the ledger has counts.

        Returns:
            The status by that, and what was taken up.
        """
        status = self.store.status(request_id, now=now)
        if status.state != "pending":
            return status, ()
        beside = Evidence.of(self.ledger, request_id).answers_beside(status)
        taken = self.store.take_up(request_id, beside, now) if beside else ()
        return (self.store.status(request_id, now=now) if taken else status), taken

    def _record_answer(self, request: ApprovalRequest, answer: str, by: Principal, reason: str) -> Appended:
        number = Evidence.of(self.ledger, request.id).votes + 1
        return self._append(answer_entry(request, answer, by, reason, number))

    def _append(self, entry: Entry) -> Appended:
        return self.ledger.append(entry[0], private=entry[1])
