"""Whatever sizes a log is published at: what is read back is the same log, and no changed byte passes for it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.merkle import verify_consistency
from guardrails.ledger.publishing import DirectoryTarget, ObjectTarget, SourceReader, TileClient, monitor, publish
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import (
    MAX_BUNDLE_BYTES,
    TileId,
    decode_bundle,
    encode_bundle,
    new_bundles,
    new_tiles,
    parse_path,
)
from tests.support.published import log_of

LOG = log_of(66_100)
EDGES = [0, 1, 2, 255, 256, 257, 511, 512, 513, 4096, 65_279, 65_280, 65_535, 65_536, 65_537, 65_792, 66_048, 66_100]
sizes = st.one_of(st.sampled_from(EDGES), st.integers(0, 5000))
small_sizes = st.one_of(st.sampled_from([size for size in EDGES if size <= 513]), st.integers(0, 1100))


@given(st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_every_tile_has_one_path(level: int, index: int, width: int) -> None:
    tile = TileId(level, index, width)
    assert parse_path(tile.path) == tile


@given(st.text(alphabet="0123456789xp./tileentris-+_ ", max_size=30).map(lambda text: f"tile/{text}"))
def test_what_is_read_as_a_path_is_written_the_same(path: str) -> None:
    try:
        resource = parse_path(path)
    except LedgerError:
        return
    assert resource.path == path


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_are_read_as_they_were_written(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=40), st.integers(1, 6))
def test_no_two_texts_are_the_same_bundle(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(data, width)
    except LedgerError:
        return
    assert encode_bundle(entries) == data


@given(st.integers(0, 2**40), st.integers(0, 2**20))
@settings(deadline=None)
def test_publishing_step_by_step_gives_the_tiles_of_the_last_tree(old: int, more: int) -> None:
    new = old + min(more, 70_000)
    added = list(new_tiles(old, new))
    assert len(added) == len(set(added))
    for tile in added:
        assert (old >> 8 * tile.level) < tile.index * 256 + tile.width <= (new >> 8 * tile.level)
    assert sum(t.width for t in added if t.is_full and t.level == 0) % 256 == 0
    assert [b.tile for b in new_bundles(old, new)] == [t for t in added if t.level == 0]


@pytest.mark.parametrize("size", EDGES)
def test_every_published_tree_has_its_root(size: int) -> None:
    target = ObjectTarget(MemoryStore())
    publish(LOG.at(size), target, LOG.verifier)
    client = TileClient(target, LOG.verifier)
    assert client.head.root == LOG.root_at(size)
    for index in {0, size // 2, size - 1} if size else ():
        assert client.prove(index).verify(client.leaf(index), LOG.verifier).size == size
    assert sum(1 for _ in client.leaves()) == size


@given(st.lists(sizes, min_size=1, max_size=4).map(sorted))
@settings(deadline=None, max_examples=40)
def test_a_log_published_at_any_sizes_reads_back_whole(steps: list[int]) -> None:
    target = ObjectTarget(MemoryStore())
    for size in steps:
        publish(LOG.at(size), target, LOG.verifier)
    client = TileClient(target, LOG.verifier)
    assert client.head.root == LOG.root_at(steps[-1])
    start = max(0, steps[-1] - 600)
    assert list(client.leaves(start)) == list(LOG.leaves(start, steps[-1]))
    for old, new in pairwise(dict.fromkeys(size for size in steps if size)):
        tree = TileTree(
            open_checkpoint(LOG.at(new).checkpoint(), LOG.verifier), lambda tile: LOG.tile(tile.level, tile.index, tile.width)
        )
        verify_consistency(old, new, LOG.root_at(old), LOG.root_at(new), tree.consistency_proof(old))
        assert client.tree.root_at(old) == LOG.root_at(old)


@given(small_sizes.filter(bool), st.data())
@settings(deadline=None, max_examples=150)
def test_a_changed_byte_is_noticed_or_changes_nothing(size: int, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        target = DirectoryTarget(Path(folder) / "log")
        old = data.draw(st.integers(1, size), "published before")
        publish(LOG.at(old), target, LOG.verifier)
        publish(LOG.at(size), target, LOG.verifier)
        path = data.draw(st.sampled_from(sorted(["checkpoint", *target.list("tile")])), "path")
        file = Path(folder) / "log" / path
        content = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1), "at")
        content[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
        file.write_bytes(content)
        seen: list[tuple[int, bytes]] = []
        try:
            observed = monitor(
                TileClient(target, LOG.verifier), Path(folder) / "seen", on_entry=lambda i, e: seen.append((i, e))
            )
        except LedgerError:
            return
        # What was published before and is not part of this tree any more may be anything.
        assert path not in {t.path for t in new_tiles(0, size)} | {b.path for b in new_bundles(0, size)}
        assert (observed.head.size, observed.head.root) == (size, LOG.root_at(size))
        assert seen == list(LOG.leaves(0, size))


@pytest.mark.parametrize("size", [300, 513])
def test_every_byte_of_a_published_log_is_held(size: int, tmp_path: Path) -> None:
    log = log_of(size)
    published = {path: SourceReader(log).get(path, MAX_BUNDLE_BYTES) or b"" for path in _paths(size)}

    class Changed:
        def __init__(self, path: str, at: int) -> None:
            self._path, self._at = path, at

        def get(self, path: str, limit_bytes: int) -> bytes | None:
            data = published.get(path)
            if path != self._path or data is None:
                return data
            return data[: self._at] + bytes([data[self._at] ^ 0x10]) + data[self._at + 1 :]

    unnoticed = []
    for path, content in published.items():
        # Every byte of the small files, and a stride that meets every offset modulo 32 of the large ones.
        for at in range(0, len(content), 1 if len(content) < 1000 else 33):
            try:
                client = TileClient(Changed(path, at), log.verifier, workers=1)
                assert [entry for _, entry in client.leaves()] == log.entries
            except LedgerError:
                continue
            unnoticed.append((path, at))
    assert unnoticed == []


def _paths(size: int) -> list[str]:
    return ["checkpoint", *(t.path for t in new_tiles(0, size)), *(b.path for b in new_bundles(0, size))]
