"""What an entry commits to without showing it: salted digests in the leaf, salts and kept values in a side table.

A commitment is SHA-256(salt || value) with a fresh salt of 32 bytes. Erasing the salt leaves a digest that nobody can test guesses
against; the leaf, and with it the tree, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from guardrails.errors import LedgerError

__all__ = ["SALT_BYTES", "Given", "Private", "as_private", "commit"]

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Private:
    """A value that the log commits to.

    Args:
        value: The bytes.
        keep: Keep the value itself too, sealed, beside the tree.
        subjects: Stable names of the people it is about; `Ledger.erase_subject` destroys it with them.
    """

    value: bytes
    keep: bool = False
    subjects: tuple[str, ...] = ()


Given: TypeAlias = Mapping[str, "bytes | Private"]


def as_private(given: Given) -> dict[str, Private]:
    """Returns private values in one form.

    Raises:
        LedgerError: A value is not bytes, or a name is not ASCII (ledger.entry_invalid).
    """
    values = {name: item if isinstance(item, Private) else Private(item) for name, item in given.items()}
    for name, item in values.items():
        if not isinstance(name, str) or not name.isascii() or not isinstance(item.value, bytes):
            raise LedgerError("ledger.entry_invalid", "Private values are bytes under ASCII names.")
    return values


def commit(salt: bytes, value: bytes) -> str:
    """Returns SHA-256(salt || value) in hexadecimal."""
    return sha256(salt + value).hexdigest()
