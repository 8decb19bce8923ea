"""What the console hands out as evidence is what the ledger itself proves with, and what is damaged is handed out as it is."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from guardrails.console.stored import stored_consistency, stored_evidence, stored_leaves
from guardrails.errors import ProofError, TamperedError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_proofs_are_the_ledgers_own_at_every_size(tmp_path: Path, size: int) -> None:
    chance = random.Random(size)
    signer = Ed25519Signer.generate("example.com/log")
    with Ledger.open(tmp_path / "audit.db", signer=signer) as ledger:
        ledger.append_many([{"type": "note", "n": n} for n in range(size)])
        indexes = sorted({0, size - 1, *(chance.randrange(size) for _ in range(20))})
        evidence = stored_evidence(ledger, [*indexes, size, -1, 10**18])
        checkpoint = open_checkpoint(evidence.note, signer.verifier())
        assert [entry.index for entry in evidence.entries] == indexes
        for entry in evidence.entries:
            assert entry.leaf == ledger.leaf(entry.index)
            assert entry.proof is not None
            assert list(entry.proof) == ledger.inclusion_proof(entry.index)
            verify_inclusion(leaf_hash(entry.leaf or b""), entry.index, size, entry.proof, checkpoint.root)
        for old in {1, size, *(chance.randrange(1, size + 1) for _ in range(10))}:
            proof = stored_consistency(ledger, old, size)
            assert proof is not None
            verify_consistency(old, size, ledger.root_at(old), checkpoint.root, proof)
        assert stored_consistency(ledger, 1, size + 1) is None
        with pytest.raises(ProofError):
            stored_consistency(ledger, 0, size)


def test_what_is_damaged_is_handed_out_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        ledger.append_many([{"type": "note", "n": n} for n in range(600)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET leaf = CAST(replace(leaf, 'note', 'nope') AS BLOB) WHERE idx IN (5, 590)")
        connection.execute("UPDATE entries SET leaf = CAST(leaf AS TEXT) WHERE idx = 8")
        connection.execute("DELETE FROM entries WHERE idx = 6")
    with Ledger.open(path, read_only=True) as ledger:
        with pytest.raises(TamperedError):
            ledger.leaf(5)
        assert b"nope" in stored_leaves(ledger, [5])[5]
        assert stored_leaves(ledger, [6, 8, 600]) == {}
        evidence = stored_evidence(ledger, [5, 6, 7, 8, 590])
        changed, missing, sound, text, late = evidence.entries
        assert text.leaf is None, "an entry's bytes are bytes"
        assert changed.leaf is not None
        assert missing.leaf is None
        with pytest.raises(ProofError):
            verify_inclusion(leaf_hash(changed.leaf), 5, 600, changed.proof or (), ledger.root)
        verify_inclusion(leaf_hash(sound.leaf or b""), 7, 600, sound.proof or (), ledger.root)
        with pytest.raises(ProofError):
            verify_inclusion(leaf_hash(late.leaf or b""), 590, 600, late.proof or (), ledger.root)
