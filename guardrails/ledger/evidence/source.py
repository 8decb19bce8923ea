"""What evidence is exported from: a ledger, and the archive that its oldest entries were moved to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from guardrails.ledger.publishing.archive import ArchiveReader
from guardrails.ledger.publishing.source import Reader

__all__ = ["EvidenceSource", "WholeLog"]


class EvidenceSource(Protocol):
    """A log that evidence is exported from; `guardrails.ledger.Ledger` is one."""

    @property
    def size(self) -> int:
        """Number of entries now."""

    @property
    def archived(self) -> int:
        """Entries before this index are in an archive."""

    @property
    def verifier_key(self) -> str:
        """Text of the key that signs checkpoints now."""

    def checkpoint(self) -> str:
        """Returns the latest checkpoint, a signed note."""

    def published(self) -> str:
        """Returns the latest checkpoint that witnesses cosigned, empty where there is none."""

    def leaf(self, index: int) -> bytes:
        """Returns the canonical bytes of an entry."""

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yields (index, canonical bytes) of the entries from `start` to `end` (exclusive), in order."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Returns the first `width` hashes (32 bytes each) of a tile of C2SP tlog-tiles."""

    def kept(self, index: int, name: str) -> bytes | None:
        """Returns a private value that was kept, None when it was not, or was erased."""


class WholeLog:
    """Reads all entries of a log, the oldest ones out of an archive where there is one.

    Args:
        ledger: The log.
        archive: Where its oldest entries are; None leaves it to the ledger to refuse them (ledger.archived).
    """

    def __init__(self, ledger: EvidenceSource, archive: Reader | None = None) -> None:
        self._ledger = ledger
        self._archived = ledger.archived if archive is not None else 0
        self._archive = None if archive is None else ArchiveReader(archive, ledger.tile)

    def leaf(self, index: int) -> bytes:
        """Returns an entry's canonical bytes."""
        if self._archive is not None and 0 <= index < self._archived:
            return self._archive.leaf(index)
        return self._ledger.leaf(index)

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yields (index, canonical bytes) of the entries from `start` to `end` (exclusive), in order."""
        middle = min(max(start, self._archived), end)
        if self._archive is not None:
            yield from self._archive.leaves(start, middle)
        yield from self._ledger.leaves(middle, end)
