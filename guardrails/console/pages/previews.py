"""The rows that a request would change, read with the rights of who looks at it, and recorded as their reading."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.page import page, viewer_of
from guardrails.console.rendering import is_fragment, render
from guardrails.previewing import preview

__all__ = ["ROUTES"]


@page(roles=("approver",))
def show_preview(request: Request) -> Response:
    """Shows the rows to who may answer the request."""
    console, viewer = console_of(request), viewer_of(request)
    asked = console.desk.get(request.path_params["id"])
    if (objection := viewer.objection(asked)) is not None:
        raise objection
    if console.guard is None:
        raise HTTPException(404)
    found = preview(console.guard, asked, viewer.principal)
    return render(
        request, "changed_rows.html" if is_fragment(request) else "changed_rows_page.html", preview=found, asked=asked
    )


ROUTES = [Route("/requests/{id}/preview", show_preview, methods=["POST"])]
