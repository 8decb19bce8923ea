"""One bounded HTTP POST by the standard library: no redirects, a limit to the answer's size, a limit to its time."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO

from guardrails.errors import UsageError

__all__ = ["Posted", "check_url", "post"]

MAX_ANSWER_BYTES = 256 * 1024
_URL = re.compile(r"https?://[^\s?#]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer: its status, its content type without parameters, its body."""

    status: int
    content_type: str
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002  the base class's signature
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        return None  # a redirected POST would lose its body, and the caller named the place


def check_url(url: str) -> str:
    """Returns the URL of a service without a slash at its end.

    Raises:
        UsageError: It is not an http or https URL (usage.input_invalid).
    """
    if not _URL.fullmatch(url):
        raise UsageError("usage.input_invalid", "The URL of a service starts with http:// or https:// and has no query.")
    return url.rstrip("/")


def post(url: str, body: bytes, content_type: str, *, timeout_s: float) -> Posted:
    """Sends a body and returns the answer, whatever its status.

    Args:
        url: http or https only.
        body: What is sent.
        content_type: Of the body.
        timeout_s: For connecting, for each read, and for the whole body of the answer.

    Raises:
        OSError: There was no answer, or it is malformed, too large or too slow.
        UsageError: The URL is of another kind (usage.input_invalid).
    """
    request = urllib.request.Request(  # noqa: S310  check_url lets only http and https through
        check_url(url), data=body, headers={"Content-Type": content_type, "User-Agent": "guardrails-ledger"}, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as response:
            return Posted(response.status, response.headers.get_content_type(), _read(response, timeout_s))
    except urllib.error.HTTPError as error:
        with error:
            return Posted(error.code, error.headers.get_content_type(), _read(error, timeout_s))
    except (HTTPException, ValueError) as error:
        raise OSError(f"The answer is malformed: {type(error).__name__}.") from error


def _read(response: IO[bytes], timeout_s: float) -> bytes:
    deadline, body = time.monotonic() + timeout_s, b""
    try:
        while part := response.read(8192):
            body += part
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                raise OSError("The answer is too large or too slow.")
    except (HTTPException, ValueError) as error:
        raise OSError(f"The answer broke off: {type(error).__name__}.") from error
    return body
