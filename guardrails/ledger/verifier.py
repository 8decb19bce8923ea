"""Verifier keys: the public half of what signs notes, in the text form of C2SP signed-note, section Verifier keys."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from guardrails.ledger.signature_types import ED25519, MAX_TIME_S, SIGNATURE_TYPES, SignatureType
from guardrails.ledger.text import base64_text, check_name, note_error, strict_base64

__all__ = ["Verifier", "key_hash"]

_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that notes are checked with; its text form is ``name+hash+base64(type || public key)``.

    Args:
        name: Key name: not empty, neither Unicode spaces nor plus.
        public_key: 32 bytes for Ed25519, 1,312 for ML-DSA-44.
        signature_type: One of the bytes of `guardrails.ledger.signature_types`; plain Ed25519 unless given.

    Raises:
        LedgerError: A part is malformed, or the key is one under which anybody could sign (ledger.note_invalid).
    """

    name: str
    public_key: bytes
    signature_type: bytes = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.signature_type not in SIGNATURE_TYPES:
            raise note_error("The verifier key is of a type that is not supported.", type=self.signature_type.hex())
        if len(self.public_key) != self.type.key_bytes:
            raise note_error(f"A public key of {self.type.label} has {self.type.key_bytes} bytes.")
        self.type.check_key(self.public_key)

    @property
    def type(self) -> SignatureType:
        """How signatures of this key are made and checked."""
        return SIGNATURE_TYPES[self.signature_type]

    @property
    def key_hash(self) -> bytes:
        """The key id of 4 bytes that signature lines carry."""
        return key_hash(self.name, self.public_key, self.signature_type)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64_text(self.signature_type + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Reads a verifier key's text; only its canonical form, without surrounding white space, is accepted.

        Raises:
            LedgerError: It is malformed, of an unknown type, or its hash does not fit the key (ledger.note_invalid).
        """
        name, _, rest = text.partition("+")
        decoded = strict_base64(rest.partition("+")[2])
        verifier = cls(name, decoded[1:], decoded[:1])
        if str(verifier) != text:
            raise note_error("The verifier key's hash does not fit its name and key.")
        return verifier

    def message(self, text: str, time_s: int) -> bytes:
        """Returns what this key signs for a note's text, at a time where its type carries one.

        Raises:
            LedgerError: Signatures of this type cannot cover such a text (ledger.note_invalid).
        """
        return self.type.message(self.name, text, time_s)

    def split(self, signature: bytes) -> tuple[int | None, bytes]:
        """Returns the time in seconds (None where the type carries none) and the bare signature.

        Raises:
            LedgerError: The length or the time is not of this type (ledger.note_invalid).
        """
        start = _TIME_BYTES if self.type.is_timestamped else 0
        if len(signature) != start + self.type.signature_bytes:
            raise note_error("A signature has not the length of its key's type.", key=self.name)
        if not start:
            return None, signature
        time_s = int.from_bytes(signature[:start], "big")
        if time_s > MAX_TIME_S:
            raise note_error("The time of a cosignature is above 2^63 - 1.", key=self.name)
        return time_s, signature[start:]

    def is_valid(self, message: bytes, signature: bytes) -> bool:
        """Tells whether `signature`, without a time, is this key's signature of exactly the bytes `message`.

        Raises:
            UsageError: This installation cannot check signatures of the key's type (usage.extra_missing).
        """
        return self.type.is_valid(self.public_key, message, signature)


def key_hash(name: str, public_key: bytes, signature_type: bytes = ED25519) -> bytes:
    """Returns SHA-256(name || 0x0A || type || public key)[:4], the key id of signature lines."""
    return sha256(name.encode() + b"\n" + signature_type + public_key).digest()[:4]
