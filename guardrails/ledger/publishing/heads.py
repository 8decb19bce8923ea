"""Signed heads of one log: are they the log's, and does the later one contain the earlier? Where not, both are the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from guardrails.errors import LedgerError, ProofError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.merkle import verify_consistency
from guardrails.ledger.note import Verifier, base64_text, open_note
from guardrails.ledger.tile_tree import TileTree

__all__ = ["Keys", "open_head", "require_extension"]

Keys: TypeAlias = Verifier | Sequence[Verifier]
"""The key of a log, or all of its keys that are trusted: while keys rotate, an older checkpoint carries the older key's signature."""


def open_head(note: str, keys: Keys) -> Checkpoint:
    """Returns the checkpoint in a note that one of the log's keys signed.

    Raises:
        LedgerError: The note is malformed, signed by none of them, or of another log (ledger.note_invalid).
    """
    verifiers = [keys] if isinstance(keys, Verifier) else list(keys)
    checkpoint = Checkpoint.parse(open_note(note, verifiers))
    for verifier in verifiers:
        if verifier.name != checkpoint.origin:
            evidence = {"origin": checkpoint.origin, "expected": verifier.name}
            raise LedgerError("ledger.note_invalid", "The checkpoint is of another log.", evidence=evidence)
    return checkpoint


def require_extension(old_note: str, new_note: str, tree: TileTree, keys: Keys) -> Checkpoint:
    """Checks that the log of `new_note`, whose tree is `tree`, contains the log of `old_note`; returns the old checkpoint.

    Raises:
        TamperedError: It does not (ledger.inconsistent). The evidence is both notes, which the log's key signed, and the proof that
            does not hold, if the tree gives one.
        LedgerError: A note is not signed by any of the keys (ledger.note_invalid), or tiles cannot be read.
    """
    old, new = open_head(old_note, keys), open_head(new_note, keys)
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
