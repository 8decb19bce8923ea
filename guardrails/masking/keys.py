"""The keys behind hashes and pseudonyms: from the environment, or in a file of mode 0600 beside the ledger.

A key is 32 bytes. The first is the current one, from which every mask is made; the others are earlier ones, kept so that what they made
can still be resolved. Whoever holds a key can test guesses at masked values; whoever loses it cannot make the same pseudonyms again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from guardrails.errors import UsageError

__all__ = ["KEY_VARIABLE", "MaskKeyring", "key_path", "open_keyring", "read_keyring", "rotate_keyring"]

KEY_VARIABLE = "GUARDRAILS_MASK_KEY"
_KEY_BYTES = 32
_MOST_KEYS = 32
_SUFFIX = ".mask-key"


@dataclass(frozen=True, slots=True)
class MaskKeyring:
    """Holds the mask keys.

    Args:
        key: The current one, 32 secret bytes.
        earlier: Those before it, newest first.
        made_at: When each was made, in Unix seconds, the current one first; None, or nothing at all, where that is not known.

    Raises:
        UsageError: A key has another length, two are the same, or there are too many (usage.input_invalid).
    """

    key: bytes = field(repr=False)
    earlier: tuple[bytes, ...] = field(default=(), repr=False)
    made_at: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if not all(isinstance(key, bytes) and len(key) == _KEY_BYTES for key in self.keys):
            raise UsageError("usage.input_invalid", "A mask key is 32 bytes.")
        if len(set(self.keys)) != len(self.keys) or len(self.keys) > _MOST_KEYS:
            raise UsageError("usage.input_invalid", f"The mask keys are at most {_MOST_KEYS}, and different ones.")
        unknown = (None,) * (len(self.keys) - len(self.made_at))
        object.__setattr__(self, "made_at", (*self.made_at, *unknown)[: len(self.keys)])

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the current one first."""
        return (self.key, *self.earlier)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """A name for each key that tells nothing of it, 16 hexadecimal digits, the current one's first."""
        return tuple(hmac.digest(key, b"guardrails mask key fingerprint", "sha256").hex()[:16] for key in self.keys)

    @classmethod
    def generate(cls, *, now: int | None = None) -> MaskKeyring:
        """Returns a keyring with a new random key, made at that time in Unix seconds."""
        return cls(secrets.token_bytes(_KEY_BYTES), made_at=(now,))

    def rotated(self, *, now: int | None = None) -> MaskKeyring:
        """Returns a keyring with a new random key in front of all that are here.

        Raises:
            UsageError: There would be too many keys (usage.input_invalid).
        """
        return MaskKeyring(secrets.token_bytes(_KEY_BYTES), self.keys, (now, *self.made_at))

    @classmethod
    def parse(cls, text: str) -> MaskKeyring:
        """Reads keys of 64 hexadecimal digits or in base64 (RFC 4648 section 4), one a line or between commas, the current one first.

        After a key may stand when it was made, as `2026-11-28T01:02:03Z`.

        Raises:
            UsageError: One is neither, or not 32 bytes (usage.input_invalid).
        """
        keys: list[bytes] = []
        made_at: list[int | None] = []
        lines = [line.strip() for line in text.replace(",", "\n").splitlines()]
        for line in [line for line in lines if line] or [""]:
            written, _, moment = line.partition(" ")
            keys.append(_key(written))
            made_at.append(_seconds(moment.strip()) if moment else None)
        return cls(keys[0], tuple(keys[1:]), tuple(made_at))

    def written(self) -> str:
        """Returns the text of the key file, which `parse` reads."""
        lines = (f"{key.hex()} {_moment(at)}".strip() for key, at in zip(self.keys, self.made_at, strict=True))
        return "".join(f"{line}\n" for line in lines)


