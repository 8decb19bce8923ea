"""Private values: committed to, kept sealed where asked, and erased with the person they are about."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger import Ledger, Private
from guardrails.ledger.verify import verify

VALUE = b"Ada Lovelace, 12 St James's Square"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def stored(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_kept_value_is_sealed_and_comes_back(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({"type": "note"}, private={"row": Private(VALUE, keep=True), "sql": b"SELECT 1"})
        assert ledger.kept(0, "row") == VALUE
        assert ledger.kept(0, "sql") is None
        assert ledger.commitment_holds(0, "row", VALUE) is True
        assert VALUE not in stored(path)
    with Ledger.open(path, read_only=True) as reader:
        assert reader.kept(0, "row") == VALUE
    assert path.with_name("audit.db.vault").stat().st_mode & 0o777 == 0o600
    with Ledger.open(path, read_only=True, vault_key=bytes(32)) as stranger, pytest.raises(TamperedError):
        stranger.kept(0, "row")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE secrets SET sealed = zeroblob(length(sealed)) WHERE name = 'row'",
        "UPDATE secrets SET salt = zeroblob(32) WHERE name = 'row'",
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE idx = 1), salt = (SELECT salt FROM secrets WHERE idx = 1)",
    ],
)
def test_a_changed_value_does_not_open(path: Path, change: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({}, private={"row": Private(VALUE, keep=True)})
        ledger.append({}, private={"row": Private(b"other", keep=True)})
        with sqlite3.connect(path) as connection:
            connection.execute(change)
        with pytest.raises(TamperedError):
            ledger.kept(0, "row")


def test_a_person_is_erased_and_the_tree_still_verifies(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({"type": "note"}, private={"row": Private(VALUE, keep=True, subjects=("ada@example.com",))})
        ledger.append({"type": "note"}, private={"row": Private(b"both", subjects=("ada@example.com", "bo@example.com"))})
        ledger.append({"type": "note"}, private={"row": Private(b"bo", keep=True, subjects=("bo@example.com",))})
        root, leaves = ledger.root, [ledger.leaf(i) for i in range(3)]
        with sqlite3.connect(path) as connection:
            salts = [row[0] for row in connection.execute("SELECT salt FROM secrets WHERE idx < 2 ORDER BY idx")]
        assert ledger.erase_subject("ada@example.com", by="privacy@example.com", reason="request 17") == 2
        assert ledger.kept(0, "row") is None
        assert ledger.commitment_holds(0, "row", VALUE) is None
        assert ledger.commitment_holds(1, "row", b"both") is None
        assert ledger.kept(2, "row") == b"bo"
        assert (ledger.root_at(3), [ledger.leaf(i) for i in range(3)]) == (root, leaves)
        erasure = ledger.entry(3)
        assert (erasure["type"], erasure["count"], erasure["by"]) == ("erasure", 2, "privacy@example.com")
        assert erasure["erased"] == [{"index": 0, "name": "row"}, {"index": 1, "name": "row"}]
        assert ledger.commitment_holds(3, "subject", b"ada@example.com") is True
        assert ledger.erase_subject("nobody@example.com") == 0
    raw = stored(path)
    assert not any(salt in raw for salt in salts)
    assert b"ada@example.com" not in raw
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.erased == ((0, "row"), (1, "row"))


def test_an_erasure_that_cannot_be_recorded_erases_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({}, private={"row": Private(VALUE, keep=True, subjects=("ada",))})
        with pytest.raises(LedgerError):
            ledger.erase_subject("ada", reason="x" * 70_000)
        assert ledger.kept(0, "row") == VALUE
        assert ledger.size == 1


def test_what_was_erased_elsewhere_without_record_is_told(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({}, private={"row": VALUE})
        ledger.append({}, private={"row": VALUE})
        ledger.erase_salts(0)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM secrets WHERE idx = 1")
    report = verify(path)
    assert report.erased == ((0, "row"), (1, "row"))
    assert [str(p) for p in report.problems] == ["entry 1: the salt of 'row' is gone, and no erasure is recorded"]


def test_more_than_one_entry_lists_is_erased_together(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for _ in range(6):
            ledger.append({}, private={f"v{n}": Private(b"x", subjects=("ada",)) for n in range(100)})
        assert ledger.erase_subject("ada") == 600
        assert [e["count"] for e in ledger.entries(6)] == [500, 100]
    assert verify(path).is_verified


def test_a_vault_open_to_others_is_refused(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append({}, private={"row": Private(VALUE, keep=True)})
    path.with_name("audit.db.vault").chmod(0o644)
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match="Set its mode to 600"):
        ledger.kept(0, "row")
