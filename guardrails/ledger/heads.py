"""The longest head known to be good. What is stored may only ever be more than this, and only what was signed."""

from __future__ import annotations

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keychain import current_key
from guardrails.ledger.merkle import EMPTY_ROOT, HASH_BYTES, complete_subtrees, fold, grow, leaf_hash
from guardrails.ledger.note import Verifier
from guardrails.ledger.stores.base import Head, Store
from guardrails.ledger.tree import Tree, split_hashes

__all__ = ["KnownHead", "join_peaks", "peaks_of", "root_of"]

_READ_ANEW = 4096
"""Up to so many entries of others are hashed anew; more of them are held against the stored tiles."""


def peaks_of(head: Head) -> list[tuple[int, bytes]]:
    """Returns the frontier as `merkle.grow` wants it: (level, root) of the complete subtrees, left to right.

    Raises:
        TamperedError: It has another number of hashes than a tree of that size.
    """
    levels = [level for level, _ in complete_subtrees(0, head.size)]
    if len(head.frontier) != HASH_BYTES * len(levels):
        raise TamperedError("ledger.tampered", "The ledger's tree is not the one that was signed.")
    return list(zip(levels, split_hashes(head.frontier), strict=True))


def join_peaks(peaks: list[tuple[int, bytes]]) -> bytes:
    """Returns peaks as a frontier."""
    return b"".join(digest for _, digest in peaks)


def root_of(head: Head) -> bytes:
    """Returns the root hash of a head's tree."""
    return fold(split_hashes(head.frontier)) if head.size else EMPTY_ROOT


class KnownHead:
    """Reads the stored head, and checks it where it is not the one that was known before.

    Args:
        store: The ledger's store.
        tree: The stored tree.
        verifier: The key that must have signed.
        seen: A head that is known to be good.
    """

    def __init__(self, store: Store, tree: Tree, verifier: Verifier, seen: Head | None = None) -> None:
        self._store = store
        self._tree = tree
        self.verifier = verifier
        self._seen = seen or Head(str(verifier), "")

    @property
    def seen(self) -> Head:
        """The longest head so far."""
        return self._seen

    def read(self, since: Head | None = None) -> Head:
        """Returns the stored head. Called inside a transaction or a snapshot.

        Args:
            since: What was known before the snapshot began; by default what is known now.

        Raises:
            TamperedError: It is not signed by the key, is not over the stored tree, or does not contain what was known before.
        """
        since = self._seen if since is None else since
        head = self._store.head()
        if head == since:
            return head
        verifier = self.verifier
        if head.verifier_key != str(verifier):
            verifier = current_key(self._store, verifier, since.size, head.size)
        try:
            checkpoint = open_checkpoint(head.note, verifier)
        except LedgerError as error:
            raise TamperedError("ledger.tampered", "The ledger's checkpoint is not signed by its key.") from error
        if checkpoint.size != head.size or checkpoint.root != fold([digest for _, digest in peaks_of(head)]):
            raise TamperedError("ledger.tampered", "The ledger's tree is not the one that was signed.")
        if head.verifier_key != str(verifier) or head.size < since.size or not self._is_continued(since, head):
            raise TamperedError("ledger.tampered", "The ledger does not contain what it contained before.")
        self.advance(head, verifier)
        return head

    def advance(self, head: Head, verifier: Verifier) -> None:
        """Takes a head that is known to be good and durable, and the key that signed it."""
        if head.size >= self._seen.size:
            self._seen, self.verifier = head, verifier

    def _is_continued(self, since: Head, head: Head) -> bool:
        if since.size == 0:
            return True
        if head.size == since.size:
            return head.frontier == since.frontier
        if head.size - since.size > _READ_ANEW or head.archived > since.size:
            return self._tree.range_root(0, since.size, head) == root_of(since)
        grown = peaks_of(since)
        leaves = self._store.leaves(since.size, head.size)
        for index, leaf in leaves:
            grow(grown, index, leaf_hash(leaf))
        return len(leaves) == head.size - since.size and grown == peaks_of(head)
