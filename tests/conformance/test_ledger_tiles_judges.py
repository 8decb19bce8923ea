"""Others read what we publish: Go's sumdb packages, which define the tiles, and an independent C2SP client in Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.publishing import DirectoryTarget, TileClient, mirror, publish
from guardrails.ledger.tiles import BundleId, TileId, new_tiles, parse_path
from tests.conftest import missing
from tests.support.published import MemoryLog, log_of

SIZES = [1, 2, 255, 256, 257, 700, 65_535, 65_536, 65_537, 66_000]
LOG = log_of(66_000)
GO_DIRECTORY = Path("/usr/share/gocode")
GO_PROGRAM = r"""
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Directory, Key string
	Indexes, Olds  []int64
	Paths          []string
	Old, New       int64
}

type answer struct {
	Size        int64
	Root        []byte
	Inclusion   [][][]byte
	Consistency [][][]byte
	Entries     [][]byte
	Accepted    []bool
	Tiles       []string
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// C2SP fixes the height at 8 and leaves it out of the path; it calls the records entries.
func ours(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), "tile/8/")
	if t.L == -1 {
		path = "entries" + strings.TrimPrefix(path, "data")
	}
	return "tile/" + path
}

type reader struct{ directory string }

func (r reader) Height() int                       { return 8 }
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(r.directory, ours(t)))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func entry(directory string, index, size int64) []byte {
	t := tlog.Tile{H: 8, L: -1, N: index / 256, W: 256}
	if rest := size - t.N*256; rest < 256 {
		t.W = int(rest)
	}
	data, err := os.ReadFile(filepath.Join(directory, ours(t)))
	check(err)
	for skip := index % 256; ; skip-- {
		length := int(binary.BigEndian.Uint16(data))
		if skip == 0 {
			return data[2 : 2+length]
		}
		data = data[2+length:]
	}
}

func bytes(hashes []tlog.Hash) [][]byte {
	out := [][]byte{}
	for _, h := range hashes {
		out = append(out, append([]byte{}, h[:]...))
	}
	return out
}

