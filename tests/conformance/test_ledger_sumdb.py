"""Go's sumdb decides on the same notes and proofs as this library, and no changed bit parts the two."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from guardrails.errors import LedgerError, ProofError
from guardrails.ledger import Ledger, merkle
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier, base64_text, open_note, sign_note
from tests.conformance.conftest import Sumdb

SIGNER = Ed25519Signer("example.com/log", b"l" * 32)
WITNESSES = [Ed25519Signer(f"witness.example/{n}", bytes([n]) * 32) for n in range(1, 4)]
SIZES = 70
LARGE = 3000
GO_MAX_SIZE = 2**62
"""Above it Go 0.7's tlog loses itself in an endless loop looking for a power of two."""


@dataclass(frozen=True)
class Inclusion:
    proof: tuple[bytes, ...]
    size: int
    root: bytes
    index: int
    leaf: bytes

    def question(self) -> dict[str, object]:
        return {
            "Op": "record",
            "Proof": self.proof,
            "Size": self.size,
            "Root": self.root,
            "Index": self.index,
            "Leaf": self.leaf,
        }

    def verdict(self) -> bool:
        with suppress(ProofError):
            merkle.verify_inclusion(self.leaf, self.index, self.size, self.proof, self.root)
            return True
        return False

    def mutations(self) -> Iterator[Inclusion]:
        for proof in _flipped_proofs(self.proof):
            yield replace(self, proof=proof)
        for root in _flipped(self.root):
            yield replace(self, root=root)
        for leaf in _flipped(self.leaf):
            yield replace(self, leaf=leaf)
        for index in _flipped_number(self.index):
            yield replace(self, index=index)
        for size in _flipped_number(self.size):
            yield replace(self, size=size)


@dataclass(frozen=True)
class Consistency:
    proof: tuple[bytes, ...]
    size: int
    root: bytes
    old: int
    old_root: bytes

    def question(self) -> dict[str, object]:
        return {
            "Op": "tree",
            "Proof": self.proof,
            "Size": self.size,
            "Root": self.root,
            "Old": self.old,
            "OldRoot": self.old_root,
        }

    def verdict(self) -> bool:
        with suppress(ProofError):
            merkle.verify_consistency(self.old, self.size, self.old_root, self.root, self.proof)
            return True
        return False

    def mutations(self) -> Iterator[Consistency]:
        for proof in _flipped_proofs(self.proof):
            yield replace(self, proof=proof)
        for root in _flipped(self.root):
            yield replace(self, root=root)
        for old_root in _flipped(self.old_root):
            yield replace(self, old_root=old_root)
        for old in _flipped_number(self.old):
            yield replace(self, old=old)
        for size in _flipped_number(self.size):
            yield replace(self, size=size)


def _flipped(value: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(value)):
        changed = bytearray(value)
        changed[bit >> 3] ^= 1 << (bit & 7)
        yield bytes(changed)


