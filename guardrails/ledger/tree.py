"""The Merkle tree as a ledger stores it: full tiles of 256 hashes (C2SP tlog-tiles), and what lies beyond them made from below.

A proof is made of roots of complete subtrees; each lies in one tile. Tiles above the lowest level are few and stay in memory with
all the nodes inside them.
"""

from __future__ import annotations

from collections import OrderedDict

from guardrails.errors import TamperedError
from guardrails.ledger.merkle import HASH_BYTES, complete_subtrees, fold, leaf_hash, node_hash
from guardrails.ledger.stores.base import Head, Store, Tile
from guardrails.ledger.tiles import TILE_HEIGHT, TILE_WIDTH

__all__ = ["TILE_WIDTH", "TileBuilder", "Tree", "pyramid", "split_hashes"]

_KEPT_PYRAMIDS = 512
"""Most tiles whose nodes are kept in memory, some 50 kB each."""

Pyramid = list[list[bytes]]


def split_hashes(joined: bytes) -> list[bytes]:
    """Returns the hashes of 32 bytes in a tile."""
    return [joined[i : i + HASH_BYTES] for i in range(0, len(joined), HASH_BYTES)]


def pyramid(hashes: list[bytes]) -> Pyramid:
    """Returns the levels of nodes over `hashes`, the lowest first; only complete subtrees, so the last of an odd level has no parent."""
    levels: Pyramid = [hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return levels


class Tree:
    """Reads roots of subtrees from a store, each held against the head's frontier, which is signed.

    Methods are called inside one of the store's transactions or snapshots, with the head that it holds. Tiles never change, so what
    was read and found good stays so for any later head.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pyramids: OrderedDict[tuple[int, int], Pyramid] = OrderedDict()
        self._partials: dict[int, tuple[int, bytes, Pyramid]] = {}

    def range_root(self, start: int, end: int, head: Head) -> bytes:
        """Returns the root over leaves `start` to `end` (exclusive), which is a range of a proof or starts at 0.

        Raises:
            TamperedError: What is stored is not what was signed.
        """
        return fold([self._node(level, index, head) for level, index in complete_subtrees(start, end)])

    def hashes(self, level: int, index: int, width: int, head: Head) -> list[bytes]:
        """Returns the first `width` hashes of a tile, which the tree has. Raises as `range_root` does."""
        return self._tile(level, index, head)[0][:width]

    def leaf_hash(self, index: int, head: Head) -> bytes:
        """Returns the hash of a leaf as it was signed. Raises as `range_root` does."""
        return self._tile(0, index // TILE_WIDTH, head)[0][index % TILE_WIDTH]

    def check_tail(self, head: Head) -> None:
        """Holds the last, partial tile of each level against the frontier. Raises as `range_root` does."""
        level = 0
        while head.size >> TILE_HEIGHT * level:
            self._tile(level, head.size >> TILE_HEIGHT * (level + 1), head)
            level += 1

    def _node(self, level: int, index: int, head: Head) -> bytes:
        """Returns the root over the leaves from index * 2**level on, 2**level of them."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, offset = divmod(index << height, TILE_WIDTH)
        return self._tile(tile_level, tile, head)[height][offset >> height]

    def _tile(self, level: int, index: int, head: Head) -> Pyramid:
        """Returns the nodes of a tile of the head's tree: a full one, or the last and partial one of its level."""
        if index == head.size >> TILE_HEIGHT * (level + 1):
            return self._partial(level, index, head)
        key = level, index
        if key in self._pyramids:
            self._pyramids.move_to_end(key)
            return self._pyramids[key]
        hashes = self._store.tile(level, index)
        if hashes is None or len(hashes) != TILE_WIDTH * HASH_BYTES:
            raise _changed(level, index)
        made = pyramid(split_hashes(hashes))
        if made[-1][0] != self._node(TILE_HEIGHT * (level + 1), index, head):
            raise _changed(level, index)
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[int, int], made: Pyramid) -> None:
        self._pyramids[key] = made
        while len(self._pyramids) > _KEPT_PYRAMIDS:
            # The lowest level is read at random and large; upper tiles serve every proof.
            lowest = next((k for k in self._pyramids if k[0] == 0), next(iter(self._pyramids)))
            del self._pyramids[lowest]

    def _partial(self, level: int, index: int, head: Head) -> Pyramid:
        expected = _peaks_in(level, head)
        known = self._partials.get(level)
        if known is not None and known[:2] == (index, expected):
            return known[2]
        before = known[2][0] if known is not None and known[0] == index else []
        width = (head.size >> TILE_HEIGHT * level) % TILE_WIDTH
        hashes = before[:width] + self._read(level, index * TILE_WIDTH + len(before[:width]), index * TILE_WIDTH + width)
        made = pyramid(hashes) if len(hashes) == width else []
        peaks = [made[height][offset] for height, offset in complete_subtrees(0, width)] if made else []
        if not made or b"".join(peaks) != expected:
            raise _changed(level, index)
        self._partials[level] = index, expected, made
        return made

    def _read(self, level: int, start: int, end: int) -> list[bytes]:
        if level == 0:
            return [leaf_hash(leaf) for _, leaf in self._store.leaves(start, end)]
        return split_hashes(self._store.tile_roots(level - 1, start, end))


