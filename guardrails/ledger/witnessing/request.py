"""The body of an add-checkpoint request, as C2SP tlog-witness (c2sp.org/tlog-witness) writes it."""

from __future__ import annotations

from dataclasses import dataclass

from guardrails.ledger.merkle import HASH_BYTES
from guardrails.ledger.note import Note
from guardrails.ledger.text import base64_text, note_error, strict_base64
from guardrails.ledger.tree_head import parse_size

__all__ = ["MAX_PROOF_LINES", "MAX_REQUEST_BYTES", "SIZE_CONTENT_TYPE", "AddCheckpoint"]

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 256 * 1024
"""Room for 63 hashes and some forty signatures with ML-DSA-44 among them."""
SIZE_CONTENT_TYPE = "text/x.tlog.size"
"""Content type of the answer to an old size that is not the witness's."""
_OLD = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign a checkpoint. `str()` gives the body.

    Args:
        old_size: Tree size that the proof starts from.
        proof: Consistency proof, hashes of 32 bytes.
        note: The checkpoint, nothing about it verified.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        return f"{_OLD}{self.old_size}\n" + "".join(f"{base64_text(value)}\n" for value in self.proof) + f"\n{self.note}"

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Reads a request's body.

        Raises:
            LedgerError: It is too large or not in canonical form (ledger.note_invalid).
        """
        if len(body) > MAX_REQUEST_BYTES:
            raise note_error("The request is too large.")
        try:
            head, separator, note = body.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise note_error("The request is not UTF-8.") from error
        old, *hashes = head.split("\n")
        if not separator or not old.startswith(_OLD) or len(hashes) > MAX_PROOF_LINES:
            raise note_error("A request is an old size, at most 63 hashes, an empty line and a checkpoint.")
        proof = tuple(strict_base64(value) for value in hashes)
        if any(len(value) != HASH_BYTES for value in proof):
            raise note_error("A hash of the proof is not 32 bytes.")
        return cls(parse_size(old.removeprefix(_OLD)), proof, Note.parse(note))
