"""Signed notes: text with signature lines under it, as C2SP signed-note (c2sp.org/signed-note) and Go's sumdb/note write them.

A note may carry several signatures: two keys of one log while they rotate, an ML-DSA-44 line beside the Ed25519 one, cosignatures of
witnesses. Signing is a Protocol of two methods, so that a key may live in a file, an agent or a hardware module.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guardrails.ledger.signature_types import ED25519, MAX_TIME_S
from guardrails.ledger.text import base64_text, check_name, note_error, strict_base64
from guardrails.ledger.verifier import Verifier, key_hash

__all__ = [
    "ED25519",
    "MAX_NOTE_BYTES",
    "Note",
    "Opened",
    "Signature",
    "SignatureLine",
    "Signer",
    "Verifier",
    "add_signatures",
    "base64_text",
    "check_name",
    "key_hash",
    "open_note",
    "parse_lines",
    "sign_note",
    "signature_lines",
    "signed_by",
    "strict_base64",
]

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_MARK = "\u2014 "
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class Signer(Protocol):
    """What signs checkpoints. Both methods may block; they must be safe to call from several threads."""

    def verifier(self) -> Verifier:
        """Returns the public half, whose name is the log's origin."""

    def sign(self, message: bytes) -> bytes:
        """Returns the signature of `message`, of the verifier's type and without a time (64 bytes for Ed25519)."""


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line under a note. Name and key id together name the key.

    Args:
        name: Key name.
        key_id: 4 bytes.
        signature: What the key's type puts there, a time included; not empty.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_MARK}{self.name} {base64_text(self.key_id + self.signature)}"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """Reads a line without its newline.

        Raises:
            LedgerError: It is not in canonical form (ledger.note_invalid).
        """
        if not line.startswith(_MARK):
            raise note_error("A signature line does not start with an em dash and a space.")
        name, separator, encoded = line.removeprefix(_MARK).partition(" ")
        check_name(name)
        data = strict_base64(encoded) if separator else b""
        if len(data) < 5:
            raise note_error("A signature line is too short.")
        return cls(name, data[:4], data[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it is written, nothing about it verified. `str()` gives its bytes back.

    Args:
        text: What is signed; it ends in a newline.
        lines: At least one signature line.
    """

    text: str
    lines: tuple[SignatureLine, ...]

    def __str__(self) -> str:
        return f"{self.text}\n" + "".join(f"{line}\n" for line in self.lines)

    @classmethod
    def parse(cls, note: str) -> Note:
        """Reads a note.

        Raises:
            LedgerError: It is too large or not in canonical form (ledger.note_invalid).
        """
        if len(note) > MAX_NOTE_BYTES:
            raise note_error("The note is too large.")
        body, separator, tail = note.rpartition("\n\n")
        text = body + "\n"
        if not separator:
            raise note_error("The note has no signature lines after an empty line.")
        _check_text(text)
        return cls(text, parse_lines(tail))


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified: whose it is and, for cosignatures, the time in POSIX seconds that it states."""

    verifier: Verifier
    time_s: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The text of a note and who of those asked for signed it, in the order of the note's lines."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def signers(self) -> tuple[Verifier, ...]:
        """The keys that signed."""
        return tuple(s.verifier for s in self.signatures)


def sign_note(text: str, signer: Signer, *more: Signer, time_s: int | None = None) -> str:
    """Returns the note: `text` (which ends in a newline), an empty line and one signature line for each signer.

    Args:
        text: What is signed.
        signer: The first signer; `more` may be another key of the same name (rotation), or a key of another type.
        more: Further signers.
        time_s: POSIX time for signers whose type carries one; now unless given.

    Raises:
        LedgerError: The text cannot be part of a note, a signer returned no signature of its type, or two signers are one key
            (ledger.note_invalid).
    """
    _check_text(text)
    lines = signature_lines(text, (signer, *more), time_s=time_s)
    if len({(line.name, line.key_id) for line in lines}) < len(lines):
        raise note_error("Two signers of a note are the same key.")
    return str(Note(text, lines))


def signature_lines(text: str, signers: Sequence[Signer], *, time_s: int | None = None) -> tuple[SignatureLine, ...]:
    """Returns the signature line of each signer for a note's text, to be put under a note that has this text.

    Raises:
        LedgerError: A type cannot cover the text, or a signer returned no signature of its type (ledger.note_invalid).
    """
    stamp = int(time.time()) if time_s is None else time_s
    if not 0 <= stamp <= MAX_TIME_S:
        raise note_error("The time of a cosignature is from 0 to 2^63 - 1.")
    return tuple(_sign(text, signer, stamp) for signer in signers)


def open_note(note: str, verifiers: Sequence[Verifier]) -> str:
    """Returns the text of a note that at least one of `verifiers` signed; see `signed_by`, which also tells who did.

    Raises:
        LedgerError: The note is malformed, wrongly signed or signed by no trusted key (ledger.note_invalid).
    """
    return signed_by(note, verifiers).text


def signed_by(note: str | Note, verifiers: Sequence[Verifier]) -> Opened:
    """Returns the text of a note and which of `verifiers` signed it, at least one.

    Signatures of unknown keys are ignored; a wrong one of a known key makes the whole note invalid, as the specification says, and
    so does a second line of a known key.

    Raises:
        LedgerError: The note is malformed, wrongly signed or signed by no trusted key (ledger.note_invalid).
        UsageError: This installation cannot check a signature of a known key (usage.extra_missing).
    """
    parsed = Note.parse(note) if isinstance(note, str) else note
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_hash), verifier) != verifier:
            raise note_error("Two trusted keys have the same name and key id.", key=verifier.name)
    signatures: list[Signature] = []
    for line in parsed.lines:
        found = known.get((line.name, line.key_id))
        if found is None:
            continue
        time_s, bare = found.split(line.signature)
        if not found.is_valid(found.message(parsed.text, time_s or 0), bare):
            raise note_error("A signature of a trusted key does not hold.", key=found.name)
        if any(s.verifier == found for s in signatures):
            raise note_error("A trusted key signed the note twice.", key=found.name)
        signatures.append(Signature(found, time_s))
    if not signatures:
        raise note_error("The note is not signed by a trusted key.", keys=[v.name for v in verifiers])
    return Opened(parsed.text, tuple(signatures))


def add_signatures(note: str, lines: Sequence[SignatureLine]) -> str:
    """Returns the note with further signature lines; its text stays byte for byte, a new line of a key takes the old one's place.

    Nothing is verified here.

    Raises:
        LedgerError: The note is malformed (ledger.note_invalid).
    """
    parsed = Note.parse(note)
    merged = {(line.name, line.key_id): line for line in (*parsed.lines, *lines)}
    return str(Note(parsed.text, tuple(merged.values())))


def parse_lines(text: str) -> tuple[SignatureLine, ...]:
    """Reads one or more signature lines, each ended by a newline, as they stand under a note or come from a witness.

    Raises:
        LedgerError: There are none, too many, or one is not in canonical form (ledger.note_invalid).
    """
    if not text.endswith("\n"):
        raise note_error("The note has no signature lines after an empty line.")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise note_error("The note has too many signatures.")
    return tuple(SignatureLine.parse(line) for line in lines)


def _sign(text: str, signer: Signer, time_s: int) -> SignatureLine:
    verifier = signer.verifier()
    kind = verifier.type
    bare = signer.sign(verifier.message(text, time_s))
    if len(bare) != kind.signature_bytes:
        raise note_error(f"The signer did not return an {kind.label} signature.")
    stamp = time_s.to_bytes(8, "big") if kind.is_timestamped else b""
    return SignatureLine(verifier.name, verifier.key_hash, stamp + bare)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise note_error("A note's text ends in a newline.")
    if _FORBIDDEN.search(text):
        raise note_error("A note holds no control characters and only valid Unicode.")
