"""Verifies a whole ledger, reading only and trusting one public key; see `guardrails.ledger.auditing` for what is checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.auditing import Audit, Level
from guardrails.ledger.location import Location
from guardrails.ledger.opening import open_store
from guardrails.ledger.pin import PinStore
from guardrails.ledger.publishing.archive import ArchiveReader
from guardrails.ledger.publishing.places import open_reader
from guardrails.ledger.report import Problem, Report, TrustedKey, read_small_file
from guardrails.ledger.stores.base import Store
from guardrails.ledger.witnessing.quorum import Policy

__all__ = ["Level", "Problem", "Report", "TrustedKey", "verify"]


def verify(
    url: str | Path,
    *,
    key: str | Path | None = None,
    pin: tuple[int, bytes] | None = None,
    checkpoint: str | Path | None = None,
    level: Level = "signatures",
    progress: Callable[[int, int], None] | None = None,
    archive: str | Path | None = None,
    witnesses: Policy | None = None,
    pins: PinStore | None = None,
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
        archive: Where archived entries are, a folder or a URL; without it they are only checked by their hashes.
        witnesses: Which cosignatures the published checkpoint must have.
        pins: Where the last checkpoint seen of each log is kept: the ledger must contain it. Moved on when everything fits.

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
        roots = {} if pin is None else {"the pinned root": pin}
        reader = None if archive is None else _archived(store, archive)
        audit = Audit(store, trusted, roots, level=level, progress=progress, archive=reader)
        with store.snapshot():  # one state, whatever is appended meanwhile
            audit.read_keys()
            audit.require_witnesses(witnesses)
            if checkpoint is not None:
                text = checkpoint if isinstance(checkpoint, str) and "\n" in checkpoint else read_small_file(Path(checkpoint))
                audit.pin("the earlier checkpoint", text)
            pinned = pins.pinned(trusted.verifier.name) if pins is not None else None
            if pinned is not None:
                audit.pin("the checkpoint seen last", pinned)
            report = audit.run()
            if pins is not None and report.is_verified:
                pins.replace(trusted.verifier.name, store.head().note)
            return report
    finally:
        store.close()


def _archived(store: Store, place: str | Path) -> Callable[[int, int], list[bytes]]:
    reader = ArchiveReader(open_reader(place), lambda level, index, _: store.tile(level, index) or b"")
    return lambda start, end: [leaf for _, leaf in reader.leaves(start, end)]
