"""What a published log is made from and read from: the protocols that ledgers, folders, object stores and servers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from guardrails.errors import LedgerError
from guardrails.ledger.merkle import HASH_BYTES
from guardrails.ledger.tiles import (
    CHECKPOINT_PATH,
    MAX_BUNDLE_BYTES,
    TILE_BYTES,
    BundleId,
    Resource,
    TileId,
    decode_bundle,
    encode_bundle,
    parse_path,
    tile_at,
)

__all__ = [
    "MAX_CHECKPOINT_BYTES",
    "LogSource",
    "Reader",
    "SourceReader",
    "Target",
    "check_limit",
    "limit_of",
    "read_bundle",
    "read_checkpoint",
    "read_tile",
]

MAX_CHECKPOINT_BYTES = 100_000


class LogSource(Protocol):
    """A log that can be published. `guardrails.ledger.Ledger` is one, an archive with a ledger and a mirror's origin are others."""

    @property
    def size(self) -> int:
        """Number of entries now."""

    def checkpoint(self) -> str:
        """Returns the latest checkpoint, a signed note."""

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yields (index, bytes) of the entries from `start` to `end` (exclusive), in order."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Returns the first `width` hashes (32 bytes each) of a tile of C2SP tlog-tiles."""


class Reader(Protocol):
    """Where a published log is read from, by the paths of C2SP tlog-tiles."""

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns a file's content, None where there is no such file.

        Raises:
            LedgerError: It cannot be read (ledger.unavailable) or is longer than `limit_bytes` (ledger.tile_invalid).
        """


class Target(Reader, Protocol):
    """Where a log is published to. Readers see each file whole or not at all. Safe to call from several threads.

    All methods raise LedgerError (ledger.unavailable) where it cannot be read or written.
    """

    def create(self, path: str, data: bytes) -> bool:
        """Writes a new file durably. Returns False, and changes nothing, where there is one already."""

    def replace(self, path: str, data: bytes, expected: bytes | None) -> bool:
        """Replaces a file in one step, after everything that was written before it is durable.

        Returns False, and changes nothing, where its content is not `expected` any more (None: it does not exist).
        """

    def list(self, folder: str) -> Iterable[str]:
        """Returns the paths of the files in a folder, at any depth."""

    def delete(self, path: str) -> None:
        """Deletes a file; not an error where there is none."""


class SourceReader:
    """Reads a live log as if it were published: its tiles and bundles are made when they are asked for.

    Args:
        source: The log; it must be safe to use from several threads where this is.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        """Returns the file's content; see `Reader`. A partial tile is there as long as the log has its hashes."""
        if path == CHECKPOINT_PATH:
            data = self._source.checkpoint().encode()
        else:
            try:
                resource = parse_path(path)
                tile = resource.tile if isinstance(resource, BundleId) else resource
                if tile_at(tile.level, tile.index, self._source.size).width < tile.width:
                    return None
            except LedgerError as error:
                if error.code == "ledger.tile_invalid":  # no such path, or beyond the end
                    return None
                raise
            data = self._made(resource)
        return check_limit(path, data, limit_bytes)

    def _made(self, resource: Resource) -> bytes:
        if isinstance(resource, TileId):
            return self._source.tile(resource.level, resource.index, resource.width)
        leaves = self._source.leaves(resource.start, resource.start + resource.width)
        return encode_bundle([leaf for _, leaf in leaves])


def limit_of(path: str) -> int:
    """Returns the length in bytes that the file of this path has at most."""
    if path == CHECKPOINT_PATH:
        return MAX_CHECKPOINT_BYTES
    return MAX_BUNDLE_BYTES if path.startswith("tile/entries/") else TILE_BYTES


def check_limit(path: str, data: bytes, limit_bytes: int) -> bytes:
    """Returns the data.

    Raises:
        LedgerError: It is longer than the limit (ledger.tile_invalid).
    """
    if len(data) > limit_bytes:
        raise LedgerError("ledger.tile_invalid", f"{path} is longer than {limit_bytes} bytes.")
    return data


def read_tile(reader: Reader, tile: TileId) -> bytes:
    """Returns a tile; where a partial one is not there any more, the first hashes of the full one that took its place.

    Raises:
        LedgerError: Neither is there (ledger.incomplete), or what `Reader.get` raises.
    """
    name, data = _read(reader, tile)
    return data if name == tile else data[: tile.width * HASH_BYTES]


def read_bundle(reader: Reader, bundle: BundleId) -> list[bytes]:
    """Returns the entries of a bundle; where a partial one is not there any more, the first ones of the full one.

    Raises:
        LedgerError: Neither is there (ledger.incomplete), it is malformed (ledger.tile_invalid), or what `Reader.get` raises.
    """
    name, data = _read(reader, bundle)
    return decode_bundle(data, name.width)[: bundle.width]


def read_checkpoint(reader: Reader) -> str | None:
    """Returns the signed note that is published, None where nothing is.

    Raises:
        LedgerError: It is not text (ledger.note_invalid), or what `Reader.get` raises.
    """
    data = reader.get(CHECKPOINT_PATH, MAX_CHECKPOINT_BYTES)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as error:
        raise LedgerError("ledger.note_invalid", "The published checkpoint is not text.") from error


def _read(reader: Reader, resource: Resource) -> tuple[Resource, bytes]:
    for name in dict.fromkeys([resource, resource.full]):
        data = reader.get(name.path, limit_of(name.path))
        if data is not None:
            return name, data
    raise LedgerError("ledger.incomplete", f"{resource.path} is not there, although a signed checkpoint requires it.")
