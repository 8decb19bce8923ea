"""Where answers are given and used: every one is a signed entry of the ledger, and what the ledger does not say does not count.

The store is a list to work with, and whoever can write to its tables could plant a yes there or set a used one back. So before a yes
is used, each vote is held against its own entry in the ledger, and the use itself becomes an entry first. The entries of a request
are its id's session, by which the ledger finds them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from guardrails.approval.evidence import Evidence
from guardrails.approval.status import STATES, ApprovalStatus, Review, State, grant_of
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

    def submit(self, request: ApprovalRequest) -> ApprovalRequest:
        """Files a request, recorded as ``approval.requested`` in its session when it is new; see `ApprovalStore.submit`."""
        return self.store.submit(request, record=self._record_request)

    def get(self, request_id: str) -> ApprovalRequest:
        """Returns a request; see `ApprovalStore.get`."""
        return self.store.get(request_id)

    def waiting(self, digest: str, now: int) -> ApprovalRequest | None:
        """Returns the request with this digest that waits for an answer, None when there is none."""
        return next((request for request in self.store.pending(now=now) if request.digest == digest), None)

    def status(self, request_id: str, *, now: int) -> ApprovalStatus:
        """Returns how far a request has come; see `ApprovalStore.status`."""
        return self.store.status(request_id, now=now)

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
        """Says yes, recorded before it counts; see `ApprovalStore.approve`."""
        record = functools.partial(self._record_answer, "approved", by, reason)
        return self.store.approve(request_id, by, reason, now, record=record)

    def deny(self, request_id: str, by: Principal, reason: str, now: int) -> ApprovalStatus:
        """Says no, recorded before it counts; see `ApprovalStore.deny`."""
        record = functools.partial(self._record_answer, "denied", by, reason)
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
        spent: list[str] = []

        def check(status: ApprovalStatus) -> None:
            evidence = Evidence.of(self.ledger, status.request.id)
            if evidence.is_used:
                spent.append(status.request.id)
            evidence.require_yes(status, now, requester=requester, terms=terms)
            self.ledger.append(_facts("approval.used", status.request))

        try:
            return self.store.consume(digest, now, check=check)
        except Denied:
            if spent:  # so that a new request can be made; this one stays refused
                self.store.spend(spent[0], now)
            raise

    def windows(
        self, digest: str, now: int, *, requester: str | None = None, terms: ApprovalTerms | None = None
    ) -> ApprovalGrant | None:
        """Returns the open window of this digest, when the ledger says that there is one. Arguments and errors as of `consume`."""
        status = self.store.window(digest, now)
        if status is None:
            return None
        Evidence.of(self.ledger, status.request.id).require_yes(status, now, requester=requester, terms=terms)
        return grant_of(status, "window")

    def open_windows(self, *, now: int) -> tuple[ApprovalStatus, ...]:
        """Returns the windows that are open, those that close first at the front."""
        return self.store.open_windows(now=now)

    def end_window(self, request_id: str, by: Principal, now: int) -> ApprovalStatus:
        """Closes a window before its time, recorded as ``approval.window.ended``; see `ApprovalStore.end_window`."""

        def record(request: ApprovalRequest) -> Appended:
            return self.ledger.append(_facts("approval.window.ended", request) | {"by": _person(by, request.terms)})

        return self.store.end_window(request_id, by, now, record=record)

    def open_review(self, review: Review) -> Review:
        """Opens the review of what runs without waiting, recorded as ``approval.review.opened``."""

        def record(opened: Review) -> Appended:
            facts = _facts("approval.review.opened", opened.request) | {
                "session": opened.id,
                "review": opened.id,
                "requester": opened.request.requester,
                "agent": opened.request.agent,
                "purpose": opened.request.purpose,
                "rules": list(opened.request.rules),
                "opened_in": opened.request.session_id,
                "due_at": opened.due_at,
            }
            return self.ledger.append(facts, private={"reason": _utf8(opened.reason), "sql": _utf8(opened.request.sql)})

        self.store.open_review(review, record=record)
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
            facts = _facts("approval.review.closed", closed.request) | {"session": closed.id, "review": closed.id}
            facts["by"] = _person(by, closed.request.terms)
            return self.ledger.append(facts, private={"comment": _utf8(comment)})

        return self.store.close_review(review_id, by, comment, now, record=record)

    def overdue(self, principal_id: str, now: int) -> bool:
        """Tells whether this person has a review that is open after it was due."""
        return self.store.overdue(principal_id, now)

    def close(self) -> None:
        """Closes the store; the ledger is whoever opened it's to close."""
        self.store.close()

    def __enter__(self) -> ApprovalDesk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record_request(self, request: ApprovalRequest) -> Appended:
        entry = _facts("approval.requested", request) | {
            "session": request.session_id or request.id,
            "kind": request.kind,
            "requester": request.requester,
            "agent": request.agent,
            "purpose": request.purpose,
            "rules": list(request.rules),
            "policy": request.policy_digest,
            "quorum": request.terms.quorum,
            "groups": list(request.terms.groups),
            "window_s": request.window_s,
            "expires_at": request.expires_at,
        }
        return self.ledger.append(entry, private={"sql": _utf8(request.sql), "why": _utf8(request.why)})

    def _record_answer(self, answer: str, by: Principal, reason: str, request: ApprovalRequest) -> Appended:
        evidence = Evidence.of(self.ledger, request.id)
        entry = _facts("approval.decided", request) | {
            "answer": answer,
            "approver": _person(by, request.terms),
            "requester": request.requester,
            "vote": evidence.votes + 1,
            "quorum": request.terms.quorum,
            "expires_at": request.expires_at,
            "window_s": request.window_s,
        }
        return self.ledger.append(entry, private={"reason": _utf8(reason)})


def _facts(kind: str, request: ApprovalRequest) -> dict[str, Any]:
    return {"type": kind, "session": request.id, "request": request.id, "digest": request.digest}


def _person(by: Principal, terms: ApprovalTerms) -> dict[str, Any]:
    """Who answers, and the groups by which they may."""
    groups = sorted(by.groups.intersection(terms.groups))
    return {"id": _plain(by.id), "issuer": by.issuer, "verified": by.verified, "groups": groups}


def _plain(text: str) -> str:
    return _utf8(text).decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
