"""Who is signed in, by the cookie that a browser sends: random text, of which the console keeps a ticket."""

from __future__ import annotations

import secrets
import time

from starlette.requests import Request
from starlette.responses import Response

from guardrails.console.context import Console
from guardrails.console.settings import ConsoleSettings
from guardrails.console.signins import principal_fields, principal_from
from guardrails.console.viewer import Viewer, roles_of
from guardrails.errors import IdentityError
from guardrails.model import Principal

__all__ = ["begin_session", "cookie_name", "end_session", "find_viewer"]


def cookie_name(settings: ConsoleSettings, what: str = "session") -> str:
    """Returns the cookie's name; on HTTPS one that no other host can set (``__Host-``)."""
    return f"__Host-guardrails_{what}" if settings.is_secure else f"guardrails_{what}"


def find_viewer(request: Request, console: Console) -> Viewer | None:
    """Returns who is signed in; None when nobody is, or no longer."""
    token = request.cookies.get(cookie_name(console.settings))
    data = console.tickets.read("session", token) if token else None
    if data is None:
        return None
    principal = principal_from(data["principal"])
    if principal.expires_at is not None and principal.expires_at <= time.time():
        return None
    return Viewer(principal, roles_of(principal, console.settings), data["csrf_token"])


def begin_session(response: Response, principal: Principal, console: Console) -> None:
    """Signs a person in on the browser that gets the response.

    Raises:
        IdentityError: The token has expired (identity.token_expired), or the groups may not look at all (identity.role_missing).
    """
    settings, now = console.settings, time.time()
    lifetime_s = float(settings.session_s)
    if principal.expires_at is not None:
        lifetime_s = min(lifetime_s, principal.expires_at - now)
    if lifetime_s < 1:
        raise IdentityError("identity.token_expired", "The token has expired.")
    if not roles_of(principal, settings):
        raise IdentityError("identity.role_missing", "Your groups may not see this console.")
    data = {"principal": principal_fields(principal), "csrf_token": secrets.token_urlsafe(32)}
    token = console.tickets.issue("session", data, lifetime_s=lifetime_s)
    response.set_cookie(
        cookie_name(settings), token, max_age=int(lifetime_s), httponly=True, samesite="lax", secure=settings.is_secure
    )


def end_session(request: Request, response: Response, console: Console) -> None:
    """Signs out: the ticket is gone, not only the cookie."""
    name = cookie_name(console.settings)
    token = request.cookies.get(name)
    if token:
        console.tickets.take("session", token)
    response.delete_cookie(name, httponly=True, samesite="lax", secure=console.settings.is_secure)
