"""Checkpoints: the signed head of a log, as C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) writes it.

The note's text is three lines: origin, tree size in decimal, root hash in base64; extension lines may follow. Only the
canonical form is accepted: reading and writing again gives the same bytes, so one head has one text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from guardrails.errors import LedgerError
from guardrails.ledger.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from guardrails.ledger.note import Signer, Verifier, base64_text, check_name, open_note, sign_note, strict_base64

__all__ = ["Checkpoint", "open_checkpoint", "sign_checkpoint"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's head. `str()` gives the text that is signed.

    Args:
        origin: The log's identity, which is also the name of its key.
        size: Number of entries.
        root: Root hash of 32 bytes.
        extensions: Opaque further lines; this library writes none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.origin)
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise _invalid("A checkpoint has a size from 0 to 2^63 - 1 and a root of 32 bytes.")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _invalid("The root of an empty tree is SHA-256 of nothing.")
        if any(not line or "\n" in line for line in self.extensions):
            raise _invalid("An extension line of a checkpoint is empty.")

    def __str__(self) -> str:
        return "\n".join((self.origin, str(self.size), base64_text(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads the text of a checkpoint, without its signatures.

        Raises:
            LedgerError: It is not in canonical form (ledger.note_invalid).
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise _invalid("A checkpoint is three or more lines, each ended by a newline.")
        origin, size, root, *extensions = lines[:-1]
        if not _SIZE.fullmatch(size):
            raise _invalid("A checkpoint's size is a plain decimal number without leading zeros.")
        return cls(origin, int(size), strict_base64(root), tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """Returns the checkpoint as a signed note."""
    return sign_note(str(checkpoint), signer)


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Returns the checkpoint in a note that `verifier` signed and whose origin is the verifier's name.

    Raises:
        LedgerError: The note is malformed, not signed by this key, or of another log (ledger.note_invalid).
    """
    checkpoint = Checkpoint.parse(open_note(note, [verifier]))
    if checkpoint.origin != verifier.name:
        raise _invalid("The checkpoint is of another log.", origin=checkpoint.origin, expected=verifier.name)
    return checkpoint


def _invalid(message: str, **evidence: object) -> LedgerError:
    return LedgerError("ledger.note_invalid", message, evidence=evidence)
