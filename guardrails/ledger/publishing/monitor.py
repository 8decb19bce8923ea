"""Watches a published log: it must contain what it contained when it was looked at last, and every new entry must be there.

The checkpoint that was seen last is kept in a file of the watcher's own. Whoever holds the log's key cannot take back an entry, or
show another history, without contradicting that file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from guardrails.errors import UsageError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.publishing.client import TileClient
from guardrails.ledger.publishing.heads import require_extension
from guardrails.ledger.report import read_small_file
from guardrails.ledger.tiles import new_tiles

__all__ = ["Observed", "monitor"]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a look at a log found, all of it in order.

    Args:
        head: The log now.
        old_size: Number of entries when it was looked at before; None the first time, which nothing could be compared with.
        checked: How many entries were read and held to their leaf hashes; 0 where only hashes were read.
    """

    head: Checkpoint
    old_size: int | None
    checked: int


def monitor(
    client: TileClient,
    state: str | Path,
    *,
    full: bool = False,
    has_entries: bool = True,
    on_entry: Callable[[int, bytes], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Observed:
    """Compares a log with the checkpoint in the file `state`, reads its new entries, and keeps its checkpoint there.

    The file is only replaced when all is in order.

    Args:
        client: The log.
        state: The file; the first time it does not exist, and all entries are read.
        full: Read all entries again, not only those that are new.
        has_entries: Read the entries. Where a log withholds them, only its hashes can be checked.
        on_entry: Called with each entry's index and canonical bytes, in order; what it raises ends the look.
        progress: Called with the number of entries read and of all that will be.

    Raises:
        TamperedError: The log does not contain what it contained before (ledger.inconsistent, with both checkpoints as evidence), or
            an entry or a tile is not what was signed (ledger.tampered).
        LedgerError: The kept checkpoint is not of these keys (ledger.note_invalid), or the log cannot be read or lacks files.
        UsageError: The file cannot be read or written (usage.file_missing).
    """
    path = Path(state)
    seen = read_small_file(path) if path.exists() else None
    old = None if seen is None else require_extension(seen, client.note, client.tree, client.keys)
    start = 0 if full or old is None else old.size
    if has_entries:
        checked = _read_entries(client, start, on_entry, progress)
    else:
        checked = 0
        for tile in new_tiles(start, client.size):
            client.tree.tile(tile.level, tile.index)
    if seen != client.note:
        _write(path, client.note)
    return Observed(client.head, None if old is None else old.size, checked)


def _read_entries(
    client: TileClient,
    start: int,
    on_entry: Callable[[int, bytes], None] | None,
    progress: Callable[[int, int], None] | None,
) -> int:
    total = client.size - start
    for index, leaf in client.leaves(start):
        if on_entry is not None:
            on_entry(index, leaf)
        if progress is not None:
            progress(index - start + 1, total)
    return total


def _write(path: Path, text: str) -> None:
    try:
        with NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError("usage.file_missing", f"The file {path} cannot be written.") from error