def _peaks_in(level: int, head: Head) -> bytes:
    """Returns the part of the frontier that the partial tile of a level makes up."""
    above = (head.size >> TILE_HEIGHT * (level + 1)).bit_count() * HASH_BYTES
    own = ((head.size >> TILE_HEIGHT * level) % TILE_WIDTH).bit_count() * HASH_BYTES
    return head.frontier[above : above + own]


class TileBuilder:
    """Makes the tiles that appended leaves complete. Keeps the hashes of the last, partial tile as long as nobody else appends.

    Args:
        tree: Where earlier hashes are read when they are not in memory.
    """

    def __init__(self, tree: Tree, store: Store) -> None:
        self._tree = tree
        self._store = store
        self._start = 0
        self._recent: list[bytes] = []

    def add(self, head: Head, digests: list[bytes], roots: dict[tuple[int, int], bytes]) -> list[Tile]:
        """Takes the hashes of the leaves after the head's and returns the full tiles they complete, lower levels first.

        Args:
            head: The stored head.
            digests: Leaf hashes.
            roots: Roots of the complete subtrees that they complete, by (level, index) as in `merkle.grow`; tiles must agree.

        Raises:
            TamperedError: The stored entries do not give the tree that was signed.
        """
        index = head.size
        if self._start + len(self._recent) != index:
            self._start, self._recent = index, []
        self._recent.extend(digests)
        end = index + len(digests)
        tiles: list[Tile] = []
        for tile in range(index // TILE_WIDTH, end // TILE_WIDTH):
            tiles.append(_checked(0, tile, self._lowest(tile, head), roots))
            level, parent = 0, tile
            while (parent + 1) % TILE_WIDTH == 0:
                level, parent = level + 1, parent // TILE_WIDTH
                tiles.append(_checked(level, parent, self._above(level, parent, tiles), roots))
        keep_from = end // TILE_WIDTH * TILE_WIDTH
        if keep_from > self._start:
            del self._recent[: keep_from - self._start]
            self._start = keep_from
        return tiles

    def forget(self) -> None:
        """Drops what was added and not written."""
        self._start, self._recent = 0, []

    def _lowest(self, tile: int, head: Head) -> list[bytes]:
        start = tile * TILE_WIDTH
        missing = max(0, self._start - start)
        before = self._tree.hashes(0, tile, missing, head) if missing else []
        return before + self._recent[max(0, start - self._start) : start + TILE_WIDTH - self._start]

    def _above(self, level: int, index: int, made: list[Tile]) -> list[bytes]:
        start = index * TILE_WIDTH
        stored = split_hashes(self._store.tile_roots(level - 1, start, start + TILE_WIDTH))
        new = {tile.index: tile.root for tile in made if tile.level == level - 1}
        return stored + [new[i] for i in range(start + len(stored), start + TILE_WIDTH) if i in new]


def _checked(level: int, index: int, hashes: list[bytes], roots: dict[tuple[int, int], bytes]) -> Tile:
    root = pyramid(hashes)[-1][0]
    if len(hashes) != TILE_WIDTH or root != roots[TILE_HEIGHT * (level + 1), index]:
        raise _changed(level, index)
    return Tile(level, index, b"".join(hashes), root)


def _changed(level: int, index: int) -> TamperedError:
    first = index * TILE_WIDTH << TILE_HEIGHT * level
    evidence = {"level": level, "index": index, "from": first, "to": first + (TILE_WIDTH << TILE_HEIGHT * level)}
    return TamperedError("ledger.tampered", "The stored entries are not those that were signed.", evidence=evidence)
