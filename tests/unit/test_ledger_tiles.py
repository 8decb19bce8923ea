"""Names, sets and content of tiles and bundles, by the examples of C2SP tlog-tiles."""

from __future__ import annotations

import pytest

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import (
    BundleId,
    TileId,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    new_bundles,
    new_tiles,
    parse_path,
    split_hashes,
    tile_at,
)
from tests.support.published import log_of


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (TileId(0, 0), "tile/0/000"),
        (TileId(0, 0, 1), "tile/0/000.p/1"),
        (TileId(0, 1234067), "tile/0/x001/x234/067"),
        (TileId(3, 1234067, 255), "tile/3/x001/x234/067.p/255"),
        (TileId(63, 999), "tile/63/999"),
        (TileId(10, 1000, 12), "tile/10/x001/000.p/12"),
        (BundleId(0), "tile/entries/000"),
        (BundleId(2**63 - 1, 7), "tile/entries/x009/x223/x372/x036/x854/x775/807.p/7"),
    ],
)
def test_names_are_those_of_the_specification(resource: TileId | BundleId, path: str) -> None:
    assert resource.path == path
    assert parse_path(path) == resource


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/X001/000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/data/000",
        "tile/8/0/000/1",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/1/2",
        "tile/0/000.p/1.p/1",
        "tile/0/x001.p/1",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/0_0",
        "/tile/0/000",
        "tile//0/000",
        "tile/0/000/",
        "tile/0/../0/000",
        "tile/entries/../../checkpoint",
        "tile/0/000?x",
        "tile/0/%30%30%30",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/" + "x001/" * 100 + "000",
    ],
)
def test_no_other_path_is_read(path: str) -> None:
    with pytest.raises(LedgerError) as caught:
        parse_path(path)
    assert caught.value.code == "ledger.tile_invalid"


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    tiles = list(new_tiles(0, 70_000))
    assert [t for t in tiles if t.level == 0] == [*(TileId(0, n) for n in range(273)), TileId(0, 273, 112)]
    assert [t for t in tiles if t.level > 0] == [TileId(1, 0), TileId(1, 1, 17), TileId(2, 0, 1)]
    assert list(new_bundles(0, 70_000)) == [*(BundleId(n) for n in range(273)), BundleId(273, 112)]
    assert edge_tiles(70_000) == [TileId(2, 0, 1), TileId(1, 1, 17), TileId(0, 273, 112)]
    assert list(new_tiles(0, 256)) == [TileId(0, 0), TileId(1, 0, 1)]
    assert list(new_tiles(0, 0)) == list(new_bundles(0, 0)) == edge_tiles(0) == []


def test_what_is_new_is_what_the_old_tree_has_not() -> None:
    for old in (0, 1, 100, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537):
        for new in (0, 1, 100, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 131_073):
            added = set(new_tiles(old, new))
            if old <= new:
                assert added == set(new_tiles(0, new)) - set(new_tiles(0, old))
                assert set(new_bundles(old, new)) == set(new_bundles(0, new)) - set(new_bundles(0, old))
            else:
                assert not added


def test_the_widest_tiles_of_a_size() -> None:
    assert tile_at(0, 273, 70_000) == TileId(0, 273, 112)
    assert tile_at(1, 0, 70_000) == TileId(1, 0)
    assert tile_at(7, 0, 2**63 - 1).width == 127
    for level, index in ((0, 274), (3, 0), (1, 2)):
        with pytest.raises(LedgerError, match="no tile"):
            tile_at(level, index, 70_000)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (0, 2**63, 1)]
)
def test_tiles_that_cannot_be_have_no_name(level: int, index: int, width: int) -> None:
    with pytest.raises(LedgerError):
        TileId(level, index, width)


def test_bundles_carry_the_length_before_each_entry() -> None:
    entries = [b"", b"a", b"x" * 0xFFFF]
    data = encode_bundle(entries)
    assert data[:5] == b"\x00\x00\x00\x01a"
    assert data[5:7] == b"\xff\xff"
    assert decode_bundle(data, 3) == entries
    for bad in ([], [b""] * 257, [b"x" * 0x10000]):
        with pytest.raises(LedgerError):
            encode_bundle(bad)


@pytest.mark.parametrize(
    ("data", "width"), [(b"", 1), (b"\x00", 1), (b"\x00\x01", 1), (b"\x00\x01ab", 1), (b"\x00\x00", 2), (b"\x00\x00" * 3, 2)]
)
def test_bundles_that_are_not_whole_are_refused(data: bytes, width: int) -> None:
    with pytest.raises(LedgerError) as caught:
        decode_bundle(data, width)
    assert caught.value.code == "ledger.tile_invalid"


def test_tiles_of_another_length_are_refused() -> None:
    assert split_hashes(b"a" * 32 + b"b" * 32, 2) == [b"a" * 32, b"b" * 32]
    for data in (b"", b"a" * 63, b"a" * 65, b"a" * 96):
        with pytest.raises(LedgerError):
            split_hashes(data, 2)


def test_no_tile_is_believed_without_its_parent() -> None:
    log = log_of(66_000)
    head = open_checkpoint(log.checkpoint(), log.verifier)

    def tree(forged: TileId | None = None) -> TileTree:
        def fetch(tile: TileId) -> bytes:
            data = log.tile(tile.level, tile.index, tile.width)
            return bytes(32) + data[32:] if tile == forged else data

        return TileTree(head, fetch)

    assert tree().leaf_hash(300) == log.levels[0][300]
    assert tree().root_at(65_537) == log.root_at(65_537)
    for forged in edge_tiles(head.size):
        with pytest.raises(TamperedError, match="do not lead to the root"):
            tree(forged)
    with pytest.raises(TamperedError, match="tile/0/001 is not"):
        tree(TileId(0, 1)).leaf_hash(300)
    with pytest.raises(TamperedError, match="tile/1/000 is not"):
        tree(TileId(1, 0)).leaf_hash(300)
    assert tree(TileId(0, 2)).leaf_hash(300) == log.levels[0][300]
    for index in (-1, 66_000):
        with pytest.raises(LedgerError):
            tree().leaf_hash(index)
    with pytest.raises(LedgerError):
        tree().root_at(66_001)


def test_full_tiles_are_fetched_once_and_the_cache_is_bounded() -> None:
    log = log_of(1100)
    asked: list[TileId] = []

    def fetch(tile: TileId) -> bytes:
        asked.append(tile)
        return log.tile(tile.level, tile.index, tile.width)

    tree = TileTree(open_checkpoint(log.checkpoint(), log.verifier), fetch, cached_tiles=2)
    for index in (0, 5, 300, 600, 301, 0):
        assert tree.leaf_hash(index) == log.levels[0][index]
    assert asked == [TileId(1, 0, 4), TileId(0, 4, 76), TileId(0, 0), TileId(0, 1), TileId(0, 2), TileId(0, 0)]
