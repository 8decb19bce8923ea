"""Checkpoints: the signed head of a log, a note (c2sp.org/signed-note) over the text that `guardrails.ledger.tree_head` describes."""

from __future__ import annotations

from guardrails.ledger.note import Signer, Verifier, sign_note, signed_by
from guardrails.ledger.text import note_error
from guardrails.ledger.tree_head import Checkpoint

__all__ = ["Checkpoint", "open_checkpoint", "sign_checkpoint"]


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer, *more: Signer, time_s: int | None = None) -> str:
    """Returns the checkpoint as a note with one signature line for each signer; see `sign_note`."""
    return sign_note(str(checkpoint), signer, *more, time_s=time_s)


def open_checkpoint(note: str, verifier: Verifier, *more: Verifier) -> Checkpoint:
    """Returns the checkpoint in a note that one of the keys signed and whose origin is that key's name.

    Args:
        note: The signed checkpoint.
        verifier: The log's key; `more` are further keys of the same log, such as the next one while keys rotate.
        more: Further keys.

    Raises:
        LedgerError: The note is malformed, signed by none of these keys, or of another log (ledger.note_invalid).
    """
    opened = signed_by(note, (verifier, *more))
    checkpoint = Checkpoint.parse(opened.text)
    if any(signer.name != checkpoint.origin for signer in opened.signers):
        raise note_error("The checkpoint is of another log.", origin=checkpoint.origin, expected=verifier.name)
    return checkpoint