def _flipped_proofs(proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    for at, value in enumerate(proof):
        for changed in _flipped(value):
            yield (*proof[:at], changed, *proof[at + 1 :])
        yield proof[:at] + proof[at + 1 :]
        yield (*proof[: at + 1], *proof[at:])
    yield (bytes(32), *proof)
    yield (*proof, bytes(32))


def _flipped_number(value: int) -> Iterator[int]:
    yield from (value ^ 1 << bit for bit in range(62))
    yield -value


def agree(sumdb: Sumdb, cases: Sequence[Inclusion | Consistency]) -> int:
    """Asserts that Go and this library decide alike; returns how many were accepted."""
    answers = sumdb.ask([case.question() for case in cases])
    verdicts = [case.verdict() for case in cases]
    for case, answer, verdict in zip(cases, answers, verdicts, strict=True):
        assert answer.is_accepted is verdict, (case, answer.error)
    return sum(verdicts)


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        for start in range(0, LARGE, 500):
            ledger.append_many({"n": n} for n in range(start, start + 500))
        yield ledger


def inclusion(ledger: Ledger, index: int, size: int) -> Inclusion:
    proof = tuple(ledger.inclusion_proof(index, size))
    return Inclusion(proof, size, ledger.root_at(size), index, merkle.leaf_hash(ledger.leaf(index)))


def consistency(ledger: Ledger, old: int, size: int) -> Consistency:
    return Consistency(tuple(ledger.consistency_proof(old, size)), size, ledger.root_at(size), old, ledger.root_at(old))


def test_every_inclusion_proof_up_to_a_size_is_accepted(ledger: Ledger, sumdb: Sumdb) -> None:
    cases = [inclusion(ledger, index, size) for size in range(1, SIZES + 1) for index in range(size)]
    assert agree(sumdb, cases) == len(cases) == SIZES * (SIZES + 1) // 2


def test_every_consistency_proof_up_to_a_size_is_accepted(ledger: Ledger, sumdb: Sumdb) -> None:
    cases = [consistency(ledger, old, size) for size in range(1, SIZES + 1) for old in range(1, size + 1)]
    assert agree(sumdb, cases) == len(cases) == SIZES * (SIZES + 1) // 2


def test_proofs_of_a_larger_log_are_accepted(ledger: Ledger, sumdb: Sumdb) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    cases: list[Inclusion | Consistency] = []
    for _ in range(150):
        size = chance.choice([chance.randint(1, LARGE), 256, 257, 511, 512, 1024, 2048, 2049, LARGE])
        cases.append(inclusion(ledger, chance.randrange(size), size))
        cases.append(consistency(ledger, chance.randint(1, size), size))
    assert agree(sumdb, cases) == len(cases), seed


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 11, 13])
def test_no_changed_bit_of_a_proof_is_accepted_by_either(ledger: Ledger, sumdb: Sumdb, size: int) -> None:
    cases: list[Inclusion | Consistency] = []
    for n in range(size):
        cases += inclusion(ledger, n, size).mutations()
        cases += consistency(ledger, n + 1, size).mutations()
    # A changed size or index may describe another tree that the same hashes prove: then both say so.
    accepted = agree(sumdb, cases)
    assert accepted < len(cases) / 100
    assert len(cases) > 400


def test_no_changed_bit_of_a_long_proof_is_accepted_by_either(ledger: Ledger, sumdb: Sumdb) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    cases: list[Inclusion | Consistency] = []
    for _ in range(2):
        size = chance.randint(257, LARGE)
        cases += inclusion(ledger, chance.randrange(size), size).mutations()
        cases += consistency(ledger, chance.randint(1, size), size).mutations()
    assert agree(sumdb, cases) < len(cases) / 100, seed


def level_roots() -> list[bytes]:
    """Roots of the complete trees of equal leaves: with them a tree of any size is at hand."""
    roots = [merkle.leaf_hash(b"equal")]
    for _ in range(63):
        roots.append(merkle.node_hash(roots[-1], roots[-1]))
    return roots


def test_proofs_of_trees_of_any_size_are_decided_alike(sumdb: Sumdb) -> None:
    seed = random.randrange(2**32)
    chance, roots = random.Random(seed), level_roots()

    def root(start: int, end: int) -> bytes:
        return merkle.fold([roots[level] for level, _ in merkle.complete_subtrees(start, end)])

    sound: list[Inclusion | Consistency] = []
    for _ in range(300):
        size = min(chance.randint(1, GO_MAX_SIZE), chance.randint(0, 2) + (1 << chance.randint(1, 62)), GO_MAX_SIZE)
        index = chance.randrange(size)
        proof = tuple(root(*span) for span in merkle.inclusion_ranges(index, size))
        sound.append(Inclusion(proof, size, root(0, size), index, roots[0]))
        old = index + 1
        proof = tuple(root(*span) for span in merkle.consistency_ranges(old, size))
        sound.append(Consistency(proof, size, root(0, size), old, root(0, old)))
    assert agree(sumdb, sound) == len(sound), seed
    for case in chance.sample(sound, 60):
        mutations = [m for m in case.mutations() if m.size <= GO_MAX_SIZE]
        agree(sumdb, chance.sample(mutations, min(len(mutations), 200)))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_hashes_of_another_length_are_refused_by_both(ledger: Ledger, sumdb: Sumdb, length: int) -> None:
    odd, sound, later = bytes(length), inclusion(ledger, 2, 5), consistency(ledger, 3, 5)
    cases = [
        replace(sound, root=odd),
        replace(sound, leaf=odd),
        replace(sound, proof=(odd, *sound.proof[1:])),
        replace(later, root=odd),
        replace(later, old_root=odd),
        replace(later, proof=(odd, *later.proof[1:])),
        replace(later, old=5, root=odd, old_root=odd, proof=()),
    ]
    assert agree(sumdb, cases) == 0


