"""Signing in and out: at the provider, or with a one-time link."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from guardrails.console.context import Console, console_of
from guardrails.console.page import form_of, page, public
from guardrails.console.rendering import render
from guardrails.console.security import RateLimit
from guardrails.console.sessions import begin_session, cookie_name, end_session
from guardrails.console.signins import principal_fields, principal_from
from guardrails.errors import IdentityError
from guardrails.model import Principal

__all__ = ["ROUTES", "one_time_link"]

_TRANSACTION_S = 600


def one_time_link(console: Console, principal: Principal) -> str:
    """Returns an address with which one person can sign in once, within `ConsoleSettings.link_s` seconds."""
    token = console.tickets.issue("link", principal_fields(principal), lifetime_s=console.settings.link_s)
    return f"{console.settings.base_url}/signin/link?token={token}"


@public
def show_sign_in(request: Request) -> Response:
    console = console_of(request)
    return render(request, "signin.html", sign_ins=console.sign_ins, next=local_path(request.query_params.get("next", "")))


@public
def show_link(request: Request) -> Response:
    # Looking at the address uses nothing up: previews of links must not.
    _count(request)
    token = request.query_params.get("token", "")
    found = console_of(request).tickets.read("link", token)
    if found is None:
        raise _link_invalid()
    return render(request, "signin_link.html", token=token, person=found["id"], groups=found["groups"])


@public
def use_link(request: Request) -> Response:
    _count(request)
    console = console_of(request)
    found = console.tickets.take("link", str(form_of(request).get("token", "")))
    if found is None:
        raise _link_invalid()
    response = RedirectResponse("/", 303)
    begin_session(response, principal_from(found), console)
    return response


@public
def begin_provider(request: Request) -> Response:
    _count(request)
    console = console_of(request)
    provider = console.sign_ins.provider
    if provider is None:
        raise IdentityError("identity.link_invalid", "This console knows no provider to sign in at.")
    address, transaction = provider.begin()
    kept = {"transaction": transaction, "next": local_path(request.query_params.get("next", ""))}
    response = RedirectResponse(address, 303)
    response.set_cookie(
        cookie_name(console.settings, "signin"),
        console.tickets.issue("transaction", kept, lifetime_s=_TRANSACTION_S),
        max_age=_TRANSACTION_S,
        httponly=True,
        samesite="lax",
        secure=console.settings.is_secure,
    )
    return response


@public
def finish_provider(request: Request) -> Response:
    _count(request)
    console = console_of(request)
    name = cookie_name(console.settings, "signin")
    kept = console.tickets.take("transaction", request.cookies.get(name, ""))
    if kept is None or console.sign_ins.provider is None:
        raise IdentityError("identity.link_invalid", "This sign-in was not begun in this browser, or is over.")
    principal = console.sign_ins.provider.finish(kept["transaction"], request.url.query)
    response = RedirectResponse(local_path(kept["next"]), 303)
    response.delete_cookie(name, httponly=True, samesite="lax", secure=console.settings.is_secure)
    begin_session(response, principal, console)
    return response


@page(roles=("viewer",))
def sign_out(request: Request) -> Response:
    response = RedirectResponse("/signin", 303)
    end_session(request, response, console_of(request))
    return response


def local_path(given: str) -> str:
    """Returns an address below this console; the first page for anything else."""
    is_local = (
        given.startswith("/") and not given.startswith(("//", "/\\", "/signin")) and given.isprintable() and "\\" not in given
    )
    return given if is_local else "/"


def _count(request: Request) -> None:
    limit: RateLimit = request.app.state.sign_in_limit
    limit.require(request.client.host if request.client else "")


def _link_invalid() -> IdentityError:
    return IdentityError("identity.link_invalid", "The link was used already, or its time is over.")


ROUTES = [
    Route("/signin", show_sign_in),
    Route("/signin/link", show_link, methods=["GET"]),
    Route("/signin/link", use_link, methods=["POST"]),
    Route("/signin/provider", begin_provider),
    Route("/signin/callback", finish_provider),
    Route("/signout", sign_out, methods=["POST"]),
]
