"""Notes, keys and checkpoints have one form each, and no changed byte survives."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import EMPTY_ROOT, leaf_hash
from guardrails.ledger.note import Verifier, open_note, sign_note

SIGNER = Ed25519Signer("example.com/log", b"s" * 32)
ROOT = leaf_hash(b"x")
TEXT = str(Checkpoint("example.com/log", 5, ROOT))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=80).map(lambda text: "x" + text + "\n"))
def test_a_signed_text_is_read_back(text: str) -> None:
    assert open_note(sign_note(text, SIGNER), [SIGNER.verifier()]) == text


def test_every_flipped_bit_of_a_checkpoint_is_caught() -> None:
    note = sign_checkpoint(Checkpoint("example.com/log", 5, ROOT), SIGNER).encode()
    for at in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[at] ^= 1 << bit
            with suppress(UnicodeDecodeError), pytest.raises(LedgerError):
                open_checkpoint(changed.decode(), SIGNER.verifier())


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    for read in (Checkpoint.parse, Verifier.parse, Ed25519Signer.parse, lambda t: open_note(t, [SIGNER.verifier()])):
        with pytest.raises(LedgerError):
            read(text)


@pytest.mark.parametrize(
    "size", ["+5", "05", "0_5", "5 ", " 5", "-5", "5.0", "", "٥", "5\r", "9" * 20, str(2**63), "0x5", "1_0"]
)
def test_a_size_in_another_form_is_refused(size: str) -> None:
    with pytest.raises(LedgerError):
        Checkpoint.parse(TEXT.replace("\n5\n", f"\n{size}\n"))


@pytest.mark.parametrize(
    "text",
    [
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("=", ""),
        TEXT.replace("example.com/log\n", "\n"),
        TEXT.replace("example.com/log", "exa mple"),
        TEXT.replace("\n", "\r\n"),
        "\n".join(TEXT.split("\n")[:2]) + "\n",
        "example.com/log\n5\nYWJj\n",
        f"example.com/log\n0\n{TEXT.split()[2]}\n",
    ],
)
def test_a_checkpoint_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        Checkpoint.parse(text)


def test_loose_bits_in_base64_are_refused() -> None:
    root = TEXT.split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose = root[:-2] + alphabet[alphabet.index(root[-2]) ^ 1] + "="
    with pytest.raises(LedgerError):
        Checkpoint.parse(TEXT.replace(root, loose))


def test_checkpoints_are_read_back() -> None:
    for checkpoint in (
        Checkpoint("o", 0, EMPTY_ROOT),
        Checkpoint("o", 2**63 - 1, ROOT),
        Checkpoint("o", 7, ROOT, ("extension",)),
    ):
        assert Checkpoint.parse(str(checkpoint)) == checkpoint


def test_further_signatures_are_ignored_but_a_wrong_one_of_a_known_key_is_not() -> None:
    other = Ed25519Signer("witness.example", b"w" * 32)
    note = sign_note(TEXT, SIGNER)
    both = note + sign_note(TEXT, other).rpartition("\n\n")[2]
    assert open_note(both, [SIGNER.verifier()]) == TEXT
    wrong = note + sign_note("other\n", other).rpartition("\n\n")[2]
    assert open_note(wrong, [SIGNER.verifier()]) == TEXT
    with pytest.raises(LedgerError, match="does not hold"):
        open_note(wrong, [SIGNER.verifier(), other.verifier()])


def test_a_checkpoint_of_another_log_is_refused() -> None:
    note = sign_note(str(Checkpoint("another.example", 5, ROOT)), SIGNER)
    with pytest.raises(LedgerError, match="another log"):
        open_checkpoint(note, SIGNER.verifier())


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\x00", "\ud800"])
def test_names_that_a_note_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(LedgerError):
        Verifier(name, b"k" * 32)


def test_keys_have_one_text() -> None:
    key = str(SIGNER.verifier())
    assert Verifier.parse(key) == SIGNER.verifier()
    for other in (key + "\n", " " + key, key.upper(), key.replace("+A", "+B", 1), key[:-4], "x" + key):
        with pytest.raises(LedgerError):
            Verifier.parse(other)
    assert SIGNER.secret_text() not in repr(SIGNER)
    assert Ed25519Signer.parse(SIGNER.secret_text()).verifier() == SIGNER.verifier()


def test_large_and_crowded_notes_are_refused() -> None:
    note = sign_note(TEXT, SIGNER)
    line = note.rpartition("\n\n")[2]
    with pytest.raises(LedgerError, match="too many"):
        open_note(note + line * 100, [SIGNER.verifier()])
    with pytest.raises(LedgerError, match="too large"):
        open_note("x" * 1_000_001, [SIGNER.verifier()])
