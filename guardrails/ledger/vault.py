"""The key that kept values and the names of the people they are about are sealed with.

Values are sealed with AES-256-GCM under a key made of the vault's key and the commitment's salt: the database alone does not open them,
and once the salt is erased nothing does.
"""

from __future__ import annotations

import hmac
import os
import secrets
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.keys import write_private
from guardrails.ledger.location import Location
from guardrails.ledger.private import Private
from guardrails.ledger.stores.base import Secret

__all__ = ["KEY_VARIABLE", "Vault", "vault_of"]

KEY_VARIABLE = "GUARDRAILS_VAULT_KEY"
"""The vault's key in base64, for ledgers in a server."""
_KEY_BYTES = 32
_NONCE = bytes(12)


class Vault:
    """The key that kept values and the names of subjects are sealed with; in memory, or in a file of mode 0600.

    Args:
        path: The file, made when it is first needed.
        key: A key of 32 bytes that was given otherwise.
        is_memory: The ledger ends with this process, and the key may too.
    """

    def __init__(self, path: Path | None = None, *, key: bytes | None = None, is_memory: bool = False) -> None:
        if key is not None and len(key) != _KEY_BYTES:
            raise LedgerError("ledger.unavailable", "A vault key has 32 bytes.")
        self._path = path
        self._key = secrets.token_bytes(_KEY_BYTES) if key is None and is_memory else key

    def __repr__(self) -> str:
        return "Vault()"

    @property
    def is_open(self) -> bool:
        """Whether there is a key, or a file for one."""
        return self._key is not None or self._path is not None

    def subject(self, name: str) -> bytes:
        """Returns the keyed digest under which a subject's values are found."""
        return hmac.digest(self._opened(), b"subject\0" + name.encode("utf-8", "surrogatepass"), "sha256")

    def secret(self, index: int, name: str, private: Private, salt: bytes) -> Secret:
        """Returns what the side table keeps of a private value."""
        sealed = self._cipher(salt).encrypt(_NONCE, private.value, _place(index, name)) if private.keep else None
        return Secret(index, name, salt, sealed, tuple(sorted({self.subject(subject) for subject in private.subjects})))

    def value(self, secret: Secret) -> bytes | None:
        """Returns a kept value; None when it was not kept.

        Raises:
            TamperedError: It was sealed otherwise, for another place or under another vault key.
        """
        if secret.sealed is None:
            return None
        try:
            return self._cipher(secret.salt).decrypt(_NONCE, secret.sealed, _place(secret.index, secret.name))
        except InvalidTag as error:
            evidence = {"index": secret.index, "name": secret.name}
            raise TamperedError("ledger.tampered", "A kept value does not open.", evidence=evidence) from error

    def _cipher(self, salt: bytes) -> AESGCM:
        # The salt is fresh for every value, so each key is used once and the nonce may stay the same.
        return AESGCM(hmac.digest(self._opened(), b"value\0" + salt, "sha256"))

    def _opened(self) -> bytes:
        if self._key is None:
            if self._path is None:
                hint = f"Give `vault_key`, or set {KEY_VARIABLE} to 32 bytes in base64."
                raise LedgerError("ledger.key_missing", "A ledger in a server has no file for the vault's key.", hint=hint)
            self._key = _load_or_make(self._path)
        return self._key


def vault_of(location: Location, key: bytes | None) -> Vault:
    """Returns the vault of a ledger: with the key that is given, or the one in the environment or beside the ledger.

    Raises:
        LedgerError: The key in the environment is not 32 bytes in base64 (ledger.unavailable).
    """
    text = os.environ.get(KEY_VARIABLE) if key is None and location.postgres is not None else None
    if text is not None:
        try:
            key = b64decode(text, validate=True)
        except ValueError as error:
            raise LedgerError("ledger.unavailable", f"{KEY_VARIABLE} is not base64.") from error
    return Vault(location.beside(".vault"), key=key, is_memory=location.is_memory)


def _place(index: int, name: str) -> bytes:
    return f"{index}/{name}".encode()


def _load_or_make(path: Path) -> bytes:
    if not path.exists():
        write_private(path, b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n", mode=0o600)
    try:
        if path.stat().st_mode & 0o077:
            raise LedgerError(
                "ledger.unavailable", f"{path.name} is open to others than its owner.", hint="Set its mode to 600."
            )
        key = b64decode(path.read_text("ascii").strip(), validate=True)
    except (OSError, ValueError) as error:
        raise LedgerError("ledger.unavailable", f"The vault key {path.name} cannot be read.") from error
    if len(key) != _KEY_BYTES:
        raise LedgerError("ledger.unavailable", f"The vault key {path.name} does not have 32 bytes.")
    return key
