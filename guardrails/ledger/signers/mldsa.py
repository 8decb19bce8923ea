"""A second signature line that a quantum computer cannot forge: ML-DSA-44 (FIPS 204), as C2SP tlog-cosignature writes it (type 0x06).

What is signed is not the note's text but the binary `cosigned_message` of that specification: the signer's name, a time, the log's
origin, and the tree's size and root. Extension lines of the checkpoint are outside it; the Ed25519 line covers those.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.keys import read_private, write_private
from guardrails.ledger.note import base64_text, check_name, strict_base64

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

__all__ = ["ML_DSA_44", "MlDsa44Signer", "MlDsa44Verifier", "cosigned_message", "create_ml_dsa_key", "load_ml_dsa_key"]

ML_DSA_44 = b"\x06"
"""Signature type byte of ML-DSA-44 cosignatures."""
PUBLIC_KEY_BYTES = 1312
SIGNATURE_BYTES = 2420
_PREFIX = "PRIVATE+KEY+"
_LABEL = b"subtree/v1\n\0"
_HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class MlDsa44Verifier:
    """A public key; its text form is ``name+hash+base64(0x06 || public key)``.

    Args:
        name: Key name: not empty, at most 255 bytes, neither Unicode spaces nor plus.
        public_key: ML-DSA-44 public key, 1312 bytes.
    """

    name: str
    public_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise LedgerError("ledger.note_invalid", f"An ML-DSA-44 public key has {PUBLIC_KEY_BYTES} bytes.")

    @property
    def key_hash(self) -> bytes:
        """The key id of 4 bytes that signature lines carry."""
        return sha256(self.name.encode() + b"\n" + ML_DSA_44 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64_text(ML_DSA_44 + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> MlDsa44Verifier:
        """Reads a verifier key's text; only its canonical form is accepted.

        Raises:
            LedgerError: It is malformed or its hash does not fit the key (ledger.note_invalid).
        """
        name, _, rest = text.partition("+")
        decoded = strict_base64(rest.partition("+")[2])
        if decoded[:1] != ML_DSA_44:
            raise LedgerError("ledger.note_invalid", "The verifier key is not an ML-DSA-44 key.")
        verifier = cls(name, decoded[1:])
        if str(verifier) != text:
            raise LedgerError("ledger.note_invalid", "The verifier key's hash does not fit its name and key.")
        return verifier

    def is_valid(self, signature: bytes, *, origin: str, size: int, root: bytes) -> bool:
        """Tells whether `signature` (8 bytes of time, 2420 of ML-DSA-44) is this key's for a tree.

        Raises:
            UsageError: The installed `cryptography` cannot check it (usage.extra_missing).
        """
        if len(signature) != 8 + SIGNATURE_BYTES:
            return False
        timestamp_s = int.from_bytes(signature[:8], "big")
        if timestamp_s >= 2**63:
            return False
        message = cosigned_message(self.name, origin=origin, size=size, root=root, timestamp_s=timestamp_s)
        try:
            _mldsa().MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature[8:], message)
        except (InvalidSignature, ValueError):
            return False
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        return True


class MlDsa44Signer:
    """Signs checkpoints with a key in memory, whose text form is ``PRIVATE+KEY+name+hash+base64(0x06 || seed)``.

    Args:
        name: Key name; the log's origin when the log itself signs.
        seed: The private key, 32 bytes (FIPS 204's ξ).

    Raises:
        UsageError: The installed `cryptography` has no ML-DSA (usage.extra_missing).
    """

    __slots__ = ("_key", "_verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != 32:
            raise LedgerError("ledger.note_invalid", "An ML-DSA-44 private key is a seed of 32 bytes.")
        try:
            self._key: MLDSA44PrivateKey = _mldsa().MLDSA44PrivateKey.from_seed_bytes(seed)
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        self._verifier = MlDsa44Verifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"MlDsa44Signer({self._verifier.name!r})"

    @classmethod
    def generate(cls, name: str) -> MlDsa44Signer:
        """Returns a signer with a new key."""
        return cls(name, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> MlDsa44Signer:
        """Reads a private key's text form.

        Raises:
            LedgerError: It is malformed (ledger.note_invalid).
        """
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        decoded = strict_base64(rest.partition("+")[2])
        if len(decoded) != 33 or decoded[:1] != ML_DSA_44:
            raise LedgerError("ledger.note_invalid", "The signing key is not an ML-DSA-44 key.")
        signer = cls(name, decoded[1:])
        if signer.secret_text() != text:
            raise LedgerError("ledger.note_invalid", "The signing key's hash does not fit its name and key.")
        return signer

    def verifier(self) -> MlDsa44Verifier:
        """Returns the public half."""
        return self._verifier

    def sign_tree(self, *, origin: str, size: int, root: bytes, timestamp_s: int) -> bytes:
        """Returns the `timestamped_signature` for a signature line: 8 bytes of time, then 2420 of ML-DSA-44.

        Args:
            origin: Origin of the log.
            size: Tree size.
            root: Root hash, 32 bytes.
            timestamp_s: POSIX time; 0 makes no statement that this is the largest tree the signer has seen.
        """
        message = cosigned_message(self._verifier.name, origin=origin, size=size, root=root, timestamp_s=timestamp_s)
        return timestamp_s.to_bytes(8, "big") + self._key.sign(message)

    def secret_text(self) -> str:
        """Returns the private key as text, to be stored where only the writer reads it."""
        verifier = self._verifier
        return f"{_PREFIX}{verifier.name}+{verifier.key_hash.hex()}+{base64_text(ML_DSA_44 + self._key.private_bytes_raw())}"


def create_ml_dsa_key(path: Path, name: str) -> MlDsa44Signer:
    """Makes a new key and stores it durably, as text, in a file of mode 0600. The caller excludes others meanwhile."""
    signer = MlDsa44Signer.generate(name)
    write_private(path, signer.secret_text() + "\n", mode=0o600)
    return signer


def load_ml_dsa_key(path: Path) -> MlDsa44Signer:
    """Reads a key from its file.

    Raises:
        LedgerError: There is no such file (ledger.key_missing), others may read it (ledger.unavailable), or it is malformed
            (ledger.note_invalid).
    """
    return MlDsa44Signer.parse(read_private(path).removesuffix("\n"))


def cosigned_message(name: str, *, origin: str, size: int, root: bytes, timestamp_s: int) -> bytes:
    """Returns the bytes that are signed: `cosigned_message` of C2SP tlog-cosignature for a whole tree (start 0).

    Raises:
        LedgerError: A part does not fit its field (ledger.note_invalid).
    """
    name_bytes, origin_bytes = name.encode(), origin.encode()
    if not (0 < len(name_bytes) < 256 and 0 < len(origin_bytes) < 256):
        raise LedgerError("ledger.note_invalid", "A cosigner's name and a log's origin have 1 to 255 bytes.")
    if len(root) != _HASH_BYTES or not (0 <= size < 2**63 and 0 <= timestamp_s < 2**63):
        raise LedgerError("ledger.note_invalid", "The tree's size, its root or the time is out of range.")
    return (
        _LABEL
        + bytes([len(name_bytes)])
        + name_bytes
        + timestamp_s.to_bytes(8, "big")
        + bytes([len(origin_bytes)])
        + origin_bytes
        + (0).to_bytes(8, "big")
        + size.to_bytes(8, "big")
        + root
    )


def _mldsa() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:
        raise _unsupported() from error
    return mldsa


def _unsupported() -> UsageError:
    return UsageError("usage.extra_missing", "ML-DSA-44 needs cryptography 48 or later.", hint="Install guardrails-sql[mldsa].")
