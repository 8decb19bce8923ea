"""Writes the parts of a bundle that hold what is proven: entries with their tiles, proofs, and the policies that entries name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Protocol

from guardrails.errors import TamperedError
from guardrails.ledger.evidence.context import Context
from guardrails.ledger.evidence.source import EvidenceSource, WholeLog
from guardrails.ledger.evidence.writing import NewFolder
from guardrails.ledger.merkle import complete_subtrees, fold, inclusion_ranges, leaf_hash
from guardrails.ledger.proof import EntryProof
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import TILE_WIDTH, BundleId, edge_tiles, encode_bundle, tile_at

__all__ = ["PolicyText", "Steps", "write_entries", "write_policies", "write_proofs"]

_KEPT_NODES = 10_000


class PolicyText(Protocol):
    """A policy as evidence holds it; `guardrails.policy.Policy` is one."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the text."""

    @property
    def canonical(self) -> str:
        """The text."""


class Steps:
    """Counts what is done, and tells now and then."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def take(self, _index: int) -> None:
        self._done += 1
        if self._progress is not None and (self._done % 256 == 0 or self._done == self._total):
            self._progress(min(self._done, self._total), self._total)


def write_entries(folder: NewFolder, log: WholeLog, tree: TileTree, contained: range, steps: Steps) -> None:
    """Writes the entry bundles, and the tiles that lead from them to the root."""
    if not contained:
        return
    size, needed = tree.head.size, set(edge_tiles(tree.head.size))
    leaves = log.leaves(contained.start, contained.stop)
    for index in range(contained.start // TILE_WIDTH, -(-contained.stop // TILE_WIDTH)):
        tile = tile_at(0, index, size)
        entries = []
        for at, leaf in islice(leaves, tile.width):
            entries.append(leaf)
            steps.take(at)
        hashes = tree.tile(0, index)
        if len(entries) != tile.width or b"".join(map(leaf_hash, entries)) != hashes:
            raise TamperedError("ledger.tampered", f"Entries of the bundle {index} are not those that were signed.")
        folder.write(BundleId(index, tile.width).path, encode_bundle(entries))
        needed.add(tile)
        while tile.is_full:  # its root stands in the tile above
            tile = tile_at(tile.level + 1, tile.index // TILE_WIDTH, size)
            needed.add(tile)
    for tile in sorted(needed):
        folder.write(tile.path, tree.tile(tile.level, tile.index))


def write_proofs(folder: NewFolder, tree: TileTree, note: str, indexes: Sequence[int], steps: Steps) -> None:
    """Writes the C2SP tlog-proof of each of these entries. Neighbours share most of their proofs, so those are made once."""
    node = lru_cache(maxsize=_KEPT_NODES)(tree.subtree)
    for index in indexes:
        ranges = [complete_subtrees(*span) for span in inclusion_ranges(index, tree.head.size)]
        hashes = tuple(fold([node(*place) for place in places]) for places in ranges)
        folder.write(f"proofs/{index}.tlog-proof", str(EntryProof(index, hashes, note)).encode())
        steps.take(index)


def write_policies(folder: NewFolder, ledger: EvidenceSource, context: Context, given: Iterable[PolicyText]) -> list[str]:
    """Writes the texts of the policies that entries name; returns the digests of those that are not to be had."""
    texts = {policy.digest: policy.canonical.encode("utf-8", "surrogatepass") for policy in given}
    missing = []
    for digest in sorted(context.policies):
        text = texts.get(digest)
        if text is None and context.texts.get(digest, -1) >= ledger.archived:  # of older entries the ledger keeps nothing else
            text = ledger.kept(context.texts[digest], "policy")
        if text is None or sha256(text).hexdigest() != digest:
            missing.append(digest)
        else:
            folder.write(f"policies/{digest}.json", text)
    return missing
