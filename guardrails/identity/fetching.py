"""Reading what an issuer publishes: JSON over HTTPS, or over HTTP from this machine, with bounds on size and time and no redirects."""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from guardrails.errors import IdentityError, UsageError

__all__ = ["fetch_json", "fetch_text", "require_private_url"]

_MOST_BYTES = 512 * 1024


def fetch_json(url: str, timeout_s: float) -> object:
    """Returns a JSON document; follows no redirects.

    Raises:
        IdentityError: It could not be read (identity.key_unknown).
    """
    try:
        document: object = json.loads(fetch_text(url, timeout_s))
    except (ValueError, RecursionError) as error:
        raise _unreadable(url, error) from error
    return document


def fetch_text(url: str, timeout_s: float) -> bytes:
    """Returns what stands at a URL; follows no redirects.

    Raises:
        IdentityError: It could not be read (identity.key_unknown).
        UsageError: The URL is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """
    require_private_url(url)
    request = urllib.request.Request(url, headers={"Accept": "application/json, */*"})  # noqa: S310 - the scheme was checked
    # What is read without encryption stays on this machine, whatever proxy the environment names.
    direct = [urllib.request.ProxyHandler({})] if url.startswith("http:") else []
    try:
        with urllib.request.build_opener(_NoRedirects(), *direct).open(request, timeout=timeout_s) as response:
            data: bytes = response.read(_MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise _unreadable(url, error) from error
    if len(data) > _MOST_BYTES:
        raise _unreadable(url, ValueError("too large"))
    return data


def require_private_url(url: str) -> None:
    """Refuses a URL over which somebody on the way could put in keys.

    Raises:
        UsageError: It is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return
    raise UsageError("usage.input_invalid", "Keys are only read over https, or over http from this machine.")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unreadable(url: str, error: Exception) -> IdentityError:
    evidence = {"url": url, "error": type(error).__name__}
    return IdentityError("identity.key_unknown", "The issuer's keys could not be read.", evidence=evidence)
