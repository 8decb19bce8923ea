"""The text of a checkpoint, as C2SP tlog-checkpoint (c2sp.org/tlog-checkpoint) writes it, apart from its signatures.

Three lines: origin, tree size in decimal, root hash in base64; extension lines may follow. Only the canonical form is accepted:
reading and writing again gives the same bytes, so one head has one text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from guardrails.errors import ProofError
from guardrails.ledger.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from guardrails.ledger.text import base64_text, check_name, note_error, strict_base64

__all__ = ["Checkpoint", "parse_size"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's head. `str()` gives the text that is signed.

    Args:
        origin: The log's identity, which is also the name of its key.
        size: Number of entries.
        root: Root hash of 32 bytes.
        extensions: Opaque further lines; this library writes none.

    Raises:
        ProofError: The tree is empty and the root is not that of the empty tree (ledger.proof_invalid).
        LedgerError: A part cannot be in a checkpoint (ledger.note_invalid).
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.origin)
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise note_error("A checkpoint has a size from 0 to 2^63 - 1 and a root of 32 bytes.")
        if any(not line or "\n" in line for line in self.extensions):
            raise note_error("An extension line of a checkpoint is empty.")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise ProofError("ledger.proof_invalid", "The root of an empty tree is SHA-256 of nothing.")

    def __str__(self) -> str:
        return "\n".join((self.origin, str(self.size), base64_text(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads the text of a checkpoint, without its signatures.

        Raises:
            LedgerError: It is not in canonical form (ledger.note_invalid).
            ProofError: It gives the empty tree another root (ledger.proof_invalid).
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise note_error("A checkpoint is three or more lines, each ended by a newline.")
        origin, size, root, *extensions = lines[:-1]
        return cls(origin, parse_size(size), strict_base64(root), tuple(extensions))


def parse_size(text: str) -> int:
    """Reads a tree size: ASCII decimal without leading zeros, at most 2^63 - 1.

    Raises:
        LedgerError: It is written otherwise, or too large (ledger.note_invalid).
    """
    if not _SIZE.fullmatch(text) or int(text) > MAX_SIZE:
        raise note_error("A tree size is a plain decimal number without leading zeros, at most 2^63 - 1.")
    return int(text)
