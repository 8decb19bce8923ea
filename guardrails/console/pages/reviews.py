"""Reviews: what went ahead without waiting for approval, and has to be looked at by somebody else."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardrails.approval.status import ApprovalStatus, Review
from guardrails.console.context import console_of
from guardrails.console.failing import status_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import form_of, page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.console.requests import RequestView, view_of
from guardrails.console.showing import now_s
from guardrails.console.understanding import obligations_of, relations_of
from guardrails.errors import Denied, IdentityError

__all__ = ["NAVIGATION", "ROUTES"]

_ROWS = 100


@dataclass(frozen=True, slots=True)
class _Shown:
    """A review and, of what ran, what the viewer may see."""

    review: Review
    view: RequestView

    def is_overdue(self, now: int) -> bool:
        return self.review.is_open and self.review.due_at <= now


@page()
def show_reviews(request: Request) -> Response:
    """Lists reviews: the open ones, those due first at the front, or the closed ones."""
    tab = request.query_params.get("state", "open")
    if tab not in ("open", "closed"):
        raise HTTPException(404)
    viewer, now = viewer_of(request), now_s()
    found = console_of(request).desk.reviews(now=now, is_open=tab == "open", limit=_ROWS)
    return render(
        request,
        "reviews_list.html" if is_fragment(request) else "reviews.html",
        tab=tab,
        items=[_Shown(review, view_of(ApprovalStatus(review.request, "used"), viewer, now)) for review in found],
        address=f"/reviews?state={tab}",
    )


@page()
def show_review(request: Request) -> Response:
    """Shows one review."""
    return _shown(request, console_of(request).desk.review(request.path_params["id"]))


@page(roles=("approver",))
def close_review(request: Request) -> Response:
    """Closes a review; what keeps it from being closed is said beside the form, and the comment stays there."""
    desk, viewer = console_of(request).desk, viewer_of(request)
    review_id, comment = request.path_params["id"], str(form_of(request).get("comment", "")).strip()
    try:
        desk.close_review(review_id, viewer.principal, comment, now_s())
    except (Denied, IdentityError) as error:
        if error.code in ("approval.unknown", "approval.channel_down"):
            raise
        return _shown(request, desk.review(review_id), problem=error, comment=comment)
    return RedirectResponse(f"/reviews/{review_id}", 303)


def _shown(request: Request, review: Review, *, problem: Denied | IdentityError | None = None, comment: str = "") -> Response:
    view = view_of(ApprovalStatus(review.request, "used"), viewer_of(request), now_s())
    return render(
        request,
        "review.html",
        status=200 if problem is None else status_of(problem),
        item=_Shown(review, view),
        view=view,
        relations=relations_of(review.request.understood),
        obligations=obligations_of(review.request.understood),
        problem=problem,
        comment=comment,
    )


NAVIGATION = (NavigationItem("/reviews", "Reviews", order=30, counts="reviews"),)
ROUTES = [
    Route("/reviews", show_reviews),
    Route("/reviews/{id}", show_review),
    Route("/reviews/{id}/close", close_review, methods=["POST"]),
]
