"""Cosigners: signers of the timestamped types of C2SP tlog-cosignature, for witnesses and for a log's second, ML-DSA-44 line.

What is signed and how it is checked is in `guardrails.ledger.signature_types`; here are keys held in memory, their text form
(``PRIVATE+KEY+name+hash+base64(type || seed)``, after Go's sumdb/note) and how a note is cosigned.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails.ledger.note import Note, Signer, add_signatures, signature_lines
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, missing_ml_dsa
from guardrails.ledger.text import base64_text, note_error, strict_base64
from guardrails.ledger.verifier import Verifier

__all__ = ["Cosigner", "cosign_note"]

_PREFIX = "PRIVATE+KEY+"
_SEED_BYTES = 32


class _PrivateKey(Protocol):
    def sign(self, data: bytes, /) -> bytes: ...


class Cosigner:
    """A `guardrails.ledger.note.Signer` of timestamped cosignatures whose key is in memory.

    Args:
        name: Key name: of the witness, or the log's origin where a log signs so itself.
        seed: The private key, 32 bytes for both types.
        signature_type: COSIGNATURE_ED25519 or COSIGNATURE_ML_DSA_44.

    Raises:
        LedgerError: Name, seed or type is not such (ledger.note_invalid).
        UsageError: The installed `cryptography` has no ML-DSA-44 (usage.extra_missing).
    """

    __slots__ = ("_key", "_seed", "_verifier")

    def __init__(self, name: str, seed: bytes, signature_type: bytes = COSIGNATURE_ED25519) -> None:
        if len(seed) != _SEED_BYTES:
            raise note_error("A private key is a seed of 32 bytes.")
        self._seed = seed
        self._key, public = _open_key(seed, signature_type)
        self._verifier = Verifier(name, public, signature_type)

    def __repr__(self) -> str:
        return f"Cosigner({self._verifier.name!r}, {self._verifier.type.label})"

    @classmethod
    def generate(cls, name: str, signature_type: bytes = COSIGNATURE_ED25519) -> Cosigner:
        """Returns a cosigner with a new key."""
        return cls(name, secrets.token_bytes(_SEED_BYTES), signature_type)

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """Reads a private key's text form.

        Raises:
            LedgerError: It is malformed (ledger.note_invalid).
        """
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        decoded = strict_base64(rest.partition("+")[2])
        signer = cls(name, decoded[1:], decoded[:1])
        if signer.secret_text() != text:
            raise note_error("The signing key's hash does not fit its name and key.")
        return signer

    def verifier(self) -> Verifier:
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def secret_text(self) -> str:
        """Returns the private key as text, to be stored where only the cosigner reads it."""
        key = self._verifier
        return f"{_PREFIX}{key.name}+{key.key_hash.hex()}+{base64_text(key.signature_type + self._seed)}"


def cosign_note(note: str, signers: Sequence[Signer], *, time_s: int) -> str:
    """Returns the note with a line of each signer added, dated `time_s` (POSIX seconds); the text stays byte for byte.

    Raises:
        LedgerError: The note is malformed or its text is no checkpoint (ledger.note_invalid).
    """
    return add_signatures(note, signature_lines(Note.parse(note).text, signers, time_s=time_s))


def _open_key(seed: bytes, signature_type: bytes) -> tuple[_PrivateKey, bytes]:
    if signature_type == COSIGNATURE_ED25519:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return key, key.public_key().public_bytes_raw()
    if signature_type != COSIGNATURE_ML_DSA_44:
        raise note_error("A cosigner's key is of type 0x04 (Ed25519) or 0x06 (ML-DSA-44).")
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

        lattice_key = MLDSA44PrivateKey.from_seed_bytes(seed)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise missing_ml_dsa(error) from error
    return lattice_key, lattice_key.public_key().public_bytes_raw()
