"""What people are told beside the ledger: somebody asks, somebody has answered, glass was broken, a review is due.

A notice leaves the house, in a chat or to a service, so it never carries what runs: no statement, no values, no counts of rows, no
reasons. It says who asks for what kind of thing, and where it can be looked at after signing in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from guardrails.approval.printing import one_line
from guardrails.approval.status import Review
from guardrails.model import ApprovalRequest

__all__ = ["Notice", "NoticeKind", "notice_facts", "notice_title", "request_link"]

NoticeKind: TypeAlias = Literal["approval.requested", "approval.decided", "break_glass.used", "review.closed"]

_TITLES: dict[NoticeKind, str] = {
    "approval.requested": "Approval needed",
    "approval.decided": "Approval answered",
    "break_glass.used": "Glass was broken, and a review is due",
    "review.closed": "Review closed",
}
_REVIEWS = frozenset({"break_glass.used", "review.closed"})
_MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened to a request.

    Args:
        kind: What happened.
        request: To which request; of break-glass and its review what ran without approval.
        at: When, Unix seconds.
        by: Who answered, broke the glass or closed the review; empty where nobody did.
        answer: ``approved`` or ``denied``, of an answer.
        number: Which of several of this kind for the request, as with several approvers.
        due_at: Until when something has to be done, Unix seconds; None: the time is not bound.
    """

    kind: NoticeKind
    request: ApprovalRequest
    at: int
    by: str = ""
    answer: str = ""
    number: int = 0
    due_at: int | None = None

    @classmethod
    def of_request(cls, request: ApprovalRequest) -> Notice:
        """Returns the notice that somebody asks."""
        return cls("approval.requested", request, request.created_at, due_at=request.expires_at)

    @classmethod
    def of_review(cls, review: Review) -> Notice:
        """Returns the notice that the glass was broken, or that the review of it is closed."""
        if review.is_open:
            request = review.request
            return cls("break_glass.used", request, review.opened_at, by=request.requester, due_at=review.due_at)
        return cls("review.closed", review.request, review.closed_at or review.opened_at, by=review.closed_by)

    @property
    def id(self) -> str:
        """Names the event: the same in every process and at every try, so that whoever gets it twice can tell."""
        parts = f"{self.kind}\0{self.request.id}\0{self.number}"
        return "msg_" + hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def request_link(console_url: str | None, request_id: str) -> str | None:
    """Returns where the console shows a request to whoever has signed in; None without a console."""
    return _page(console_url, "requests", request_id)


def notice_title(notice: Notice) -> str:
    """Returns what happened, in a few words."""
    return _TITLES[notice.kind]


def notice_facts(notice: Notice, console_url: str | None = None) -> dict[str, str | int]:
    """Returns all that a notice tells, as short texts in which nothing acts on who shows them; what is empty is left out."""
    request = notice.request
    given: dict[str, str | int | None] = {
        "request": request.id,
        "requester": request.requester,
        "agent": request.agent,
        "purpose": request.purpose,
        "does": request.summary,
        "rules": ", ".join(request.rules),
        "approvers": ", ".join(request.terms.groups),
        "quorum": request.terms.quorum,
        "answer": notice.answer,
        "by": notice.by,
        "due": None if notice.due_at is None else _moment(notice.due_at),
        "link": _link(notice, console_url),
    }
    return {name: _short(value) for name, value in given.items() if value not in (None, "")}


def _link(notice: Notice, console_url: str | None) -> str | None:
    """Where the console shows what a notice is about; a review has its request's id."""
    return _page(console_url, "reviews" if notice.kind in _REVIEWS else "requests", notice.request.id)


def _page(console_url: str | None, pages: str, id_: str) -> str | None:
    return f"{console_url.rstrip('/')}/{pages}/{id_}" if console_url else None


def _short(value: str | int | None) -> str | int:
    return value if isinstance(value, int) else one_line(value or "", _MOST_CHARACTERS)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
