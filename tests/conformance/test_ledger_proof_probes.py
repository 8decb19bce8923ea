"""The probes of transparency-dev/merkle, made anew: each published proof, spoiled in each of the ways that its test data lists.

The names are those of the files in testdata/inclusion and testdata/consistency there (github.com/transparency-dev/merkle); its
trees are the eight leaves of `test_ledger_merkle_vectors`. One of its verdicts is stricter here: two roots that are equal, but not
32 bytes long, are no roots (RFC 9162, section 2.1.1, over SHA-256).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator

import pytest

from guardrails.errors import ProofError
from guardrails.ledger import merkle
from tests.conformance.test_ledger_merkle_vectors import CONSISTENCY, HASHES, INCLUSION, ROOTS

EMPTY = b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
ONE, TWO = b64decode("ZG9uJ3QgY2FyZSAx"), b64decode("ZG9uJ3QgY2FyZSAy")
"""The words "don't care" with a number, which stand for roots in the probes of sizes."""
LEAF = b64decode("q6yroAAAAAAAAAAAAAAAAAAAAAAAAAAAAGAGHgASNFY=")
SINGLE = b64decode("DTrtAjFI/9KiWfvQzcf7PPl1ZYdg03dbgq9vkKrMLfw=")
Inclusion = tuple[int, int, bytes, list[bytes], bytes]
Consistency = tuple[int, int, bytes, bytes, list[bytes]]


def inclusion_probes(index: int, size: int) -> Iterator[tuple[str, Inclusion]]:
    proof, root, leaf = [bytes.fromhex(h) for h in INCLUSION[index, size]], bytes.fromhex(ROOTS[size - 1]), HASHES[index]
    yield "leafIdx-plus", (index + 1, size, leaf, proof, root)
    yield "leafIdx-sub", (index - 1, size, leaf, proof, root)
    yield "leafIdx-XOR", (index ^ 2, size, leaf, proof, root)
    yield "treeSize-mul", (index, size * 2, leaf, proof, root)
    yield "treeSize-div", (index, size // 2, leaf, proof, root)
    yield "wrong-leaf", (index, size, b"WrongLeaf", proof, root)
    yield "wrong-leaf of 32 bytes", (index, size, merkle.leaf_hash(b"WrongLeaf"), proof, root)
    yield "empty-root", (index, size, leaf, proof, EMPTY)
    yield "no root", (index, size, leaf, proof, b"")
    yield "random-root", (index, size, leaf, proof, merkle.leaf_hash(b"random"))
    for at, value in enumerate(proof):
        yield f"modified-proof[{at}]", (index, size, leaf, [*proof[:at], _spoiled(value), *proof[at + 1 :]], root)
        yield f"removed-component {at}", (index, size, leaf, [*proof[:at], *proof[at + 1 :]], root)
        for more in (b"", bytes(32), value):
            yield f"inserted-component {at}", (index, size, leaf, [*proof[:at], more, *proof[at:]], root)
    for more in (b"", root, bytes(32), leaf):
        yield "preceding", (index, size, leaf, [more, *proof], root)
        yield "trailing", (index, size, leaf, [*proof, more], root)


def consistency_probes(old: int, size: int) -> Iterator[tuple[str, Consistency]]:
    proof, first, last = (
        [bytes.fromhex(h) for h in CONSISTENCY[old, size]],
        *(bytes.fromhex(ROOTS[n - 1]) for n in (old, size)),
    )
    yield "size1-sub", (old - 1, size, first, last, proof)
    yield "size1-plus", (old + 1, size, first, last, proof)
    yield "size1-XOR", (old ^ 2, size, first, last, proof)
    yield "size2-mul", (old, size * 2, first, last, proof)
    yield "size2-div", (old, size // 2, first, last, proof)
    yield "wrong-root1", (old, size, b"WrongRoot", last, proof)
    yield "wrong-root2", (old, size, first, b"WrongRoot", proof)
    yield "wrong-root1 of 32 bytes", (old, size, merkle.leaf_hash(b"WrongRoot"), last, proof)
    yield "wrong-root2 of 32 bytes", (old, size, first, merkle.leaf_hash(b"WrongRoot"), proof)
    if old != size:
        yield "swapped-roots", (old, size, last, first, proof)
        yield "empty-proof", (old, size, first, last, [])
    for more in (b"", first, last, bytes(32)):
        yield "trailing", (old, size, first, last, [*proof, more])
        yield "preceding", (old, size, first, last, [more, *proof])
    for at, value in enumerate(proof):
        yield f"truncated-proof {at}", (old, size, first, last, proof[:at])
        yield f"preceding-proof {at}", (old, size, first, last, [value, *proof])
        yield f"modified-proof@{at}", (old, size, first, last, [*proof[:at], _spoiled(value), *proof[at + 1 :]])


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_a_spoiled_inclusion_proof_is_refused(index: int, size: int) -> None:
    probes = list(inclusion_probes(index, size))
    assert len(probes) > 15
    for name, (i, n, leaf, proof, root) in probes:
        with pytest.raises(ProofError):
            _named(name, merkle.verify_inclusion, leaf, i, n, proof, root)


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_a_spoiled_consistency_proof_is_refused(old: int, size: int) -> None:
    probes = list(consistency_probes(old, size))
    assert len(probes) > 15
    for name, (m, n, first, last, proof) in probes:
        with pytest.raises(ProofError):
            _named(name, merkle.verify_consistency, m, n, first, last, proof)


@pytest.mark.parametrize(
    ("old", "size", "first", "last", "proof"),
    [
        (0, 1, EMPTY, EMPTY, [EMPTY]),  # consistency-check-on-empty-tree-size1-is-zero-is-useless
        (0, 0, EMPTY, TWO, []),  # roots-do-not-match-and-sizes-are-zero
        (1, 1, EMPTY, TWO, []),  # roots-do-not-not-match-and-sizes-are-one
        (2, 1, ONE, TWO, []),  # size1-is-greater-than-size2-again
        (1, 0, ONE, TWO, []),  # size1-is-greater-than-size2
        (0, 1, ONE, TWO, []),  # size1-is-zero-and-does-not-equal-size2
        (0, 1, EMPTY, EMPTY, []),  # size1-is-zero-and-size2-is-not-zero
        (1, 1, ONE, TWO, []),  # sizes-are-equal-one-but-roots-are-not
        (0, 0, ONE, ONE, []),  # sizes-are-equal-zero-and-proof-is-empty
        (0, 0, ONE, TWO, []),  # sizes-are-equal-zero-but-roots-are-not
        (1, 2, ONE, TWO, []),  # sizes-do-not-watch-and-proof-is-empty
        (1, 1, EMPTY, EMPTY, [EMPTY]),  # sizes-match-but-proof-is-not-empty-and-sizes-are-one
        (0, 0, EMPTY, EMPTY, [EMPTY]),  # sizes-match-but-proof-is-not-empty-and-sizes-are-zero
        (1, 1, TWO, TWO, []),  # sizes-are-equal-one-and-proof-is-empty: accepted there, whatever its roots are
        (2, 2, b"", b"", []),
        (2**63 - 1, 2**63, EMPTY, LEAF, [EMPTY]),
    ],
)
def test_sizes_and_roots_that_prove_nothing(old: int, size: int, first: bytes, last: bytes, proof: list[bytes]) -> None:
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, size, first, last, proof)


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    merkle.verify_consistency(1, 1, EMPTY, EMPTY, [])


@pytest.mark.parametrize(
    ("size", "leaf", "root"),
    [
        (0, LEAF, EMPTY),  # additional/0
        (0, b"", EMPTY),
        (0, LEAF, b""),
        (1, b"", SINGLE),  # single-entry
        (1, b"", b""),
        (1, SINGLE, b""),
        (1, SINGLE, EMPTY),
        (1, SINGLE[:31], SINGLE[:31]),
        (1, SINGLE + b"\0", SINGLE + b"\0"),
    ],
)
def test_leaves_and_roots_that_are_none(size: int, leaf: bytes, root: bytes) -> None:
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, 0, size, [], root)


def test_a_single_entry_is_its_own_root() -> None:
    merkle.verify_inclusion(SINGLE, 0, 1, [], SINGLE)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2**63 - 1), (2**63 - 2, 2**63 - 1), (2**62, 2**62 + 1)])
def test_the_largest_sizes_are_inside_and_the_next_are_not(index: int, size: int) -> None:
    levels = [merkle.leaf_hash(b"equal")]
    for _ in range(64):
        levels.append(merkle.node_hash(levels[-1], levels[-1]))
    spans = merkle.inclusion_ranges(index, size)
    proof = [merkle.fold([levels[level] for level, _ in merkle.complete_subtrees(*span)]) for span in spans]
    root = merkle.fold([levels[level] for level, _ in merkle.complete_subtrees(0, size)])
    merkle.verify_inclusion(levels[0], index, size, proof, root)
    assert len(proof) == len(spans) <= 63
    for i, n in ((index, 2**63), (index, -size), (size, size), (-1, size), (True, size)):
        with pytest.raises(ProofError):
            merkle.verify_inclusion(levels[0], i, n, proof, root)


def _named(name: str, verify: Callable[..., None], *arguments: object) -> None:
    verify(*arguments)
    pytest.fail(f"{name} was accepted")


def _spoiled(value: bytes) -> bytes:
    return value[:4] + bytes([value[4] ^ 0x10]) + value[5:]
