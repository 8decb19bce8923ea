"""A published log behind an HTTP prefix, read with GET requests as C2SP tlog-tiles describes them."""

from __future__ import annotations

import zlib
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPDefaultErrorHandler, HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request
from urllib.request import HTTPErrorProcessor as ErrorProcessor

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.publishing.source import check_limit

__all__ = ["WebReader"]

_OK = 200
_MISSING = frozenset({404, 410})


class WebReader:
    """The prefix of a log; see `Reader`. Redirects are not followed: what is named is what is read.

    Args:
        prefix: ``https://host/path`` (or ``http``), without a query.
        timeout_s: How long an answer may keep us waiting.

    Raises:
        UsageError: It is not such a URL (usage.input_invalid).
    """

    def __init__(self, prefix: str, timeout_s: float = 30) -> None:
        parts = urlsplit(prefix)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError("usage.input_invalid", "A log's prefix is an http or https URL without a query.")
        self._prefix = prefix.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = OpenerDirector()
        for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, ErrorProcessor):
            self._opener.add_handler(handler())

    def __str__(self) -> str:
        return self._prefix

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        # The scheme was checked: nothing but http and https is ever opened.
        request = Request(f"{self._prefix}/{path}", headers={"Accept-Encoding": "gzip, identity"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                encoding = answer.headers.get("Content-Encoding", "identity").lower()
                data = answer.read(limit_bytes + 1)
                if answer.status != _OK:
                    raise _failed(path, f"the server answered {answer.status}")
                if len(data) <= limit_bytes and answer.length:
                    raise _failed(path, "the answer was cut off")
        except HTTPError as error:
            with error:
                if error.code in _MISSING:
                    return None
                raise _failed(path, f"the server answered {error.code}") from error
        except (OSError, HTTPException) as error:
            raise _failed(path, str(error)) from error
        return _decoded(path, check_limit(path, data, limit_bytes), encoding, limit_bytes)


def _decoded(path: str, data: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding == "identity":
        return data
    if encoding not in ("gzip", "x-gzip"):
        raise _failed(path, f"the content encoding {encoding} is not understood")
    # Bounded: an answer of some kilobytes can unpack to gigabytes.
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(data, limit_bytes + 1)
    except zlib.error as error:
        raise _failed(path, "the answer is not gzip") from error
    if len(plain) <= limit_bytes and (not inflater.eof or inflater.unused_data):
        raise _failed(path, "the answer is not one whole gzip stream")
    return check_limit(path, plain, limit_bytes)


def _failed(path: str, why: str) -> LedgerError:
    return LedgerError(
        "ledger.unavailable",
        f"{path} could not be fetched.",
        hint="Check the URL and that the server answers.",
        evidence={"error": why},
    )
