"""What every page does first: who asks, may they, and was the form ours. Pages are functions of a request, sync or async.

    @page(roles=("auditor",))
    def show(request: Request) -> Response:
        return render(request, "things.html", things=...)

A function without `page` is not served: `create_app` refuses routes whose endpoint does not say how it is guarded.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from guardrails.console.context import console_of
from guardrails.console.security import CSRF_FIELD, CSRF_HEADER, SAFE_METHODS, require_csrf, require_same_origin
from guardrails.console.sessions import find_viewer
from guardrails.console.viewer import Role, Viewer
from guardrails.errors import IdentityError

__all__ = ["GUARDED", "Endpoint", "form_of", "page", "public", "viewer_of"]

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Handler: TypeAlias = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]

_SURROGATE = re.compile("[\ud800-\udfff]")

GUARDED = "is_guarded"
"""Attribute of endpoints that `create_app` serves: they say themselves who may call them."""


def viewer_of(request: Request) -> Viewer:
    """Returns who is signed in; only inside a page."""
    viewer: Viewer = request.state.viewer
    return viewer


def form_of(request: Request) -> FormData:
    """Returns the fields of the form that was sent; only inside a page."""
    form: FormData = request.state.form
    return form


def page(*, roles: tuple[Role, ...] = ("viewer",)) -> Callable[[Handler], Endpoint]:
    """Decorates a page: the function is called only for somebody who is signed in and has one of the roles.

    What changes something (POST) has to come from a page of ours, with the token that `{{ csrf_field() }}` puts into a form.

    Args:
        roles: Of which one is enough.

    Raises:
        IdentityError: From the endpoint: not signed in (identity.sign_in_required), without the role (identity.role_missing), or
            a form from elsewhere (identity.form_forged).
    """
    wanted = frozenset(roles)

    def decorate(handler: Handler) -> Endpoint:
        @functools.wraps(handler)
        async def endpoint(request: Request) -> Response:
            console = console_of(request)
            require_same_origin(request, console.settings)
            viewer = await run_in_threadpool(find_viewer, request, console)
            if viewer is None:
                raise IdentityError("identity.sign_in_required", "Nobody is signed in.")
            if not wanted & viewer.roles:
                raise IdentityError("identity.role_missing", "Your groups may not see this page.")
            request.state.viewer = viewer
            _require_text(*request.path_params.values(), *request.query_params.values())
            if request.method not in SAFE_METHODS:
                request.state.form = form = await request.form(max_files=0, max_fields=100)
                _require_text(*form.values())
                require_csrf(viewer, request.headers.get(CSRF_HEADER) or form.get(CSRF_FIELD))
            return await _called(handler, request)

        return _guarded(endpoint)

    return decorate


def public(handler: Handler) -> Endpoint:
    """Decorates the few pages that are for everybody: those for signing in."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        require_same_origin(request, console_of(request).settings)
        request.state.viewer = None
        _require_text(*request.query_params.values())
        if request.method not in SAFE_METHODS:
            request.state.form = form = await request.form(max_files=0, max_fields=10)
            _require_text(*form.values())
        return await _called(handler, request)

    return _guarded(endpoint)


def _require_text(*given: object) -> None:
    """Refuses what no database can look for: NUL, and halves of characters."""
    if any(isinstance(text, str) and ("\0" in text or _SURROGATE.search(text)) for text in given):
        raise HTTPException(400)


async def _called(handler: Handler, request: Request) -> Response:
    if inspect.iscoroutinefunction(handler):
        return await cast(Endpoint, handler)(request)
    return await run_in_threadpool(cast("Callable[[Request], Response]", handler), request)


def _guarded(endpoint: Any) -> Endpoint:
    setattr(endpoint, GUARDED, True)
    return cast(Endpoint, endpoint)
