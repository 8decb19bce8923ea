"""The signing key of a ledger in a file beside it, and the verifier key that auditors read.

The text forms are those of Go's sumdb/note: ``PRIVATE+KEY+name+hash+base64(0x01 || seed)`` in a file of mode 0600, and the
verifier key of `guardrails.ledger.note`. The private key is never stored in the database.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails.errors import LedgerError
from guardrails.ledger.note import ED25519, Verifier, base64_text, strict_base64

__all__ = ["Ed25519Signer", "create_key", "load_key", "read_private", "sync_directory", "write_private"]

_PREFIX = "PRIVATE+KEY+"
_MAX_FILE_BYTES = 100_000


class Ed25519Signer:
    """A `guardrails.ledger.note.Signer` whose key is in memory.

    Args:
        name: Key name, which is the origin of the log.
        seed: The private key, 32 bytes.
    """

    __slots__ = ("_key", "_verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Ed25519Signer({self._verifier.name!r})"

    @classmethod
    def generate(cls, name: str) -> Ed25519Signer:
        """Returns a signer with a new key."""
        return cls(name, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> Ed25519Signer:
        """Reads a private key's text form.

        Raises:
            LedgerError: It is malformed (ledger.note_invalid).
        """
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        decoded = strict_base64(rest.partition("+")[2])
        if len(decoded) != 33 or decoded[:1] != ED25519:
            raise LedgerError("ledger.note_invalid", "The signing key is not an Ed25519 key.")
        signer = cls(name, decoded[1:])
        if signer.secret_text() != text:
            raise LedgerError("ledger.note_invalid", "The signing key's hash does not fit its name and key.")
        return signer

    def verifier(self) -> Verifier:
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def private_key(self) -> Ed25519PrivateKey:
        """Returns the private key itself, to be stored in another container."""
        return self._key

    def secret_text(self) -> str:
        """Returns the private key as text, to be stored where only the writer reads it."""
        seed = self._key.private_bytes_raw()
        return f"{_PREFIX}{self._verifier.name}+{self._verifier.key_hash.hex()}+{base64_text(ED25519 + seed)}"


def load_key(path: Path) -> Ed25519Signer:
    """Reads a signing key from its file.

    Raises:
        LedgerError: There is no such file (ledger.key_missing), others may read it (ledger.unavailable), or it is malformed
            (ledger.note_invalid).
    """
    return Ed25519Signer.parse(read_private(path).removesuffix("\n"))


def read_private(path: Path) -> str:
    """Returns the text of a file that only its owner may read.

    Raises:
        LedgerError: There is no such file (ledger.key_missing), or others may read it or it cannot be read (ledger.unavailable).
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise LedgerError("ledger.key_missing", f"The signing key {path.name} is missing.") from error
    except OSError as error:
        raise LedgerError("ledger.unavailable", f"The signing key {path.name} cannot be read.") from error
    if os.name == "posix" and mode & 0o077:
        raise LedgerError(
            "ledger.unavailable",
            f"The signing key {path.name} is open to others than its owner (mode {mode & 0o777:o}).",
            hint="Set its mode to 600; if others could read it, replace the key as docs/keys.md says.",
        )
    text = content.decode("utf-8", errors="replace")
    if "\ufffd" in text:  # the decoder's own error would carry the file's content
        raise LedgerError("ledger.unavailable", f"The signing key {path.name} is not text.")
    return text.replace("\r\n", "\n")


def create_key(path: Path, name: str) -> Ed25519Signer:
    """Makes a new signing key and stores it durably in a file of mode 0600. The caller excludes others meanwhile."""
    signer = Ed25519Signer.generate(name)
    write_private(path, signer.secret_text() + "\n", mode=0o600)
    return signer


def write_private(path: Path, text: str, *, mode: int) -> None:
    """Writes a file whole or not at all, durably, with `mode` from its first moment on."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LedgerError("ledger.unavailable", f"The file {path.name} cannot be written.") from error


def sync_directory(path: Path) -> None:
    """Makes new names in a directory durable, where the system lets directories be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
