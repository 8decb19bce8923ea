"""What protects a signed-in browser: headers that let a page load and do nothing foreign, forms that only our pages can send, bounds.

Content Security Policy Level 3 without inline code; cross-site request forgery is met three times: by cookies that other sites' requests
do not carry (SameSite), by where the browser says that a request comes from (Fetch Metadata, Origin), and by a token in each form.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardrails.console.settings import ConsoleSettings
from guardrails.console.viewer import Viewer
from guardrails.errors import IdentityError

__all__ = ["CSRF_FIELD", "CSRF_HEADER", "SAFE_METHODS", "Guarding", "RateLimit", "require_csrf", "require_same_origin"]

CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make browsers hide the origin of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_MOST_BODY_BYTES = 256 * 1024


class Guarding:
    """ASGI middleware around everything: refuses foreign hosts and large bodies, and puts the headers on every answer.

    Args:
        app: What is inside.
        settings: Of the console.
    """

    def __init__(self, app: ASGIApp, settings: ConsoleSettings) -> None:
        self._app = app
        self._host = settings.host.encode()
        self._headers = dict(_HEADERS)
        if settings.is_secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = dict(scope["headers"])
        if headers.get(b"host", b"").lower() != self._host:
            # A foreign name that leads here is how another site's page would read this one (DNS rebinding).
            await PlainTextResponse("Misdirected request\n", 421)(scope, receive, send_guarded)
            return
        if not _is_small(headers):
            await PlainTextResponse("The request is too large.\n", 413)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def _is_small(headers: dict[bytes, bytes]) -> bool:
    """Whether the body's length is told and bounded; without a length there is none, as a body in chunks is not taken."""
    if b"transfer-encoding" in headers:
        return False
    length = headers.get(b"content-length", b"0")
    return length.isdigit() and int(length) <= _MOST_BODY_BYTES


def require_same_origin(request: Request, settings: ConsoleSettings) -> None:
    """Refuses a request that changes something and that a page of another site sent.

    Raises:
        IdentityError: It comes from elsewhere (identity.form_forged).
    """
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, "same-origin", "none") or origin not in (None, settings.base_url):
        raise IdentityError("identity.form_forged", "The form was not sent by a page of this console.")


def require_csrf(viewer: Viewer, given: object) -> None:
    """Refuses a form without the viewer's own token.

    Raises:
        IdentityError: The token is another one or missing (identity.form_forged).
    """
    expected = viewer.csrf_token
    if (
        not expected
        or not isinstance(given, str)
        or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
    ):
        raise IdentityError("identity.form_forged", "The form was not sent by a page of this console.")


class RateLimit:
    """Counts tries by address over a minute. Safe to share between threads; each process counts its own.

    Args:
        tries: So many a minute from one address.
        clock_s: Seconds that only go forward.
    """

    _MOST_ADDRESSES = 10_000

    def __init__(self, tries: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tries = tries
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def require(self, address: str) -> None:
        """Counts a try.

        Raises:
            IdentityError: There were too many (identity.too_many_tries).
        """
        now = self._clock_s()
        with self._lock:
            times = self._seen.setdefault(address, deque())
            self._seen.move_to_end(address)
            while len(self._seen) > self._MOST_ADDRESSES:
                self._seen.popitem(last=False)
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= self._tries:
                raise IdentityError("identity.too_many_tries", "There were too many tries to sign in from here.")
            times.append(now)
