"""The ML-DSA-44 line of a log, held to the layout of C2SP tlog-cosignature and to an independent implementation of FIPS 204."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.keys import Ed25519Signer, create_key, load_key
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.note import Note, sign_note, signed_by
from guardrails.ledger.signature_types import COSIGNATURE_ML_DSA_44
from guardrails.ledger.signers import create_ml_dsa_key, load_ml_dsa_key
from tests.conftest import missing

NAME = "example.com/log"
SEED = bytes(range(32))
ROOT = leaf_hash(b"x")
TEXT = str(Checkpoint(NAME, 5, ROOT))
TIME_S = 1679315147
SIGNED = (
    b"subtree/v1\n\0"
    + b"\x0f"
    + NAME.encode()
    + struct.pack(">Q", TIME_S)
    + b"\x0f"
    + NAME.encode()
    + struct.pack(">QQ", 0, 5)
    + ROOT
)
"""`cosigned_message` of the specification, written out."""


@pytest.fixture
def signer() -> Cosigner:
    try:
        return Cosigner(NAME, SEED, COSIGNATURE_ML_DSA_44)
    except UsageError as error:
        missing(str(error))


def test_another_implementation_makes_the_same_key_and_each_verifies_the_others_line(signer: Cosigner) -> None:
    try:
        from dilithium_py.ml_dsa import ML_DSA_44
    except ImportError:
        missing("dilithium-py is not installed")
    public_key, secret_key = ML_DSA_44.key_derive(SEED)
    assert signer.verifier().public_key == public_key
    classic = Ed25519Signer(NAME, SEED)
    note = Note.parse(sign_note(TEXT, classic, signer, time_s=TIME_S))
    ours = note.lines[1].signature
    assert ours[:8] == struct.pack(">Q", TIME_S)
    assert ML_DSA_44.verify(public_key, SIGNED, ours[8:])
    assert not ML_DSA_44.verify(public_key, SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]), ours[8:])
    theirs = struct.pack(">Q", TIME_S) + ML_DSA_44.sign(secret_key, SIGNED)
    foreign = str(note).replace(str(note.lines[1]), str(type(note.lines[1])(NAME, signer.verifier().key_hash, theirs)))
    assert foreign != str(note)
    assert signed_by(foreign, [classic.verifier(), signer.verifier()]).signers == (classic.verifier(), signer.verifier())


def test_a_key_file_is_private_and_read_back(signer: Cosigner, tmp_path: Path) -> None:
    made = create_ml_dsa_key(tmp_path / "quantum.key", NAME)
    assert (tmp_path / "quantum.key").stat().st_mode & 0o777 == 0o600
    assert load_ml_dsa_key(tmp_path / "quantum.key").verifier() == made.verifier()
    (tmp_path / "quantum.key").chmod(0o644)
    with pytest.raises(LedgerError, match="open to others"):
        load_ml_dsa_key(tmp_path / "quantum.key")


def test_a_key_of_the_other_type_is_not_taken_for_it(signer: Cosigner, tmp_path: Path) -> None:
    create_ml_dsa_key(tmp_path / "quantum.key", NAME)
    with pytest.raises(LedgerError, match="not an Ed25519 key"):
        load_key(tmp_path / "quantum.key")
    create_key(tmp_path / "classic.key", NAME)
    (tmp_path / "witness.key").touch(0o600)
    (tmp_path / "witness.key").write_text(Cosigner(NAME, SEED).secret_text() + "\n")
    for name in ("classic.key", "witness.key"):
        with pytest.raises(LedgerError) as caught:
            load_ml_dsa_key(tmp_path / name)
        assert caught.value.code == "ledger.note_invalid"
