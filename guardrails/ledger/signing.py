"""Who wrote an entry: an Ed25519 signature in each, by the key of the acting session or, where none acts, of the log.

A session's key lives in the memory of the process that acts and is introduced by an entry of type ``key.bind``, the first of its
session; so whoever holds the log's key later cannot write in that session's name. The signature is over a context line and the
entry's canonical bytes without the field ``sig``; a checkpoint, which has newlines, can never be taken for it.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guardrails.errors import LedgerError
from guardrails.ledger.entry import MAX_ENTRY_BYTES, encode
from guardrails.ledger.note import base64_text, strict_base64
from guardrails.ledger.private import Given, as_private

__all__ = [
    "CONTEXT",
    "EntryKey",
    "EntrySigner",
    "LogKey",
    "SessionKey",
    "SigningPool",
    "Unsigned",
    "key_id",
    "sealed",
    "signed_part",
    "unsigned",
]

CONTEXT = b"guardrails ledger entry v2\n"
"""What is signed begins with this line, so that no signature made for another purpose counts."""
_SIGNATURE_FIELD_BYTES = len('"sig":{"ed25519":"","key":""},') + 88 + 16
_WORTH_SHARING = 24


class EntrySigner(Protocol):
    """What signs entries: a session's key, or the log's."""

    @property
    def key_id(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


def key_id(public_key: bytes) -> str:
    """Returns the first 16 hexadecimal digits of SHA-256 of an Ed25519 public key: how entries name it."""
    return sha256(public_key).hexdigest()[:16]


class SessionKey:
    """A key for one session, made in memory and never stored; weakly held by the ledger, so keep it as long as the session acts.

    Args:
        facts: What the ``key.bind`` entry says of the session: principal, agent, purpose.
        private: What it commits to.
    """

    __slots__ = ("__weakref__", "_key", "facts", "is_bound", "key_id", "private", "public_key")

    def __init__(self, facts: Mapping[str, object], private: Given | None = None) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
        self.public_key = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public_key)
        self.facts = dict(facts)
        self.private = as_private(private or {})
        self.is_bound = False
        """Whether its ``key.bind`` entry was written."""

    def __repr__(self) -> str:
        return f"SessionKey({self.key_id!r})"

    def sign(self, message: bytes) -> bytes:
        """Returns the Ed25519 signature of `message`."""
        return self._key.sign(message)

    def binding(self, session: str) -> dict[str, object]:
        """Returns the entry that introduces the key; signed by the key itself, which proves that the writer holds it."""
        key = {"algorithm": "ed25519", "id": self.key_id, "public": base64_text(self.public_key)}
        return {**self.facts, "type": "key.bind", "session": session, "key": key}


@dataclass(frozen=True, slots=True)
class LogKey:
    """The log's signer in the part of an `EntrySigner`, for entries outside of any session with a key of its own."""

    signer: _Signs
    key_id: str

    def sign(self, message: bytes) -> bytes:
        return self.signer.sign(message)


class _Signs(Protocol):
    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An entry that is complete but for its signature; made by `unsigned`."""

    entry: dict[str, object]
    key: EntrySigner
    message: bytes

    def sign(self) -> bytes:
        """Returns the signature."""
        return self.key.sign(self.message)

    def sealed(self, signature: bytes) -> bytes:
        """Returns the entry's canonical bytes with its signature."""
        sig = {"key": self.key.key_id, "ed25519": b64encode(signature).decode("ascii")}
        return encode({**self.entry, "sig": sig}, is_checked=True)


def unsigned(entry: dict[str, object], key: EntrySigner) -> Unsigned:
    """Prepares an entry, which is within the profile and has no ``sig``, to be signed.

    Raises:
        LedgerError: With its signature it would be larger than 64 KiB (ledger.entry_invalid).
    """
    plain = encode(entry, is_checked=True)
    if len(plain) + _SIGNATURE_FIELD_BYTES > MAX_ENTRY_BYTES:
        raise LedgerError("ledger.entry_invalid", "The entry is larger than 64 KiB.")
    return Unsigned(entry, key, CONTEXT + plain)


def sealed(entry: dict[str, object], key: EntrySigner) -> bytes:
    """Returns the canonical bytes of an entry with its signature added; see `unsigned`."""
    ready = unsigned(entry, key)
    return ready.sealed(ready.sign())


class SigningPool:
    """Signs many entries on two cores: signing holds no lock of Python's, and most of a batch's time is signing."""

    def __init__(self) -> None:
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def sign(self, entries: Sequence[Unsigned]) -> list[bytes]:
        """Returns the signatures, in order."""
        if len(entries) < _WORTH_SHARING:
            return _signatures(entries)
        half = len(entries) // 2
        rest = self._opened().submit(_signatures, entries[half:])
        return _signatures(entries[:half]) + rest.result()

    def close(self) -> None:
        """Ends its thread."""
        if self._pool is not None and self._pool[0] == os.getpid():
            self._pool[1].shutdown()
        self._pool = None

    def _opened(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # threads do not cross a fork
            self._pool = os.getpid(), ThreadPoolExecutor(1, "guardrails-signing")
        return self._pool[1]


def _signatures(entries: Sequence[Unsigned]) -> list[bytes]:
    return [entry.sign() for entry in entries]


class EntryKey:
    """A public key that entries are checked with; made once a key, since loading it costs as much as a check.

    Raises:
        LedgerError: It is no Ed25519 public key (ledger.note_invalid).
    """

    __slots__ = ("_key", "key_id", "public_key")

    def __init__(self, public_key: bytes) -> None:
        try:
            self._key = Ed25519PublicKey.from_public_bytes(public_key)
        except ValueError as error:
            raise LedgerError("ledger.note_invalid", "An Ed25519 public key has 32 bytes.") from error
        self.public_key = public_key
        self.key_id = key_id(public_key)

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Tells whether `signature` is this key's over `message`, which `signed_part` gave."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def signed_part(entry: Mapping[str, object]) -> tuple[str, bytes, bytes]:
    """Returns the key id, the signature and the message of an entry.

    Raises:
        LedgerError: It has no signature in canonical form (ledger.entry_invalid).
    """
    sig = entry.get("sig")
    if not isinstance(sig, dict) or sig.keys() != {"key", "ed25519"} or not all(isinstance(v, str) for v in sig.values()):
        raise LedgerError("ledger.entry_invalid", "The entry is not signed.")
    try:
        signature = strict_base64(sig["ed25519"])
    except LedgerError as error:
        raise LedgerError("ledger.entry_invalid", "The entry's signature is not base64.") from error
    return sig["key"], signature, CONTEXT + encode({k: v for k, v in entry.items() if k != "sig"}, is_checked=True)
