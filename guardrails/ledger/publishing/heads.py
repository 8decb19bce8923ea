"""Two signed heads of one log: does the later one contain the earlier one? Where not, both are the evidence."""

from __future__ import annotations

from guardrails.errors import ProofError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.merkle import verify_consistency
from guardrails.ledger.note import Verifier, base64_text
from guardrails.ledger.tile_tree import TileTree

__all__ = ["require_extension"]


def require_extension(old_note: str, new_note: str, tree: TileTree, verifier: Verifier) -> Checkpoint:
    """Checks that the log of `new_note`, whose tree is `tree`, contains the log of `old_note`; returns the old checkpoint.

    Raises:
        TamperedError: It does not (ledger.inconsistent). The evidence is both notes, which the log's key signed, and the proof that
            does not hold, if the tree gives one.
        LedgerError: A note is not signed by `verifier` (ledger.note_invalid), or tiles cannot be read.
    """
    old, new = open_checkpoint(old_note, verifier), open_checkpoint(new_note, verifier)
    if old.size == 0:
        return old  # An empty log is contained in every log.
    evidence: dict[str, object] = {"old": old_note, "new": new_note}
    if new.size < old.size:
        raise TamperedError(
            "ledger.inconsistent",
            f"The log was rolled back: it has {new.size} entries, and had {old.size}.",
            evidence=evidence,
        )
    proof = tree.consistency_proof(old.size)
    try:
        verify_consistency(old.size, new.size, old.root, new.root, proof)
    except ProofError as error:
        raise TamperedError(
            "ledger.inconsistent",
            f"The log was forked: its first {old.size} entries are not those that it had before.",
            evidence=evidence | {"proof": [base64_text(value) for value in proof]},
        ) from error
    return old
