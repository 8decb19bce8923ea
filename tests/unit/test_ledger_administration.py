"""New keys, and old entries in an archive: the log goes on, and everything can still be verified, but by those who may."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.administration import archive, retire_key, revoke_key, rotate_key
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.location import Location
from guardrails.ledger.note import signed_by
from guardrails.ledger.opening import KeyFiles
from guardrails.ledger.publishing.archive import ArchiveReader
from guardrails.ledger.publishing.directory import DirectoryTarget
from guardrails.ledger.verify import Level, verify

FIRST, SECOND, THIRD = (Ed25519Signer("example.com/log", bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def rotated(path: Path) -> None:
    with Ledger.open(path, signer=FIRST) as ledger:
        ledger.append({"type": "note"})
        rotate_key(ledger, SECOND, reason="yearly")
        ledger.append({"type": "note"})


def test_both_keys_sign_until_the_old_one_retires(path: Path) -> None:
    rotated(path)
    keys = [s.verifier() for s in (FIRST, SECOND)]
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        assert signed_by(ledger.checkpoint(), keys).signers == (keys[1], keys[0])
        ledger.append({"type": "note"})
        assert len(signed_by(ledger.checkpoint(), keys).signers) == 2
        retire_key(ledger, keys[0], reason="done")
        ledger.append({"type": "note"})
        assert signed_by(ledger.checkpoint(), keys).signers == (keys[1],)
        assert [p.verifier for p in ledger.keys().periods] == keys
    for signer in (FIRST, SECOND):
        report = verify(path, key=str(signer.verifier()))
        assert report.is_verified, report.problems
        assert report.keys == tuple(map(str, keys))
    assert not verify(path, key=str(THIRD.verifier())).is_verified


def test_the_old_key_opens_nothing_any_more(path: Path) -> None:
    rotated(path)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path, signer=FIRST)
    assert caught.value.code == "ledger.key_missing"


def test_who_has_it_open_learns_of_the_new_key(path: Path) -> None:
    with Ledger.open(path, signer=FIRST) as writer, Ledger.open(path, read_only=True) as reader:
        writer.append({"type": "note"})
        assert reader.size == 1
        with Ledger.open(path, signer=FIRST) as keeper:
            rotate_key(keeper, SECOND, reason="yearly")
            keeper.append({"type": "note"})
        assert reader.size == 3
        with pytest.raises(LedgerError, match="another key now"):
            writer.append({"type": "note"})
    assert verify(path).is_verified


def test_sessions_outlive_the_logs_key(path: Path) -> None:
    key = SessionKey({})
    with Ledger.open(path, signer=FIRST) as ledger:
        ledger.bind("s", key)
        ledger.append({"session": "s"})
        rotate_key(ledger, SECOND, reason="yearly")
        ledger.append({"session": "s"})
        ledger.append({})
    report = verify(path)
    assert report.is_verified, report.problems


def test_a_key_that_nobody_endorsed_is_found(path: Path) -> None:
    with Ledger.open(path, signer=FIRST) as ledger:
        ledger.append_many([{"n": n} for n in range(3)])
    connection = sqlite3.connect(path, isolation_level=None)
    with Ledger.open(path, read_only=True) as ledger:
        head = Checkpoint("example.com/log", ledger.size, ledger.root)
    note = sign_checkpoint(head, SECOND)
    connection.execute("UPDATE head SET verifier_key = ?, note = ?", (str(SECOND.verifier()), note))
    connection.close()
    assert not verify(path).is_verified
    with Ledger.open(path, read_only=True) as reader:  # who trusts what the ledger says finds nothing; the key must be known
        assert reader.size == 3
    with pytest.raises(TamperedError):
        Ledger.open(path, signer=SECOND)


def test_a_leaked_key_is_revoked_from_a_size_on(path: Path) -> None:
    rotated(path)
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        before = ledger.checkpoint()
        revoke_key(ledger, FIRST.verifier(), from_size=4, reason="leaked")
        root = ledger.root_at(4)
        with pytest.raises(LedgerError):
            revoke_key(ledger, SECOND.verifier(), from_size=1, reason="oneself")
    assert verify(path, checkpoint=before).is_verified
    forged = sign_checkpoint(Checkpoint("example.com/log", 4, root), FIRST)
    with pytest.raises(LedgerError):
        verify(path, checkpoint=forged)


def test_key_files_are_rotated_through_every_crash(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({"type": "note"})
        first = ledger.verifier_key
        new = KeyFiles(Location.parse(path)).prepare(ledger.origin)
        assert new.verifier() == KeyFiles(Location.parse(path)).prepare(ledger.origin).verifier()
    with Ledger.open(path) as ledger:  # it crashed before the ledger went over
        assert ledger.verifier_key == first
        rotate_key(ledger, new, reason="yearly")
    with Ledger.open(path) as ledger:  # it crashed before the files followed
        assert ledger.verifier_key == str(new.verifier())
        ledger.append({"type": "note"})
        assert len(ledger.signers) == 2
        retire_key(ledger, ledger.signers[1].verifier(), reason="done")
    assert sorted(p.name for p in tmp_path.iterdir() if "key" in p.name) == ["audit.db.key", "audit.db.key.previous"]
    with Ledger.open(path) as ledger:
        assert len(ledger.signers) == 1
    assert path.with_name("audit.db.pub").read_text() == f"{first}\n"
    assert verify(path).is_verified


def filled(path: Path) -> None:
    keys = [SessionKey({}) for _ in range(4)]
    with Ledger.open(path, signer=FIRST) as ledger:
        for n, key in enumerate(keys):
            ledger.bind(f"s{n}", key)
        for n in range(300):
            ledger.append_many([{"session": f"s{n % 4}", "n": n}, {"n": n}])
            if n == 100:
                rotate_key(ledger, SECOND, reason="yearly")


def test_archived_entries_leave_their_hashes(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        size, proof = ledger.size, ledger.inclusion_proof(7, 600)
        leaf = ledger.leaf(7)
        assert archive(ledger, DirectoryTarget(tmp_path / "old"), 520, name="cold store") == 512
        assert archive(ledger, DirectoryTarget(tmp_path / "old"), 520) == 0
        assert (ledger.archived, ledger.size) == (512, size + 1)
        assert ledger.entry(size)["archive"] == "cold store"
        assert ledger.inclusion_proof(7, 600) == proof
        for read in (lambda: ledger.leaf(7), lambda: list(ledger.leaves())):
            with pytest.raises(LedgerError) as caught:
                read()
            assert caught.value.code == "ledger.archived"
        assert ArchiveReader(DirectoryTarget(tmp_path / "old"), ledger.tile).leaf(7) == leaf
        ledger.append_many([{"session": "s0", "late": True}, {"late": True}])
        assert ledger.entry(ledger.size - 1)["seq"] > 200
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        ledger.append({"n": 1})
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.archived == 512


def test_an_archive_is_checked_like_the_ledger(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        archive(ledger, DirectoryTarget(tmp_path / "old"), 512)
    report = verify(path, archive=tmp_path / "old")
    assert report.is_verified, report.problems
    assert report.archived == 0
    bundle = next(p for p in (tmp_path / "old").rglob("*") if p.is_file() and "entries" in str(p) and p.name == "001")
    data = bytearray(bundle.read_bytes())
    data[-3] ^= 1
    bundle.write_bytes(data)
    report = verify(path, archive=tmp_path / "old")
    assert not report.is_verified
    shutil.rmtree(tmp_path / "old")
    assert not verify(path, archive=tmp_path / "old").is_verified
    assert verify(path).is_verified


def test_what_is_open_is_not_archived(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path, signer=FIRST) as ledger:
        intent = ledger.append({"type": "intent"})
        ledger.append_many([{"n": n} for n in range(300)])
        with pytest.raises(LedgerError) as caught:
            archive(ledger, DirectoryTarget(tmp_path / "old"), 256)
        assert caught.value.code == "ledger.archive_open"
        assert ledger.archived == 0
        ledger.append({"type": "outcome", "intent": intent.entry_id})
        assert archive(ledger, DirectoryTarget(tmp_path / "old"), 256) == 256
    assert verify(path).is_verified


@pytest.mark.parametrize("level", ["hash", "entries", "signatures"])
def test_entries_that_vanish_without_an_archive_are_missed(path: Path, level: Level) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM entries WHERE idx < 256")
        connection.execute("UPDATE head SET archived = 256")
    report = verify(path, level=level)
    assert any("not recorded" in str(p) for p in report.problems)


def test_more_than_was_archived_is_missed(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Ledger.open(path, signer=SECOND, previous=[FIRST]) as ledger:
        archive(ledger, DirectoryTarget(tmp_path / "old"), 256)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM entries WHERE idx < 512 AND session <> 'log.keys'")
        connection.execute("UPDATE head SET archived = 512")
    assert not verify(path).is_verified


def test_entries_about_keys_cannot_be_appended_like_others(path: Path) -> None:
    with Ledger.open(path) as ledger, pytest.raises(LedgerError) as caught:
        ledger.append({"type": "key.rotate", "session": "log.keys"})
    assert caught.value.code == "ledger.entry_invalid"
