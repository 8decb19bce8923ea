"""Signed notes: text with signature lines under it, as C2SP signed-note (c2sp.org/signed-note) and Go's sumdb/note write them.

Only Ed25519 (signature type 0x01) is spoken. Signing is a Protocol of two methods, so that a key may live in a file, an agent
or a hardware module.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import LedgerError

__all__ = ["ED25519", "Signer", "Verifier", "base64_text", "check_name", "key_hash", "open_note", "sign_note", "strict_base64"]

ED25519 = b"\x01"
"""Signature type byte of plain Ed25519 signatures."""
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_SIGNATURE_BYTES = 64
_MARK = "\u2014 "


class Signer(Protocol):
    """What signs checkpoints. Both methods may block; they must be safe to call from several threads."""

    def verifier(self) -> Verifier:
        """Returns the public half, whose name is the log's origin."""

    def sign(self, message: bytes) -> bytes:
        """Returns the Ed25519 signature (64 bytes) of `message`."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that notes are checked with; its text form is ``name+hash+base64(0x01 || public key)``.

    Args:
        name: Key name: not empty, neither Unicode spaces nor plus.
        public_key: Ed25519 public key, 32 bytes.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != 32:
            raise _invalid("An Ed25519 public key has 32 bytes.")

    @property
    def key_hash(self) -> bytes:
        """The key id of 4 bytes that signature lines carry."""
        return key_hash(self.name, self.public_key)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64_text(ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Reads a verifier key's text; only its canonical form, without surrounding white space, is accepted.

        Raises:
            LedgerError: It is malformed or its hash does not fit the key (ledger.note_invalid).
        """
        name, _, rest = text.partition("+")
        encoded = rest.partition("+")[2]
        decoded = strict_base64(encoded)
        if decoded[:1] != ED25519:
            raise _invalid("The verifier key is not an Ed25519 key.")
        verifier = cls(name, decoded[1:])
        if str(verifier) != text:
            raise _invalid("The verifier key's hash does not fit its name and key.")
        return verifier

    def is_valid(self, message: bytes, signature: bytes) -> bool:
        """Tells whether `signature` is this key's signature of `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def key_hash(name: str, public_key: bytes) -> bytes:
    """Returns SHA-256(name || 0x0A || 0x01 || public key)[:4], the key id of signature lines."""
    return sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:4]


def sign_note(text: str, signer: Signer) -> str:
    """Returns the note: `text` (which ends in a newline), an empty line and the signer's signature line.

    Raises:
        LedgerError: The text cannot be part of a note, or the signer returned no Ed25519 signature (ledger.note_invalid).
    """
    _check_text(text)
    verifier, signature = signer.verifier(), signer.sign(text.encode())
    if len(signature) != _SIGNATURE_BYTES:
        raise _invalid("The signer did not return an Ed25519 signature.")
    return f"{text}\n{_MARK}{verifier.name} {base64_text(verifier.key_hash + signature)}\n"


def open_note(note: str, verifiers: Sequence[Verifier]) -> str:
    """Returns the text of a note that at least one of `verifiers` signed.

    Signatures of unknown keys are ignored; a wrong one of a known key makes the whole note invalid, as the specification says.

    Raises:
        LedgerError: The note is malformed, wrongly signed or signed by no trusted key (ledger.note_invalid).
    """
    if len(note) > MAX_NOTE_BYTES:
        raise _invalid("The note is too large.")
    body, separator, tail = note.rpartition("\n\n")
    text = body + "\n"
    if not separator or not tail.endswith("\n"):
        raise _invalid("The note has no signature lines after an empty line.")
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _invalid("The note has too many signatures.")
    known = {(v.name, v.key_hash): v for v in verifiers}
    is_signed = False
    for line in lines:
        name, signature = _signature(line)
        verifier = known.get((name, signature[:4]))
        if verifier is None:
            continue
        if not verifier.is_valid(text.encode(), signature[4:]):
            raise _invalid("A signature of a trusted key does not hold.", key=verifier.name)
        is_signed = True
    if not is_signed:
        raise _invalid("The note is not signed by a trusted key.", keys=[v.name for v in verifiers])
    return text


def check_name(name: str) -> None:
    """Refuses a key name that a note cannot carry.

    Raises:
        LedgerError: It is empty, or holds white space, plus, control or surrogate characters (ledger.note_invalid).
    """
    if not name or any(c == "+" or c < " " or c.isspace() or "\ud800" <= c <= "\udfff" for c in name):
        raise _invalid("A key name is not empty and holds neither white space nor a plus sign.")


def base64_text(data: bytes) -> str:
    """Returns standard base64 with padding (RFC 4648, section 4)."""
    return b64encode(data).decode("ascii")


def strict_base64(text: str) -> bytes:
    """Decodes base64, accepting only the text that `base64_text` would have written.

    Raises:
        LedgerError: It is not canonical (ledger.note_invalid).
    """
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise _invalid("The text is not base64.") from error
    if base64_text(data) != text:  # loose last bits or inner padding
        raise _invalid("The base64 is not canonical.")
    return data


def _signature(line: str) -> tuple[str, bytes]:
    if not line.startswith(_MARK):
        raise _invalid("A signature line does not start with an em dash and a space.")
    name, separator, encoded = line.removeprefix(_MARK).partition(" ")
    check_name(name)
    signature = strict_base64(encoded) if separator else b""
    if len(signature) < 5:
        raise _invalid("A signature line is too short.")
    return name, signature


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise _invalid("A note's text ends in a newline.")
    if any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in text):
        raise _invalid("A note holds no control characters and only valid Unicode.")


def _invalid(message: str, **evidence: object) -> LedgerError:
    return LedgerError("ledger.note_invalid", message, evidence=evidence)
