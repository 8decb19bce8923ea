"""Windows: grants ahead that are open, for how long, and ending one before its time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.console.requests import view_of
from guardrails.console.showing import now_s

__all__ = ["NAVIGATION", "ROUTES"]


@page()
def show_windows(request: Request) -> Response:
    """Lists the windows that are open, those that close first at the front."""
    viewer, now = viewer_of(request), now_s()
    views = [view_of(status, viewer, now) for status in console_of(request).desk.open_windows(now=now)]
    return render(request, "windows_list.html" if is_fragment(request) else "windows.html", views=views)


@page()
def end_window(request: Request) -> Response:
    """Ends a window: who may answer its request may, and who asked for it."""
    desk, viewer = console_of(request).desk, viewer_of(request)
    opened = desk.get(request.path_params["id"])
    objection = None if viewer.is_requester(opened) else viewer.objection(opened)
    if objection is not None:
        raise objection
    desk.end_window(opened.id, viewer.principal, now_s())
    return RedirectResponse("/windows", 303)


NAVIGATION = (NavigationItem("/windows", "Windows", order=20, counts="windows"),)
ROUTES = [
    Route("/windows", show_windows),
    Route("/windows/{id}/end", end_window, methods=["POST"]),
]
