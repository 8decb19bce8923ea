"""No changed byte of a cosigned note, a request or a policy passes for what was signed or written."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import consistency_proof, leaf_hash, root_hash
from guardrails.ledger.note import Note, Opened, Verifier, signed_by
from guardrails.ledger.pin import PinStore
from guardrails.ledger.signature_types import COSIGNATURE_ML_DSA_44
from guardrails.ledger.witnessing.quorum import parse_policy
from guardrails.ledger.witnessing.request import AddCheckpoint
from guardrails.ledger.witnessing.witness import Head, Refusal, judge

LOG = Ed25519Signer("example.com/log", b"s" * 32)
WITNESS = Cosigner("witness.example/w1", b"w" * 32)
LATTICE = Cosigner("witness.example/w1", b"m" * 32, COSIGNATURE_ML_DSA_44)
KEYS = [LOG.verifier(), WITNESS.verifier(), LATTICE.verifier()]
NOTE = cosign_note(
    sign_checkpoint(Checkpoint("example.com/log", 5, leaf_hash(b"x")), LOG), [WITNESS, LATTICE], time_s=1_700_000_000
)
OPENED = signed_by(NOTE, KEYS)
LEAVES = [leaf_hash(bytes([n])) for n in range(48)]
POLICY = f"witness a {WITNESS.verifier()}\nwitness b {LATTICE.verifier()}\ngroup g 2 a b\nquorum g\n"


def opened(data: bytes) -> Opened | None:
    with suppress(LedgerError, UnicodeDecodeError):
        return signed_by(data.decode(), KEYS)
    return None


def passes_for_the_original(data: bytes) -> bool:
    """Whether a changed note is taken for one that all three keys signed, or for one of another text."""
    found = opened(data)
    return found is not None and (found.text != OPENED.text or found.signers == OPENED.signers)


@given(at=st.integers(0, len(NOTE.encode()) - 1), bit=st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_a_flipped_bit_never_passes(at: int, bit: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[at] ^= 1 << bit
    assert not passes_for_the_original(bytes(changed))


def test_every_flipped_bit_outside_of_the_long_signature_is_caught() -> None:
    data = NOTE.encode()
    short = data.rindex("—".encode()) + 80
    for at in range(short):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert not passes_for_the_original(bytes(changed)), (at, bit)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_bytes_put_in_cut_out_or_moved_never_pass(data: st.DataObject) -> None:
    original = NOTE.encode()
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 90)))
    put_in = data.draw(
        st.sampled_from([b"", b"\n", b" ", b"=", b"\r", b"\x00", b"A", b"\n\n", "—".encode()]) | st.binary(max_size=6)
    )
    changed = original[:start] + put_in + original[end:]
    if changed != original:
        assert not passes_for_the_original(changed)


@given(st.permutations(range(3)))
def test_the_order_of_lines_is_not_signed_and_changes_nothing(order: list[int]) -> None:
    parsed = Note.parse(NOTE)
    found = signed_by(Note(parsed.text, tuple(parsed.lines[i] for i in order)), KEYS)
    assert found.text == OPENED.text
    assert set(found.signers) == set(OPENED.signers)


@given(st.text(max_size=120) | st.text(st.sampled_from("wlgq itnesoup\n#0129+=ABab\t"), max_size=200))
@settings(max_examples=300)
def test_arbitrary_text_is_read_canonically_or_refused_cleanly(text: str) -> None:
    with suppress(LedgerError):
        assert str(Note.parse(text)) == text
    with suppress(LedgerError):
        assert str(Verifier.parse(text)) == text
    with suppress(LedgerError, UnicodeEncodeError):
        assert str(AddCheckpoint.parse(text.encode())).encode() == text.encode()
    with suppress(LedgerError):
        policy = parse_policy(text)
        assert parse_policy(str(policy)) == policy


@given(at=st.integers(0, len(POLICY) - 1), character=st.sampled_from("\n \tab2gq+\r\x00"))
@settings(max_examples=300)
def test_a_changed_policy_is_another_policy_or_none(at: int, character: str) -> None:
    changed = POLICY[:at] + character + POLICY[at + 1 :]
    with suppress(LedgerError):
        policy = parse_policy(changed)
        known = {w.verifier for w in policy.witnesses}
        assert known <= {WITNESS.verifier(), LATTICE.verifier()}
        assert parse_policy(str(policy)) == policy


@given(
    old=st.integers(0, 40),
    size=st.integers(0, 48),
    forked_at=st.integers(0, 48),
    seen=st.none() | st.integers(0, 48),
    data=st.data(),
)
@settings(max_examples=400, deadline=None)
def test_a_witness_grants_only_what_continues_what_it_saw(
    old: int, size: int, forked_at: int, seen: int | None, data: st.DataObject
) -> None:
    leaves = LEAVES[:forked_at] + [leaf_hash(b"fork" + bytes([n])) for n in range(48 - forked_at)]
    note = sign_checkpoint(Checkpoint("example.com/log", size, root_hash(leaves[:size])), LOG)
    proof = consistency_proof(leaves[:size], old) if 0 < old < size else []
    if data.draw(st.integers(0, 3)) == 0:
        proof = data.draw(st.lists(st.sampled_from(LEAVES), max_size=6))
    head = None if seen is None else Head(seen, root_hash(LEAVES[:seen]), "", 1)
    continues = (seen or 0) <= size and (not seen or leaves[:seen] == LEAVES[:seen])
    try:
        judge(AddCheckpoint(old, tuple(proof), Note.parse(note)), [LOG.verifier()], head)
    except Refusal as refusal:
        assert refusal.status in (400, 409, 422)
        assert (refusal.size is not None) == (refusal.status == 409)
    else:
        assert old == (seen or 0)
        assert continues


@given(st.lists(st.tuples(st.integers(0, 48), st.booleans()), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_pin_follows_one_history_only(tmp_path_factory: pytest.TempPathFactory, heads: list[tuple[int, bool]]) -> None:
    pins = PinStore(tmp_path_factory.mktemp("pins"))
    fork = LEAVES[:3] + [leaf_hash(b"fork" + bytes([n])) for n in range(45)]
    accepted: list[tuple[int, bytes]] = []
    for size, is_fork in heads:
        leaves = fork if is_fork else LEAVES
        root = root_hash(leaves[:size])
        note = sign_checkpoint(Checkpoint("example.com/log", size, root), LOG)
        with suppress(LedgerError):
            pins.check(note, LOG.verifier(), lambda old, new, leaves=leaves: consistency_proof(leaves[:new], old))
            accepted.append((size, root))
    assert [size for size, _ in accepted] == sorted(size for size, _ in accepted)
    assert any(all(root == root_hash(leaves[:size]) for size, root in accepted) for leaves in (LEAVES, fork))
