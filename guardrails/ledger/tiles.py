"""The tree of a log as static files: tiles of hashes and bundles of entries, as C2SP tlog-tiles (c2sp.org/tlog-tiles) names them.

Pure functions and values: names and paths of files, which of them a tree of some size consists of, and their content. Everything
that is parsed is accepted in its canonical form only.

    checkpoint                          the signed head
    tile/<L>/<N>[.p/<W>]                up to 256 hashes of level L; one of them is the root over 256**L leaves
    tile/entries/<N>[.p/<W>]            up to 256 entries, each with its length before it
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from guardrails.errors import LedgerError
from guardrails.ledger.merkle import HASH_BYTES, MAX_SIZE

__all__ = [
    "CHECKPOINT_PATH",
    "MAX_BUNDLE_BYTES",
    "MAX_ENTRY_BYTES",
    "MAX_LEVEL",
    "TILE_BYTES",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "BundleId",
    "Resource",
    "TileId",
    "decode_bundle",
    "edge_tiles",
    "encode_bundle",
    "new_bundles",
    "new_tiles",
    "parse_path",
    "split_hashes",
    "tile_at",
]

CHECKPOINT_PATH = "checkpoint"
TILE_HEIGHT = 8
"""Levels of the tree in one tile."""
TILE_WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
TILE_BYTES = TILE_WIDTH * HASH_BYTES
MAX_LEVEL = 63
"""Highest level that a path may name."""
MAX_ENTRY_BYTES = 0xFFFF
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class TileId:
    """Names a tile of hashes.

    Args:
        level: From 0, where the hashes are those of leaves, to 63.
        index: Place among the tiles of its level, from 0.
        width: Number of hashes; 256 in a full tile, 1 to 255 in a partial one.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL:
            raise _invalid(f"A tile's level is from 0 to {MAX_LEVEL}.")
        _check_place(self.index, self.width)

    @property
    def is_full(self) -> bool:
        return self.width == TILE_WIDTH

    @property
    def full(self) -> TileId:
        """The same tile once it is full."""
        return TileId(self.level, self.index)

    @property
    def path(self) -> str:
        return _path(str(self.level), self.index, self.width)


@dataclass(frozen=True, slots=True, order=True)
class BundleId:
    """Names a bundle of entries: those whose hashes are in the tile of level 0 with the same index and width."""

    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _check_place(self.index, self.width)

    @property
    def is_full(self) -> bool:
        return self.width == TILE_WIDTH

    @property
    def full(self) -> BundleId:
        """The same bundle once it is full."""
        return BundleId(self.index)

    @property
    def path(self) -> str:
        return _path("entries", self.index, self.width)

    @property
    def tile(self) -> TileId:
        """The tile with the hashes of these entries."""
        return TileId(0, self.index, self.width)

    @property
    def start(self) -> int:
        """Index of the first entry."""
        return self.index * TILE_WIDTH


Resource: TypeAlias = TileId | BundleId


def parse_path(path: str) -> Resource:
    """Reads the path of a tile or an entry bundle, relative to the log's prefix.

    Raises:
        LedgerError: It is not the path that this module would write for any of them (ledger.tile_invalid).
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise _invalid("This is not the path of a tile or an entry bundle.")
    level, place, width_text = match.groups()
    index = int(place.replace("x", "").replace("/", ""))
    width = int(width_text) if width_text else TILE_WIDTH
    if width_text and width >= TILE_WIDTH:
        raise _invalid(f"A partial tile has fewer than {TILE_WIDTH} hashes.")
    resource = BundleId(index, width) if level == "entries" else TileId(int(level), index, width)
    if resource.path != path:
        raise _invalid("The path of a tile has leading zeros.")
    return resource


def tile_at(level: int, index: int, size: int) -> TileId:
    """Returns tile `index` of a level, as wide as it is in a tree of `size`.

    Raises:
        LedgerError: A tree of this size has no such tile (ledger.tile_invalid).
    """
    width = min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
    if width <= 0:
        raise _invalid(f"A tree of {size} entries has no tile {index} on level {level}.")
    return TileId(level, index, width)


def edge_tiles(size: int) -> list[TileId]:
    """Returns the partial tiles of a tree, highest level first. Their hashes, left to right, make up the root."""
    tiles = [
        TileId(level, count // TILE_WIDTH, count % TILE_WIDTH) for level, count in _level_counts(size) if count % TILE_WIDTH
    ]
    return tiles[::-1]


def new_tiles(old_size: int, new_size: int) -> Iterator[TileId]:
    """Yields the tiles of a tree of `new_size` that the tree of `old_size` does not have, partial ones last in their level.

    With an `old_size` of 0 these are all of them.
    """
    for level, count in _level_counts(new_size):
        for index, width in _new_places(old_size >> TILE_HEIGHT * level, count):
            yield TileId(level, index, width)


def new_bundles(old_size: int, new_size: int) -> Iterator[BundleId]:
    """Yields the entry bundles of a log of `new_size` that the log of `old_size` does not have."""
    for index, width in _new_places(old_size, new_size):
        yield BundleId(index, width)


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """Returns the hashes of a tile.

    Raises:
        LedgerError: The data is not `width` hashes long (ledger.tile_invalid).
    """
    if len(data) != width * HASH_BYTES:
        raise _invalid(f"A tile of {width} hashes has {width * HASH_BYTES} bytes, not {len(data)}.")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Returns an entry bundle: each entry after its length, a big-endian integer of 16 bits.

    Raises:
        LedgerError: There are none or more than 256, or one is too long for its length field (ledger.tile_invalid).
    """
    _check_place(0, len(entries))
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise _invalid(f"An entry of a bundle has at most {MAX_ENTRY_BYTES} bytes.")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Returns the entries of a bundle.

    Raises:
        LedgerError: The data is not exactly `width` entries (ledger.tile_invalid).
    """
    bounds = [0]
    while bounds[-1] < len(data) and len(bounds) <= width:
        at = bounds[-1]
        bounds.append(at + 2 + int.from_bytes(data[at : at + 2], "big"))
    if bounds[-1] != len(data) or len(bounds) != width + 1:
        raise _invalid(f"The bundle does not consist of {width} whole entries.")
    return [data[start + 2 : end] for start, end in pairwise(bounds)]


def _level_counts(size: int) -> Iterator[tuple[int, int]]:
    """Yields (level, number of hashes that the tiles of this level hold)."""
    if not 0 <= size <= MAX_SIZE:
        raise _invalid("A tree has from 0 to 2^63 - 1 entries.")
    level = 0
    while size:
        yield level, size
        level, size = level + 1, size >> TILE_HEIGHT


def _new_places(old_count: int, new_count: int) -> Iterator[tuple[int, int]]:
    if old_count >= new_count:
        return
    full = new_count // TILE_WIDTH
    for index in range(old_count // TILE_WIDTH, full):
        yield index, TILE_WIDTH
    if width := new_count % TILE_WIDTH:
        yield full, width


def _path(level: str, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *folders, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return "/".join(("tile", level, *(f"x{folder}" for folder in folders), last)) + suffix


def _check_place(index: int, width: int) -> None:
    if not 0 <= index <= MAX_SIZE or not 1 <= width <= TILE_WIDTH:
        raise _invalid(f"A tile has an index from 0 and 1 to {TILE_WIDTH} hashes.")


def _invalid(message: str) -> LedgerError:
    return LedgerError("ledger.tile_invalid", message)
