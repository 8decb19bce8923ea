"""Signed notes of others are read, and other implementations read ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier, open_note, sign_note

# The example of the documentation of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SUM_VERIFIER = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_DIRECTORY = Path("/usr/share/gocode")
GO_PROGRAM = r"""
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type input struct {
	Key, Note, SecretKey string
	Leaves               [][]byte
	Proofs               [][][]byte
	Old                  int64
	OldRoot              []byte
	Consistency          [][]byte
}

func hashes(values [][]byte) []tlog.Hash {
	var out []tlog.Hash
	for _, v := range values {
		var h tlog.Hash
		copy(h[:], v)
		out = append(out, h)
	}
	return out
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var in input
	check(json.NewDecoder(os.Stdin).Decode(&in))
	verifier, err := note.NewVerifier(in.Key)
	check(err)
	opened, err := note.Open([]byte(in.Note), note.VerifierList(verifier))
	check(err)
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + opened.Text[len(verifier.Name())+1:]))
	check(err)
	for i, leaf := range in.Leaves {
		check(tlog.CheckRecord(hashes(in.Proofs[i]), tree.N, tree.Hash, int64(i), tlog.RecordHash(leaf)))
	}
	check(tlog.CheckTree(hashes(in.Consistency), tree.N, tree.Hash, in.Old, hashes([][]byte{in.OldRoot})[0]))
	signer, err := note.NewSigner(in.SecretKey)
	check(err)
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("checked %d\n", len(in.Leaves))}, signer)
	check(err)
	fmt.Print(string(signed))
}
"""


def test_the_note_of_the_go_documentation_is_read_and_written() -> None:
    assert open_note(GO_NOTE, [Verifier.parse(GO_VERIFIER)]) == GO_TEXT
    signer = Ed25519Signer.parse(GO_KEY)
    assert str(signer.verifier()) == GO_VERIFIER
    assert sign_note(GO_TEXT, signer) == GO_NOTE


def test_the_key_of_the_go_checksum_database_is_read() -> None:
    assert Verifier.parse(SUM_VERIFIER).key_hash.hex() == "033de0ae"


@pytest.mark.skipif(
    shutil.which("go") is None or not (GO_DIRECTORY / "src/golang.org/x/mod/sumdb").is_dir(), reason="needs Go's sumdb"
)
def test_go_checks_our_notes_and_proofs_and_we_check_its_notes(tmp_path: Path) -> None:
    signer = Ed25519Signer.generate("example.com/log")
    with Ledger.open("sqlite:///:memory:", signer=signer) as ledger:
        ledger.append_many({"n": n} for n in range(45))
        question = {
            "Key": ledger.verifier_key,
            "Note": ledger.checkpoint(),
            "SecretKey": signer.secret_text(),
            "Leaves": [leaf for _, leaf in ledger.leaves()],
            "Proofs": [ledger.inclusion_proof(index) for index in range(45)],
            "Old": 19,
            "OldRoot": ledger.root_at(19),
            "Consistency": ledger.consistency_proof(19),
        }
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    environment = os.environ | {
        "GOPATH": str(GO_DIRECTORY),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOCACHE": str(tmp_path / "cache"),
    }
    answer = subprocess.run(
        ["go", "run", "main.go"],
        input=json.dumps(question, default=_base64),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert open_note(answer.stdout, [signer.verifier()]) == "checked 45\n"


def test_a_note_of_another_key_is_refused() -> None:
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        open_note(GO_NOTE, [Verifier.parse(SUM_VERIFIER)])
    with pytest.raises(LedgerError):
        open_checkpoint(GO_NOTE, Verifier.parse(GO_VERIFIER))


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
