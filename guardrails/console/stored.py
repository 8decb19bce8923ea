"""What the ledger stores, handed out as it is stored: entries' bytes, hashes of the tree, the signed checkpoint.

Nothing is checked here, on purpose: the reader's browser computes everything itself, and a changed entry must reach it as it is. What
is missing in the store is left out, and then nothing can be proven.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guardrails.errors import TamperedError
from guardrails.ledger import Ledger
from guardrails.ledger.keychain import KEY_SESSION
from guardrails.ledger.merkle import complete_subtrees, consistency_ranges, fold, inclusion_ranges, leaf_hash, root_hash
from guardrails.ledger.stores.base import Head, Store
from guardrails.ledger.tiles import TILE_HEIGHT, TILE_WIDTH
from guardrails.ledger.tree import split_hashes

__all__ = ["StoredEntry", "StoredEvidence", "stored_consistency", "stored_evidence", "stored_leaves"]

_MOST_ROTATIONS = 100


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry's bytes and the hashes that should lead from it to the root; None for what is not there.

    `is_archived` tells that the bytes should be in an archive.
    """

    index: int
    leaf: bytes | None
    proof: tuple[bytes, ...] | None
    is_archived: bool = False

    def as_json(self) -> dict[str, object]:
        """Returns it as JSON fields, bytes in base64."""
        proof = None if self.proof is None else [_base64(digest) for digest in self.proof]
        leaf = None if self.leaf is None else _base64(self.leaf)
        return {"index": self.index, "leaf": leaf, "proof": proof, "archived": self.is_archived}


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """Everything that a reader needs to check some entries.

    Args:
        key: The verifier key that the ledger names; a reader who knows another one goes by that.
        note: The latest checkpoint, a signed note.
        size: Number of entries that the ledger says it has; what counts is the number in the note.
        entries: Those asked for.
        rotations: Entries that bring in new keys of the log, oldest first, as their bytes.
    """

    key: str
    note: str
    size: int
    entries: tuple[StoredEntry, ...]
    rotations: tuple[bytes, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Returns it as JSON fields, bytes in base64."""
        return {
            "key": self.key,
            "note": self.note,
            "size": self.size,
            "entries": [entry.as_json() for entry in self.entries],
            "rotations": [_base64(leaf) for leaf in self.rotations],
        }


def stored_evidence(ledger: Ledger, indexes: Iterable[int]) -> StoredEvidence:
    """Returns the evidence for some entries, out of one state of the ledger.

    Raises:
        LedgerError: The ledger cannot be read (ledger.unavailable).
    """
    store = ledger.store
    with store.snapshot():
        head = store.head()
        tree = _Stored(store, head)
        entries = tuple(
            StoredEntry(index, _leaf(store, index), tree.ranges(inclusion_ranges(index, head.size)), index < head.archived)
            for index in indexes
            if 0 <= index < head.size
        )
        rotations = tuple(leaf for _, leaf in store.leaves(0, head.size, KEY_SESSION)[:_MOST_ROTATIONS])
        return StoredEvidence(head.verifier_key, head.note, head.size, entries, rotations)


def stored_consistency(ledger: Ledger, old_size: int, new_size: int) -> tuple[bytes, ...] | None:
    """Returns the hashes that should show that the tree of `old_size` is a prefix of that of `new_size`; None where some are missing.

    Raises:
        ProofError: The ledger has no trees of these sizes (ledger.index_range).
        LedgerError: The ledger cannot be read (ledger.unavailable).
    """
    store = ledger.store
    with store.snapshot():
        head = store.head()
        ranges = consistency_ranges(old_size, new_size)
        return _Stored(store, head).ranges(ranges) if new_size <= head.size else None


def stored_leaves(ledger: Ledger, indexes: Iterable[int]) -> dict[int, bytes]:
    """Returns entries' bytes by their index, without those that are not there."""
    store = ledger.store
    with store.snapshot():
        size = store.head().size
        found = {index: _leaf(store, index) for index in indexes if 0 <= index < size}
    return {index: leaf for index, leaf in found.items() if leaf is not None}


class _Stored:
    """Nodes of the tree as the frontier, tiles and entries give them, in this order: so damage shows where it is."""

    def __init__(self, store: Store, head: Head) -> None:
        self._store = store
        self._size = head.size
        self._tiles: dict[tuple[int, int], list[bytes]] = {}
        self._nodes: dict[tuple[int, int], bytes | None] = {}
        self._nodes.update(zip(complete_subtrees(0, head.size), split_hashes(head.frontier), strict=False))

    def ranges(self, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...] | None:
        roots = []
        for start, end in ranges:
            nodes = [self._node(level, index) for level, index in complete_subtrees(start, end)]
            present = [node for node in nodes if node is not None]
            if len(present) != len(nodes):
                return None
            roots.append(fold(present))
        return tuple(roots)

    def _node(self, level: int, index: int) -> bytes | None:
        key = level, index
        if key not in self._nodes:
            tile_level, height = divmod(level, TILE_HEIGHT)
            tile, offset = divmod(index << height, TILE_WIDTH)
            below = self._hashes(tile_level, tile)[offset : offset + (1 << height)]
            self._nodes[key] = root_hash(below) if len(below) == 1 << height else None
        return self._nodes[key]

    def _hashes(self, level: int, index: int) -> list[bytes]:
        key = level, index
        if key not in self._tiles:
            self._tiles[key] = self._read(level, index)
        return self._tiles[key]

    def _read(self, level: int, index: int) -> list[bytes]:
        start = index * TILE_WIDTH
        if index < self._size >> TILE_HEIGHT * (level + 1):
            hashes = self._store.tile(level, index)
            return split_hashes(hashes) if hashes is not None and len(hashes) == 32 * TILE_WIDTH else []
        end = self._size >> TILE_HEIGHT * level
        if level == 0:
            try:
                leaves = self._store.leaves(start, end)
            except TamperedError:
                return []
            return [leaf_hash(leaf) for _, leaf in leaves] if len(leaves) == end - start else []
        return split_hashes(self._store.tile_roots(level - 1, start, end))


def _leaf(store: Store, index: int) -> bytes | None:
    """An entry's bytes; None also where something else than bytes stands in their place."""
    try:
        return store.leaf(index)
    except TamperedError:
        return None


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
