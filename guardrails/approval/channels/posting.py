"""One POST to an address that the operator gave: over TLS or to this machine, without redirects, with an answer that is not read.

The address of a chat's incoming webhook is itself the secret, so it appears in no error, log or file.
"""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urlsplit

from guardrails.errors import UsageError

__all__ = ["Posted", "post", "require_private_target"]

_MOST_WAIT_S = 3600


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a POST.

    Args:
        problem: Empty when the receiver took the message: a status, or the kind of failure.
        is_final: The receiver wants no more of it.
        retry_after_s: Seconds that the receiver asks to wait, None when it does not say.
    """

    problem: str = ""
    is_final: bool = False
    retry_after_s: float | None = None


def require_private_target(url: str) -> None:
    """Refuses an address over which others could read along.

    Raises:
        UsageError: It is neither HTTPS nor loopback HTTP, or has a user name (usage.input_invalid).
    """
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname or "", parts.username is not None
        is_private = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    except ValueError:
        host, has_user, is_private = "", False, False
    if not host or has_user or not is_private or not url.isprintable() or " " in url:
        raise UsageError("usage.input_invalid", "A webhook's address is an https URL, or an http URL of this machine.")


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, now: float) -> Posted:
    """Sends a body and returns what came of it; raises nothing for a receiver that fails.

    Args:
        url: Checked with `require_private_target`.
        body: JSON.
        headers: Beside the content type.
        timeout_s: Seconds for each step of the exchange.
        now: Unix seconds, to read a date that says when to come back.
    """
    given = {"Content-Type": "application/json", "User-Agent": "guardrails-webhooks", **headers}
    request = urllib.request.Request(url, body, given, method="POST")  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=timeout_s):
            return Posted()
    except urllib.error.HTTPError as error:
        with error:
            is_gone = error.code == HTTPStatus.GONE
            return Posted(f"status {error.code}", is_gone, _wait_s(error.headers.get("Retry-After"), now))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Posted(type(reason).__name__)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _wait_s(text: str | None, now: float) -> float | None:
    """Reads ``Retry-After`` (RFC 9110 section 10.2.3): seconds, or a date."""
    if text is None:
        return None
    try:
        wait_s = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait_s, 0), _MOST_WAIT_S)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
