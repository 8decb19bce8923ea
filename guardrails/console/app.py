"""The console as one ASGI application: pages from a fixed table, each guarded, around them headers and bounds."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardrails.console import api
from guardrails.console.context import Console
from guardrails.console.failing import answer_bug, answer_error, answer_http
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import GUARDED
from guardrails.console.pages import (
    inbox,
    ledger,
    live,
    policy,
    previews,
    records,
    requests,
    reviews,
    signing_in,
    statistics,
    windows,
)
from guardrails.console.rendering import STATIC, environment
from guardrails.console.security import Guarding, RateLimit
from guardrails.errors import GuardrailsError, UsageError

__all__ = ["PAGES", "create_app"]

PAGES: tuple[ModuleType, ...] = (
    signing_in,
    inbox,
    requests,
    previews,
    windows,
    reviews,
    live,
    records,
    ledger,
    policy,
    statistics,
    api,
)
"""Every module of pages, each with `ROUTES` and, where the pages list it, `NAVIGATION`."""

_STATIC_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}


def create_app(console: Console) -> Starlette:
    """Makes the application.

    Args:
        console: What its pages use. The caller closes it.

    Raises:
        UsageError: A route does not say who may call it (usage.bug).
    """
    app = Starlette(
        routes=[*_guarded(route for module in PAGES for route in module.ROUTES), Route("/static/{name}", serve_static)],
        middleware=[Middleware(Guarding, settings=console.settings)],
        exception_handlers={GuardrailsError: answer_error, HTTPException: answer_http, Exception: answer_bug},
    )
    app.state.console = console
    app.state.templates = environment(_navigation())
    app.state.sign_in_limit = RateLimit(console.settings.sign_in_tries)
    return app


def serve_static(request: Request) -> Response:
    """Serves a file of ours. Its address changes with its content, so browsers keep it."""
    name = request.path_params["name"]
    kind = _STATIC_TYPES.get(name.rpartition(".")[2])
    file = STATIC / name
    if kind is None or "/" in name or not file.is_file():
        raise HTTPException(404)
    keep = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
    return Response(file.read_bytes(), media_type=kind, headers={"Cache-Control": keep})


def _guarded(routes: Iterable[Route]) -> list[Route]:
    found = list(routes)
    for route in found:
        if not getattr(route.endpoint, GUARDED, False):
            raise UsageError("usage.bug", f"The page {route.path} does not say who may see it.")
    return found


def _navigation() -> list[NavigationItem]:
    items: list[NavigationItem] = [item for module in PAGES for item in getattr(module, "NAVIGATION", ())]
    return sorted(items, key=lambda item: item.order)
