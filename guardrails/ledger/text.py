"""The small texts that notes, keys and checkpoints are made of: key names and base64, each in one form only."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from guardrails.errors import LedgerError

__all__ = ["base64_text", "check_name", "note_error", "strict_base64"]


def check_name(name: str) -> None:
    """Refuses a key name that a note cannot carry (C2SP signed-note, Format).

    Raises:
        LedgerError: It is empty, or holds white space, plus, control or surrogate characters (ledger.note_invalid).
    """
    if name.isascii() and name.isprintable() and name and " " not in name and "+" not in name:
        return  # nearly every name; the rest is looked at character by character
    if not name or any(c == "+" or c < " " or c.isspace() or "\ud800" <= c <= "\udfff" for c in name):
        raise note_error("A key name is not empty and holds neither white space nor a plus sign.")


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
        raise note_error("The text is not base64.") from error
    if base64_text(data) != text:  # loose last bits or inner padding
        raise note_error("The base64 is not canonical.")
    return data


def note_error(message: str, **evidence: object) -> LedgerError:
    """Returns the error of a malformed or wrongly signed text, to be raised by the caller."""
    return LedgerError("ledger.note_invalid", message, evidence=evidence)