def test_an_old_size_of_nothing_proves_nothing_to_both(ledger: Ledger, sumdb: Sumdb) -> None:
    head = consistency(ledger, 5, 5)
    cases = [
        replace(head, old=old, size=size, old_root=merkle.EMPTY_ROOT, proof=proof)
        for old, size in ((0, 5), (0, 0), (-1, 5), (6, 5))
        for proof in ((), (head.root,))
    ]
    assert agree(sumdb, cases) == 0


def opened(sumdb: Sumdb, notes: Sequence[bytes], verifiers: Sequence[Verifier]) -> list[tuple[str | None, str | None]]:
    """Returns the text that Go, and the text that this library reads from each note; None where it refuses."""
    answers = sumdb.ask([{"Op": "open", "Note": note, "Keys": [str(v) for v in verifiers]} for note in notes])
    return [(a.text if a.is_accepted else None, _opened(n, verifiers)) for a, n in zip(answers, notes, strict=True)]


def _opened(note: bytes, verifiers: Sequence[Verifier]) -> str | None:
    with suppress(LedgerError, UnicodeDecodeError):
        return open_note(note.decode(), verifiers)
    return None


def cosigned(ledger: Ledger, count: int) -> str:
    """A checkpoint with further signature lines under it."""
    note = ledger.checkpoint()
    text = note.rpartition("\n\n")[0] + "\n"
    return note + "".join(sign_note(text, witness).rpartition("\n\n")[2] for witness in WITNESSES[:count])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_checkpoints_with_several_signatures_are_read(ledger: Ledger, sumdb: Sumdb, count: int) -> None:
    note = cosigned(ledger, count)
    everyone = [signer.verifier() for signer in (SIGNER, *WITNESSES)]
    for keys in (everyone[:1], everyone, everyone[1:], everyone[:0:-1], []):
        (answer,) = sumdb.ask([{"Op": "open", "Note": note.encode(), "Keys": [str(key) for key in keys]}])
        known = {key.name for key in keys} & {key.name for key in everyone[: count + 1]}
        assert set(answer.verified) == known
        assert (_opened(note.encode(), keys) is not None) is answer.is_accepted is bool(known)
        if known:
            assert (
                answer.text == _opened(note.encode(), keys) == str(Checkpoint("example.com/log", LARGE, ledger.root_at(LARGE)))
            )
            assert len(answer.verified) + len(answer.unverified) == count + 1


def test_every_changed_bit_of_a_cosigned_checkpoint_is_decided_alike(ledger: Ledger, sumdb: Sumdb) -> None:
    note = cosigned(ledger, 2).encode()
    notes = list(_flipped(note))
    for keys in ([SIGNER.verifier()], [SIGNER.verifier(), WITNESSES[0].verifier()]):
        loose = 0
        for changed, (theirs, ours) in zip(notes, opened(sumdb, notes, keys), strict=True):
            if ours is not None or theirs is not None:
                # The last bits of a base64 text that stand for nothing: Go lets them be, this library has one form only.
                if ours is None:
                    loose += 1
                    assert _is_loose_base64(note.decode(), changed.decode())
                else:
                    assert theirs == ours == note.decode().rpartition("\n\n")[0] + "\n"
        assert loose <= 4 * 3


