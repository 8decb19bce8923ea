"""The key behind hashes and pseudonyms: 32 bytes from the environment, or in a file of mode 0600 beside the ledger.

Whoever holds it can test guesses at masked values; whoever loses it cannot make the same pseudonyms again.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guardrails.errors import UsageError

__all__ = ["KEY_VARIABLE", "MaskKeyring", "open_keyring"]

KEY_VARIABLE = "GUARDRAILS_MASK_KEY"
_KEY_BYTES = 32
_SUFFIX = ".mask-key"


@dataclass(frozen=True, slots=True)
class MaskKeyring:
    """Holds the mask key.

    Args:
        key: 32 secret bytes.

    Raises:
        UsageError: It has another length (usage.input_invalid).
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, bytes) or len(self.key) != _KEY_BYTES:
            raise UsageError("usage.input_invalid", "A mask key is 32 bytes.")

    @classmethod
    def generate(cls) -> MaskKeyring:
        """Returns a keyring with a new random key."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> MaskKeyring:
        """Reads a key of 64 hexadecimal digits or in base64 (RFC 4648 section 4).

        Raises:
            UsageError: It is neither, or not 32 bytes (usage.input_invalid).
        """
        text = text.strip()
        try:
            key = bytes.fromhex(text) if len(text) == 2 * _KEY_BYTES else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != _KEY_BYTES:
            raise UsageError(
                "usage.input_invalid",
                "The mask key is not 32 bytes in hexadecimal or base64.",
                hint="Use `openssl rand -hex 32`.",
            )
        return cls(key)


def open_keyring(ledger: str | Path, *, environment: Mapping[str, str] | None = None) -> MaskKeyring:
    """Returns the mask key, and makes one where there is none.

    Args:
        ledger: The ledger's URL (``sqlite:///path``) or path; the key file is ``<path>.mask-key``. A ledger in memory has a
            key that ends with the process.
        environment: Where GUARDRAILS_MASK_KEY is looked up first; the process's environment when None.

    Raises:
        UsageError: The key is malformed, its file cannot be read or written, or others may read it (usage.input_invalid,
            usage.file_missing); or the URL is not SQLite's, so that only the variable can hold the key.
    """
    text = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    if text is not None:
        return MaskKeyring.parse(text)
    url = str(ledger)
    if "://" in url and not url.startswith("sqlite:///"):
        raise UsageError("usage.input_invalid", f"Without a ledger file the mask key must be given in {KEY_VARIABLE}.")
    place = url.removeprefix("sqlite:///")
    if place in ("", ":memory:"):
        return MaskKeyring.generate()
    path = Path(place + _SUFFIX).absolute()
    try:
        return _read(path) if path.exists() else _create(path)
    except OSError as error:
        raise UsageError("usage.file_missing", f"The mask key {path.name} cannot be read or written.") from error


def _read(path: Path) -> MaskKeyring:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UsageError(
            "usage.input_invalid",
            f"The mask key {path.name} is open to others than its owner.",
            hint="Set its mode to 600; if others could read it, use a new key.",
        )
    return MaskKeyring.parse(path.read_text("ascii", errors="replace"))


def _create(path: Path) -> MaskKeyring:
    keyring = MaskKeyring.generate()
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(keyring.key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails where a file is: of two processes that start at once, one makes the key and both use it.
            os.link(temporary, path)
        except FileExistsError:
            return _read(path)
    finally:
        temporary.unlink()
    return keyring
