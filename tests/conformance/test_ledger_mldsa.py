"""ML-DSA-44 signature lines, held to the layout of C2SP tlog-cosignature and to an independent implementation of FIPS 204."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guardrails.errors import GuardrailsError, LedgerError
from guardrails.ledger.keys import create_key, load_key
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.signers.mldsa import (
    MlDsa44Signer,
    MlDsa44Verifier,
    cosigned_message,
    create_ml_dsa_key,
    load_ml_dsa_key,
)
from tests.conftest import missing

ROOT = leaf_hash(b"x")
TREE = {"origin": "example.com/log", "size": 5, "root": ROOT}


@pytest.fixture(scope="module")
def signer() -> MlDsa44Signer:
    try:
        return MlDsa44Signer("example.com/log", bytes(range(32)))
    except GuardrailsError as error:
        missing(str(error))


def test_the_signed_bytes_are_laid_out_as_the_specification_says() -> None:
    message = cosigned_message("w", origin="example.com/log", size=5, root=ROOT, timestamp_s=1679315147)
    expected = b"subtree/v1\n\0" + b"\x01w" + struct.pack(">Q", 1679315147) + b"\x0fexample.com/log" + struct.pack(">QQ", 0, 5)
    assert message == expected + ROOT
    assert len(b"subtree/v1\n\0") == 12


def test_another_implementation_makes_the_same_key_and_verifies_our_signature_and_we_its(signer: MlDsa44Signer) -> None:
    try:
        from dilithium_py.ml_dsa import ML_DSA_44
    except ImportError:
        missing("dilithium-py is not installed")
    public_key, secret_key = ML_DSA_44.key_derive(bytes(range(32)))
    verifier = signer.verifier()
    assert verifier.public_key == public_key
    message = cosigned_message(verifier.name, **TREE, timestamp_s=7)
    signature = signer.sign_tree(**TREE, timestamp_s=7)
    assert signature[:8] == struct.pack(">Q", 7)
    assert ML_DSA_44.verify(public_key, message, signature[8:])
    assert verifier.is_valid(struct.pack(">Q", 7) + ML_DSA_44.sign(secret_key, message), **TREE)


def test_a_signature_holds_for_its_tree_and_time_only(signer: MlDsa44Signer) -> None:
    verifier = signer.verifier()
    signature = signer.sign_tree(**TREE, timestamp_s=7)
    assert len(signature) == 8 + 2420
    assert verifier.is_valid(signature, **TREE)
    for other in (TREE | {"origin": "example.com/other"}, TREE | {"size": 6}, TREE | {"root": leaf_hash(b"y")}):
        assert not verifier.is_valid(signature, **other)
    assert not verifier.is_valid(struct.pack(">Q", 8) + signature[8:], **TREE)
    assert not verifier.is_valid(struct.pack(">Q", 2**63) + signature[8:], **TREE)
    assert not verifier.is_valid(signature[:-1], **TREE)
    assert not MlDsa44Verifier("example.com/renamed", verifier.public_key).is_valid(signature, **TREE)


def test_keys_have_one_text(signer: MlDsa44Signer) -> None:
    verifier = signer.verifier()
    assert MlDsa44Verifier.parse(str(verifier)) == verifier
    assert MlDsa44Signer.parse(signer.secret_text()).verifier() == verifier
    for text in (str(verifier) + "\n", str(verifier).replace("+B", "+A", 1), "x" + str(verifier)):
        with pytest.raises(LedgerError):
            MlDsa44Verifier.parse(text)
    with pytest.raises(LedgerError):
        MlDsa44Signer.parse(signer.secret_text() + "\n")
    assert signer.secret_text()[-20:] not in repr(signer)


def test_a_key_file_is_private_and_read_back(signer: MlDsa44Signer, tmp_path: Path) -> None:
    made = create_ml_dsa_key(tmp_path / "quantum.key", "example.com/log")
    assert (tmp_path / "quantum.key").stat().st_mode & 0o777 == 0o600
    assert load_ml_dsa_key(tmp_path / "quantum.key").verifier() == made.verifier()
    with pytest.raises(LedgerError, match="not an Ed25519 key"):
        load_key(tmp_path / "quantum.key")
    create_key(tmp_path / "classic.key", "example.com/log")
    with pytest.raises(LedgerError, match="not an ML-DSA-44 key"):
        load_ml_dsa_key(tmp_path / "classic.key")


@pytest.mark.parametrize("part", [{"size": -1}, {"size": 2**63}, {"root": b"short"}, {"origin": ""}, {"origin": "x" * 256}])
def test_what_does_not_fit_its_field_is_not_signed(signer: MlDsa44Signer, part: dict[str, object]) -> None:
    with pytest.raises(LedgerError):
        signer.sign_tree(**TREE | part, timestamp_s=0)
    with pytest.raises(LedgerError):
        signer.sign_tree(**TREE, timestamp_s=-1)