func main() {
	var q question
	check(json.NewDecoder(os.Stdin).Decode(&q))
	var a answer
	for _, path := range q.Paths {
		mapped := "tile/8/" + strings.TrimPrefix(path, "tile/")
		mapped = strings.Replace(mapped, "tile/8/entries/", "tile/8/data/", 1)
		_, err := tlog.ParseTilePath(mapped)
		a.Accepted = append(a.Accepted, err == nil)
	}
	for _, t := range tlog.NewTiles(8, q.Old, q.New) {
		a.Tiles = append(a.Tiles, ours(t))
	}
	if q.Directory != "" {
		verifier, err := note.NewVerifier(q.Key)
		check(err)
		text, err := os.ReadFile(filepath.Join(q.Directory, "checkpoint"))
		check(err)
		opened, err := note.Open(text, note.VerifierList(verifier))
		check(err)
		tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + opened.Text[len(verifier.Name())+1:]))
		check(err)
		a.Size, a.Root = tree.N, tree.Hash[:]
		hashes := tlog.TileHashReader(tree, reader{q.Directory})
		for _, i := range q.Indexes {
			proof, err := tlog.ProveRecord(tree.N, i, hashes)
			check(err)
			record := entry(q.Directory, i, tree.N)
			check(tlog.CheckRecord(proof, tree.N, tree.Hash, i, tlog.RecordHash(record)))
			a.Inclusion = append(a.Inclusion, bytes(proof))
			a.Entries = append(a.Entries, record)
		}
		for _, old := range q.Olds {
			proof, err := tlog.ProveTree(tree.N, old, hashes)
			check(err)
			root, err := tlog.TreeHash(old, hashes)
			check(err)
			check(tlog.CheckTree(proof, tree.N, tree.Hash, old, root))
			a.Consistency = append(a.Consistency, append(bytes(proof), root[:]))
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(a))
}
"""


class Go:
    """The compiled program; a question is answered or refused with its message."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def refusal_or_answer(self, **question: object) -> tuple[str, dict[str, Any]]:
        done = subprocess.run([self._program], input=json.dumps(question), capture_output=True, text=True, check=False)
        return done.stderr, json.loads(done.stdout) if done.returncode == 0 else {}

    def __call__(self, **question: object) -> dict[str, Any]:
        refusal, answer = self.refusal_or_answer(**question)
        assert answer, refusal
        return answer


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    if shutil.which("go") is None or not (GO_DIRECTORY / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        missing("needs Go's sumdb: the Debian packages golang-go and golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO_PROGRAM)
    environment = os.environ | {
        "GOPATH": str(GO_DIRECTORY),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOCACHE": str(folder / "cache"),
    }
    built = subprocess.run(
        ["go", "build", "-o", "judge", "main.go"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return Go(folder / "judge")


@pytest.fixture(scope="module", params=SIZES)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryLog]:
    """A folder with the log at one size, reached in two publications."""
    log, folder = LOG.at(request.param), tmp_path_factory.mktemp("log") / "log"
    publish(LOG.at(request.param // 2), DirectoryTarget(folder), LOG.verifier)
    publish(log, DirectoryTarget(folder), LOG.verifier)
    return folder, log


def indexes(size: int) -> list[int]:
    return sorted({i for i in (0, 1, 127, 255, 256, 511, 512, size // 2, 65_535, size - 2, size - 1) if 0 <= i < size})


def test_go_reads_our_files(go: Go, published: tuple[Path, MemoryLog]) -> None:
    folder, log = published
    places, olds = indexes(log.size), [index + 1 for index in indexes(log.size)]
    answer = go(Directory=str(folder), Key=str(log.verifier), Indexes=places, Olds=olds)
    client = TileClient(folder, log.verifier)
    assert (answer["Size"], b64decode(answer["Root"])) == (log.size, client.head.root)
    for index, entry, proof in zip(places, answer["Entries"], answer["Inclusion"], strict=True):
        assert b64decode(entry) == client.leaf(index)
        assert [b64decode(value) for value in proof] == client.tree.inclusion_proof(index)
    for old, (*proof, root) in zip(olds, answer["Consistency"], strict=True):
        assert b64decode(root) == client.tree.root_at(old)
        if old < log.size:  # for equal sizes Go's proof is empty as well
            assert [b64decode(value) for value in proof] == client.consistency_proof(old)


def test_go_refuses_our_files_once_they_are_changed(go: Go, tmp_path: Path) -> None:
    publish(LOG.at(700), DirectoryTarget(tmp_path / "log"), LOG.verifier)
    question = {"Directory": str(tmp_path / "log"), "Key": str(LOG.verifier), "Indexes": [300], "Olds": [300]}
    assert go(**question)["Size"] == 700
    for path in ("tile/0/001", "tile/1/000.p/2", "tile/0/002.p/188", "checkpoint", "tile/entries/001"):
        file = tmp_path / "log" / path
        content = file.read_bytes()
        at = 44 * 11 + 5 if path == "tile/entries/001" else len(content) - 9
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refusal, _ = go.refusal_or_answer(**question)
        assert refusal, path
        file.write_bytes(content)
    assert go(**question)["Size"] == 700


def test_go_names_the_same_new_tiles(go: Go) -> None:
    edges = [0, 1, 255, 256, 257, 70_000, 65_536, 131_072, 2**24 + 3]
    for old in edges:
        for new in edges:
            if not old <= new <= old + 200_000:
                continue
            # Go names partial tiles for the sizes between too, which had no checkpoint, and those that stay as they are.
            widest = {path.partition(".p/")[0]: path for path in go(Old=old, New=new)["Tiles"] or []}
            theirs = set(widest.values()) - {tile.path for tile in new_tiles(0, old)}
            assert theirs == {tile.path for tile in new_tiles(old, new)}, (old, new)


def test_go_reads_the_same_paths(go: Go) -> None:
    last = ("000", "001", "999", "0000", "00", "", "x001", "a", "00a", "+01", "-01")
    first = ("", "x000/", "x001/", "001/", "x001/x000/", "x1/", "x0001/", "X001/", "xx01/")
    width = ("", ".p/1", ".p/255", ".p/256", ".p/0", ".p/01", ".p", ".p/", ".p/+1", ".q/1", ".p/1/1")
    level = ("0", "1", "63", "00", "01", "-1", "+1", "entries", "data0", "")
    paths = [f"tile/{lv}/{fi}{la}{wi}" for lv in level for fi in first for la in last for wi in width]
    accepted = go(Paths=paths)["Accepted"]
    differing = [path for path, theirs in zip(paths, accepted, strict=True) if theirs != reads(path)]
    assert differing == []
    assert 20 < sum(accepted) < len(paths) / 2


def reads(path: str) -> bool:
    try:
        return isinstance(parse_path(path), TileId | BundleId)
    except LedgerError:
        return False


def test_an_independent_client_reads_our_files(published: tuple[Path, MemoryLog]) -> None:
    try:
        from tlog_scales.backend import LocalBackend
        from tlog_scales.reader import TilesReader
        from tlog_scales.signing import Vkey
    except ImportError:
        missing("needs the package tlog-scales")
    folder, log = published
    reader = TilesReader(LocalBackend(folder))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(Vkey.from_string(str(log.verifier)))
    assert (checkpoint.size, checkpoint.origin) == (log.size, log.verifier.name)
    assert reader.calculate_root_hash() == checkpoint.root_hash == log.root_at(log.size)
    ours = TileClient(folder, log.verifier)
    for index in indexes(log.size):
        assert reader.get_entry(index) == log.entries[index]
        proof = reader.get_inclusion_proof(index, log.size)
        proof.check(leaf_hash(log.entries[index]), checkpoint.root_hash)
        assert proof.node_hashes == ours.tree.inclusion_proof(index)
        consistency = reader.get_consistency_proof(index + 1, log.size)
        consistency.check(log.root_at(index + 1), checkpoint.root_hash)
        assert consistency.node_hashes == ours.consistency_proof(index + 1)


@pytest.mark.parametrize("steps", [[1], [255, 1], [256], [300, 400], [65_536, 1], [65_000, 1_000]])
def test_we_read_and_go_on_with_what_an_independent_writer_wrote(steps: list[int], tmp_path: Path) -> None:
    try:
        from tlog_scales.signing import PlainEd25519Signer
        from tlog_scales.writer import TilesWriter
    except ImportError:
        missing("needs the package tlog-scales")
    secret = b64decode(LOG.signer.secret_text().split("+", 4)[4])[1:]
    folder, size = tmp_path / "log", 0
    writer = TilesWriter.create(folder, LOG.verifier.name)
    client = None
    for step in steps:
        for entry in LOG.entries[size : size + step]:
            writer.add_leaf(entry)
        writer.commit([PlainEd25519Signer(LOG.verifier.name, secret)])
        size += step
        client = client or TileClient(folder, LOG.verifier)
        assert client.refresh().root == LOG.root_at(size)
    assert client is not None
    assert list(client.leaves()) == list(LOG.leaves(0, size))
    # Every file is the one that we would have written, so that publishing goes on from there.
    assert publish(LOG.at(size), DirectoryTarget(folder), LOG.verifier, repair=True).written == 0
    assert mirror(client, DirectoryTarget(tmp_path / "copy")).head == client.head
    assert (tmp_path / "copy/checkpoint").read_text() == (folder / "checkpoint").read_text()
