"""What a ledger asks of the database that it lives in: one writer at a time, one durable transaction a batch, consistent reads.

A store moves rows and knows nothing of keys, of signatures or of what entries mean; everything that must be decided is decided in
`guardrails.ledger.log`, once for all stores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Batch", "Head", "Leaf", "Secret", "Store", "Tile"]


@dataclass(frozen=True, slots=True)
class Head:
    """The one row that every append locks and replaces: where the log ends.

    Args:
        verifier_key: Text of the key that signs checkpoints now.
        note: The latest checkpoint, a signed note.
        size: Number of entries; what the note says.
        frontier: Roots of the complete subtrees that make up the tree, left to right, 32 bytes each, joined.
        time_us: Time of the last entry, Unix microseconds; 0 when there is none.
        archived: Entries before this index were moved to an archive; their hashes are still here. A multiple of 256.
        published: The latest checkpoint that witnesses cosigned, as a signed note; empty when there is none.
    """

    verifier_key: str
    note: str
    size: int = 0
    frontier: bytes = b""
    time_us: int = 0
    archived: int = 0
    published: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry's canonical bytes, with the session and the place in it by which it is found."""

    data: bytes
    session: str
    seq: int


@dataclass(frozen=True, slots=True)
class Tile:
    """A full tile of C2SP tlog-tiles: 256 hashes of 32 bytes, joined, and the root over them.

    Level 0 holds leaf hashes; a hash at level L is the root over 256**L leaves, that is of one tile at level L - 1.
    """

    level: int
    index: int
    hashes: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """What an entry commits to, kept outside the tree so that it can be erased.

    Args:
        index: The entry.
        name: Name of the commitment in the entry.
        salt: 32 bytes.
        sealed: The value, encrypted; None when it is not kept.
        subjects: Keyed digests of the people that the value is about (32 bytes each); erased together.
    """

    index: int
    name: str
    salt: bytes
    sealed: bytes | None = None
    subjects: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Batch:
    """Everything that one commit adds: written whole or not at all.

    Args:
        start: Index of the first new entry, which is the size before.
        leaves: The new entries in order; may be empty (a head that is signed anew).
        tiles: Full tiles that they complete.
        secrets: What they commit to.
        opened: (entry id, index) of new intents.
        closed: Ids of intents that have their outcome now.
        given_up: Ids of intents that are marked as of unknown outcome now.
        head: The new head.
    """

    start: int
    head: Head
    leaves: list[Leaf] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    opened: list[tuple[str, int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)


class Store(Protocol):
    """Rows of one ledger. Every method but `close`, `drop_old_pages` and the context managers is called inside one of the two.

    All methods raise LedgerError (ledger.unavailable) where the database cannot be read or written, and TamperedError where it
    holds what no ledger wrote.
    """

    @property
    def path(self) -> Path | None:
        """The file that key files lie beside; None where there is none."""

    @property
    def is_shared(self) -> bool:
        """Others may write too, so the head is read anew in each transaction. False for memory only."""

    def transaction(self) -> AbstractContextManager[None]:
        """Holds the one write lock of the whole ledger; durable when it ends without an error, undone otherwise.

        A commit whose answer was lost is looked up afterwards: it raises only when the batch is surely not there.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads one state, whatever others append meanwhile."""

    def is_new(self) -> bool:
        """Tells whether the database holds no ledger yet; raises where it holds one of another version, or a changed one."""

    def create(self, head: Head) -> None:
        """Makes the tables and the first head."""

    def head(self) -> Head: ...

    def write(self, batch: Batch) -> None:
        """Adds a batch. Its `start` is the size in the stored head."""

    def leaf(self, index: int) -> bytes | None: ...

    def leaves(self, start: int, end: int, session: str | None = None) -> list[tuple[int, bytes]]:
        """Returns (index, bytes) from `start` to `end` (exclusive) in order, of one session when it is given."""

    def rows(self, start: int, end: int) -> list[tuple[int, Leaf]]:
        """Returns (index, leaf with its session and place) from `start` to `end` (exclusive) in order."""

    def tile(self, level: int, index: int) -> bytes | None:
        """Returns the 8,192 bytes of a full tile, None when it is not there."""

    def tile_roots(self, level: int, start: int, end: int) -> bytes:
        """Returns the joined roots of the full tiles `start` to `end` (exclusive) of a level; fewer where some are missing."""

    def next_seqs(self, sessions: Collection[str]) -> dict[str, int]:
        """Returns the next place in each session: 0 for one without entries."""

    def open_intents(self) -> list[tuple[str, int, bool]]:
        """Returns (entry id, index, was it given up) of the intents without a real outcome, oldest first."""

    def intents_unknown(self, entry_ids: Collection[str]) -> dict[str, bool]:
        """Returns, of those ids that are intents without a real outcome, whether they were given up."""

    def secrets(self, index: int) -> list[Secret]: ...

    def secret_names(self, start: int, end: int) -> list[tuple[int, str]]:
        """Returns (entry index, name) of all secrets of these entries, in that order."""

    def tile_count(self) -> int: ...

    def damage(self) -> list[str]:
        """Returns what the database itself finds wrong: changed tables, values of foreign types, broken pages or indexes."""

    def secrets_of(self, subject: bytes) -> list[tuple[int, str]]:
        """Returns (entry index, name) of what is kept about the subject with this keyed digest."""

    def erase(self, secrets: Iterable[tuple[int, str]]) -> int:
        """Deletes salts, values and the subjects' marks of these (entry index, name); returns how many there were."""

    def drop_old_pages(self) -> None:
        """Sees to it that erased rows are not left in the database's files, as far as the database lets us."""

    def drop_leaves(self, end: int, keep: str) -> None:
        """Deletes the entries' bytes before `end`, which an archive holds by then, but for those of the session `keep`.

        Tiles stay, and so does the next place in each session. The head is written by `write`.
        """

    def close(self) -> None:
        """Closes it. Closing twice is allowed."""
