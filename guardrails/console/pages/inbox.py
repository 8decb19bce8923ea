"""The inbox: what waits for an answer, what was answered, one request in full, and answering it."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import form_of, page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.console.requests import view_of

__all__ = ["NAVIGATION", "ROUTES"]

_PAGE_ROWS = 50
_TABS = {
    "waiting": ("Waiting", ("pending",)),
    "approved": ("Approved", ("approved", "used")),
    "denied": ("Denied", ("denied",)),
    "expired": ("Expired", ("expired",)),
}


@page()
def show_inbox(request: Request) -> Response:
    """Lists requests by state, newest first."""
    tab = request.query_params.get("state", "waiting")
    if tab not in _TABS:
        raise HTTPException(404)
    console, viewer = console_of(request), viewer_of(request)
    before = request.query_params.get("before") or None
    found = console.desk.page(states=_TABS[tab][1], limit=_PAGE_ROWS + 1, before=before)
    counts = console.desk.count()
    tabs = [
        (name, f"{title} {sum(counts.get(s, 0) for s in states)}", f"/inbox?state={name}")
        for name, (title, states) in _TABS.items()
    ]
    return render(
        request,
        "inbox_list.html" if is_fragment(request) else "inbox.html",
        tab=tab,
        tabs=tabs,
        views=[view_of(status, viewer) for status in found[:_PAGE_ROWS]],
        older=found[_PAGE_ROWS - 1].request.id if len(found) > _PAGE_ROWS else "",
        is_first=before is None,
        address=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    )


@page()
def show_request(request: Request) -> Response:
    """Shows one request."""
    status = console_of(request).desk.status(request.path_params["id"])
    name = "request_state.html" if is_fragment(request) else "request.html"
    return render(request, name, view=view_of(status, viewer_of(request)), has_guard=console_of(request).guard is not None)


@page(roles=("approver",))
def answer_request(request: Request) -> Response:
    """Takes an answer to one request."""
    desk, viewer, form = console_of(request).desk, viewer_of(request), form_of(request)
    request_id, reason = request.path_params["id"], str(form.get("reason", "")).strip()
    match form.get("answer"):
        case "approve":
            desk.approve(request_id, viewer.principal, reason)
        case "deny":
            desk.deny(request_id, viewer.principal, reason)
        case _:
            raise HTTPException(400)
    return RedirectResponse(f"/requests/{request_id}?answered=1", 303)


@page()
def show_count(request: Request) -> Response:
    """Answers with the number beside a link of the navigation; with nothing where it is 0."""
    desk = console_of(request).desk
    match request.path_params["name"]:
        case "pending":
            number = desk.count().get("pending", 0)
        case "reviews":
            number = len(desk.reviews())
        case _:
            raise HTTPException(404)
    return HTMLResponse(f'{number}<span class="hidden"> waiting</span>' if number else "")


@page()
def go_home(request: Request) -> Response:  # noqa: ARG001  a page's signature
    return RedirectResponse("/inbox", 303)


NAVIGATION = (NavigationItem("/inbox", "Inbox", order=10, counts="pending"),)
ROUTES = [
    Route("/", go_home),
    Route("/inbox", show_inbox),
    Route("/requests/{id}", show_request),
    Route("/requests/{id}/answer", answer_request, methods=["POST"]),
    Route("/counts/{name}", show_count),
]
