"""Reads a published log and believes nothing but the log's key: every tile and entry is proven against the signed checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.proof import EntryProof
from guardrails.ledger.publishing.exporter import Published, publish
from guardrails.ledger.publishing.heads import Keys, open_head, require_extension
from guardrails.ledger.publishing.places import open_reader
from guardrails.ledger.publishing.source import Reader, Target, read_bundle, read_checkpoint, read_tile
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import TILE_WIDTH, BundleId, TileId

__all__ = ["TileClient", "mirror"]


class TileClient:
    """A published log, as it is in the checkpoint that was read last. Not safe to use from several threads at once.

    Args:
        place: An http or https prefix, a folder, the URL of an object store, or a reader.
        keys: The log's key or keys, known from elsewhere.
        workers: How many entry bundles are fetched ahead at the same time.

    Raises:
        UsageError: The place is not understood.
        LedgerError: It cannot be read (ledger.unavailable), nothing is published there (ledger.incomplete), or the checkpoint is
            not signed by any of the keys (ledger.note_invalid).
        TamperedError: The tiles do not lead to the checkpoint's root (ledger.tampered).
    """

    def __init__(self, place: str | Path | Reader, keys: Keys, *, workers: int = 4) -> None:
        self._reader = open_reader(place) if isinstance(place, str | Path) else place
        self._workers = workers
        self.keys = keys
        self.note, self.tree = self._read()

    @property
    def head(self) -> Checkpoint:
        """The checkpoint that was read last."""
        return self.tree.head

    @property
    def size(self) -> int:
        """Number of entries in it."""
        return self.head.size

    def refresh(self) -> Checkpoint:
        """Reads the checkpoint anew; it must contain the one before.

        Raises:
            TamperedError: It does not (ledger.inconsistent, with both as evidence); the one before is kept.
        """
        note, tree = self._read()
        require_extension(self.note, note, tree, self.keys)
        self.note, self.tree = note, tree
        return tree.head

    def leaf(self, index: int) -> bytes:
        """Returns an entry's canonical bytes. Raises as `leaves` does."""
        return next(self.leaves(index, index + 1))[1]

    def leaves(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yields (index, canonical bytes) of the entries from `start` to `end` (exclusive; by default all).

        Raises:
            LedgerError: The range is not within the log (ledger.index_range), a bundle is malformed (ledger.tile_invalid), not
                there (ledger.incomplete) or cannot be read (ledger.unavailable).
            TamperedError: An entry has not its leaf hash, or a tile is not of this tree (ledger.tampered).
        """
        stop = self.size if end is None else end
        if not 0 <= start <= stop <= self.size:
            raise LedgerError("ledger.index_range", f"The range {start} to {stop} is not within the {self.size} entries.")
        return self._leaves(start, stop)

    def prove(self, index: int) -> EntryProof:
        """Returns the proof, with the checkpoint, that entry `index` is in the log.

        Raises:
            ProofError: There is no such entry (ledger.index_range).
        """
        return EntryProof(index, tuple(self.tree.inclusion_proof(index)), self.note)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Returns the proof that the log of `old_size` is a prefix of this one.

        Raises:
            ProofError: `old_size` is 0 or too large (ledger.index_range).
        """
        return self.tree.consistency_proof(old_size)

    def checkpoint(self) -> str:
        """Returns the checkpoint that was read last, a signed note."""
        return self.note

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Returns hashes of a tile as they are published: not yet proven, for who proves them (see `LogSource`)."""
        return read_tile(self._reader, TileId(level, index, width))

    def _read(self) -> tuple[str, TileTree]:
        note = read_checkpoint(self._reader)
        if note is None:
            raise LedgerError("ledger.incomplete", "No log is published there.", hint="Check the place.")
        head = open_head(note, self.keys)
        return note, TileTree(head, lambda tile: read_tile(self._reader, tile))

    def _leaves(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        tree = self.tree
        for bundle, entries in self._bundles(start, stop):
            for index, entry in enumerate(entries, bundle.start):
                if not start <= index < stop:
                    continue
                if leaf_hash(entry) != tree.leaf_hash(index):
                    raise TamperedError(
                        "ledger.tampered",
                        f"Entry {index} was changed.",
                        evidence={"index": index, "checkpoint": self.note, "published": leaf_hash(entry).hex()},
                    )
                yield index, entry

    def _bundles(self, start: int, stop: int) -> Iterator[tuple[BundleId, list[bytes]]]:
        size = self.size
        wanted = (
            BundleId(index, min(TILE_WIDTH, size - index * TILE_WIDTH))
            for index in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH))
        )
        waiting: deque[tuple[BundleId, Future[list[bytes]]]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="fetch") as pool:
            try:
                for bundle in islice(wanted, 2 * self._workers):
                    waiting.append((bundle, pool.submit(read_bundle, self._reader, bundle)))
                while waiting:
                    bundle, future = waiting.popleft()
                    yield bundle, future.result()
                    for following in islice(wanted, 1):
                        waiting.append((following, pool.submit(read_bundle, self._reader, following)))
            finally:
                for _, future in waiting:
                    future.cancel()


def mirror(
    client: TileClient,
    target: Target,
    *,
    has_entries: bool = True,
    repair: bool = False,
    keep_partials: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Published:
    """Copies what the client sees into a target, proving all of it; the target's own checkpoint must be contained in it.

    The signed note is copied as it is, with all its signatures. Arguments and errors are those of `publish`.
    """
    return publish(
        client,
        target,
        client.keys,
        has_entries=has_entries,
        repair=repair,
        keep_partials=keep_partials,
        progress=progress,
    )
