"""Verifies a whole ledger, reading only and trusting one public key; see `guardrails.ledger.auditing` for what is checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.auditing import Audit, Level
from guardrails.ledger.location import Location
from guardrails.ledger.opening import open_store
from guardrails.ledger.report import Problem, Report, TrustedKey, read_small_file

__all__ = ["Level", "Problem", "Report", "TrustedKey", "verify"]


def verify(
    url: str | Path,
    *,
    key: str | Path | None = None,
    pin: tuple[int, bytes] | None = None,
    checkpoint: str | Path | None = None,
    level: Level = "signatures",
    progress: Callable[[int, int], None] | None = None,
    archive: Callable[[int, int], list[bytes]] | None = None,
) -> Report:
    """Checks a ledger completely.

    Args:
        url: As for `Ledger.open`: a URL or a path.
        key: The verifier key, as text or as a path; by default the ``.pub`` file beside a ledger's file.
        pin: (size, root) known from elsewhere, which must be a prefix of this ledger.
        checkpoint: An earlier signed checkpoint, as text or as a path, which must be a prefix of this ledger.
        level: How deep: ``hash`` rebuilds the tree, ``entries`` also reads what they say, ``signatures`` (everything) also checks
            each entry's signature.
        progress: Called now and then with (entries checked, entries in all).
        archive: Gives the bytes of archived entries `start` to `end`; without it they are only checked by their hashes.

    Raises:
        UsageError: A file is missing, no key is given where none lies beside, or the URL is of memory or of another database.
        LedgerError: It is not a ledger (ledger.unavailable), or the key or the given checkpoint is not valid
            (ledger.note_invalid).
    """
    location = Location.parse(url)
    if location.is_memory:
        raise UsageError("usage.database_unsupported", "A ledger in memory cannot be verified from outside.")
    store = open_store(location, read_only=True)
    try:
        trusted = TrustedKey.find(key, location.beside(".pub"))
        pins = {} if pin is None else {"the pinned root": pin}
        audit = Audit(store, trusted, pins, level=level, progress=progress, archive=archive)
        with store.snapshot():  # one state, whatever is appended meanwhile
            audit.read_keys()
            if checkpoint is not None:
                text = checkpoint if isinstance(checkpoint, str) and "\n" in checkpoint else read_small_file(Path(checkpoint))
                audit.pin("the earlier checkpoint", text)
            return audit.run()
    finally:
        store.close()
