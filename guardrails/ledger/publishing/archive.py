"""Old entries in files instead of rows: written as the entry bundles of C2SP tlog-tiles, read back, proven, and found again.

The hashes stay in the ledger, so an archive need not be trusted: an entry that comes back is held to its hash. An archive may be
the very place that the log is published in; its bundles are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.merkle import HASH_BYTES, leaf_hash
from guardrails.ledger.publishing.exporter import encode_checked, put_all
from guardrails.ledger.publishing.heads import Keys, open_head
from guardrails.ledger.publishing.source import LogSource, Reader, Target, read_bundle
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import TILE_WIDTH, BundleId, split_hashes

__all__ = ["ArchiveReader", "Archived", "ArchivedSource", "archive_bundles"]


@dataclass(frozen=True, slots=True)
class Archived:
    """What was archived: entries `start` to `end` (exclusive), in `written` new files and some that were there already."""

    start: int
    end: int
    written: int


def archive_bundles(
    source: LogSource,
    target: Target,
    end: int,
    keys: Keys,
    *,
    start: int = 0,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Archived:
    """Writes the entries before `end` to a target as bundles, reads all of them back and proves them against the signed tree.

    Only when this returns may the entries be deleted elsewhere.

    Args:
        source: The log.
        target: Where to.
        end: Entry to stop before, a multiple of 256.
        keys: The log's key or keys.
        start: First entry, a multiple of 256: where an earlier archive ended.
        workers: How many files are written at the same time.
        progress: Called with the number of bundles proven and of all.

    Raises:
        LedgerError: The range is not of whole bundles within the log (ledger.index_range), or a place cannot be used.
        TamperedError: An entry has not its leaf hash, or a file is there with other content (ledger.tampered).
    """
    head = open_head(source.checkpoint(), keys)
    if start % TILE_WIDTH or end % TILE_WIDTH or not 0 <= start <= end <= head.size:
        raise LedgerError(
            "ledger.index_range",
            f"Entries {start} to {end} are not whole bundles of {TILE_WIDTH} within the {head.size} entries.",
            hint=f"Use multiples of {TILE_WIDTH} up to the tree size.",
        )
    tree = TileTree(head, lambda tile: source.tile(tile.level, tile.index, tile.width))
    bundles = [BundleId(index) for index in range(start // TILE_WIDTH, end // TILE_WIDTH)]
    leaves = iter(source.leaves(start, end))
    files = ((bundle, encode_checked(bundle, leaves, tree)) for bundle in bundles)
    written = put_all(target, files, workers, lambda _: None)
    archive = ArchiveReader(target, lambda level, index, width: tree.tile(level, index)[: width * HASH_BYTES])
    for done, bundle in enumerate(bundles, 1):
        archive.bundle(bundle.index)
        if progress is not None:
            progress(done, len(bundles))
    return Archived(start, end, written)


class ArchiveReader:
    """Reads archived entries; each is held to its hash. Safe to use from several threads if `tile` is.

    Args:
        target: Where the archive is.
        tile: Returns the hashes of a tile (level, index, width) that are trusted: `Ledger.tile`, whose ledger keeps them.
    """

    def __init__(self, target: Reader, tile: Callable[[int, int, int], bytes]) -> None:
        self._target = target
        self._tile = tile
        self._last: tuple[int, list[bytes]] = (-1, [])

    def bundle(self, index: int) -> list[bytes]:
        """Returns the 256 entries of a bundle.

        Raises:
            TamperedError: One has not its leaf hash (ledger.tampered).
            LedgerError: The bundle is not there (ledger.incomplete) or malformed (ledger.tile_invalid), or cannot be read.
        """
        last, entries = self._last
        if last == index:
            return entries
        entries = read_bundle(self._target, BundleId(index))
        hashes = split_hashes(self._tile(0, index, TILE_WIDTH), TILE_WIDTH)
        for place, (entry, expected) in enumerate(zip(entries, hashes, strict=True), index * TILE_WIDTH):
            if leaf_hash(entry) != expected:
                raise TamperedError("ledger.tampered", f"Entry {place} was changed in the archive.", evidence={"index": place})
        self._last = (index, entries)
        return entries

    def leaf(self, index: int) -> bytes:
        """Returns an entry's canonical bytes. Raises as `bundle` does."""
        return self.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yields (index, canonical bytes) of the entries from `start` to `end` (exclusive). Raises as `bundle` does."""
        for index in range(start, end):
            yield index, self.leaf(index)


class ArchivedSource:
    """A log whose oldest entries are in an archive, whole again, so that it can be published; see `LogSource`.

    Args:
        source: The log, which has the entries from `archived` on and all tiles.
        archive: The older entries.
        archived: Where the archive ends.
    """

    def __init__(self, source: LogSource, archive: ArchiveReader, archived: int) -> None:
        self._source = source
        self._archive = archive
        self._archived = archived

    @property
    def size(self) -> int:
        return self._source.size

    def checkpoint(self) -> str:
        return self._source.checkpoint()

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        middle = min(max(start, self._archived), end)
        yield from self._archive.leaves(start, middle)
        if middle < end:
            yield from self._source.leaves(middle, end)

    def tile(self, level: int, index: int, width: int) -> bytes:
        return self._source.tile(level, index, width)
