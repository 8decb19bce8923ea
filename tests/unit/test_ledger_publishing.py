"""Publishing, reading, mirroring, watching and archiving a log in folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import verify_consistency
from guardrails.ledger.note import sign_note
from guardrails.ledger.publishing import (
    ArchivedSource,
    ArchiveReader,
    DirectoryTarget,
    ObjectTarget,
    SourceReader,
    Target,
    TileClient,
    archive_bundles,
    mirror,
    monitor,
    open_reader,
    open_target,
    publish,
)
from guardrails.ledger.tiles import MAX_BUNDLE_BYTES, new_bundles, new_tiles, parse_path
from tests.support.published import MemoryLog, log_of

LOG = log_of(2000)


@pytest.fixture(params=["directory", "objects"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return DirectoryTarget(tmp_path / "published") if request.param == "directory" else ObjectTarget(MemoryStore())


def files(target: Target) -> dict[str, bytes]:
    return {path: target.get(path, MAX_BUNDLE_BYTES) or b"" for path in ["checkpoint", *target.list("tile")]}


def expected_paths(size: int) -> set[str]:
    return {"checkpoint", *(t.path for t in new_tiles(0, size)), *(b.path for b in new_bundles(0, size))}


def test_only_what_is_new_is_written_and_old_partials_go(target: Target) -> None:
    done = publish(LOG.at(700), target, LOG.verifier)
    assert (done.old_size, done.head.size, done.written, done.present, done.deleted) == (None, 700, 7, 0, 0)
    assert files(target).keys() == expected_paths(700)
    done = publish(LOG.at(760), target, LOG.verifier)
    assert (done.old_size, done.written, done.deleted) == (700, 2, 0)
    assert files(target).keys() == expected_paths(700) | expected_paths(760)
    done = publish(LOG.at(1024), target, LOG.verifier)
    # Both partial bundles and tiles of the third tile; the partial tile of level 1 is not full yet.
    assert (done.old_size, done.written, done.deleted) == (760, 5, 4)
    assert files(target).keys() == expected_paths(1024) | {"tile/1/000.p/2"}
    again = publish(LOG.at(1024), target, LOG.verifier)
    assert (again.written, again.present, again.deleted) == (0, 0, 0)
    kept = publish(LOG.at(1100), target, LOG.verifier)
    kept = publish(LOG.at(1300), target, LOG.verifier, keep_partials=True)
    assert kept.deleted == 0
    assert "tile/entries/004.p/76" in files(target)


def test_an_empty_log_can_be_published_and_grow(target: Target) -> None:
    assert publish(LOG.at(0), target, LOG.verifier).written == 0
    client = TileClient(target, LOG.verifier)
    assert list(client.leaves()) == []
    publish(LOG.at(1), target, LOG.verifier)
    assert client.refresh().size == 1
    assert client.leaf(0) == LOG.entries[0]


def test_an_older_state_of_the_log_is_not_published(target: Target) -> None:
    publish(LOG.at(700), target, LOG.verifier)
    before = files(target)
    with pytest.raises(TamperedError, match="rolled back") as caught:
        publish(LOG.at(699), target, LOG.verifier)
    assert caught.value.code == "ledger.inconsistent"
    assert caught.value.evidence == {"old": before["checkpoint"].decode(), "new": LOG.at(699).checkpoint()}
    assert files(target) == before


@pytest.mark.parametrize(("fork_at", "size"), [(10, 700), (10, 900), (699, 700), (699, 1100)])
def test_a_forked_log_is_not_published(target: Target, fork_at: int, size: int) -> None:
    publish(LOG.at(700), target, LOG.verifier)
    before = files(target)
    fork = log_of(1200, fork_at=fork_at, signer=LOG.signer).at(size)
    with pytest.raises(TamperedError, match="forked") as caught:
        publish(fork, target, LOG.verifier)
    assert {"old", "new", "proof"} == caught.value.evidence.keys()
    for name in ("old", "new"):  # both are signed by the log: that is what convicts it
        open_checkpoint(str(caught.value.evidence[name]), LOG.verifier)
    assert files(target) == before


def test_a_file_with_other_content_is_never_overwritten(target: Target) -> None:
    publish(LOG.at(256), target, LOG.verifier)
    target.create("tile/0/001", b"x" * 8192)
    with pytest.raises(TamperedError, match="tile/0/001 is published with other content"):
        publish(LOG.at(600), target, LOG.verifier)
    assert target.get("tile/0/001", 9000) == b"x" * 8192
    assert open_checkpoint(files(target)["checkpoint"].decode(), LOG.verifier).size == 256


def test_a_fork_that_was_cut_off_before_its_checkpoint_is_noticed(target: Target) -> None:
    publish(LOG.at(256), target, LOG.verifier)
    fork = log_of(1200, fork_at=300, signer=LOG.signer)

    class DiesBeforeTheCheckpoint:
        def __getattr__(self, name: str) -> object:
            return getattr(target, name)

        def replace(self, path: str, data: bytes, expected: bytes | None) -> bool:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        publish(fork, DiesBeforeTheCheckpoint(), LOG.verifier)  # type: ignore[arg-type]
    with pytest.raises(TamperedError, match="the log was forked"):
        publish(LOG.at(1200), target, LOG.verifier)


def test_another_checkpoint_of_the_same_tree_takes_its_place(target: Target) -> None:
    publish(LOG.at(300), target, LOG.verifier)
    note = LOG.at(300).checkpoint()
    witness = Ed25519Signer.generate("witness.example")
    text = note.partition("\n\n")[0] + "\n"
    cosigned = note + sign_note(text, witness).partition("\n\n")[2]
    done = publish(LOG.at(300), target, LOG.verifier, note=cosigned)
    assert done.written == 0
    assert files(target)["checkpoint"].decode() == cosigned
    publish(LOG.at(300), target, LOG.verifier)  # the log itself has no cosignatures, and does not take them away
    assert files(target)["checkpoint"].decode() == cosigned
    older = publish(LOG.at(500), target, LOG.verifier, note=LOG.at(400).checkpoint())
    assert older.head.size == 400


def test_the_key_decides(target: Target) -> None:
    stranger = Ed25519Signer.generate(LOG.verifier.name)
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        publish(LOG.at(300), target, stranger.verifier())
    assert list(target.list("tile")) == []
    publish(LOG.at(300), target, LOG.verifier)
    other = log_of(400, signer=stranger)
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        publish(other, target, stranger.verifier())
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        TileClient(target, stranger.verifier())


def test_a_log_whose_key_changed_goes_on(target: Target, tmp_path: Path) -> None:
    newer = MemoryLog(LOG.entries, Ed25519Signer.generate(LOG.verifier.name))
    publish(LOG.at(300), target, LOG.verifier)
    monitor(TileClient(target, LOG.verifier), tmp_path / "seen")
    with pytest.raises(LedgerError, match="not signed by a trusted key"):
        publish(newer, target, newer.verifier)
    keys = [LOG.verifier, newer.verifier]
    assert publish(newer, target, keys).old_size == 300
    assert monitor(TileClient(target, keys), tmp_path / "seen").old_size == 300
    assert monitor(TileClient(target, newer.verifier), tmp_path / "seen").old_size == 2000
    with pytest.raises(LedgerError, match="another log"):
        TileClient(target, [newer.verifier, Ed25519Signer.generate("other.example").verifier()])
    with pytest.raises(LedgerError):
        TileClient(target, [])


@pytest.mark.parametrize("index", [0, 255, 256, 699])
def test_a_damaged_log_is_not_published(target: Target, index: int) -> None:
    damaged = log_of(700)
    damaged.entries[index] += b" "
    with pytest.raises(TamperedError, match=f"Entry {index} was changed"):
        publish(damaged, target, damaged.verifier)
    assert target.get("checkpoint", 1000) is None


def test_a_log_whose_tiles_are_not_those_that_were_signed_is_not_published(target: Target) -> None:
    damaged = log_of(700)
    damaged.levels[0][3] = bytes(32)
    with pytest.raises(TamperedError, match="tile/0/000 is not"):
        publish(damaged, target, damaged.verifier)
    damaged = log_of(700)
    damaged.levels[0][699] = bytes(32)
    note = log_of(700, signer=damaged.signer).checkpoint()
    with pytest.raises(TamperedError, match="do not lead to the root"):
        publish(damaged, target, damaged.verifier, note=note)
    assert target.get("checkpoint", 1000) is None


def test_a_source_that_leaves_entries_out_is_noticed(target: Target) -> None:
    class Gap(MemoryLog):
        def leaves(self, start: int, end: int):  # type: ignore[no-untyped-def]
            return ((index, entry) for index, entry in super().leaves(start, end) if index != 400)

    gap = Gap(LOG.entries[:700], LOG.signer)
    with pytest.raises(TamperedError, match="Entry 400 is missing"):
        publish(gap, target, LOG.verifier)


def test_repair_writes_what_is_missing_and_finds_what_was_changed(target: Target) -> None:
    publish(LOG.at(700), target, LOG.verifier)
    before = files(target)
    target.delete("tile/entries/000")
    target.delete("tile/0/001")
    assert publish(LOG.at(700), target, LOG.verifier).written == 0
    done = publish(LOG.at(700), target, LOG.verifier, repair=True)
    assert (done.written, done.present) == (2, 5)
    assert files(target) == before
    target.delete("tile/entries/001")
    target.create("tile/entries/001", b"other")
    with pytest.raises(TamperedError, match="tile/entries/001"):
        publish(LOG.at(700), target, LOG.verifier, repair=True)


def test_a_slower_publisher_does_not_go_back(target: Target) -> None:
    publish(LOG.at(300), target, LOG.verifier)

    class Slow(MemoryLog):
        def leaves(self, start: int, end: int):  # type: ignore[no-untyped-def]
            publish(LOG.at(900), target, LOG.verifier)
            return super().leaves(start, end)

    with pytest.raises(LedgerError, match="Another publisher was faster"):
        publish(Slow(LOG.entries[:500], LOG.signer), target, LOG.verifier)
    assert open_checkpoint(files(target)["checkpoint"].decode(), LOG.verifier).size == 900


def test_progress_counts_files(target: Target) -> None:
    seen: list[tuple[int, int]] = []
    publish(LOG, target, LOG.verifier, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 17) for n in range(1, 18)]


def test_files_are_created_once_and_replaced_only_when_they_are_as_expected(target: Target) -> None:
    assert target.create("tile/0/000", b"a")
    assert not target.create("tile/0/000", b"b")
    assert target.get("tile/0/000", 1) == b"a"
    assert not target.replace("checkpoint", b"a", b"x")
    assert target.replace("checkpoint", b"a", None)
    assert not target.replace("checkpoint", b"b", None)
    assert not target.replace("checkpoint", b"b", b"x")
    assert target.replace("checkpoint", b"b", b"a")
    assert target.get("checkpoint", 10) == b"b"
    assert target.get("tile/0/001", 10) is None
    assert list(target.list("tile")) == ["tile/0/000"]
    assert list(target.list("nothing")) == []
    target.delete("tile/0/000")
    target.delete("tile/0/000")
    target.replace("checkpoint", b"c" * 100, b"b")
    assert target.get("checkpoint", 100) == b"c" * 100
    with pytest.raises(LedgerError, match="longer than"):
        target.get("checkpoint", 99)


def test_a_folder_holds_nothing_but_whole_files(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "log"
    target = DirectoryTarget(folder)
    publish(LOG.at(300), target, LOG.verifier)
    assert {p.name for p in folder.iterdir()} == {"checkpoint", "tile", ".incoming", ".lock"}
    assert list((folder / ".incoming").iterdir()) == []
    stale, fresh = folder / ".incoming" / "stale", folder / ".incoming" / "fresh"
    for left in (stale, fresh):
        left.write_bytes(b"half")
    os.utime(stale, (time.time() - 7200,) * 2)
    publish(LOG.at(301), target, LOG.verifier)
    assert not stale.exists()
    assert fresh.exists()  # another publisher may be writing it
    for path in ("../x", "a/../../x", "/etc/passwd", ".lock", "a//b", "", "a/.", "a\0b", "..\\x"):
        with pytest.raises(LedgerError):
            target.get(path, 10)
        with pytest.raises(LedgerError):
            target.create(path, b"x")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_the_files_is_as_everywhere(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        publish(LOG.at(300), DirectoryTarget(tmp_path / "log"), LOG.verifier)
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "log").rglob("[!.]*") if p.is_file()} == {mode}


def test_a_folder_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = DirectoryTarget(tmp_path / "log")
    publish(LOG.at(700), target, LOG.verifier)
    publish(LOG, target, LOG.verifier)
    assert list(TileClient(target, LOG.verifier).leaves()) == list(LOG.leaves(0, 2000))


def test_a_folder_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError) as caught:
        publish(LOG.at(10), DirectoryTarget(tmp_path / "file" / "log"), LOG.verifier)
    assert caught.value.code == "ledger.unavailable"


def test_a_client_reads_and_proves(target: Target) -> None:
    publish(LOG.at(1500), target, LOG.verifier)
    client = TileClient(target, LOG.verifier)
    assert (client.size, client.head.origin) == (1500, "example.com/log")
    assert list(client.leaves(200, 800)) == list(LOG.leaves(200, 800))
    assert list(client.leaves(1500)) == []
    for index in (0, 255, 256, 1499):
        assert client.prove(index).verify(client.leaf(index), LOG.verifier) == client.head
    for old in (1, 255, 256, 1024, 1500):
        verify_consistency(old, 1500, LOG.root_at(old), client.head.root, client.consistency_proof(old))
    for start, end in ((0, 1501), (-1, 2), (5, 4)):
        with pytest.raises(LedgerError) as caught:
            client.leaves(start, end)
        assert caught.value.code == "ledger.index_range"


def test_a_client_that_holds_an_old_checkpoint_finds_the_full_tiles(target: Target) -> None:
    publish(LOG.at(700), target, LOG.verifier)
    client = TileClient(target, LOG.verifier)
    publish(LOG.at(1000), target, LOG.verifier)
    assert "tile/entries/002.p/188" not in files(target)
    assert list(client.leaves()) == list(LOG.leaves(0, 700))
    assert client.refresh().size == 1000


def test_a_client_never_goes_back(target: Target) -> None:
    publish(LOG.at(700), target, LOG.verifier)
    client = TileClient(target, LOG.verifier)
    for replacement, word in ((LOG.at(600), "rolled back"), (log_of(800, fork_at=5, signer=LOG.signer), "forked")):
        other = ObjectTarget(MemoryStore())
        publish(replacement, other, LOG.verifier)
        client._reader = other
        with pytest.raises(TamperedError, match=word):
            client.refresh()
        assert client.size == 700


def test_a_missing_file_is_incomplete_not_an_end(target: Target) -> None:
    with pytest.raises(LedgerError, match="No log is published there"):
        TileClient(target, LOG.verifier)
    publish(LOG.at(700), target, LOG.verifier)
    target.delete("tile/entries/001")
    client = TileClient(target, LOG.verifier)
    with pytest.raises(LedgerError) as caught:
        list(client.leaves())
    assert caught.value.code == "ledger.incomplete"
    target.delete("tile/1/000.p/2")
    with pytest.raises(LedgerError) as caught:
        TileClient(target, LOG.verifier)
    assert caught.value.code == "ledger.incomplete"


def test_a_monitor_remembers(target: Target, tmp_path: Path) -> None:
    state = tmp_path / "seen"
    seen: list[tuple[int, bytes]] = []
    publish(LOG.at(700), target, LOG.verifier)
    first = monitor(TileClient(target, LOG.verifier), state, on_entry=lambda i, e: seen.append((i, e)))
    assert (first.old_size, first.checked, first.head.size) == (None, 700, 700)
    again = monitor(TileClient(target, LOG.verifier), state)
    assert (again.old_size, again.checked) == (700, 0)
    publish(LOG.at(1000), target, LOG.verifier)
    later = monitor(TileClient(target, LOG.verifier), state, on_entry=lambda i, e: seen.append((i, e)))
    assert (later.old_size, later.checked) == (700, 300)
    assert seen == list(LOG.leaves(0, 1000))
    assert monitor(TileClient(target, LOG.verifier), state, full=True).checked == 1000
    assert state.read_text() == files(target)["checkpoint"].decode()
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["seen"]


def test_a_monitor_convicts_a_fork_and_keeps_what_it_saw(target: Target, tmp_path: Path) -> None:
    state = tmp_path / "seen"
    publish(LOG.at(700), target, LOG.verifier)
    monitor(TileClient(target, LOG.verifier), state)
    kept = state.read_text()
    for other, word in ((log_of(900, fork_at=600, signer=LOG.signer), "forked"), (LOG.at(600), "rolled back")):
        elsewhere = ObjectTarget(MemoryStore())
        publish(other, elsewhere, LOG.verifier)
        with pytest.raises(TamperedError, match=word) as caught:
            monitor(TileClient(elsewhere, LOG.verifier), state)
        assert caught.value.evidence["old"] == kept
        assert caught.value.evidence["new"] == other.checkpoint()
        assert state.read_text() == kept


def test_a_monitor_does_not_remember_what_it_could_not_check(target: Target, tmp_path: Path) -> None:
    state = tmp_path / "seen"
    publish(LOG.at(700), target, LOG.verifier)
    data = target.get("tile/entries/002.p/188", 100_000)
    assert data is not None
    target.delete("tile/entries/002.p/188")
    target.create("tile/entries/002.p/188", data[:-1] + b"!")
    with pytest.raises(TamperedError, match="Entry 699 was changed") as caught:
        monitor(TileClient(target, LOG.verifier), state)
    assert caught.value.evidence["index"] == 699
    assert not state.exists()
    with pytest.raises(UsageError):
        monitor(TileClient(SourceReader(LOG), LOG.verifier), tmp_path / "no" / "folder" / "seen")


def test_a_mirror_is_the_same_files(target: Target, tmp_path: Path) -> None:
    copy = DirectoryTarget(tmp_path / "copy")
    for size in (700, 1100):
        publish(LOG.at(size), target, LOG.verifier)
        done = mirror(TileClient(target, LOG.verifier), copy)
        assert done.head.size == size
    assert files(copy) == files(target)
    data = bytearray(target.get("tile/entries/001", 100_000) or b"")
    data[4] ^= 1
    target.delete("tile/entries/001")
    target.create("tile/entries/001", bytes(data))
    with pytest.raises(TamperedError):
        mirror(TileClient(target, LOG.verifier), DirectoryTarget(tmp_path / "second"))
    assert not (tmp_path / "second" / "checkpoint").exists()


def test_entries_can_be_withheld_and_the_hashes_still_be_watched(target: Target, tmp_path: Path) -> None:
    publish(LOG.at(700), target, LOG.verifier, has_entries=False)
    assert not any(path.startswith("tile/entries") for path in files(target))
    client = TileClient(target, LOG.verifier)
    with pytest.raises(LedgerError) as caught:
        monitor(client, tmp_path / "seen")
    assert caught.value.code == "ledger.incomplete"
    assert monitor(client, tmp_path / "seen", has_entries=False).checked == 0
    publish(LOG.at(900), target, LOG.verifier, has_entries=False)
    client.refresh()
    observed = monitor(client, tmp_path / "seen", has_entries=False)
    assert (observed.old_size, observed.head.size) == (700, 900)
    assert client.prove(5).verify(LOG.entries[5], LOG.verifier).size == 900
    copy = DirectoryTarget(tmp_path / "copy")
    mirror(client, copy, has_entries=False)
    assert files(copy).keys() == {p for p in expected_paths(900) if "entries" not in p}
    target.delete("tile/0/001")
    target.create("tile/0/001", bytes(8192))
    with pytest.raises(TamperedError):
        monitor(TileClient(target, LOG.verifier), tmp_path / "seen", has_entries=False, full=True)
    # They can follow later.
    assert publish(LOG.at(900), copy, LOG.verifier, repair=True).written == 4
    assert list(TileClient(copy, LOG.verifier).leaves()) == list(LOG.leaves(0, 900))


def test_a_live_log_reads_like_a_published_one(target: Target) -> None:
    publish(LOG.at(1500), target, LOG.verifier)
    reader = SourceReader(LOG.at(1500))
    for path, data in files(target).items():
        assert reader.get(path, MAX_BUNDLE_BYTES) == data
    # Narrower tiles, which earlier checkpoints had, and nothing beyond the end.
    assert reader.get("tile/0/000.p/7", 10_000) == LOG.tile(0, 0, 7)
    for path in ("tile/0/006", "tile/0/005.p/221", "tile/1/000.p/6", "tile/2/000.p/1", "tile/entries/006.p/1", "x", ""):
        assert reader.get(path, 10_000) is None
    with pytest.raises(LedgerError, match="longer"):
        reader.get("tile/0/000", 100)


def test_entries_move_to_an_archive_and_are_found_again(target: Target) -> None:
    seen: list[tuple[int, int]] = []
    done = archive_bundles(LOG, target, 1024, LOG.verifier, progress=lambda n, total: seen.append((n, total)))
    assert (done.start, done.end, done.written) == (0, 1024, 4)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(target.list("tile")) == [f"tile/entries/00{n}" for n in range(4)]
    assert archive_bundles(LOG, target, 1024, LOG.verifier).written == 0
    assert archive_bundles(LOG, target, 1536, LOG.verifier, start=1024).written == 2
    reader = ArchiveReader(target, LOG.tile)
    assert reader.leaf(1300) == LOG.entries[1300]
    assert list(reader.leaves(200, 800)) == list(LOG.leaves(200, 800))
    with pytest.raises(LedgerError) as caught:
        reader.leaf(1536)
    assert caught.value.code == "ledger.incomplete"
    for start, end in ((0, 100), (0, 2048), (1, 256), (512, 256), (0, -256)):
        with pytest.raises(LedgerError) as caught:
            archive_bundles(LOG, target, end, LOG.verifier, start=start)
        assert caught.value.code == "ledger.index_range"


def test_an_archive_that_was_changed_is_noticed(target: Target) -> None:
    archive_bundles(LOG, target, 512, LOG.verifier)
    data = bytearray(target.get("tile/entries/001", 100_000) or b"")
    data[-1] ^= 1
    target.delete("tile/entries/001")
    target.create("tile/entries/001", bytes(data))
    assert ArchiveReader(target, LOG.tile).leaf(255) == LOG.entries[255]
    with pytest.raises(TamperedError, match="Entry 511 was changed in the archive"):
        ArchiveReader(target, LOG.tile).leaf(300)
    with pytest.raises(TamperedError, match="tile/entries/001"):
        archive_bundles(LOG, target, 512, LOG.verifier)


def test_an_archive_proves_what_it_wrote_by_reading_it_back(target: Target) -> None:
    class Forgetful:
        def __getattr__(self, name: str) -> object:
            return getattr(target, name)

        def create(self, path: str, data: bytes) -> bool:
            return target.create(path, data[:-1] + b"?")

    with pytest.raises(TamperedError, match="was changed in the archive"):
        archive_bundles(LOG, Forgetful(), 512, LOG.verifier)  # type: ignore[arg-type]


def test_a_log_with_an_archive_is_whole_again(target: Target) -> None:
    archive = ObjectTarget(MemoryStore())
    archive_bundles(LOG, archive, 512, LOG.verifier)

    class Shortened(MemoryLog):
        def leaves(self, start: int, end: int):  # type: ignore[no-untyped-def]
            assert start >= 512
            return super().leaves(start, end)

    shortened = Shortened(LOG.entries, LOG.signer)
    source = ArchivedSource(shortened, ArchiveReader(archive, shortened.tile), 512)
    assert source.size == 2000
    for start, end in ((0, 10), (500, 520), (512, 600), (1999, 2000), (0, 2000)):
        assert list(source.leaves(start, end)) == list(LOG.leaves(start, end))
    publish(source, target, LOG.verifier)
    assert list(TileClient(target, LOG.verifier).leaves()) == list(LOG.leaves(0, 2000))
    assert all(parse_path(path) for path in files(target) if path != "checkpoint")


def test_places_are_understood_or_refused(tmp_path: Path) -> None:
    for place in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        assert isinstance(open_target(place), DirectoryTarget)
    assert isinstance(open_target("memory:///"), ObjectTarget)
    for place in ("ftp://x/y", "http://x/y"):
        with pytest.raises(UsageError):
            open_target(place)
    for place in ("http://", "https://h/?q", "https://h/#f", "ftp://h/"):
        with pytest.raises(UsageError):
            open_reader(place)
