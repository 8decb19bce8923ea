"""The rule of a witness, answer by answer of the specification, and its state."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import consistency_proof, leaf_hash, root_hash
from guardrails.ledger.note import Note, Signer, add_signatures, parse_lines, sign_note, signed_by
from guardrails.ledger.signature_types import COSIGNATURE_ML_DSA_44
from guardrails.ledger.witnessing.request import SIZE_CONTENT_TYPE, AddCheckpoint
from guardrails.ledger.witnessing.state import SQLiteState
from guardrails.ledger.witnessing.witness import Answer, Head, Witness, origin_hash

LOG = Ed25519Signer("example.com/log", b"s" * 32)
ORIGIN = LOG.verifier().name
SIGNERS = (Cosigner("witness.example/w1", b"w" * 32), Cosigner("witness.example/w1", b"m" * 32, COSIGNATURE_ML_DSA_44))
KEYS = tuple(s.verifier() for s in SIGNERS)
LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
FORK = [*LEAVES[:5], *(leaf_hash(b"fork" + bytes([n])) for n in range(35))]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SQLiteState]:
    with SQLiteState.create(tmp_path / "state.db", KEYS) as state:
        state.trust(LOG.verifier())
        yield state


@pytest.fixture
def witness(state: SQLiteState) -> Witness:
    times = itertools.count(1_700_000_000)
    return Witness(SIGNERS, state, clock=lambda: next(times))


def request(
    old: int, size: int, leaves: list[bytes] = LEAVES, *, proof: list[bytes] | None = None, signer: Signer = LOG
) -> bytes:
    note = sign_checkpoint(Checkpoint(signer.verifier().name, size, root_hash(leaves[:size])), signer)
    if proof is None:
        proof = consistency_proof(leaves[:size], old) if 0 < old < size else []
    return str(AddCheckpoint(old, tuple(proof), Note.parse(note))).encode()


def status(answer: Answer) -> int:
    return answer.status


def test_a_growing_log_is_cosigned_by_every_key(witness: Witness) -> None:
    for old, size in ((0, 0), (0, 3), (3, 3), (3, 8), (8, 40)):
        answer = witness.add_checkpoint(request(old, size))
        assert answer.status == 200, answer
        text = str(Checkpoint(ORIGIN, size, root_hash(LEAVES[:size])))
        opened = signed_by(Note(text, parse_lines(answer.body)), KEYS)
        assert opened.signers == KEYS
        assert all(s.time_s for s in opened.signatures)


def test_another_old_size_is_told_the_size_that_was_seen(witness: Witness) -> None:
    assert witness.add_checkpoint(request(3, 8)) == Answer(409, "0\n", SIZE_CONTENT_TYPE)
    witness.add_checkpoint(request(0, 8))
    for old, size in ((0, 8), (0, 5), (5, 8), (7, 40), (9, 40)):
        assert witness.add_checkpoint(request(old, size)) == Answer(409, "8\n", SIZE_CONTENT_TYPE)
    assert status(witness.add_checkpoint(request(8, 40))) == 200


@pytest.mark.parametrize(("old", "size", "leaves"), [(8, 8, FORK), (8, 20, FORK), (8, 40, FORK)])
def test_a_fork_is_refused_and_kept_as_evidence(
    witness: Witness, state: SQLiteState, old: int, size: int, leaves: list[bytes]
) -> None:
    witness.add_checkpoint(request(0, 8))
    body = request(old, size, leaves)
    assert status(witness.add_checkpoint(body)) == 422
    assert status(witness.add_checkpoint(body)) == 422
    ((reason, kept),) = state.evidence(ORIGIN)
    assert kept.encode() == body
    assert reason
    head = state.head(ORIGIN)
    assert head is not None
    assert head.root == root_hash(LEAVES[:8])


def test_a_proof_that_does_not_fit_is_refused(witness: Witness) -> None:
    assert status(witness.add_checkpoint(request(0, 8, proof=LEAVES[:1]))) == 422
    witness.add_checkpoint(request(0, 7))
    good = consistency_proof(LEAVES[:20], 7)
    for proof in ([], good[:-1], [*good, LEAVES[0]], good[::-1]):
        assert status(witness.add_checkpoint(request(7, 20, proof=proof))) == 422
    assert status(witness.add_checkpoint(request(7, 7, proof=LEAVES[:1]))) == 422
    assert status(witness.add_checkpoint(request(7, 20))) == 200


def test_strangers_and_wrong_signatures_are_refused(witness: Witness, state: SQLiteState) -> None:
    assert status(witness.add_checkpoint(request(0, 8, signer=Ed25519Signer("unknown.example", b"u" * 32)))) == 404
    assert status(witness.add_checkpoint(request(0, 8, signer=Ed25519Signer(ORIGIN, b"x" * 32)))) == 403
    text = str(Checkpoint(ORIGIN, 8, root_hash(LEAVES[:8])))
    (line,) = Note.parse(sign_note("other\n", LOG)).lines
    wrong = Note(text, (line, *Note.parse(sign_note(text, SIGNERS[0])).lines))
    assert status(witness.add_checkpoint(str(AddCheckpoint(0, (), wrong)).encode())) == 403
    assert state.head(ORIGIN) is None


def test_an_empty_tree_with_another_root_is_no_tree(witness: Witness) -> None:
    note = sign_note(f"{ORIGIN}\n0\n{str(Checkpoint(ORIGIN, 8, LEAVES[0])).split()[2]}\n", LOG)
    assert status(witness.add_checkpoint(f"old 0\n\n{note}".encode())) == 422


def test_malformed_requests_are_refused(witness: Witness) -> None:
    good = request(7, 20).decode()
    assert str(AddCheckpoint.parse(good.encode())) == good
    hashes = good.split("\n\n")[0].split("\n")[1:]
    for bad in (
        "",
        "old 7",
        good.replace("old 7", "old 07"),
        good.replace("old 7", "old +7"),
        good.replace("old 7", "old  7"),
        good.replace("old 7", "old -7"),
        good.replace("old 7", "old 9223372036854775808"),
        good.replace("old 7", "new 7"),
        good.replace("old 7", "old 21"),
        good.replace("\n\n", "\n", 1),
        good.replace(hashes[0], "AAAA"),
        good.replace(hashes[0], hashes[0][:-1]),
        good.replace(hashes[0], hashes[0] + " "),
        good.replace(hashes[0], "\n".join(hashes[:1] * 64)),
        good.replace("\n20\n", "\n020\n"),
        good[:-1],
        good.replace("\n", "\r\n"),
        "old 0\n\n" + "x" * 300_000,
    ):
        assert status(witness.add_checkpoint(bad.encode())) == 400, bad[:80]
    assert status(witness.add_checkpoint(b"old 0\n\n\xff\n")) == 400


def test_extension_lines_are_cosigned_only_by_what_covers_them(witness: Witness, state: SQLiteState) -> None:
    checkpoint = Checkpoint(ORIGIN, 8, root_hash(LEAVES[:8]), ("extension",))
    body = str(AddCheckpoint(0, (), Note.parse(sign_checkpoint(checkpoint, LOG)))).encode()
    lattice_only = Witness(SIGNERS[1:], state, clock=lambda: 5)
    assert status(lattice_only.add_checkpoint(body)) == 400
    assert state.head(ORIGIN) is None
    answer = witness.add_checkpoint(body)
    assert answer.status == 200
    assert signed_by(Note(str(checkpoint), parse_lines(answer.body)), KEYS[:1]).signers == KEYS[:1]
    assert answer.body.count("\n") == 1


def test_a_log_may_change_its_key_and_a_stolen_one_may_go(witness: Witness, state: SQLiteState) -> None:
    new = Ed25519Signer(ORIGIN, b"n" * 32)
    assert status(witness.add_checkpoint(request(0, 8, signer=new))) == 403
    state.trust(new.verifier())
    assert status(witness.add_checkpoint(request(0, 8, signer=new))) == 200
    state.distrust(LOG.verifier())
    assert status(witness.add_checkpoint(request(8, 9))) == 403
    assert status(witness.add_checkpoint(request(8, 9, signer=new))) == 200


def test_monitors_get_the_cosigned_checkpoint_with_the_logs_signature_only(witness: Witness) -> None:
    assert status(witness.checkpoint(origin_hash(ORIGIN))) == 404
    body = request(0, 8).decode()
    old, _, note = body.partition("\n\n")
    stranger = Ed25519Signer("stranger", b"x" * 32)
    both = add_signatures(note, Note.parse(sign_note(Note.parse(note).text, stranger)).lines)
    answer = witness.add_checkpoint(f"{old}\n\n{both}".encode())
    shown = witness.checkpoint(origin_hash(ORIGIN))
    assert shown.status == 200
    assert shown.body == note + answer.body
    assert signed_by(shown.body, [LOG.verifier(), *KEYS]).signers == (LOG.verifier(), *KEYS)


def test_a_clock_that_went_backwards_signs_nothing(state: SQLiteState) -> None:
    times = iter((1000, 999, 1000))
    witness = Witness(SIGNERS, state, clock=lambda: next(times))
    assert status(witness.add_checkpoint(request(0, 8))) == 200
    assert status(witness.add_checkpoint(request(8, 9))) == 503
    assert status(witness.add_checkpoint(request(8, 9))) == 200


def test_nothing_is_signed_before_the_state_is_durable(state: SQLiteState) -> None:
    state.close()

    class Never:
        def verifier(self) -> object:
            return KEYS[0]

        def sign(self, message: bytes) -> bytes:
            raise AssertionError("signed")

    witness = Witness([Never()], state, clock=lambda: 5)  # type: ignore[list-item]
    with pytest.raises(LedgerError):
        witness.add_checkpoint(request(0, 8))


def test_of_two_requests_at_once_one_wins(state: SQLiteState, tmp_path: Path) -> None:
    """Two histories race from the same old size, through two handles on one state as two processes would."""
    with SQLiteState.open(tmp_path / "state.db", KEYS) as other:
        Witness(SIGNERS[:1], state, clock=lambda: 5).add_checkpoint(request(0, 5))
        barrier = threading.Barrier(2)
        answers: list[Answer] = []

        def ask(handle: SQLiteState, leaves: list[bytes], size: int) -> None:
            witness = Witness(SIGNERS[:1], handle, clock=lambda: 5)
            barrier.wait()
            answers.append(witness.add_checkpoint(request(5, size, leaves)))

        for round_size in range(6, 12):
            answers.clear()
            with state._writing() as connection:  # back to size 5, to race again
                connection.execute(
                    "UPDATE heads SET size = 5, root = ?, time_s = 5 WHERE origin = ?", (root_hash(LEAVES[:5]), ORIGIN)
                )
            threads = [
                threading.Thread(target=ask, args=(handle, leaves, round_size + extra))
                for handle, leaves, extra in ((state, LEAVES, 0), (other, FORK, 1))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(a.status for a in answers) in ([200, 409], [200, 422]), answers


def test_compare_and_set_knows_what_was_seen(state: SQLiteState) -> None:
    first, second = Head(3, b"a" * 32, "n", 5), Head(4, b"b" * 32, "n", 6)
    assert not state.advance(ORIGIN, first, second)
    assert state.advance(ORIGIN, None, first)
    assert not state.advance(ORIGIN, None, second)
    assert not state.advance(ORIGIN, Head(3, b"c" * 32, "n", 5), second)
    assert state.advance(ORIGIN, first, second)
    state.keep_cosigned(ORIGIN, first, "late")
    assert state.cosigned(origin_hash(ORIGIN)) is None
    assert state.head(ORIGIN) == second


def test_the_state_is_never_made_anew_nor_lent_to_another_key(state: SQLiteState, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        SQLiteState.create(tmp_path / "state.db", KEYS)
    with pytest.raises(LedgerError, match="missing"):
        SQLiteState.open(tmp_path / "lost.db", KEYS)
    for keys in (KEYS[:1], (), (LOG.verifier(),)):
        with pytest.raises(LedgerError, match="other keys"):
            SQLiteState.open(tmp_path / "state.db", keys)
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerError):
        SQLiteState.open(tmp_path / "empty.db", KEYS)


def test_a_witness_has_a_key_of_a_cosignature_type(state: SQLiteState) -> None:
    for signers in ([], [LOG]):
        with pytest.raises(LedgerError):
            Witness(signers, state, clock=lambda: 5)
