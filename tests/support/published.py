"""A small log in memory, signed by a real key, that can be published at any of its sizes; and where to publish it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import EMPTY_ROOT, complete_subtrees, fold, leaf_hash, root_hash
from guardrails.ledger.note import Verifier

WIDTH = 256


class MemoryLog:
    """The first `size` of some entries as a log source. Its hashes are computed once, by the plain definition of the tree."""

    def __init__(self, entries: Sequence[bytes], signer: Ed25519Signer | None = None) -> None:
        self.entries = list(entries)
        self.signer = signer or Ed25519Signer.generate("example.com/log")
        self.levels = [[leaf_hash(entry) for entry in self.entries]]
        while len(self.levels[-1]) >= WIDTH:
            below = self.levels[-1]
            self.levels.append([root_hash(below[at : at + WIDTH]) for at in range(0, len(below) - WIDTH + 1, WIDTH)])
        self.size = len(self.entries)

    def at(self, size: int) -> MemoryLog:
        """The same log when it had `size` entries."""
        view = object.__new__(MemoryLog)
        view.entries, view.signer, view.levels, view.size = self.entries, self.signer, self.levels, size
        return view

    @property
    def verifier(self) -> Verifier:
        return self.signer.verifier()

    def root_at(self, size: int) -> bytes:
        if size == 0:
            return EMPTY_ROOT
        peaks = []
        for level, index in complete_subtrees(0, size):
            above, rest = divmod(level, 8)
            peaks.append(root_hash(self.levels[above][index << rest : (index + 1) << rest]))
        return fold(peaks)

    def checkpoint(self) -> str:
        return sign_checkpoint(Checkpoint(self.verifier.name, self.size, self.root_at(self.size)), self.signer)

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        assert 0 <= start <= end <= self.size
        return ((index, self.entries[index]) for index in range(start, end))

    def tile(self, level: int, index: int, width: int) -> bytes:
        hashes = self.levels[level][index * WIDTH : index * WIDTH + width]
        assert len(hashes) == width
        assert (self.size >> 8 * level) >= index * WIDTH + width
        return b"".join(hashes)


def log_of(size: int, *, fork_at: int | None = None, signer: Ed25519Signer | None = None) -> MemoryLog:
    """A log of `size` small entries; from `fork_at` on they are others."""
    return MemoryLog(
        [b'{"n":%d%s}' % (n, b',"x":1' if fork_at is not None and n >= fork_at else b"") for n in range(size)], signer
    )
