"""Cosignatures of both types, several signatures under one note, and keys in one form only."""

from __future__ import annotations

import sys

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.note import Note, SignatureLine, Verifier, add_signatures, open_note, sign_note, signed_by
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44

ORIGIN = "example.com/log"
SIGNER = Ed25519Signer(ORIGIN, b"s" * 32)
NEXT = Ed25519Signer(ORIGIN, b"n" * 32)
WITNESS = Cosigner("witness.example/w1", b"w" * 32)
LATTICE = Cosigner("witness.example/w1", b"m" * 32, COSIGNATURE_ML_DSA_44)
CHECKPOINT = Checkpoint(ORIGIN, 5, leaf_hash(b"x"))
NOTE = sign_checkpoint(CHECKPOINT, SIGNER)
COSIGNED = cosign_note(NOTE, [WITNESS, LATTICE], time_s=1_700_000_000)
ALL = [SIGNER.verifier(), WITNESS.verifier(), LATTICE.verifier()]


def test_a_note_says_who_signed_it_and_when() -> None:
    opened = signed_by(COSIGNED, [*ALL, NEXT.verifier()])
    assert opened.text == str(CHECKPOINT)
    assert opened.signers == tuple(ALL)
    assert [s.time_s for s in opened.signatures] == [None, 1_700_000_000, 1_700_000_000]
    assert COSIGNED.startswith(NOTE)
    assert open_note(COSIGNED, [LATTICE.verifier()]) == str(CHECKPOINT)


def test_two_keys_of_one_log_sign_while_they_rotate() -> None:
    note = sign_checkpoint(CHECKPOINT, SIGNER, NEXT)
    assert len(Note.parse(note).lines) == 2
    for verifiers in ([SIGNER.verifier()], [NEXT.verifier()], [NEXT.verifier(), SIGNER.verifier()]):
        assert open_checkpoint(note, *verifiers) == CHECKPOINT
    assert signed_by(note, [SIGNER.verifier(), NEXT.verifier()]).signers == (SIGNER.verifier(), NEXT.verifier())
    with pytest.raises(LedgerError, match="same key"):
        sign_checkpoint(CHECKPOINT, SIGNER, SIGNER)


def test_a_log_signs_with_ml_dsa_beside_ed25519() -> None:
    lattice = Cosigner(ORIGIN, b"l" * 32, COSIGNATURE_ML_DSA_44)
    note = sign_checkpoint(CHECKPOINT, SIGNER, lattice, time_s=7)
    assert open_checkpoint(note, lattice.verifier()) == CHECKPOINT
    assert signed_by(note, [lattice.verifier()]).signatures[0].time_s == 7


@pytest.mark.parametrize("signer", [WITNESS, LATTICE], ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_covers_its_time_and_every_line_of_the_head(signer: Cosigner) -> None:
    line = Note.parse(cosign_note(NOTE, [signer], time_s=1_700_000_000)).lines[1]
    other_time = SignatureLine(line.name, line.key_id, (1_700_000_001).to_bytes(8, "big") + line.signature[8:])
    negative = SignatureLine(line.name, line.key_id, (2**63).to_bytes(8, "big") + line.signature[8:])
    short = SignatureLine(line.name, line.key_id, line.signature[:-1])
    for wrong in (other_time, negative, short):
        with pytest.raises(LedgerError):
            signed_by(add_signatures(NOTE, [wrong]), [signer.verifier()])
    for other in (
        Checkpoint(ORIGIN, 6, CHECKPOINT.root),
        Checkpoint(ORIGIN, 5, leaf_hash(b"y")),
        Checkpoint(ORIGIN + "2", 5, CHECKPOINT.root),
        Checkpoint(ORIGIN, 5, CHECKPOINT.root, ("extension",)),
    ):
        with pytest.raises(LedgerError):
            signed_by(str(Note(str(other), (line,))), [signer.verifier()])


def test_ml_dsa_refuses_to_vouch_for_extension_lines() -> None:
    extended = Checkpoint(ORIGIN, 5, CHECKPOINT.root, ("extension",))
    with pytest.raises(LedgerError, match="extension"):
        sign_checkpoint(extended, LATTICE)
    assert open_note(sign_checkpoint(extended, WITNESS), [WITNESS.verifier()]) == str(extended)


def test_one_key_in_two_types_is_two_keys() -> None:
    plain = Verifier(ORIGIN, SIGNER.verifier().public_key)
    cosigning = Verifier(ORIGIN, SIGNER.verifier().public_key, COSIGNATURE_ED25519)
    assert plain.key_hash != cosigning.key_hash
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        signed_by(NOTE, [cosigning])


def test_cosignatures_are_of_checkpoints_only() -> None:
    for signer in (WITNESS, LATTICE):
        with pytest.raises(LedgerError):
            sign_note("some text\n", signer)


def test_a_new_line_of_a_key_takes_the_place_of_its_old_one() -> None:
    again = cosign_note(COSIGNED, [WITNESS], time_s=1_700_000_500)
    opened = signed_by(again, ALL)
    assert [s.time_s for s in opened.signatures] == [None, 1_700_000_500, 1_700_000_000]
    doubled = COSIGNED + "".join(f"{line}\n" for line in Note.parse(again).lines[1:2])
    with pytest.raises(LedgerError, match="twice"):
        signed_by(doubled, ALL)
    assert signed_by(doubled, [SIGNER.verifier()]).signers == (SIGNER.verifier(),)


def test_keys_of_each_type_have_one_text() -> None:
    for signer in (WITNESS, LATTICE):
        text = str(signer.verifier())
        assert Verifier.parse(text) == signer.verifier()
        assert Cosigner.parse(signer.secret_text()).verifier() == signer.verifier()
        assert signer.secret_text() not in repr(signer)
        for other in (text + "\n", " " + text, text.replace("+", "+0", 1), text[:-4], text.replace("w1", "w2")):
            with pytest.raises(LedgerError):
                Verifier.parse(other)
    with pytest.raises(LedgerError, match="type"):
        Verifier("x", b"k" * 32, b"\x02")
    with pytest.raises(LedgerError):
        Cosigner("x", b"k" * 32, b"\x01")
    with pytest.raises(LedgerError):
        Cosigner("x", b"k" * 31)


@pytest.mark.parametrize(
    "key",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = 1, not reduced
    ],
)
def test_keys_under_which_anybody_can_sign_are_refused(key: str) -> None:
    with pytest.raises(LedgerError, match="small order"):
        Verifier("x", bytes.fromhex(key))


def test_without_ml_dsa_a_key_of_that_type_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    for use in (
        lambda: Cosigner("x", b"k" * 32, COSIGNATURE_ML_DSA_44),
        lambda: signed_by(COSIGNED, ALL),
    ):
        with pytest.raises(UsageError, match="pip install --upgrade cryptography") as caught:
            use()
        assert caught.value.code == "usage.extra_missing"
    assert signed_by(COSIGNED, ALL[:2]).signers == tuple(ALL[:2])
