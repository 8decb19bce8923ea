"""A proof that one entry is in the log, in a file of its own: C2SP tlog-proof (c2sp.org/tlog-proof).

It carries the index, the inclusion proof and the signed checkpoint, so it can be checked offline with the entry's bytes and the
log's verifier key alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from guardrails.ledger.note import Verifier, base64_text, strict_base64

__all__ = ["EntryProof"]

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class EntryProof:
    """An entry's inclusion proof with its checkpoint. `str()` gives the file's text.

    Args:
        index: The entry's index.
        hashes: The inclusion proof, from the leaf's sibling up; 32 bytes each.
        checkpoint: The signed note of the tree that the proof leads to.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def __str__(self) -> str:
        return "\n".join((_HEADER, f"index {self.index}", *map(base64_text, self.hashes), "", self.checkpoint))

    @classmethod
    def parse(cls, text: str) -> EntryProof:
        """Reads a proof's text. An ``extra`` line, which nothing authenticates, is skipped.

        Raises:
            LedgerError: It is malformed (ledger.note_invalid).
        """
        head, separator, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines.pop(0) != _HEADER:
            raise LedgerError("ledger.note_invalid", "The text is not a C2SP tlog-proof.")
        if lines and lines[0].startswith("extra "):
            strict_base64(lines.pop(0).removeprefix("extra "))
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None:
            raise LedgerError("ledger.note_invalid", "The proof does not name the entry's index.")
        hashes = tuple(strict_base64(line) for line in lines)
        if any(len(value) != HASH_BYTES for value in hashes):
            raise LedgerError("ledger.note_invalid", "A hash of the proof is not 32 bytes.")
        return cls(int(index[1]), hashes, checkpoint)

    def verify(self, leaf: bytes, verifier: Verifier) -> Checkpoint:
        """Checks that an entry's canonical bytes are in the log that `verifier` signs; returns the checkpoint that says so.

        Raises:
            LedgerError: The checkpoint is not signed by this key (ledger.note_invalid).
            ProofError: The proof does not hold for these bytes.
        """
        checkpoint = open_checkpoint(self.checkpoint, verifier)
        verify_inclusion(leaf_hash(leaf), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
