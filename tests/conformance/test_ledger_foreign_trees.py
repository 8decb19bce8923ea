"""pymerkle builds the same trees and paths; sigstore's verifier decides alike on every inclusion proof."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import SimpleNamespace

import pymerkle
import pytest

from guardrails.errors import ProofError
from guardrails.ledger import Ledger, merkle
from tests.conftest import missing

SIZES = 300


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger.open("sqlite:///:memory:") as ledger:
        ledger.append_many({"n": n} for n in range(SIZES))
        yield ledger


@pytest.fixture(scope="module")
def tree(ledger: Ledger) -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for _, leaf in ledger.leaves():
        tree.append_entry(leaf)
    return tree


def test_every_root_is_the_same(ledger: Ledger, tree: pymerkle.InmemoryTree) -> None:
    assert [ledger.root_at(size) for size in range(1, SIZES + 1)] == [tree.get_root(size) for size in range(1, SIZES + 1)]
    assert tree.get_size() == ledger.size == SIZES


def test_paths_of_every_size_are_the_same(ledger: Ledger, tree: pymerkle.InmemoryTree) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for size in range(1, SIZES + 1):
        for index in {0, size - 1, size // 2, *(chance.randrange(size) for _ in range(5))}:
            theirs = tree.prove_inclusion(index + 1, size)  # its indexes count from 1, and its paths start with the leaf
            assert theirs.path[1:] == ledger.inclusion_proof(index, size), (index, size)
            pymerkle.verify_inclusion(merkle.leaf_hash(ledger.leaf(index)), ledger.root_at(size), theirs, index + 1, size)


def test_its_consistency_proofs_hold_for_our_roots_and_ours_for_its(ledger: Ledger, tree: pymerkle.InmemoryTree) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for size in range(1, SIZES + 1):
        for old in {1, size, (size + 1) // 2, *(chance.randint(1, size) for _ in range(5))}:
            theirs = tree.prove_consistency(old, size)
            pymerkle.verify_consistency(ledger.root_at(old), ledger.root_at(size), theirs, old, size)
            ours = ledger.consistency_proof(old, size)
            merkle.verify_consistency(old, size, tree.get_root(old), tree.get_root(size), ours)


Verify = Callable[[bytes, int, int, Sequence[bytes], bytes], bool]


@pytest.fixture(scope="module")
def sigstore_accepts() -> Verify:
    """Sigstore's inclusion verifier, asked about a leaf's bytes, an index, a size, a proof and a root."""
    if importlib.util.find_spec("sigstore") is None:
        missing("sigstore is not installed")
    from sigstore._internal.merkle import verify_merkle_inclusion
    from sigstore.errors import VerificationError

    def accepts(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
        # Of an entry of Rekor it reads these five fields and nothing else.
        inclusion = SimpleNamespace(log_index=index, tree_size=size, hashes=list(proof), root_hash=root)
        entry = SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=leaf))
        with suppress(VerificationError):
            verify_merkle_inclusion(entry)  # type: ignore[arg-type]
            return True
        return False

    return accepts


def accepts(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    with suppress(ProofError):
        merkle.verify_inclusion(merkle.leaf_hash(leaf), index, size, proof, root)
        return True
    return False


def test_sigstore_accepts_every_inclusion_proof(ledger: Ledger, sigstore_accepts: Verify) -> None:
    count = 0
    for size in (*range(1, 71), 127, 128, 129, 255, 256, 257, SIZES):
        root = ledger.root_at(size)
        for index in range(size):
            assert sigstore_accepts(ledger.leaf(index), index, size, ledger.inclusion_proof(index, size), root), (index, size)
            count += 1
    assert count == 70 * 71 // 2 + 127 + 128 + 129 + 255 + 256 + 257 + SIZES


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 257])
def test_sigstore_refuses_the_same_changes(ledger: Ledger, sigstore_accepts: Verify, size: int) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    asked = 0
    for index in range(size) if size < 20 else sorted({0, 255, size - 1, chance.randrange(size)}):
        leaf, proof, root = ledger.leaf(index), ledger.inclusion_proof(index, size), ledger.root_at(size)
        for changed in _changed_questions(leaf, index, size, proof, root):
            # Sizes and indexes that name no leaf, and hashes of other lengths, are the caller's affair to sigstore.
            assert accepts(*changed) is sigstore_accepts(*changed), (seed, changed)
            asked += 1
    assert asked > 250


def test_what_sigstore_leaves_to_its_caller_is_refused_here(ledger: Ledger, sigstore_accepts: Verify) -> None:
    leaf = ledger.leaf(0)
    root = merkle.leaf_hash(leaf)
    for index, size in ((0, 0), (1, 1), (-1, 1), (0, 2**63)):
        assert not accepts(leaf, index, size, [], root)
    long = bytes(33)
    question = (leaf, 0, 2, [long], merkle.node_hash(root, long))
    assert sigstore_accepts(*question)
    assert not accepts(*question)


def _changed_questions(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> Iterator[tuple[bytes, int, int, Sequence[bytes], bytes]]:
    for bit in range(256):
        yield leaf, index, size, proof, _flipped(root, bit)
    for bit in range(min(256, 8 * len(leaf))):
        yield _flipped(leaf, bit), index, size, proof, root
    for at, value in enumerate(proof):
        for bit in range(256):
            yield leaf, index, size, [*proof[:at], _flipped(value, bit), *proof[at + 1 :]], root
        yield leaf, index, size, [*proof[:at], *proof[at + 1 :]], root
        yield leaf, index, size, [*proof[: at + 1], *proof[at:]], root
        yield leaf, index, size, [*proof[:at], proof[-1], *proof[at + 1 : -1], value][: len(proof)], root
    for more in (root, bytes(32)):
        yield leaf, index, size, [*proof, more], root
        yield leaf, index, size, [more, *proof], root
    for bit in range(62):
        if index ^ 1 << bit < size:
            yield leaf, index ^ 1 << bit, size, proof, root
        if index < size ^ 1 << bit:
            yield leaf, index, size ^ 1 << bit, proof, root


def _flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)
