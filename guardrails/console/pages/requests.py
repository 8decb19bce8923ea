"""One request in full, and answering it."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardrails.approval.status import ApprovalStatus
from guardrails.console.context import console_of
from guardrails.console.failing import status_of
from guardrails.console.page import form_of, page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.console.requests import view_of
from guardrails.console.showing import now_s
from guardrails.console.understanding import obligations_of, relations_of
from guardrails.errors import Denied, IdentityError

__all__ = ["ROUTES"]

_SMALL_ROWS = 20
"""Of a change that is so small, the rows are shown without being asked for."""
_UNANSWERABLE = frozenset({"approval.unknown", "approval.channel_down"})


@page()
def show_request(request: Request) -> Response:
    """Shows one request."""
    return _shown(request, console_of(request).desk.status(request.path_params["id"], now=now_s()))


@page()
def answer_request(request: Request) -> Response:
    """Takes an answer to one request; what keeps it from counting is said beside the form, and the reason stays there."""
    desk, viewer, form, now = console_of(request).desk, viewer_of(request), form_of(request), now_s()
    request_id, reason = request.path_params["id"], str(form.get("reason", "")).strip()
    try:
        # Who has not the role is told so, as whoever is not in the groups of the terms.
        if (objection := viewer.objection(desk.get(request_id))) is not None:
            raise objection
        match form.get("answer"):
            case "approve":
                desk.approve(request_id, viewer.principal, reason, now)
            case "deny":
                desk.deny(request_id, viewer.principal, reason, now)
            case _:
                raise HTTPException(400)
    except (Denied, IdentityError) as error:
        if error.code in _UNANSWERABLE:
            raise
        return _shown(request, desk.status(request_id, now=now), problem=error, reason=reason)
    return RedirectResponse(f"/requests/{request_id}", 303)


def _shown(
    request: Request, status: ApprovalStatus, *, problem: Denied | IdentityError | None = None, reason: str = ""
) -> Response:
    view = view_of(status, viewer_of(request), now_s())
    impact = view.request.impact
    return render(
        request,
        "request_state.html" if is_fragment(request) else "request.html",
        status=200 if problem is None else status_of(problem),
        view=view,
        relations=relations_of(view.request.understood),
        obligations=obligations_of(view.request.understood),
        has_preview=console_of(request).guard is not None and view.may_answer and view.request.kind == "statement",
        is_small=impact is not None and not impact.error and sum(rows for _, rows in impact.rows) <= _SMALL_ROWS,
        is_fragment=is_fragment(request),
        problem=problem,
        reason=reason,
    )


ROUTES = [
    Route("/requests/{id}", show_request),
    Route("/requests/{id}/answer", answer_request, methods=["POST"]),
]
