"""The inbox: what waits for an answer, what was answered, and the numbers beside the links of the navigation."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardrails.approval.status import State
from guardrails.console.context import console_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.console.requests import view_of
from guardrails.console.showing import now_s

__all__ = ["NAVIGATION", "ROUTES"]

_PAGE_ROWS = 50
_TABS: dict[str, tuple[str, tuple[State, ...]]] = {
    "waiting": ("Waiting", ("pending",)),
    "approved": ("Approved", ("approved", "used", "ended")),
    "denied": ("Denied", ("denied",)),
    "expired": ("Expired", ("expired",)),
}


@page()
def show_inbox(request: Request) -> Response:
    """Lists requests by state, newest first."""
    tab = request.query_params.get("state", "waiting")
    if tab not in _TABS:
        raise HTTPException(404)
    desk, viewer, now = console_of(request).desk, viewer_of(request), now_s()
    before = request.query_params.get("before") or None
    found = desk.page(now=now, states=_TABS[tab][1], limit=_PAGE_ROWS + 1, before=before)
    counts = desk.count(now=now)
    numbers = {name: sum(counts.get(state, 0) for state in states) for name, (_, states) in _TABS.items()}
    return render(
        request,
        "inbox_list.html" if is_fragment(request) else "inbox.html",
        tab=tab,
        tabs=[(name, f"{title} {numbers[name]:,}", f"/inbox?state={name}") for name, (title, _) in _TABS.items()],
        waiting=numbers["waiting"],
        views=[view_of(status, viewer, now) for status in found[:_PAGE_ROWS]],
        older=found[_PAGE_ROWS - 1].request.id if len(found) > _PAGE_ROWS else "",
        is_first=before is None,
        is_fragment=is_fragment(request),
        address=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    )


@page()
def show_counts(request: Request) -> Response:
    """Answers with the numbers beside the links of the navigation, each for its place there; nothing where it is 0."""
    desk, now = console_of(request).desk, now_s()
    numbers = {
        "pending": desk.count(now=now).get("pending", 0),
        "windows": len(desk.open_windows(now=now)),
        "reviews": len(desk.reviews(now=now)),
    }
    return render(request, "counts.html", numbers=numbers)


@page()
def go_home(request: Request) -> Response:  # noqa: ARG001  a page's signature
    return RedirectResponse("/inbox", 303)


NAVIGATION = (NavigationItem("/inbox", "Inbox", order=10, counts="pending"),)
ROUTES = [
    Route("/", go_home),
    Route("/inbox", show_inbox),
    Route("/counts", show_counts),
]
