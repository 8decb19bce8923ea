"""Each entry is signed by the key of the session that acts, or by the log's; a forger without that key is found."""

from __future__ import annotations

import gc
import sqlite3
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.entry import decode, encode
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import fold, grow, leaf_hash
from guardrails.ledger.signing import CONTEXT, LogKey, key_id, sealed
from guardrails.ledger.verify import Report, verify

SIGNER = Ed25519Signer("example.com/log", b"k" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def rewritten(path: Path, change: Callable[[list[dict[str, object]]], None]) -> Report:
    """Rewrites entries and tree as the holder of the log's key could, and verifies the result."""
    connection = sqlite3.connect(path, isolation_level=None)
    entries = [decode(leaf) for (leaf,) in connection.execute("SELECT leaf FROM entries ORDER BY idx")]
    change(entries)
    peaks: list[tuple[int, bytes]] = []
    connection.execute("DELETE FROM entries")
    for index, entry in enumerate(entries):
        leaf = encode(entry)
        grow(peaks, index, leaf_hash(leaf))
        row = (index, entry.get("session", ""), entry["seq"], leaf)
        connection.execute("INSERT INTO entries (idx, session, seq, leaf) VALUES (?, ?, ?, ?)", row)
    note = sign_checkpoint(Checkpoint(SIGNER.verifier().name, len(entries), fold([h for _, h in peaks])), SIGNER)
    frontier = b"".join(digest for _, digest in peaks)
    connection.execute("UPDATE head SET note = ?, size = ?, frontier = ?", (note, len(entries), frontier))
    connection.close()
    return verify(path)


def signed_anew(entry: dict[str, object], key: LogKey | SessionKey) -> dict[str, object]:
    return decode(sealed({name: value for name, value in entry.items() if name != "sig"}, key))


@pytest.fixture
def bound(path: Path) -> Path:
    key, other = SessionKey({"principal": "ana"}), SessionKey({"principal": "ben"})
    with Ledger.open(path, signer=SIGNER) as ledger:
        ledger.bind("s", key)
        ledger.bind("t", other)
        intent = ledger.append({"type": "intent", "session": "s"})
        ledger.append({"type": "note", "session": "t"})
        ledger.append({"type": "outcome", "session": "s", "intent": intent.entry_id, "rows": 3})
        ledger.append({"type": "note"})
    assert verify(path).is_verified
    return path


def test_a_session_begins_with_its_key(bound: Path) -> None:
    with Ledger.open(bound, read_only=True) as ledger:
        entries = list(ledger.entries(session="s"))
    assert [e["type"] for e in entries] == ["key.bind", "intent", "outcome"]
    assert [e["seq"] for e in entries] == [0, 1, 2]
    binding = entries[0]
    assert binding["principal"] == "ana"
    key = binding["key"]
    assert isinstance(key, dict)
    public = b64decode(key["public"])
    assert key["id"] == key_id(public)
    for entry in entries:
        sig = entry.pop("sig")
        assert isinstance(sig, dict)
        assert sig["key"] == key["id"]
        Ed25519PublicKey.from_public_bytes(public).verify(b64decode(sig["ed25519"]), CONTEXT + encode(entry))
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(public).verify(b64decode(sig["ed25519"]), encode(entry))


def test_the_keeper_of_the_log_cannot_write_in_a_sessions_name(bound: Path) -> None:
    log_key = LogKey(SIGNER, key_id(SIGNER.verifier().public_key))

    def change(entries: list[dict[str, object]]) -> None:
        entries[4] = signed_anew({**entries[4], "rows": 0}, log_key)

    report = rewritten(bound, change)
    assert [str(p) for p in report.problems] == ["entry 4: it is signed with a key that has no say in its session"]


def test_nor_can_another_session(bound: Path) -> None:
    def change(entries: list[dict[str, object]]) -> None:
        entries[4] = signed_anew({**entries[4], "rows": 0}, SessionKey({}))

    assert rewritten(bound, change).first_bad == 4


def test_a_changed_field_keeps_no_signature(bound: Path) -> None:
    def change(entries: list[dict[str, object]]) -> None:
        entries[1]["purpose"] = "other"

    report = rewritten(bound, change)
    assert [str(p) for p in report.problems] == ["entry 1: its signature does not hold"]
    assert report.since == decode_time(bound, 0)


def decode_time(path: Path, index: int) -> object:
    with sqlite3.connect(path) as connection:
        return decode(connection.execute("SELECT leaf FROM entries WHERE idx = ?", (index,)).fetchone()[0])["time"]


@pytest.mark.parametrize("sig", [None, {}, {"key": "x"}, {"key": 1, "ed25519": "AA=="}, {"key": "0" * 16, "ed25519": "AA"}])
def test_a_signature_that_is_none_is_named(bound: Path, sig: object) -> None:
    def change(entries: list[dict[str, object]]) -> None:
        entries[5]["sig"] = sig

    assert rewritten(bound, change).first_bad == 5


def test_a_key_cannot_be_bound_to_a_session_that_has_begun(bound: Path) -> None:
    forged = SessionKey({"principal": "ana"})

    def change(entries: list[dict[str, object]]) -> None:
        entries[5] = signed_anew({**entries[5], **forged.binding("s"), "seq": 3}, forged)

    assert any("has begun" in str(p) for p in rewritten(bound, change).problems)


def test_a_binding_by_a_key_that_the_writer_does_not_hold_is_refused(bound: Path) -> None:
    real, forged = SessionKey({}), SessionKey({})

    def change(entries: list[dict[str, object]]) -> None:
        entries[5] = signed_anew({**entries[5], **real.binding("u"), "seq": 0}, forged)

    assert rewritten(bound, change).first_bad == 5


def test_unknown_outcomes_are_the_logs_to_write(path: Path) -> None:
    key = SessionKey({})
    with Ledger.open(path, signer=SIGNER) as ledger:
        ledger.bind("s", key)
        ledger.append({"type": "intent", "session": "s"})
        del key
        gc.collect()
        assert len(ledger.recover(force=True)) == 1
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.unknown == (1,)


def test_a_session_has_one_key_from_its_beginning(path: Path) -> None:
    first, second, late = SessionKey({}), SessionKey({}), SessionKey({})
    with Ledger.open(path, signer=SIGNER) as ledger:
        ledger.bind("s", first)
        with pytest.raises(LedgerError, match="key already"):
            ledger.bind("s", second)
        ledger.append({"session": "t"})
        ledger.bind("t", late)
        with pytest.raises(LedgerError, match="before its first entry"):
            ledger.append({"session": "t"})
        assert ledger.size == 1
    with Ledger.open(path, read_only=True) as reader, pytest.raises(LedgerError):
        reader.bind("u", second)
