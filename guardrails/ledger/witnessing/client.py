"""One exchange with one witness of C2SP tlog-witness (c2sp.org/tlog-witness), and what its answer is worth.

An answer counts only for the cosignatures in it that hold: nothing that a witness says is believed unverified.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from guardrails.errors import LedgerError
from guardrails.ledger.note import Note, SignatureLine, Verifier, parse_lines, signed_by
from guardrails.ledger.posting import Posted, check_url, post
from guardrails.ledger.tree_head import parse_size
from guardrails.ledger.witnessing.request import SIZE_CONTENT_TYPE, AddCheckpoint

__all__ = ["Reply", "add_checkpoint", "cosignatures"]

MAX_AHEAD_S = 300
"""How far the clock of a witness may be ahead of this machine's."""
_MAX_QUOTED = 200


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


def add_checkpoint(url: str, request: AddCheckpoint, *, timeout_s: float) -> Reply:
    """Asks a witness to cosign; a witness that fails in whatever way gives a reply that says so.

    Args:
        url: Submission prefix.
        request: What to send.
        timeout_s: For connecting, for each read, and for the whole body of the answer.

    Raises:
        UsageError: The URL is not http or https (usage.input_invalid).
    """
    try:
        answer = post(
            f"{check_url(url)}/add-checkpoint", str(request).encode(), "text/plain; charset=utf-8", timeout_s=timeout_s
        )
    except OSError as error:
        return Reply(0, f"did not answer: {error}")
    try:
        return _read(answer)
    except (LedgerError, UnicodeDecodeError):
        return Reply(answer.status, f"answered {answer.status} with what cannot be read")


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


def _read(answer: Posted) -> Reply:
    status, text = answer.status, answer.body.decode()
    if status == 200:
        return Reply(status, "cosigned", parse_lines(text))
    if status == 409 and answer.content_type == SIZE_CONTENT_TYPE:
        size = parse_size(text.removesuffix("\n"))
        return Reply(status, f"has seen {size} entries", size=size)
    quoted = "".join(c if c.isprintable() else " " for c in text[:_MAX_QUOTED]).strip()
    return Reply(status, f"refused with {status}: {quoted}" if quoted else f"refused with {status}")
