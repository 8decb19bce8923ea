"""One exchange with one witness of C2SP tlog-witness (c2sp.org/tlog-witness), and what its answer is worth.

An answer counts only for the cosignatures in it that hold: nothing that a witness says is believed unverified, and sizes, times and
redirects are bounded. The standard library's HTTP client is used.
"""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Note, SignatureLine, Verifier, parse_lines, signed_by
from guardrails.ledger.tree_head import parse_size
from guardrails.ledger.witnessing.request import SIZE_CONTENT_TYPE, AddCheckpoint

__all__ = ["Reply", "add_checkpoint", "check_url", "cosignatures"]

MAX_ANSWER_BYTES = 256 * 1024
MAX_AHEAD_S = 300
"""How far the clock of a witness may be ahead of this machine's."""
_URL = re.compile(r"https?://[^\s?#]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of asking a witness.

    Args:
        status: HTTP status; 0 where there was no answer.
        said: The answer in short, for people.
        lines: Signature lines of an answer of 200, not verified.
        size: The size that a witness named with 409: the one it saw last.
    """

    status: int
    said: str
    lines: tuple[SignatureLine, ...] = ()
    size: int | None = None


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
        return None  # a redirected POST would lose its body, and the policy names the place


def check_url(url: str) -> str:
    """Returns a witness's submission prefix without a slash at its end.

    Raises:
        UsageError: It is not an http or https URL (usage.input_invalid).
    """
    if not _URL.fullmatch(url):
        raise UsageError("usage.input_invalid", "A witness's URL starts with http:// or https:// and has no query.")
    return url.rstrip("/")


def add_checkpoint(url: str, request: AddCheckpoint, *, timeout_s: float) -> Reply:
    """Asks a witness to cosign; a witness that fails in whatever way gives a reply that says so.

    Args:
        url: Submission prefix, as `check_url` returns it.
        request: What to send.
        timeout_s: For connecting, for each read, and for the whole body of the answer.
    """
    post = urllib.request.Request(  # noqa: S310  check_url lets only http and https through
        f"{check_url(url)}/add-checkpoint",
        data=str(request).encode(),
        headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "guardrails-witness-client"},
        method="POST",
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(post, timeout=timeout_s) as response:
            return _granted(response.status, _read(response, timeout_s))
    except urllib.error.HTTPError as error:
        with error:
            return _refused(error, timeout_s)
    except LedgerError as error:
        return Reply(0, f"sent what is no answer: {error.message}")
    except (OSError, HTTPException, ValueError) as error:
        return Reply(0, f"did not answer: {type(error).__name__}")


def cosignatures(note: str, lines: Sequence[SignatureLine], verifiers: Sequence[Verifier]) -> tuple[SignatureLine, ...]:
    """Returns those lines of an answer that are cosignatures of the note by the given keys; lines of other keys are passed over.

    Raises:
        LedgerError: None is, one does not hold, or one is dated 0 or in the future (ledger.note_invalid).
    """
    opened = signed_by(Note(Note.parse(note).text, tuple(lines)), verifiers)
    latest_s = time.time() + MAX_AHEAD_S
    if any(s.time_s is None or not 0 < s.time_s <= latest_s for s in opened.signatures):
        raise LedgerError("ledger.note_invalid", "A cosignature carries no time, or one in the future.")
    known = {(v.name, v.key_hash) for v in opened.signers}
    return tuple(line for line in lines if (line.name, line.key_id) in known)


def _granted(status: int, body: str) -> Reply:
    if status != 200:
        return Reply(status, f"answered {status}")
    return Reply(status, "cosigned", parse_lines(body))


def _refused(error: urllib.error.HTTPError, timeout_s: float) -> Reply:
    try:
        body = _read(error, timeout_s)
        if error.code == 409 and error.headers.get_content_type() == SIZE_CONTENT_TYPE:
            size = parse_size(body.removesuffix("\n"))
            return Reply(409, f"has seen {size} entries", size=size)
    except (LedgerError, OSError, HTTPException):
        return Reply(error.code, f"refused with {error.code}, and an answer that cannot be read")
    said = "".join(c if c.isprintable() else " " for c in body[:200]).strip()
    return Reply(error.code, f"refused with {error.code}: {said}" if said else f"refused with {error.code}")


def _read(response: IO[bytes], timeout_s: float) -> str:
    deadline, body = time.monotonic() + timeout_s, b""
    while part := response.read(8192):
        body += part
        if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            raise LedgerError("ledger.note_invalid", "The answer is too large or too slow.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise LedgerError("ledger.note_invalid", "The answer is not UTF-8.") from error
