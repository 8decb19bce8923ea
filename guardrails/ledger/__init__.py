"""A signed, append-only log that anyone can check: RFC 6962 tree, C2SP checkpoints, canonical JSON entries, in SQLite."""

from guardrails.ledger.log import Appended, Ledger
from guardrails.ledger.note import Signer

__all__ = ["Appended", "Ledger", "Signer"]
