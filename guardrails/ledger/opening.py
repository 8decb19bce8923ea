"""Beginning a ledger and resuming one: which key it is signed with, and the verifier key beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keychain import key_history
from guardrails.ledger.keys import Ed25519Signer, create_key, load_key, sync_directory, write_private
from guardrails.ledger.location import Location
from guardrails.ledger.merkle import EMPTY_ROOT
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers import load_signer
from guardrails.ledger.stores.base import Head, Store

SIGNER_VARIABLE = "GUARDRAILS_LEDGER_SIGNER"
"""URI of the signer of ledgers in a server."""

__all__ = ["SIGNER_VARIABLE", "KeyFiles", "begin_or_resume", "open_store", "publish"]


def open_store(location: Location, *, read_only: bool = False) -> Store:
    """Opens the database that a ledger lives in.

    Raises:
        UsageError: There is no such file (read-only), or the driver is not installed.
        LedgerError: It cannot be opened (ledger.unavailable).
    """
    if location.postgres is None:
        from guardrails.ledger.stores.sqlite import SqliteStore

        return SqliteStore(location, read_only=read_only)
    from guardrails.ledger.stores.postgres import PostgresStore

    return PostgresStore(location.postgres, read_only=read_only)


def begin_or_resume(
    store: Store, location: Location, signer: Signer | str | None, previous: Sequence[Signer], origin: str | None
) -> tuple[Signer, ...]:
    """Finds or makes the key, and makes the tables in a new database. Runs inside a transaction, so only one process begins.

    Returns:
        What signs: the current key, then those that it replaced and that have not retired.
    """
    if signer is None and location.postgres is not None:
        signer = os.environ.get(SIGNER_VARIABLE)
    if not store.is_new():
        return _resumed(store, location, signer, previous, origin)
    public_path = location.beside(".pub")
    if public_path is not None and public_path.exists():
        raise TamperedError(
            "ledger.tampered",
            f"The ledger is empty or gone, but {public_path.name} says that there was one.",
            hint="Restore it; to begin a new ledger, move its .key and .pub files away.",
        )
    name = origin or f"ledger.local/{secrets.token_hex(8)}"
    key_path = location.beside(".key")
    if isinstance(signer, str):
        signer = load_signer(signer, name=origin)
    if signer is None:
        if location.is_memory:
            signer = Ed25519Signer.generate(name)
        elif key_path is None:
            raise LedgerError("ledger.key_missing", "A ledger in a database server has no key file; give its signer.")
        else:
            signer = load_key(key_path) if key_path.exists() else create_key(key_path, name)
    empty = Checkpoint(signer.verifier().name, 0, EMPTY_ROOT)
    store.create(Head(str(signer.verifier()), sign_checkpoint(empty, signer)))
    return (signer,)


def _resumed(
    store: Store, location: Location, signer: Signer | str | None, previous: Sequence[Signer], origin: str | None
) -> tuple[Signer, ...]:
    head = store.head()
    try:
        recorded = Verifier.parse(head.verifier_key)
    except LedgerError as error:
        raise TamperedError("ledger.tampered", "The verifier key in the ledger was changed.") from error
    if isinstance(signer, str):
        signer = load_signer(signer, name=origin or recorded.name)
    files = KeyFiles(location)
    if signer is None:
        signer = files.current(recorded)
    if signer is None:
        raise LedgerError("ledger.key_missing", "This ledger has no key file beside it; give its signer.")
    if signer.verifier() != recorded:
        raise LedgerError("ledger.key_missing", "The signing key is not the one that this ledger was opened with.")
    valid = key_history(store, recorded, head.size).valid_for(head.size)
    return (signer, *[s for s in [*previous, *files.previous()] if s.verifier() in valid and s.verifier() != recorded])


class KeyFiles:
    """The key files beside a ledger: ``.key``, ``.key.next`` while a new one comes, ``.key.previous`` until the old one retires."""

    def __init__(self, location: Location) -> None:
        self._current, self._next = location.beside(".key"), location.beside(".key.next")
        self._previous = location.beside(".key.previous")

    def current(self, recorded: Verifier) -> Signer | None:
        """Returns the key in ``.key``, or in ``.key.next`` where the ledger has gone over to it; None without such files."""
        if self._current is None or self._next is None:
            return None
        if self._next.exists():
            coming = load_key(self._next)
            if coming.verifier() == recorded:
                self.promote()
                return coming
        return load_key(self._current)

    def previous(self) -> list[Signer]:
        """Returns the key that was replaced last and has not retired, if its file is there."""
        return [load_key(self._previous)] if self._previous is not None and self._previous.exists() else []

    def prepare(self, name: str) -> Signer:
        """Makes a new key in ``.key.next``; one that an interrupted rotation left there is used again.

        Raises:
            UsageError: The ledger has no key file beside it (usage.input_invalid).
        """
        if self._current is None or self._next is None or not self._current.exists():
            raise UsageError("usage.input_invalid", "The ledger has no key file beside it.", hint="Give the new key's signer.")
        return load_key(self._next) if self._next.exists() else create_key(self._next, name)

    def promote(self) -> None:
        """Puts ``.key.next`` in the place of ``.key``, which becomes ``.key.previous``."""
        if self._current is None or self._next is None or self._previous is None:
            return
        if self._current.exists():
            self._current.replace(self._previous)
        self._next.replace(self._current)
        sync_directory(self._current.parent)

    def discard_previous(self, retired: Verifier) -> None:
        """Deletes the file of a key that has retired."""
        if self._previous is not None and self._previous.exists() and load_key(self._previous).verifier() == retired:
            self._previous.unlink()


def publish(location: Location, store: Store, verifier: Verifier) -> None:
    """Writes the log's first verifier key beside the ledger; one that is there already must be one of the log's keys."""
    path = location.beside(".pub")
    if path is None:
        return
    history = key_history(store, verifier, store.head().size)
    if not path.exists():
        write_private(path, f"{history.periods[0].verifier}\n", mode=0o644)
    elif path.read_text("utf-8", errors="replace") not in [f"{period.verifier}\n" for period in history.periods]:
        raise TamperedError("ledger.tampered", f"{path.name} is not the verifier key of this ledger.")