def _is_loose_base64(note: str, changed: str) -> bool:
    at = next(n for n, (a, b) in enumerate(zip(note, changed, strict=True)) if a != b)
    return note[at + 1] in "=\n" and note.rfind("\n\n") < at


def test_both_read_what_the_other_signs(sumdb: Sumdb) -> None:
    texts = ["x\n", "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "a\n\nb\n", "ünï\u2028cödé\x7f\n"]
    questions = [{"Op": "sign", "Text": text, "SecretKey": SIGNER.secret_text()} for text in texts]
    for text, answer in zip(texts, sumdb.ask(questions), strict=True):
        assert answer.note == sign_note(text, SIGNER), "Ed25519 signatures are deterministic"
        assert open_note(answer.note, [SIGNER.verifier()]) == text


def test_odd_notes_are_accepted_only_where_go_accepts_them(ledger: Ledger, sumdb: Sumdb) -> None:
    note = cosigned(ledger, 1)
    text, _, tail = note.rpartition("\n\n")
    ours, witness = tail.splitlines(keepends=True)
    wrong = ours.replace(ours.split()[2], base64_text(SIGNER.verifier().key_hash + bytes(64)))
    unknown = sign_note("x\n", Ed25519Signer("someone.example", b"x" * 32)).rpartition("\n\n")[2]
    other_text = sign_note("x\n", SIGNER).rpartition("\n\n")[2]
    odd = {
        "repeated": f"{text}\n\n{ours}{ours}",
        "wrong first": f"{text}\n\n{wrong}{ours}",
        "wrong alone": f"{text}\n\n{wrong}",
        "of another text": f"{text}\n\n{other_text}",
        "unknown alone": f"{text}\n\n{unknown}",
        "unknown besides": f"{text}\n\n{unknown}{ours}{witness}",
        "a hundred": f"{text}\n\n{ours}{unknown * 99}",
        "a hundred and one": f"{text}\n\n{ours}{unknown * 100}",
        "no last newline": f"{text}\n\n{ours}"[:-1],
        "an empty line after": f"{text}\n\n{ours}\n",
        "no empty line before": f"{text}\n{ours}",
        "two empty lines": f"{text}\n\n\n{ours}",
        "windows": f"{text}\n\n{ours}".replace("\n", "\r\n"),
        "a hyphen for the dash": f"{text}\n\n{ours}".replace("\u2014", "-"),
        "two spaces": f"{text}\n\n{ours}".replace("\u2014 ", "\u2014  "),
        "a short signature": f"{text}\n\n\u2014 {SIGNER.verifier().name} {base64_text(SIGNER.verifier().key_hash)}\n",
        "a long signature": f"{text}\n\n\u2014 {SIGNER.verifier().name} {base64_text(SIGNER.verifier().key_hash + bytes(65))}\n",
        "a control character": f"\x01{text}\n\n{ours}",
        "nothing": "",
        "only signatures": f"\n\n{ours}",
    }
    verdicts = dict(zip(odd, opened(sumdb, [n.encode() for n in odd.values()], [SIGNER.verifier()]), strict=True))
    for name, (theirs, read) in verdicts.items():
        assert read is None or read == theirs, name
    assert {name for name, (_, read) in verdicts.items() if read} == {"unknown besides", "a hundred"}
    assert {name for name, (theirs, read) in verdicts.items() if theirs and not read} <= {"two empty lines", "repeated"}


def test_a_checkpoint_of_nothing_and_of_a_large_tree_are_read(sumdb: Sumdb) -> None:
    heads = [Checkpoint("example.com/log", 0, merkle.EMPTY_ROOT), Checkpoint("example.com/log", 2**63 - 1, b"r" * 32)]
    notes = [sign_checkpoint(head, SIGNER).encode() for head in heads]
    for head, (theirs, ours) in zip(heads, opened(sumdb, notes, [SIGNER.verifier()]), strict=True):
        assert theirs == ours == str(head)
