"""Pins: the last checkpoint of each log that this machine saw, kept outside of the ledger.

Whoever holds the signing key can cut a ledger off or put an old backup in its place, and every signature in it still holds. A client
that remembers the last checkpoint refuses to go back behind it, or over to another history.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from guardrails.errors import LedgerError, ProofError, TamperedError
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import write_private
from guardrails.ledger.merkle import verify_consistency
from guardrails.ledger.note import MAX_NOTE_BYTES, Note, Verifier
from guardrails.ledger.tree_head import Checkpoint

__all__ = ["PinStore", "default_directory"]


def default_directory() -> Path:
    """Returns where pins are kept unless told otherwise: `guardrails/pins` under XDG_STATE_HOME, by default ~/.local/state."""
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if named and Path(named).is_absolute() else Path.home() / ".local" / "state"
    return base / "guardrails" / "pins"


class PinStore:
    """The pins in one folder, a file for each origin. Several threads and processes may use one folder.

    Args:
        directory: Where the pins are; made on first use, open to its owner only. Not beside the ledger that they watch over.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or default_directory()

    def path(self, origin: str) -> Path:
        """Returns the file of a log's pin: SHA-256 of its origin in hex, so that no name leads out of the folder."""
        return self._directory / sha256(origin.encode()).hexdigest()

    def pinned(self, origin: str) -> str | None:
        """Returns the note that is pinned for a log; None where none is.

        Raises:
            LedgerError: The pin cannot be read (ledger.unavailable), or is not a checkpoint of this log (ledger.tampered).
        """
        note = self._read(origin)
        if note is not None:
            self._parse(origin, note)
        return note

    def check(
        self,
        note: str | Callable[[], str],
        verifiers: Verifier | Sequence[Verifier],
        consistency_proof: Callable[[int, int], list[bytes]],
    ) -> Checkpoint:
        """Accepts a checkpoint that continues what was seen before, pins it, and returns it.

        The first checkpoint of a log is taken on trust.

        Args:
            note: The log's signed checkpoint, cosignatures included. Where the log may grow meanwhile, give a function that fetches
                it: it is called under the pin's lock, so that another process cannot have pinned a later one in between.
            verifiers: The keys of the log; several while they rotate.
            consistency_proof: From old and new size (0 < old < new) to the proof.

        Raises:
            TamperedError: The log went back behind the pin, or over to another history (ledger.tampered); evidence["pinned"] and
                evidence["note"] hold the two signed notes, and the pin stays as it was.
            LedgerError: The note is not valid (ledger.note_invalid), or the pin cannot be read or written (ledger.unavailable).
        """
        keys = (verifiers,) if isinstance(verifiers, Verifier) else tuple(verifiers)
        origin = keys[0].name
        with self._locked(origin):
            current = note if isinstance(note, str) else note()
            checkpoint = open_checkpoint(current, *keys)
            pinned = self._read(origin)
            if pinned is None:
                is_better = True
            else:
                old = self._parse(origin, pinned)
                self._compare(pinned, old, current, checkpoint, consistency_proof)
                # Of two notes of one head, the one that more keys signed stays.
                is_better = checkpoint.size > old.size or len(Note.parse(current).lines) > len(Note.parse(pinned).lines)
            if is_better:
                write_private(self.path(origin), current, mode=0o600)
        return checkpoint

    def replace(self, origin: str, note: str) -> None:
        """Pins a checkpoint that the caller has verified to continue the pinned one.

        Raises:
            TamperedError: Another process pinned another history of the same size meanwhile (ledger.tampered).
            LedgerError: The pin cannot be written (ledger.unavailable).
        """
        with self._locked(origin):
            pinned, new = self._read(origin), self._parse(origin, note)
            old = None if pinned is None else self._parse(origin, pinned)
            if pinned is not None and old is not None and old.size == new.size and old.root != new.root:
                raise _tampered(f"The log has two histories of {new.size} entries.", pinned, note)
            if old is None or old.size <= new.size:
                write_private(self.path(origin), note, mode=0o600)

    @staticmethod
    def _compare(
        pinned: str, old: Checkpoint, note: str, new: Checkpoint, consistency_proof: Callable[[int, int], list[bytes]]
    ) -> None:
        if new.size < old.size:
            raise _tampered(f"The log went back from {old.size} to {new.size} entries.", pinned, note)
        if new.size == old.size:
            if new.root != old.root:
                raise _tampered(f"The log has another history of {new.size} entries than before.", pinned, note)
            return
        if old.size == 0:
            return
        proof = consistency_proof(old.size, new.size)
        try:
            verify_consistency(old.size, new.size, old.root, new.root, proof)
        except ProofError as error:
            message = f"The log with {new.size} entries does not continue the one with {old.size} that was seen before."
            raise _tampered(message, pinned, note, proof=[h.hex() for h in proof]) from error

    def _read(self, origin: str) -> str | None:
        path = self.path(origin)
        try:
            with path.open("rb") as file:
                return file.read(4 * MAX_NOTE_BYTES).decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError("ledger.unavailable", f"The pin of {origin} cannot be read.") from error
        except UnicodeDecodeError as error:
            raise _unreadable(origin, path) from error

    def _parse(self, origin: str, note: str) -> Checkpoint:
        try:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
        except LedgerError as error:
            raise _unreadable(origin, self.path(origin)) from error
        if checkpoint.origin != origin:
            raise _unreadable(origin, self.path(origin))
        return checkpoint

    @contextmanager
    def _locked(self, origin: str) -> Iterator[None]:
        path = self.path(origin)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The lock's file stays: one that is removed while another waits for it would lock nothing.
            descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError("ledger.unavailable", f"The pins in {path.parent} cannot be written.") from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Waits until this process alone holds the file; closing it lets go."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
    else:  # pragma: no cover  systems without flock lock the file's first byte
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined, unused-ignore]


def _tampered(message: str, pinned: str, note: str, **more: object) -> TamperedError:
    return TamperedError("ledger.tampered", message, evidence={"pinned": pinned, "note": note, **more})


def _unreadable(origin: str, path: Path) -> TamperedError:
    return TamperedError(
        "ledger.tampered",
        f"The pin of {origin} is not a checkpoint of this log.",
        hint="Find out what changed the file; remove it only if you know the ledger from elsewhere.",
        evidence={"path": str(path)},
    )
