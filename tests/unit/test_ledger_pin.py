"""A client that remembers: no way back, no other history, whatever the log's key signs."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import consistency_proof, leaf_hash, root_hash
from guardrails.ledger.note import signed_by
from guardrails.ledger.pin import PinStore, default_directory

SIGNER = Ed25519Signer("example.com/log", b"s" * 32)
KEY = SIGNER.verifier()
LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
FORK = [*LEAVES[:5], *(leaf_hash(b"fork" + bytes([n])) for n in range(35))]


def head(leaves: list[bytes], size: int) -> str:
    return sign_checkpoint(Checkpoint(KEY.name, size, root_hash(leaves[:size])), SIGNER)


def proofs(leaves: list[bytes]):  # type: ignore[no-untyped-def]
    return lambda old, new: consistency_proof(leaves[:new], old)


def test_a_log_that_grows_moves_its_pin(tmp_path: Path) -> None:
    pins = PinStore(tmp_path / "pins")
    assert pins.pinned(KEY.name) is None
    for size in (0, 3, 3, 4, 21, 40):
        assert pins.check(head(LEAVES, size), KEY, proofs(LEAVES)).size == size
        assert pins.pinned(KEY.name) == head(LEAVES, size)
    assert PinStore(tmp_path / "pins").pinned(KEY.name) == head(LEAVES, 40)
    if os.name == "posix":
        assert pins.path(KEY.name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("leaves", "size", "said"),
    [
        (LEAVES, 19, "went back from 20 to 19"),
        (LEAVES, 0, "went back"),
        (FORK, 20, "another history"),
        (FORK, 33, "not continue"),
    ],
)
def test_a_rollback_or_a_fork_is_refused_with_both_notes_as_evidence(
    tmp_path: Path, leaves: list[bytes], size: int, said: str
) -> None:
    pins = PinStore(tmp_path)
    pins.check(head(LEAVES, 20), KEY, proofs(LEAVES))
    with pytest.raises(TamperedError, match=said) as caught:
        pins.check(head(leaves, size), KEY, proofs(leaves))
    assert caught.value.evidence["pinned"] == head(LEAVES, 20)
    assert caught.value.evidence["note"] == head(leaves, size)
    assert pins.pinned(KEY.name) == head(LEAVES, 20)
    pins.check(head(LEAVES, 21), KEY, proofs(LEAVES))


def test_what_was_verified_elsewhere_is_pinned_but_never_over_another_history(tmp_path: Path) -> None:
    pins = PinStore(tmp_path)
    for size, kept in ((20, 20), (21, 21), (5, 21)):
        pins.replace(KEY.name, head(LEAVES, size))
        assert pins.pinned(KEY.name) == head(LEAVES, kept)
    with pytest.raises(TamperedError, match="two histories"):
        pins.replace(KEY.name, head(FORK, 21))
    assert pins.pinned(KEY.name) == head(LEAVES, 21)


def test_a_note_of_another_key_never_moves_a_pin(tmp_path: Path) -> None:
    pins = PinStore(tmp_path)
    pins.check(head(LEAVES, 20), KEY, proofs(LEAVES))
    stranger = Ed25519Signer(KEY.name, b"x" * 32)
    forged = sign_checkpoint(Checkpoint(KEY.name, 21, root_hash(LEAVES[:21])), stranger)
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        pins.check(forged, KEY, proofs(LEAVES))
    assert pins.pinned(KEY.name) == head(LEAVES, 20)
    assert pins.check(forged, [KEY, stranger.verifier()], proofs(LEAVES)).size == 21


def test_of_two_notes_of_one_head_the_better_signed_one_stays(tmp_path: Path) -> None:
    pins, witness = PinStore(tmp_path), Cosigner("w", b"w" * 32)
    plain = head(LEAVES, 20)
    cosigned = cosign_note(plain, [witness], time_s=5)
    for note in (plain, cosigned, plain):
        pins.check(note, KEY, proofs(LEAVES))
    assert witness.verifier() in signed_by(pins.pinned(KEY.name) or "", [witness.verifier()]).signers


def test_a_damaged_pin_is_an_alarm_and_not_a_new_beginning(tmp_path: Path) -> None:
    pins = PinStore(tmp_path)
    pins.check(head(LEAVES, 20), KEY, proofs(LEAVES))
    other = sign_checkpoint(Checkpoint("other", 20, root_hash(LEAVES[:20])), Ed25519Signer("other", b"o" * 32))
    for damage in (b"", b"\xff", head(LEAVES, 20).encode()[:-9], other.encode()):
        pins.path(KEY.name).write_bytes(damage)
        with pytest.raises(TamperedError, match="not a checkpoint of this log"):
            pins.check(head(LEAVES, 21), KEY, proofs(LEAVES))
        with pytest.raises(TamperedError):
            pins.pinned(KEY.name)


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    assert PinStore(tmp_path).path("../../etc/passwd").parent == tmp_path


def test_a_pin_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError) as caught:
        PinStore(tmp_path / "file" / "pins").check(head(LEAVES, 20), KEY, proofs(LEAVES))
    assert caught.value.code == "ledger.unavailable"


def test_the_default_folder_is_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "guardrails" / "pins"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_directory() == Path.home() / ".local" / "state" / "guardrails" / "pins"


def _advance(directory: Path, counter: Path) -> None:
    pins = PinStore(directory)

    def grow() -> str:  # under the pin's lock: nobody else is here
        size = int(counter.read_text()) + 1
        counter.write_text(str(size))
        return head(LEAVES, size)

    for _ in range(10):
        pins.check(grow, KEY, proofs(LEAVES))


def test_processes_that_fetch_under_the_lock_never_see_a_false_rollback(tmp_path: Path) -> None:
    counter = tmp_path / "size"
    counter.write_text("0")
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_advance, args=(tmp_path / "pins", counter)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert PinStore(tmp_path / "pins").pinned(KEY.name) == head(LEAVES, 30)
