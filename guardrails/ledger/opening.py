"""Beginning a ledger and resuming one: which key it is signed with, and the verifier key beside it."""

from __future__ import annotations

import secrets

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer, create_key, load_key, write_private
from guardrails.ledger.location import Location
from guardrails.ledger.merkle import EMPTY_ROOT
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.stores.base import Head, Store

__all__ = ["begin_or_resume", "open_store", "publish"]


def open_store(location: Location, *, read_only: bool = False) -> Store:
    """Opens the database that a ledger lives in.

    Raises:
        UsageError: There is no such file (read-only), or the driver is not installed.
        LedgerError: It cannot be opened (ledger.unavailable).
    """
    if location.postgres is None:
        from guardrails.ledger.stores.sqlite import SqliteStore

        return SqliteStore(location, read_only=read_only)
    raise UsageError("usage.database_unsupported", "Ledgers in PostgreSQL are not there yet.")


def begin_or_resume(store: Store, location: Location, signer: Signer | None, origin: str | None) -> Signer:
    """Finds or makes the key, and makes the tables in a new file. Runs inside a transaction, so only one process begins."""
    key_path = location.beside(".key")
    if not store.is_new():
        try:
            recorded = Verifier.parse(store.head().verifier_key)
        except LedgerError as error:
            raise TamperedError("ledger.tampered", "The verifier key in the ledger was changed.") from error
        if signer is None and key_path is not None:
            signer = load_key(key_path)
        if signer is None:
            raise LedgerError("ledger.key_missing", "This ledger has no key file beside it; give its signer.")
        if signer.verifier() != recorded:
            raise LedgerError("ledger.key_missing", "The signing key is not the one that this ledger was opened with.")
        return signer
    public_path = location.beside(".pub")
    if public_path is not None and public_path.exists():
        raise TamperedError(
            "ledger.tampered",
            f"The ledger is empty or gone, but {public_path.name} says that there was one.",
            hint="Restore it; to begin a new ledger, move its .key and .pub files away.",
        )
    if signer is None:
        name = origin or f"ledger.local/{secrets.token_hex(8)}"
        if location.is_memory:
            signer = Ed25519Signer.generate(name)
        elif key_path is None:
            raise LedgerError("ledger.key_missing", "A ledger in a database server has no key file; give its signer.")
        else:
            signer = load_key(key_path) if key_path.exists() else create_key(key_path, name)
    empty = Checkpoint(signer.verifier().name, 0, EMPTY_ROOT)
    store.create(Head(str(signer.verifier()), sign_checkpoint(empty, signer)))
    return signer


def publish(location: Location, verifier: Verifier) -> None:
    """Writes the verifier key beside the ledger; one that is there already must be the same."""
    path = location.beside(".pub")
    if path is None:
        return
    if not path.exists():
        write_private(path, f"{verifier}\n", mode=0o644)
    elif path.read_text("utf-8", errors="replace") != f"{verifier}\n":
        raise TamperedError("ledger.tampered", f"{path.name} is not the verifier key of this ledger.")
