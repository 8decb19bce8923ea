"""What the console answers when something is refused or goes wrong: a page with a code and a way out, never the inner workings."""

from __future__ import annotations

import logging
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from guardrails.console.rendering import is_fragment, render
from guardrails.console.security import SAFE_METHODS
from guardrails.errors import GuardrailsError

__all__ = ["answer_bug", "answer_error", "answer_http", "status_of"]

_LOG = logging.getLogger(__name__)
_STATUS = {
    "identity.sign_in_required": 401,
    "identity.too_many_tries": 429,
    "identity.link_invalid": 410,
    "approval.unknown": 404,
    "ledger.index_range": 404,
    "ledger.archived": 410,
    "approval.expired": 410,
    "approval.closed": 409,
    "approval.reason_required": 422,
    "approval.channel_down": 503,
    "ledger.unavailable": 503,
    "ledger.connection_lost": 503,
    "ledger.commit_unknown": 503,
}
_STATUS_OF_KIND = {
    "identity": 403,
    "approval": 403,
    "usage": 400,
    "sql": 400,
    "mask": 400,
    "policy": 400,
    "engine": 502,
    "ledger": 500,
}
_TITLES = {404: "There is no such page", 405: "This page cannot be used that way"}


def status_of(error: GuardrailsError) -> int:
    """Returns the HTTP status of an error, by its code."""
    return _STATUS.get(error.code) or _STATUS_OF_KIND.get(error.code.partition(".")[0], 500)


def answer_error(request: Request, error: Exception) -> Response:
    """Answers with an error of ours; who is not signed in is sent to the sign-in, and back afterwards."""
    if not isinstance(error, GuardrailsError):
        return answer_bug(request, error)
    if error.code == "identity.sign_in_required":
        return _to_sign_in(request)
    if status_of(error) >= 500:
        _LOG.error("console: %s", error.diagnostics())
    return render(request, "error.html", status=status_of(error), code=error.code, message=error.message, hint=error.hint)


def answer_http(request: Request, error: Exception) -> Response:
    """Answers with what the server refuses on its own, such as an unknown address."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    response = render(
        request, "error.html", status=status, code="", message=_TITLES.get(status, "The request was refused"), hint=""
    )
    response.headers.update(headers or {})
    return response


def answer_bug(request: Request, error: Exception) -> Response:  # noqa: ARG001  Starlette's signature
    """Answers when something went wrong that should not; what, is in the log alone."""
    _LOG.error("console: an unexpected %s", type(error).__name__, exc_info=error)
    return PlainTextResponse("Something went wrong here. It is in the console's log.\n", 500)


def _to_sign_in(request: Request) -> Response:
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/signin?next={quote(back, safe='')}"
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/signin"})
    return RedirectResponse(target if request.method in SAFE_METHODS else "/signin", 303)
