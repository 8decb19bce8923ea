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

__all__ = ["Observed", "monitor"]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a look at a log found, all of it in order.

    Args:
        head: The log now.
        old_size: Number of entries when it was looked at before; None the first time, which nothing could be compared with.
        checked: How many entries were read and held to their leaf hashes.
    """

    head: Checkpoint
    old_size: int | None
    checked: int


def monitor(
    client: TileClient,
    state: str | Path,
    *,
    full: bool = False,
    on_entry: Callable[[int, bytes], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Observed:
    """Compares a log with the checkpoint in the file `state`, reads its new entries, and keeps its checkpoint there.

    The file is only replaced when all is in order.

    Args:
        client: The log.
        state: The file; the first time it does not exist, and all entries are read.
        full: Read all entries again, not only those that are new.
        on_entry: Called with each entry's index and canonical bytes, in order; what it raises ends the look.
        progress: Called with the number of entries read and of all that will be.

    Raises:
        TamperedError: The log does not contain what it contained before (ledger.inconsistent, with both checkpoints as evidence), or
            an entry or a tile is not what was signed (ledger.tampered).
        LedgerError: The kept checkpoint is not of this key (ledger.note_invalid), or the log cannot be read or lacks files.
        UsageError: The file cannot be read or written (usage.file_missing).
    """
    path = Path(state)
    seen = read_small_file(path) if path.exists() else None
    old = None if seen is None else require_extension(seen, client.note, client.tree, client.verifier)
    start = 0 if full or old is None else old.size
    total = client.size - start
    for index, leaf in client.leaves(start):
        if on_entry is not None:
            on_entry(index, leaf)
        if progress is not None:
            progress(index - start + 1, total)
    if seen != client.note:
        _write(path, client.note)
    return Observed(client.head, None if old is None else old.size, total)


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
