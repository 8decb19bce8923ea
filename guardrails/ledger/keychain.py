"""Where a ledger keeps the story of its own keys: entries of one reserved session, so that they are found without reading the log."""

from __future__ import annotations

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.entry import decode
from guardrails.ledger.note import Verifier
from guardrails.ledger.rotation import ROTATE, KeyHistory
from guardrails.ledger.stores.base import Store

__all__ = ["KEY_SESSION", "current_key", "key_history"]

KEY_SESSION = "log.keys"
"""Session of the entries ``key.rotate``, ``key.retire`` and ``key.revoke``."""


def key_history(store: Store, trusted: Verifier, size: int) -> KeyHistory:
    """Returns the log's keys from its first one on. Called inside a transaction or a snapshot.

    Args:
        store: The ledger's store.
        trusted: A key that is trusted by other means; it must be one of them.
        size: Entries below it count.

    Raises:
        LedgerError: The entries about keys do not follow from each other (ledger.key_history), or `trusted` is none of the keys.
    """
    entries = [(index, decode(leaf)) for index, leaf in store.leaves(0, size, KEY_SESSION)]
    olds = [entry.get("old") for _, entry in entries if entry.get("type") == ROTATE]
    first = Verifier.parse(str(olds[0])) if olds else trusted
    history = KeyHistory.fold(first, entries)
    if trusted not in [period.verifier for period in history.periods]:
        raise LedgerError("ledger.key_history", "The trusted key is none of the keys that this log had.")
    return history


def current_key(store: Store, known: Verifier, since: int, size: int) -> Verifier:
    """Returns the key that a rotation after `since` brought in, on the word of the key that was current until then.

    Raises:
        TamperedError: The entries about keys do not follow from each other.
    """
    try:
        history = KeyHistory.trusting(known, first_index=since)
        for index, leaf in store.leaves(since, size, KEY_SESSION):
            history = history.after(index, decode(leaf))
    except LedgerError as error:
        raise TamperedError("ledger.tampered", "The ledger's key was replaced.") from error
    return history.current