def open_keyring(ledger: str | Path, *, environment: Mapping[str, str] | None = None) -> MaskKeyring:
    """Returns the mask keys, and makes one where there is none.

    Args:
        ledger: The ledger's URL (``sqlite:///path``) or path; the key file is ``<path>.mask-key``. A ledger in memory has a
            key that ends with the process.
        environment: Where GUARDRAILS_MASK_KEY is looked up first; the process's environment when None.

    Raises:
        UsageError: A key is malformed, the file cannot be read or written, or others may read it (usage.input_invalid,
            usage.file_missing); or the URL is not SQLite's, so that only the variable can hold the key.
    """
    text = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    if text is not None:
        return MaskKeyring.parse(text)
    path = key_path(ledger)
    if path is None:
        return MaskKeyring.generate()
    try:
        return read_keyring(path) if path.exists() else _create(path)
    except OSError as error:
        raise UsageError("usage.file_missing", f"The mask key {path.name} cannot be read or written.") from error


def key_path(ledger: str | Path) -> Path | None:
    """Returns the key file of a ledger, None for one in memory.

    Raises:
        UsageError: The URL is not SQLite's (usage.input_invalid).
    """
    url = str(ledger)
    if "://" in url and not url.startswith("sqlite:///"):
        raise UsageError("usage.input_invalid", f"Without a ledger file the mask key must be given in {KEY_VARIABLE}.")
    place = url.removeprefix("sqlite:///")
    return None if place in ("", ":memory:") else Path(place + _SUFFIX).absolute()


def read_keyring(path: Path) -> MaskKeyring:
    """Reads a key file.

    Raises:
        UsageError: It is malformed, or others may read it (usage.input_invalid).
        OSError: It cannot be read.
    """
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UsageError(
            "usage.input_invalid",
            f"The mask key {path.name} is open to others than its owner.",
            hint="Set its mode to 600; if others could read it, use a new key.",
        )
    return MaskKeyring.parse(path.read_text("ascii", errors="replace"))


def rotate_keyring(path: Path, *, now: int, record: Callable[[MaskKeyring], None]) -> MaskKeyring:
    """Puts a new key in front of those of the file, all at once: who reads it meanwhile gets the old keys or the new ones.

    Args:
        path: The key file.
        now: Unix seconds.
        record: Called with the new keyring before it counts; when it raises, nothing changes.

    Raises:
        UsageError: Another rotation is under way, or the file is not as it should be (usage.input_invalid).
        OSError: A file cannot be read or written.
    """
    prepared = path.with_name(path.name + ".next")
    try:
        # It is a lock as well: two that rotate at once would lose the key of one of them.
        descriptor = os.open(prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        hint = f"If none is, one was interrupted: remove {prepared.name} and try again."
        raise UsageError("usage.input_invalid", "A rotation of the mask key is under way.", hint=hint) from error
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            keyring = read_keyring(path).rotated(now=now)
            _write(file, keyring)
        record(keyring)
        os.replace(prepared, path)
    except BaseException:
        prepared.unlink(missing_ok=True)
        raise
    _sync_folder(path)
    return keyring


def _create(path: Path) -> MaskKeyring:
    keyring = MaskKeyring.generate(now=int(time.time()))
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            _write(file, keyring)
        try:
            # A link fails where a file is: of two processes that start at once, one makes the key and both use it.
            os.link(temporary, path)
        except FileExistsError:
            return read_keyring(path)
    finally:
        temporary.unlink()
    return keyring


def _write(file: TextIO, keyring: MaskKeyring) -> None:
    file.write(keyring.written())
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == 2 * _KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise UsageError(
            "usage.input_invalid", "A mask key is not 32 bytes in hexadecimal or base64.", hint="Use `openssl rand -hex 32`."
        )
    return key


def _seconds(moment: str) -> int:
    try:
        found = datetime.fromisoformat(moment)
        if found.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise UsageError("usage.input_invalid", "After a mask key stands something else than when it was made.") from error
    return int(found.timestamp())


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
