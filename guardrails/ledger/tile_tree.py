"""A tree that is read out of its tiles, none of which is believed before it is proven to belong to a known root.

The partial tiles along the right edge make up the root; every full tile is held to the hash that the tile above it has for it.
So whatever is returned is as trustworthy as the root is, wherever the tiles come from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.merkle import (
    HASH_BYTES,
    complete_subtrees,
    consistency_ranges,
    fold,
    inclusion_ranges,
    root_hash,
)
from guardrails.ledger.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, edge_tiles, split_hashes, tile_at

__all__ = ["TileTree"]


class TileTree:
    """The tree of one checkpoint. Not safe to use from several threads at once.

    Args:
        head: Size and root that are trusted.
        fetch: Returns a tile's bytes, from wherever; it is only asked for tiles that a tree of this size has.
        cached_tiles: How many full tiles are kept in memory (8 KiB each).

    Raises:
        TamperedError: The tiles of the right edge do not lead to the root (ledger.tampered).
        LedgerError: A tile has not the length of its width (ledger.tile_invalid), or what `fetch` raises.
    """

    def __init__(self, head: Checkpoint, fetch: Callable[[TileId], bytes], cached_tiles: int = 512) -> None:
        self.head = head
        self._fetch = fetch
        self._cached_tiles = cached_tiles
        self._full: OrderedDict[TileId, bytes] = OrderedDict()
        self._edge = {tile: self._fetched(tile) for tile in edge_tiles(head.size)}
        peaks = [peak for tile, data in self._edge.items() for peak in _peaks(data, tile.width)]
        if (root := fold(peaks)) != head.root:
            raise TamperedError(
                "ledger.tampered",
                f"The tiles do not lead to the root of the checkpoint for {head.size} entries.",
                evidence={"size": head.size, "expected": head.root.hex(), "got": root.hex()},
            )

    def tile(self, level: int, index: int) -> bytes:
        """Returns the hashes of a tile, as many as it has in this tree.

        Raises:
            TamperedError: It is not the tile of this tree (ledger.tampered).
            LedgerError: There is no such tile (ledger.tile_invalid), or what `fetch` raises.
        """
        tile = tile_at(level, index, self.head.size)
        if not tile.is_full:
            return self._edge[tile]
        if tile in self._full:
            self._full.move_to_end(tile)
            return self._full[tile]
        data = self._fetched(tile)
        expected, got = self._hash(level + 1, index), root_hash(split_hashes(data, TILE_WIDTH))
        if expected != got:
            raise TamperedError(
                "ledger.tampered",
                f"{tile.path} is not the tile of this tree.",
                evidence={"tile": tile.path, "expected": expected.hex(), "got": got.hex()},
            )
        self._full[tile] = data
        if len(self._full) > self._cached_tiles:
            self._full.popitem(last=False)
        return data

    def leaf_hash(self, index: int) -> bytes:
        """Returns the hash of a leaf.

        Raises:
            LedgerError: There is no such leaf (ledger.index_range).
        """
        if not 0 <= index < self.head.size:
            raise LedgerError("ledger.index_range", f"There is no entry {index}: the log has {self.head.size}.")
        return self._hash(0, index)

    def subtree(self, level: int, index: int) -> bytes:
        """Returns the root of a complete subtree: of the leaves from index * 2**level on, 2**level of them."""
        tile_level, above = divmod(level, TILE_HEIGHT)
        first, count = index << above, 1 << above
        at = first % TILE_WIDTH * HASH_BYTES
        data = self.tile(tile_level, first // TILE_WIDTH)[at : at + count * HASH_BYTES]
        return root_hash(split_hashes(data, count))

    def range_root(self, start: int, end: int) -> bytes:
        """Returns the root over the leaves of a range that a proof is made of; see `complete_subtrees`."""
        return fold([self.subtree(level, index) for level, index in complete_subtrees(start, end)])

    def root_at(self, size: int) -> bytes:
        """Returns the root when the log had `size` entries.

        Raises:
            LedgerError: It never had as many yet (ledger.index_range).
        """
        if not 0 <= size <= self.head.size:
            raise LedgerError("ledger.index_range", f"The log has {self.head.size} entries, not {size}.")
        return self.range_root(0, size)

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Returns the proof that leaf `index` is in this tree (RFC 9162, section 2.1.3.1).

        Raises:
            ProofError: `index` is out of range (ledger.index_range).
        """
        return [self.range_root(start, end) for start, end in inclusion_ranges(index, self.head.size)]

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Returns the proof that the tree of `old_size` is a prefix of this tree (RFC 9162, section 2.1.4.1).

        Raises:
            ProofError: `old_size` is 0 or too large (ledger.index_range).
        """
        return [self.range_root(start, end) for start, end in consistency_ranges(old_size, self.head.size)]

    def _hash(self, level: int, index: int) -> bytes:
        at = index % TILE_WIDTH * HASH_BYTES
        return self.tile(level, index // TILE_WIDTH)[at : at + HASH_BYTES]

    def _fetched(self, tile: TileId) -> bytes:
        data = self._fetch(tile)
        split_hashes(data, tile.width)
        return data


def _peaks(data: bytes, width: int) -> list[bytes]:
    hashes = split_hashes(data, width)
    return [root_hash(hashes[index << level : (index + 1) << level]) for level, index in complete_subtrees(0, width)]
