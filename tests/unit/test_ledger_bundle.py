"""Exported folders stand alone, and a changed one is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardrails.errors import GuardrailsError, LedgerError, ProofError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.bundle import export, verify_bundle
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier
from guardrails.ledger.proof import EntryProof

SIGNER = Ed25519Signer("example.com/log", b"k" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        ledger.append_many({"type": "note", "n": n} for n in range(11))
        ledger.append({}, private={"sql": b"SELECT secret"})
        return export(ledger, tmp_path / "out", 3, 12).directory


def test_a_bundle_verifies_and_holds_what_it_says(folder: Path) -> None:
    report = verify_bundle(folder, key=str(SIGNER.verifier()))
    assert report.is_verified, report.problems
    assert report.size == 9
    assert not verify_bundle(folder).key.is_pinned
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    assert [json.loads(line).get("n") for line in lines] == [*range(3, 11), None]
    for index, line in enumerate(lines, 3):
        proof = EntryProof.parse((folder / "proofs" / f"{index}.tlog-proof").read_text())
        assert proof.verify(line, SIGNER.verifier()).size == 12
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"SELECT secret" not in everything
    assert sorted(p.name for p in folder.parent.iterdir()) == ["out"]


def holds(folder: Path) -> bool:
    try:
        return verify_bundle(folder, key=str(SIGNER.verifier())).is_verified
    except GuardrailsError:
        return False


def test_every_file_of_a_bundle_is_checked(folder: Path) -> None:
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = file.read_bytes()
        for at in range(0, len(data), 17):
            flipped = bytearray(data)
            flipped[at] ^= 1
            file.write_bytes(flipped)
            # Layout, size and root of the manifest are for people; what counts is checked against the signed checkpoint.
            assert not holds(folder) or file.name == "manifest.json", (file, at)
        file.unlink()
        assert not holds(folder)
        file.write_bytes(data)
    assert holds(folder)


def test_a_bundle_never_replaces_anything_and_leaves_nothing_behind(folder: Path) -> None:
    with Ledger.open("sqlite:///:memory:") as ledger:
        ledger.append({})
        with pytest.raises(UsageError):
            export(ledger, folder)
        for start, end in ((0, 2), (1, 0), (-1, 1)):
            with pytest.raises(LedgerError):
                export(ledger, folder.parent / "other", start, end)
        assert export(ledger, folder.parent / "empty", 1, 1).end == 1
        assert verify_bundle(folder.parent / "empty").size == 0
    assert sorted(p.name for p in folder.parent.iterdir()) == ["empty", "out"]


def test_proofs_are_for_one_entry_and_one_log(folder: Path) -> None:
    text = (folder / "proofs" / "4.tlog-proof").read_text()
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    proof = EntryProof.parse(text)
    assert str(proof) == text
    with pytest.raises(ProofError):
        proof.verify(lines[2], SIGNER.verifier())
    with pytest.raises(LedgerError):
        proof.verify(lines[1], Verifier("example.com/log", b"o" * 32))
    extra = text.replace("\nindex", "\nextra AAAA\nindex")
    assert EntryProof.parse(extra) == proof
    for bad in (
        text.replace("@v1", "@v2"),
        text.replace("index 4", "index 04"),
        text.replace("index 4", "index -4"),
        text[:100],
        "",
    ):
        with pytest.raises(LedgerError):
            EntryProof.parse(bad)
