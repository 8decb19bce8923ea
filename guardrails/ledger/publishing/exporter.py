"""Publishes a log as static files (C2SP tlog-tiles): only what is new, the checkpoint last, and never against what is there.

A reader sees the old checkpoint with everything that it needs until the new one replaces it in one step. Nothing is published
that does not belong to the signed tree: each tile is proven, each entry has its leaf hash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.publishing.heads import Keys, open_head, require_extension
from guardrails.ledger.publishing.source import LogSource, Target, limit_of, read_checkpoint
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import (
    CHECKPOINT_PATH,
    TILE_HEIGHT,
    TILE_WIDTH,
    BundleId,
    Resource,
    TileId,
    encode_bundle,
    new_bundles,
    new_tiles,
)

__all__ = ["Published", "encode_checked", "publish", "put_all"]

_Files = Iterator[tuple[Resource, bytes]]


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did.

    Args:
        head: What is published now.
        old_size: Number of entries that were published before; None when there was nothing.
        written: Files that were written, besides the checkpoint.
        present: Files that were there already, with the same content.
        deleted: Partial files that were deleted because full ones took their place.
    """

    head: Checkpoint
    old_size: int | None
    written: int = 0
    present: int = 0
    deleted: int = 0


def publish(
    source: LogSource,
    target: Target,
    keys: Keys,
    *,
    note: str | None = None,
    has_entries: bool = True,
    repair: bool = False,
    keep_partials: bool = False,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Published:
    """Brings what is published up to the log's checkpoint.

    Args:
        source: The log. It is read in this thread only.
        target: Where to.
        keys: The log's key or keys: what is published before and after is signed by one of them.
        note: The checkpoint to publish, such as one with cosignatures; by default the source's latest, unless the same one is
            published already, whatever further signatures it has there.
        has_entries: Publish the entries too. Without them others can check that the log only grows, and read nothing of it.
        repair: Go through all files and write those that are missing, rather than only those that are new.
        keep_partials: Do not delete partial tiles and bundles whose full ones are published.
        workers: How many files are written at the same time.
        progress: Called with the number of files done and of all files.

    Raises:
        TamperedError: What is published contradicts the log (ledger.inconsistent), a file there or the log itself is not what was
            signed (ledger.tampered). The published checkpoint is left as it was.
        LedgerError: Source or target cannot be used (ledger.unavailable), a checkpoint is not signed by any of the
            keys (ledger.note_invalid), or another publisher was faster (ledger.unavailable).
    """
    old_note = read_checkpoint(target)
    old = None if old_note is None else open_head(old_note, keys)
    if note is None:
        note = source.checkpoint()
        note = old_note if old_note is not None and open_head(note, keys) == old else note
    head = open_head(note, keys)
    tree = TileTree(head, lambda tile: source.tile(tile.level, tile.index, tile.width))
    old_size = 0 if old is None else old.size
    if old_note is not None:
        require_extension(old_note, note, tree, keys)
    start = 0 if repair else old_size
    total = sum(1 for _ in _resources(start, head.size, has_entries))
    written = put_all(
        target, _files(source, tree, start, has_entries), workers, lambda done: progress and progress(done, total)
    )
    if note != old_note and not target.replace(CHECKPOINT_PATH, note.encode(), None if old_note is None else old_note.encode()):
        raise LedgerError("ledger.unavailable", "Another publisher was faster.", hint="Publish again.")
    deleted = 0 if keep_partials else _delete_partials(target, old_size, head.size)
    return Published(head, None if old is None else old.size, written, total - written, deleted)


def put_all(target: Target, files: _Files, workers: int, progress: Callable[[int], object]) -> int:
    """Writes files that never change, several at a time; returns how many were not there yet.

    Raises:
        TamperedError: A file is there with other content (ledger.tampered): the log was forked, or the file changed.
        LedgerError: The target cannot be used (ledger.unavailable), or what `files` raises.
    """
    written = done = 0
    waiting: deque[Future[bool]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="publish") as pool:
        try:
            for resource, data in files:
                waiting.append(pool.submit(_put, target, resource, data))
                if len(waiting) > 2 * workers:
                    written, done = written + waiting.popleft().result(), done + 1
                    progress(done)
            while waiting:
                written, done = written + waiting.popleft().result(), done + 1
                progress(done)
        finally:
            for future in waiting:
                future.cancel()
    return written


def encode_checked(bundle: BundleId, leaves: Iterator[tuple[int, bytes]], tree: TileTree) -> bytes:
    """Returns the bundle of the next entries of `leaves`.

    Raises:
        TamperedError: One is missing or has not its leaf hash (ledger.tampered).
    """
    entries = []
    for index in range(bundle.start, bundle.start + bundle.width):
        found, entry = next(leaves, (None, b""))
        if found != index or leaf_hash(entry) != tree.leaf_hash(index):
            what = "is missing" if found != index else "was changed"
            raise TamperedError("ledger.tampered", f"Entry {index} {what}.", evidence={"index": index})
        entries.append(entry)
    return encode_bundle(entries)


def _resources(start: int, size: int, has_entries: bool) -> Iterator[Resource]:
    if has_entries:
        yield from new_bundles(start, size)
    yield from new_tiles(start, size)


def _files(source: LogSource, tree: TileTree, start: int, has_entries: bool) -> _Files:
    size = tree.head.size
    leaves = iter(source.leaves(start // TILE_WIDTH * TILE_WIDTH, size)) if has_entries and start < size else iter(())
    for resource in _resources(start, size, has_entries):
        if isinstance(resource, TileId):
            yield resource, tree.tile(resource.level, resource.index)
        else:
            yield resource, encode_checked(resource, leaves, tree)


def _put(target: Target, resource: Resource, data: bytes) -> bool:
    if target.create(resource.path, data):
        return True
    found = target.get(resource.path, limit_of(resource.path))
    if found != data:
        raise TamperedError(
            "ledger.tampered",
            f"{resource.path} is published with other content: the log was forked, or the file was changed.",
            evidence={"path": resource.path, "published": sha256(found or b"").hexdigest(), "ours": sha256(data).hexdigest()},
        )
    return False


def _delete_partials(target: Target, old_size: int, new_size: int) -> int:
    deleted = 0
    for full in _filled(old_size, new_size):
        for path in target.list(f"{full.path}.p"):
            target.delete(path)
            deleted += 1
    return deleted


def _filled(old_size: int, new_size: int) -> Iterator[Resource]:
    """Yields the full tiles and bundles that the old tree had in part."""
    level = 0
    while old_size >> TILE_HEIGHT * level:
        index, width = divmod(old_size >> TILE_HEIGHT * level, TILE_WIDTH)
        if width and (new_size >> TILE_HEIGHT * (level + 1)) > index:
            if level == 0:
                yield BundleId(index)
            yield TileId(level, index)
        level += 1
