"""Proofs hold for every index and size, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError, ProofError
from guardrails.ledger import merkle

SIZES = range(1, 71)
HASHES = [merkle.leaf_hash(b"leaf %d" % n) for n in range(71)]
ROOTS = {size: merkle.root_hash(HASHES[:size]) for size in range(72)}
hashes = st.binary(min_size=32, max_size=32)


def recursive_root(values: list[bytes]) -> bytes:
    """The definition in RFC 9162, section 2.1.1, word for word."""
    if len(values) == 1:
        return values[0]
    k = 1
    while 2 * k < len(values):
        k *= 2
    return merkle.node_hash(recursive_root(values[:k]), recursive_root(values[k:]))


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_of_a_size_holds(size: int) -> None:
    assert ROOTS[size] == recursive_root(HASHES[:size])
    for index in range(size):
        proof = merkle.inclusion_proof(HASHES[:size], index)
        merkle.verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(HASHES[:size], old)
        merkle.verify_consistency(old, size, ROOTS[old], ROOTS[size], proof)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 11, 16, 17])
def test_no_proof_holds_for_another_index_size_or_leaf(size: int) -> None:
    for index in range(size):
        proof = merkle.inclusion_proof(HASHES[:size], index)
        for other in range(size):
            if other != index:
                _refused(merkle.verify_inclusion, HASHES[index], other, size, proof, ROOTS[size])
                _refused(merkle.verify_inclusion, HASHES[other], index, size, proof, ROOTS[size])
        _refused(merkle.verify_inclusion, HASHES[index], index, size, [*proof, HASHES[0]], ROOTS[size])
        if proof:
            _refused(merkle.verify_inclusion, HASHES[index], index, size, proof[:-1], ROOTS[size])
    for old in range(1, size):
        proof = merkle.consistency_proof(HASHES[:size], old)
        _refused(merkle.verify_consistency, old, size, ROOTS[old], ROOTS[size], [*proof, HASHES[0]])
        _refused(merkle.verify_consistency, old, size, ROOTS[old], ROOTS[size], proof[:-1])
        _refused(merkle.verify_consistency, old, size, ROOTS[old], ROOTS[size], [])
        for other in range(1, size + 1):
            if other != old:
                _refused(merkle.verify_consistency, other, size, ROOTS[old], ROOTS[size], proof)
                _refused(merkle.verify_consistency, old, size, ROOTS[other], ROOTS[size], proof)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, size - 1))
    for proof, check in (
        (merkle.inclusion_proof(HASHES[:size], old), lambda p: merkle.verify_inclusion(HASHES[old], old, size, p, ROOTS[size])),
        (
            merkle.consistency_proof(HASHES[:size], old),
            lambda p: merkle.verify_consistency(old, size, ROOTS[old], ROOTS[size], p),
        ),
    ):
        at = data.draw(st.integers(0, len(proof) - 1))
        byte = data.draw(st.integers(0, 255))
        changed = bytearray(proof[at])
        changed[byte >> 3] ^= 1 << (byte & 7)
        _refused(check, [*proof[:at], bytes(changed), *proof[at + 1 :]])


@given(st.lists(hashes, max_size=40), st.integers(-3, 60), st.integers(-3, 60), hashes, hashes)
def test_made_up_proofs_are_refused_without_other_errors(proof: list[bytes], m: int, n: int, one: bytes, other: bytes) -> None:
    if (proof, m, n) != ([], 0, 1) or one != other:
        _refused(merkle.verify_inclusion, one, m, n, proof, other)
    if proof or m != n or one != other:
        _refused(merkle.verify_consistency, m, n, one, other, proof)


@given(st.integers(0, 2**63 - 2), st.integers(1, 2**63 - 1))
def test_ranges_of_proofs_are_complete_subtrees_and_cover_the_tree(index: int, size: int) -> None:
    if index < size:
        ranges = sorted([*merkle.inclusion_ranges(index, size), (index, index + 1)])
        assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
        assert ranges[-1][1] == size
        for start, end in ranges:
            covered = [(i << level, (i + 1) << level) for level, i in merkle.complete_subtrees(start, end)]
            assert [a for a, _ in covered] == [start, *(b for _, b in covered[:-1])]
            assert covered[-1][1] == end


@given(st.lists(hashes, max_size=70))
def test_growing_leaf_by_leaf_gives_the_root(values: list[bytes]) -> None:
    peaks: list[tuple[int, bytes]] = []
    for index, value in enumerate(values):
        merkle.grow(peaks, index, value)
    assert merkle.fold([digest for _, digest in peaks]) == merkle.root_hash(values)


@pytest.mark.parametrize("bad", [b"", b"x" * 31, b"x" * 33, "x" * 32, None, bytearray(32)])
def test_hashes_that_are_not_32_bytes_are_refused(bad: bytes) -> None:
    good, root = HASHES[0], ROOTS[2]
    _refused(merkle.root_hash, [good, bad])
    _refused(merkle.inclusion_proof, [good, bad], 0)
    _refused(merkle.consistency_proof, [good, bad], 1)
    _refused(merkle.verify_inclusion, bad, 0, 2, [good], root)
    _refused(merkle.verify_inclusion, good, 0, 2, [bad], root)
    _refused(merkle.verify_inclusion, good, 0, 2, [good], bad)
    _refused(merkle.verify_consistency, 1, 2, bad, root, [good])
    _refused(merkle.verify_consistency, 1, 2, good, root, [bad])
    _refused(merkle.verify_consistency, 2, 2, bad, bad, [])


@pytest.mark.parametrize(("old", "new"), [(0, 2), (-1, 2), (3, 2), (0, 0), (1, 2**63), (True, 2), (1.0, 2)])
def test_sizes_that_prove_nothing_are_refused(old: int, new: int) -> None:
    _refused(merkle.verify_consistency, old, new, HASHES[0], ROOTS[2], [HASHES[1]])
    _refused(merkle.consistency_ranges, old, new)
    if new == 2:
        _refused(merkle.consistency_proof, HASHES[:2], old)


def test_a_proof_longer_than_the_tree_is_high_is_refused_even_when_its_hashes_fit() -> None:
    leaf, other = HASHES[0], HASHES[1]
    _refused(merkle.verify_inclusion, leaf, 0, 1, [other], merkle.node_hash(other, leaf))
    _refused(merkle.verify_inclusion, leaf, 0, 1, [other], merkle.node_hash(leaf, other))
    longer = merkle.node_hash(other, ROOTS[2])
    _refused(merkle.verify_inclusion, leaf, 0, 2, [HASHES[1], other], longer)
    _refused(
        merkle.verify_consistency,
        1,
        2,
        merkle.node_hash(other, leaf),
        merkle.node_hash(other, ROOTS[2]),
        [leaf, HASHES[1], other],
    )
    _refused(merkle.verify_consistency, 1, 2, leaf, merkle.node_hash(other, ROOTS[2]), [HASHES[1], other])


def test_a_deep_tree_needs_no_recursion() -> None:
    size = 2**63 - 1
    proof = [HASHES[0]] * len(merkle.inclusion_ranges(0, size))
    _refused(merkle.verify_inclusion, HASHES[0], 0, size, proof, HASHES[0])
    _refused(merkle.verify_inclusion, HASHES[0], 0, size, [HASHES[0]] * 100_000, HASHES[0])


def _refused(function: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(ProofError) as caught:
        function(*arguments)
    assert isinstance(caught.value, LedgerError)
