"""The Merkle tree of RFC 6962 (as restated in RFC 9162, section 2.1), over SHA-256 and plain `bytes`.

Pure functions, no recursion: roots, inclusion and consistency proofs from leaf hashes, and the two verifiers. The layout of a
proof (which complete subtrees it is made of) is public, so that a store can fetch only those nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from guardrails.errors import ProofError

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_SIZE",
    "complete_subtrees",
    "consistency_proof",
    "consistency_ranges",
    "fold",
    "grow",
    "inclusion_proof",
    "inclusion_ranges",
    "leaf_hash",
    "node_hash",
    "root_hash",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
"""Largest tree size accepted: what a signed 64-bit integer holds in the stores and in other implementations."""
EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162, section 2.1.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Returns SHA-256(0x00 || data), the hash of a leaf (RFC 9162, section 2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns SHA-256(0x01 || left || right), the hash of an interior node."""
    return sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """Returns the root over leaf hashes of 32 bytes each; SHA-256 of nothing for an empty list.

    Raises:
        ProofError: A hash is not 32 bytes (ledger.proof_invalid).
    """
    _check_hashes(leaf_hashes)
    return _root(leaf_hashes)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Returns the root over the roots of adjacent complete subtrees, given left to right in falling size."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def complete_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Returns (level, index) of the complete subtrees that make up leaves `start` to `end` (exclusive), left to right.

    `start` is a multiple of the smallest power of two that is not below the width, as it is for every range of a proof.
    A node at (level, index) covers the leaves from index * 2**level on, 2**level of them.
    """
    subtrees = []
    while start < end:
        level = (end - start).bit_length() - 1
        subtrees.append((level, start >> level))
        start += 1 << level
    return subtrees


def grow(peaks: list[tuple[int, bytes]], index: int, digest: bytes) -> list[tuple[int, int, bytes]]:
    """Adds leaf `index` to a tree in place, and returns the nodes that this completes as (level, index, hash), leaf first.

    Args:
        peaks: (level, root) of the complete subtrees of the tree so far, left to right; `fold` of their roots is its root.
        index: The leaf's index, which is the size of the tree so far.
        digest: The leaf's hash.
    """
    level, nodes = 0, [(0, index, digest)]
    while peaks and peaks[-1][0] == level:
        digest = node_hash(peaks.pop()[1], digest)
        level, index = level + 1, index >> 1
        nodes.append((level, index, digest))
    peaks.append((level, digest))
    return nodes


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Returns the leaf ranges whose roots prove leaf `index` in a tree of `size`, from the leaf's sibling up.

    Raises:
        ProofError: `index` is not below `size` (ledger.index_range).
    """
    _check_size(size)
    _check_index(index, size)
    start, end, ranges = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """Returns the leaf ranges whose roots prove that the tree of `old_size` is a prefix of that of `new_size`.

    Raises:
        ProofError: `old_size` is 0 or above `new_size` (ledger.index_range).
    """
    _check_size(new_size)
    _check_old_size(old_size, new_size)
    start, end, ranges = 0, new_size, []
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # a subtree that is not the old root itself: the verifier does not know it yet
        ranges.append((start, end))
    return ranges[::-1]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Returns the inclusion proof of leaf `index` in the tree over all `leaf_hashes` (RFC 9162, section 2.1.3.1).

    Raises:
        ProofError: `index` is out of range (ledger.index_range), or a hash is not 32 bytes (ledger.proof_invalid).
    """
    ranges = inclusion_ranges(index, len(leaf_hashes))
    _check_hashes(leaf_hashes)
    return [_root(leaf_hashes[start:end]) for start, end in ranges]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Returns the proof that the tree over the first `old_size` leaf hashes is a prefix of that over all (section 2.1.4.1).

    Raises:
        ProofError: `old_size` is 0 or too large (ledger.index_range), or a hash is not 32 bytes (ledger.proof_invalid).
    """
    ranges = consistency_ranges(old_size, len(leaf_hashes))
    _check_hashes(leaf_hashes)
    return [_root(leaf_hashes[start:end]) for start, end in ranges]


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that `leaf_hash` is leaf `index` of the tree with `size` leaves and `root` (RFC 9162, section 2.1.3.2).

    Raises:
        ProofError: It is not, or an argument is out of range or not 32 bytes.
    """
    _check_size(size)
    _check_index(index, size)
    _check_hashes([leaf_hash, root, *proof])
    node, last, computed = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise _invalid("The inclusion proof is too long.", index=index, size=size)
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise _invalid("The inclusion proof is too short.", index=index, size=size)
    if computed != root:
        raise _invalid("The inclusion proof leads to another root.", index=index, size=size, expected=root, got=computed)


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Checks that the tree with `old_root` is a prefix of the tree with `new_root` (RFC 9162, section 2.1.4.2).

    Equal sizes need equal roots and an empty proof.

    Raises:
        ProofError: It is not, `old_size` is 0 (which proves nothing), or an argument is out of range or not 32 bytes.
    """
    _check_size(new_size)
    _check_old_size(old_size, new_size)
    _check_hashes([old_root, new_root, *proof])
    sizes = {"old_size": old_size, "new_size": new_size}
    if old_size == new_size:
        if proof:
            raise _invalid("Equal sizes need an empty consistency proof.", **sizes)
        if old_root != new_root:
            raise _invalid("Two trees of the same size have different roots.", **sizes, expected=old_root, got=new_root)
        return
    # A complete old tree is itself the first node of the path, and is left out of the proof.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not proof:
        raise _invalid("The consistency proof is empty.", **sizes)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _invalid("The consistency proof is too long.", **sizes)
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise _invalid("The consistency proof is too short.", **sizes)
    if old != old_root:
        raise _invalid("The consistency proof leads to another old root.", **sizes, expected=old_root, got=old)
    if new != new_root:
        raise _invalid("The consistency proof leads to another new root.", **sizes, expected=new_root, got=new)


def _root(leaf_hashes: Sequence[bytes]) -> bytes:
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    # Pairing from the left and carrying an odd last node up gives the same tree as the RFC's recursive split.
    while len(level) > 1:
        pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[-1:] if len(level) & 1 else pairs
    return level[0]


def _split(width: int) -> int:
    """Returns the largest power of two below `width` (at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if not isinstance(value, bytes) or len(value) != HASH_BYTES:
            raise _invalid("A hash is not 32 bytes.")


def _check_size(size: int) -> None:
    if not _is_integer(size) or not 0 <= size <= MAX_SIZE:
        raise ProofError("ledger.index_range", "The tree size is not an integer from 0 to 2^63 - 1.")


def _check_index(index: int, size: int) -> None:
    if not _is_integer(index) or not 0 <= index < size:
        raise ProofError("ledger.index_range", "The index is not below the tree size.", evidence={"index": index, "size": size})


def _check_old_size(old_size: int, new_size: int) -> None:
    if not _is_integer(old_size) or not 0 < old_size <= new_size:
        raise ProofError(
            "ledger.index_range",
            "The old size is not between 1 and the new size.",
            evidence={"old_size": old_size, "new_size": new_size},
        )


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _invalid(message: str, **evidence: int | bytes) -> ProofError:
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in evidence.items()}
    return ProofError("ledger.proof_invalid", message, evidence=shown)
