"""A signed, append-only log that anyone can check: RFC 6962 tree, C2SP checkpoints and tiles, canonical JSON entries."""

from guardrails.ledger.log import Appended, Ledger
from guardrails.ledger.note import Signer
from guardrails.ledger.private import Private
from guardrails.ledger.signing import SessionKey

__all__ = ["Appended", "Ledger", "Private", "SessionKey", "Signer"]
