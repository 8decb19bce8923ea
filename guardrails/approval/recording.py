"""What the ledger gets of approvals: requests, answers, uses, ended windows and reviews, and what stays out of it.

Entries of one request are of the session that is named by its id, and so are those of a review; only the request's own entry is of the
session that asked. What people write and what the statement says is committed to, never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from guardrails.approval.rows import request_to_text
from guardrails.approval.status import Review
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal

__all__ = [
    "DECIDED",
    "FORGOTTEN",
    "REQUESTED",
    "REVIEW_CLOSED",
    "REVIEW_OPENED",
    "USED",
    "WINDOW_ENDED",
    "Entry",
    "answer_entry",
    "committed_request",
    "committed_sql",
    "ended_entry",
    "forgotten_entry",
    "plain",
    "request_entry",
    "review_closed_entry",
    "review_opened_entry",
    "used_entry",
]

Entry: TypeAlias = tuple[dict[str, Any], dict[str, bytes]]

REQUESTED = "approval.requested"
DECIDED = "approval.decided"
USED = "approval.used"
WINDOW_ENDED = "approval.window.ended"
REVIEW_OPENED = "approval.review.opened"
REVIEW_CLOSED = "approval.review.closed"
FORGOTTEN = "approval.forgotten"


def request_entry(request: ApprovalRequest, call: Mapping[str, object] | None = None) -> Entry:
    """Returns the entry of a new request; it commits to everything that people are shown of it.

    `call` are the fields that say in which call of a tool it was asked.
    """
    entry = (
        dict(call or {})
        | _facts(REQUESTED, request)
        | {
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
            "rehearsed": request.impact is not None and request.terms.impact == "count",
        }
    )
    return _plain(entry), {"sql": committed_sql(request), "request": committed_request(request)}


def answer_entry(request: ApprovalRequest, answer: str, by: Principal, reason: str, vote: int) -> Entry:
    """Returns the entry of an answer; it repeats what bounds its use, so that no row of a table can widen that later."""
    entry = _facts(DECIDED, request) | {
        "answer": answer,
        "approver": _person(by, request.terms),
        "kind": request.kind,
        "requester": request.requester,
        "vote": vote,
        "quorum": request.terms.quorum,
        "window_s": request.window_s,
        "expires_at": request.expires_at,
    }
    return _plain(entry), {"reason": _utf8(reason)}


def used_entry(request: ApprovalRequest) -> Entry:
    """Returns the entry of the one use."""
    return _plain(_facts(USED, request)), {}


def ended_entry(request: ApprovalRequest, by: Principal) -> Entry:
    """Returns the entry of a window that somebody closes before its time."""
    return _plain(_facts(WINDOW_ENDED, request) | {"by": _person(by, request.terms)}), {}


def review_opened_entry(review: Review) -> Entry:
    """Returns the entry of something that runs without waiting."""
    request = review.request
    entry = _facts(REVIEW_OPENED, request) | {
        "session": review.id,
        "review": review.id,
        "requester": request.requester,
        "agent": request.agent,
        "purpose": request.purpose,
        "rules": list(request.rules),
        "opened_in": request.session_id,
        "due_at": review.due_at,
    }
    return _plain(entry), {
        "reason": _utf8(review.reason),
        "sql": committed_sql(request),
        "request": committed_request(request),
    }


def review_closed_entry(review: Review, by: Principal) -> Entry:
    """Returns the entry of a review that is done."""
    entry = _facts(REVIEW_CLOSED, review.request) | {"session": review.id, "review": review.id}
    entry["by"] = _person(by, review.request.terms)
    return _plain(entry), {"comment": _utf8(review.comment)}


def forgotten_entry(count: int, before: int) -> Entry:
    """Returns the entry of requests and reviews that are deleted from the approvals; what the ledger says of them stays."""
    return {"type": FORGOTTEN, "count": count, "before": before}, {}


def committed_request(request: ApprovalRequest) -> bytes:
    """Returns what a request's entry commits to as ``request``: all of it."""
    return request_to_text(request).encode()


def committed_sql(request: ApprovalRequest) -> bytes:
    """Returns what a request's entry commits to as ``sql``."""
    return _utf8(request.sql)


def plain(text: str) -> str:
    """Returns a text that an entry can hold: lone surrogates as they would look in a source text."""
    return _utf8(text).decode()


def _facts(kind: str, request: ApprovalRequest) -> dict[str, Any]:
    return {"type": kind, "session": request.id, "request": request.id, "digest": request.digest}


def _person(by: Principal, terms: ApprovalTerms) -> dict[str, Any]:
    """Who answers, and the groups by which they may."""
    return {"id": by.id, "issuer": by.issuer, "verified": by.verified, "groups": sorted(by.groups.intersection(terms.groups))}


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", _plain_value(entry))


def _plain_value(value: object) -> object:
    match value:
        case str():
            return plain(value)
        case list():
            return [_plain_value(item) for item in value]
        case dict():
            return {name: _plain_value(item) for name, item in value.items()}
    return value


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
