"""Operations about what waits for people: requests, grants ahead, reviews of what went ahead without waiting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from guardrails.approval.status import STATES, ApprovalStatus, Review, State
from guardrails.console.api.models import (
    CountsAnswer,
    ImpactAnswer,
    RequestAnswer,
    RequestPage,
    ReviewAnswer,
    ReviewList,
    VoteAnswer,
    WindowList,
)
from guardrails.console.api.operations import Call, Flag, Given, Identifier, Nothing, Size, operation
from guardrails.console.requests import RequestView, view_of
from guardrails.model import ApprovalRequest

__all__ = ["OPERATIONS"]

_ANSWERING = (404, 409, 410, 503)
_Words = Annotated[str, Field(max_length=4000)]


class _Requests(Given):
    state: Literal["pending", "approved", "denied", "expired", "used", "ended"] | None = None
    """Only those in this state; all when not given."""
    before: Identifier | None = None
    """Only those after this one in the list: `next` of the page before."""
    limit: Size = 50
    """At most so many."""


class _One(Given):
    id: Identifier
    """Of the request, or the review."""


class _Reviews(Given):
    is_open: Flag = True
    """Those that wait, or else those that are closed."""
    limit: Size = 50
    """At most so many."""


class _Reason(Given):
    """An answer's reason."""

    reason: _Words = ""
    """Why."""


class _Comment(Given):
    """What somebody found who looked at what went ahead."""

    comment: _Words
    """What they found."""


@operation("GET", "/requests", RequestPage, parameters=_Requests, statuses=(404, 503))
def list_requests(call: Call[_Requests, Nothing]) -> RequestPage:
    """Lists requests, newest first."""
    wanted = call.parameters
    states: tuple[State, ...] = (wanted.state,) if wanted.state else STATES
    found = call.console.desk.page(now=call.now, states=states, limit=wanted.limit + 1, before=wanted.before)
    shown = found[: wanted.limit]
    return RequestPage(
        items=[_request(status, call) for status in shown],
        next=shown[-1].request.id if len(found) > len(shown) else None,
    )


@operation("GET", "/counts", CountsAnswer, statuses=(503,))
def count_requests(call: Call[Nothing, Nothing]) -> CountsAnswer:
    """Counts requests by state, open reviews and open grants."""
    desk = call.console.desk
    counts = {str(state): number for state, number in desk.count(now=call.now).items()}
    return CountsAnswer(
        states=counts,
        open_reviews=len(desk.reviews(now=call.now)),
        open_windows=len(desk.open_windows(now=call.now)),
    )


@operation("GET", "/requests/{id}", RequestAnswer, parameters=_One, statuses=(404, 503))
def get_request(call: Call[_One, Nothing]) -> RequestAnswer:
    """Returns one request."""
    return _request(call.console.desk.status(call.parameters.id, now=call.now), call)


@operation(
    "POST",
    "/requests/{id}/approve",
    RequestAnswer,
    parameters=_One,
    body=_Reason,
    roles=("approver",),
    statuses=_ANSWERING,
)
def approve_request(call: Call[_One, _Reason]) -> RequestAnswer:
    """Says yes to a request, which others may have to as well."""
    return _request(call.console.desk.approve(call.parameters.id, call.viewer.principal, call.body.reason, call.now), call)


@operation(
    "POST", "/requests/{id}/deny", RequestAnswer, parameters=_One, body=_Reason, roles=("approver",), statuses=_ANSWERING
)
def deny_request(call: Call[_One, _Reason]) -> RequestAnswer:
    """Says no to a request, which decides it."""
    return _request(call.console.desk.deny(call.parameters.id, call.viewer.principal, call.body.reason, call.now), call)


@operation("GET", "/windows", WindowList, statuses=(503,))
def list_windows(call: Call[Nothing, Nothing]) -> WindowList:
    """Lists the grants ahead that are open, those that close first at the front."""
    return WindowList(items=[_request(status, call) for status in call.console.desk.open_windows(now=call.now)])


@operation("POST", "/windows/{id}/end", RequestAnswer, parameters=_One, statuses=_ANSWERING)
def end_window(call: Call[_One, Nothing]) -> RequestAnswer:
    """Closes a grant ahead before its time."""
    return _request(call.console.desk.end_window(call.parameters.id, call.viewer.principal, call.now), call)


@operation("GET", "/reviews", ReviewList, parameters=_Reviews, statuses=(503,))
def list_reviews(call: Call[_Reviews, Nothing]) -> ReviewList:
    """Lists reviews."""
    wanted = call.parameters
    found = call.console.desk.reviews(now=call.now, is_open=wanted.is_open, limit=wanted.limit)
    return ReviewList(items=[_review(review, call) for review in found])


@operation("GET", "/reviews/{id}", ReviewAnswer, parameters=_One, statuses=(404, 503))
def get_review(call: Call[_One, Nothing]) -> ReviewAnswer:
    """Returns one review."""
    return _review(call.console.desk.review(call.parameters.id), call)


@operation(
    "POST", "/reviews/{id}/close", ReviewAnswer, parameters=_One, body=_Comment, roles=("approver",), statuses=_ANSWERING
)
def close_review(call: Call[_One, _Comment]) -> ReviewAnswer:
    """Closes a review: what went ahead was looked at."""
    closed = call.console.desk.close_review(call.parameters.id, call.viewer.principal, call.body.comment, call.now)
    return _review(closed, call)


def _request(status: ApprovalStatus, call: Call[Any, Any]) -> RequestAnswer:
    view = view_of(status, call.viewer, call.now)
    request, terms, is_complete = status.request, status.request.terms, view.is_complete
    return RequestAnswer(
        id=request.id,
        state=status.state,
        kind=request.kind,
        requester=request.requester,
        agent=request.agent,
        purpose=request.purpose,
        title=_title(view),
        rules=list(request.rules),
        groups=list(terms.groups),
        quorum=terms.quorum,
        created_at=request.created_at,
        expires_at=request.expires_at,
        ends_at=status.ends_at,
        decided_at=status.decided_at,
        used_at=status.used_at,
        window_s=request.window_s,
        session=request.session_id,
        policy=request.policy_digest,
        votes=[
            VoteAnswer(
                by=vote.by,
                issuer=vote.issuer,
                verified=vote.verified,
                answer=vote.answer,
                at=vote.at,
                reason=vote.reason if is_complete else None,
                entry=vote.entry_index,
            )
            for vote in status.votes
        ],
        impact=_impact(request) if view.shows_impact else None,
        is_complete=is_complete,
        text=view.text,
        asked=view.asked if is_complete else None,
        values=dict(view.values) if is_complete else None,
        why=request.why if is_complete else None,
        digest=request.digest if is_complete else None,
        objection=view.objection.code if view.objection else None,
    )


def _title(view: RequestView) -> str:
    """What is asked for, in a line; never the statement itself, where that is not shown."""
    return view.title if view.is_complete or view.title != view.request.sql else view.kind_title


def _impact(request: ApprovalRequest) -> ImpactAnswer | None:
    impact = request.impact
    if impact is None:
        return None
    return ImpactAnswer(rows=dict(impact.rows), is_estimated=impact.is_estimated, error=impact.error)


def _review(review: Review, call: Call[Any, Any]) -> ReviewAnswer:
    view = view_of(ApprovalStatus(review.request, "used"), call.viewer, call.now)
    return ReviewAnswer(
        id=review.id,
        requester=review.request.requester,
        agent=review.request.agent,
        purpose=review.request.purpose,
        title=_title(view),
        opened_at=review.opened_at,
        due_at=review.due_at,
        is_overdue=review.is_open and review.due_at < call.now,
        closed_at=review.closed_at,
        closed_by=review.closed_by,
        is_complete=view.is_complete,
        text=view.text,
        reason=review.reason if view.is_complete else None,
        comment=review.comment if view.is_complete else None,
    )


OPERATIONS = (
    list_requests,
    count_requests,
    get_request,
    approve_request,
    deny_request,
    list_windows,
    end_window,
    list_reviews,
    get_review,
    close_review,
)
