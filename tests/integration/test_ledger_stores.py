"""What every store of a ledger does, whichever database it is in (see `guardrails.ledger.stores.base`)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger.stores.base import Batch, Head, Leaf, Store, Tile
from tests.support.ledger_stores import (
    FIRST_HEAD,
    STORES,
    TILE_WIDTH,
    Place,
    append_within,
    appended,
    assert_sound,
    batch_after,
    begun,
    new_place,
    secret,
    texts_of,
)

APPENDER = """
import sys
from tests.support.ledger_stores import appended, begun, open_store

store = begun(open_store(*sys.argv[1:4]))
for n in range(int(sys.argv[5])):
    appended(store, (sys.argv[4], str(n)))
store.close()
"""
HOLDER = """
import sys
from tests.support.ledger_stores import append_within, open_store

store = open_store(*sys.argv[1:4])
with store.transaction():
    append_within(store, ("held", "0"))
    print("locked", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request.param, lambda: request.getfixturevalue("postgres_url"), tmp_path) as made:
        yield made


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = begun(place.open())
    yield opened
    opened.close()


def start(program: str, place: Place, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *place.address, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_ledger_is_new_until_it_is_created(place: Place) -> None:
    store = place.open()
    with store.transaction():
        assert store.is_new()
        store.create(FIRST_HEAD)
        assert store.head() == FIRST_HEAD
    for again in (store, place.open()):
        with again.transaction():
            assert not again.is_new()
            assert again.head() == FIRST_HEAD
        with again.snapshot():
            assert not again.is_new()
        again.close()


def test_a_creation_that_fails_leaves_nothing(place: Place) -> None:
    store = place.open()
    with suppress(ZeroDivisionError), store.transaction():
        store.create(FIRST_HEAD)
        raise ZeroDivisionError
    with store.transaction():
        assert store.is_new()
    store.close()


def test_something_else_in_its_place_is_refused(place: Place) -> None:
    place.spoil()
    store = place.open()
    with pytest.raises(LedgerError) as refused, store.transaction():
        store.is_new()
    assert refused.value.code == "ledger.unavailable"
    store.close()


def test_something_else_beside_its_tables_is_tampering(place: Place, store: Store) -> None:
    place.spoil()
    with pytest.raises(TamperedError), store.transaction():
        store.is_new()


def test_what_is_written_is_read(store: Store) -> None:
    with store.transaction():
        batch = append_within(store, ("a", "first"), ("b", "second"), ("a", "third"))
        # also within the transaction
        assert store.head() == batch.head
        assert store.leaf(2) == batch.leaves[2].data
    with store.snapshot():
        assert store.head() == batch.head
        assert [store.leaf(index) for index in range(4)] == [*(leaf.data for leaf in batch.leaves), None]
        assert store.leaves(0, 3) == [(index, leaf.data) for index, leaf in enumerate(batch.leaves)]
        assert store.leaves(1, 2) == [(1, batch.leaves[1].data)]
        assert store.leaves(3, 9) == store.leaves(2, 2) == []
        assert [index for index, _ in store.leaves(0, 3, "a")] == [0, 2]
        assert [index for index, _ in store.leaves(1, 3, "a")] == [2]
        assert store.leaves(0, 3, "c") == []
        assert store.rows(0, 9) == list(enumerate(batch.leaves))
        assert store.rows(2, 3) == [(2, batch.leaves[2])]
        assert store.next_seqs({"a", "b", "c"}) == {"a": 2, "b": 1, "c": 0}
        assert store.next_seqs(()) == {}


def test_all_bytes_and_all_names_of_sessions_come_back(store: Store) -> None:
    names = ["", "naïve", "nul\0nul", "x" * 5000, "'; DROP TABLE entries --", "%s {s}"]
    data = [bytes(range(256)), b"\\x00", b"\0", "ü€😀".encode(), b"{}", b"z" * 65_535]
    leaves = [Leaf(each, name, 0) for each, name in zip(data, names, strict=True)]
    with store.transaction():
        store.write(batch_after(store, leaves))
    with store.snapshot():
        assert [each for _, each in store.leaves(0, len(data))] == data
        assert store.rows(0, len(data)) == list(enumerate(leaves))
        assert store.next_seqs(names) == dict.fromkeys(names, 1)
        for index, name in enumerate(names):
            assert store.leaves(0, len(data), name) == [(index, data[index])]


def test_a_head_holds_what_it_was_given(store: Store) -> None:
    head = Head("log+ünïcode+key", "a note\n\n— ünïcode abc=\n", 0, b"", 2**53, 0, "a cosigned note\n")
    with store.transaction():
        store.write(Batch(0, head))
    with store.snapshot():
        assert store.head() == head
    appended(store, *[("s", str(n)) for n in range(300)])
    frontier = bytes(range(256)) * 8
    with store.transaction():
        archived = replace(store.head(), archived=256, frontier=frontier, time_us=7)
        store.write(Batch(300, archived))
    with store.snapshot():
        assert store.head() == archived


def test_tiles_are_found_by_level_and_index(store: Store) -> None:
    made = [Tile(level, index, os.urandom(8192), os.urandom(32)) for level in (0, 1) for index in range(3)]
    with store.transaction():
        store.write(Batch(0, FIRST_HEAD, tiles=made))
    with store.snapshot():
        for tile in made:
            assert store.tile(tile.level, tile.index) == tile.hashes
        assert store.tile(0, 3) is None
        assert store.tile(2, 0) is None
        assert store.tile_roots(0, 0, 3) == b"".join(tile.root for tile in made[:3])
        assert store.tile_roots(1, 1, 9) == made[4].root + made[5].root
        assert store.tile_count() == 6
        assert store.tile_roots(0, 3, 9) == store.tile_roots(0, 1, 1) == b""


def test_full_tiles_come_with_the_entries_that_complete_them(store: Store) -> None:
    for count in (100, 156, 700):
        appended(store, *[("s", str(n)) for n in range(count)])
    with store.snapshot():
        assert len(store.tile_roots(0, 0, 10)) == 32 * (956 // TILE_WIDTH)
    assert_sound(store)


def test_intents_are_open_until_they_have_an_outcome(store: Store) -> None:
    appended(store, ("s", "0"), ("s", "1"), ("s", "2"), opened=[("i0", 0), ("i1", 1), ("i2", 2)])
    appended(store, ("s", "3"), ("s", "4"), ("s", "5"), given_up=["i1"], closed=["i0", "i5"], opened=[("i5", 5)])
    with store.snapshot():
        assert store.open_intents() == [("i1", 1, True), ("i2", 2, False)]
        assert store.intents_unknown(["i0", "i1", "i2", "no", "nul\0", "é"]) == {"i1": True, "i2": False}
        assert store.intents_unknown([]) == {}
    appended(store, ("s", "6"), closed=["i1"])
    with store.snapshot():
        assert store.open_intents() == [("i2", 2, False)]


def test_secrets_are_erased_with_their_marks(store: Store) -> None:
    ana, ben = b"a" * 32, b"b" * 32
    kept = [secret(0, "sql", ana, ben, sealed=b"\0sealed"), secret(0, "rows", ana), secret(1, "sql", ben), secret(2, "none")]
    appended(store, ("s", "0"), ("s", "1"), ("s", "2"), secrets=kept)
    with store.snapshot():
        assert [replace(each, subjects=()) for each in store.secrets(0)] == [replace(kept[n], subjects=()) for n in (1, 0)]
        assert store.secrets(2) == [kept[3]]
        assert store.secrets(9) == []
        assert store.secret_names(0, 3) == [(0, "rows"), (0, "sql"), (1, "sql"), (2, "none")]
        assert store.secret_names(1, 2) == [(1, "sql")]
        assert sorted(store.secrets_of(ana)) == [(0, "rows"), (0, "sql")]
        assert store.secrets_of(b"c" * 32) == []
    with store.transaction():
        assert store.erase([(0, "sql"), (0, "no"), (7, "sql"), (0, "nul\0")]) == 1
        assert store.erase([]) == 0
    store.drop_old_pages()
    with store.snapshot():
        assert [replace(each, subjects=()) for each in store.secrets(0)] == [replace(kept[1], subjects=())]
        assert store.secrets_of(ben) == [(1, "sql")]
        assert store.secrets_of(ana) == [(0, "rows")]


def test_archived_entries_are_gone_and_their_sessions_go_on(store: Store) -> None:
    appended(store, *[("s", str(n)) for n in range(600)])
    with store.transaction():
        store.drop_leaves(512, "kept")
        store.write(Batch(600, replace(store.head(), archived=512)))
    with store.snapshot():
        assert store.leaf(511) is None
        assert [index for index, _ in store.leaves(0, 600)] == list(range(512, 600))
        assert store.next_seqs({"s"}) == {"s": 600}
        assert store.tile(0, 0) is not None
        assert store.head().archived == 512


def test_one_session_is_kept_when_entries_are_archived(store: Store) -> None:
    appended(store, ("kept", "0"), *[("s", str(n)) for n in range(300)], ("kept", "1"))
    with store.transaction():
        store.drop_leaves(256, "kept")
        store.write(Batch(302, replace(store.head(), archived=256)))
    with store.snapshot():
        assert store.leaf(0) is not None
        assert store.leaf(1) is None
        assert [index for index, _ in store.leaves(0, 302, "kept")] == [0, 301]
        assert store.next_seqs({"kept", "s"}) == {"kept": 2, "s": 300}
        assert store.damage() == []


def test_a_session_that_was_archived_whole_goes_on(store: Store) -> None:
    appended(store, *[("early", str(n)) for n in range(100)], *[("late", str(n)) for n in range(500)])
    with store.transaction():
        store.drop_leaves(256, "kept")
        store.write(Batch(600, replace(store.head(), archived=256)))
    with store.snapshot():
        assert store.next_seqs({"early", "late"}) == {"early": 100, "late": 500}
    appended(store, ("early", "100"))
    with store.transaction():
        store.drop_leaves(512, "kept")
        store.write(Batch(601, replace(store.head(), archived=512)))
    with store.snapshot():
        assert store.next_seqs({"early", "late"}) == {"early": 101, "late": 500}


@pytest.mark.parametrize("fails", ["after", "before"])
def test_an_error_undoes_the_whole_transaction(store: Store, fails: str) -> None:
    first = appended(store, ("s", "0"), opened=[("i", 0)], secrets=[secret(0, "sql", b"s" * 32)])
    with suppress(ZeroDivisionError), store.transaction():
        store.erase([(0, "sql")])
        append_within(store, ("s", "1"), closed=["i"], secrets=[secret(1, "sql")])
        if fails == "after":
            store.head()
            store.leaf(1)
        raise ZeroDivisionError
    with store.snapshot():
        assert store.head() == first.head
        assert store.leaf(1) is None
        assert store.open_intents() == [("i", 0, False)]
        assert len(store.secrets(0)) == 1
        assert store.secrets(1) == []
        assert store.secrets_of(b"s" * 32) == [(0, "sql")]
    appended(store, ("s", "1"))
    assert texts_of(store, "s") == [(0, "0"), (1, "1")]


def test_a_batch_is_refused_whole(store: Store) -> None:
    """The second entry has the place of the first in its session."""
    before = appended(store, ("s", "0"))
    with pytest.raises(LedgerError), store.transaction():
        store.write(batch_after(store, [Leaf(b"x", "t", 0), Leaf(b"y", "s", 0)], secrets=[secret(1, "sql")]))
    with store.snapshot():
        assert store.head() == before.head
        assert store.leaves(0, 9) == [(0, before.leaves[0].data)]
        assert store.secrets(1) == []


def test_a_snapshot_reads_one_state(place: Place, store: Store) -> None:
    appended(store, ("s", "0"), opened=[("i", 0)])
    other = place.open()
    with other.snapshot():
        head = other.head()
        done = threading.Thread(target=lambda: appended(store, ("s", "1"), closed=["i"], secrets=[secret(1, "x", b"m" * 32)]))
        done.start()
        done.join(20)
        assert not done.is_alive(), "a reader held up a writer"
        assert other.head() == head
        assert other.leaf(1) is None
        assert [index for index, _ in other.leaves(0, 5)] == [0]
        assert other.next_seqs({"s"}) == {"s": 1}
        assert other.open_intents() == [("i", 0, False)]
        assert other.secrets_of(b"m" * 32) == []
    with other.snapshot():
        assert other.head().size == 2
    other.close()


def test_what_is_not_committed_is_seen_by_nobody(place: Place, store: Store) -> None:
    other = place.open()
    with store.transaction():
        append_within(store, ("s", "0"))
        store.leaf(0)
        with other.snapshot():
            assert other.head().size == 0
            assert other.leaf(0) is None
    other.close()


def test_one_process_writes_at_a_time(place: Place, store: Store) -> None:
    holder = start(HOLDER, place)
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    ended: list[float] = []
    waiting = threading.Thread(target=lambda: (appended(store, ("mine", "0")), ended.append(time.monotonic())))
    waiting.start()
    time.sleep(0.5)
    assert not ended, "two writers at once"
    released = time.monotonic()
    out, errors = holder.communicate("go\n", timeout=30)
    waiting.join(30)
    assert holder.returncode == 0, errors
    assert out == "done\n"
    assert ended[0] >= released
    assert [text for _, text in texts_of(store, "held")] == ["0"]
    assert_sound(store)


def test_a_killed_writer_leaves_nothing_and_no_lock(place: Place, store: Store) -> None:
    holder = start(HOLDER, place)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    holder.kill()
    holder.communicate()
    appended(store, ("mine", "0"))
    assert texts_of(store, "held") == []
    assert_sound(store)


def test_processes_and_threads_append_to_one_log(place: Place) -> None:
    """Also beginning it is something that only one of them does."""
    children = [start(APPENDER, place, f"process-{n}", 20) for n in range(3)]
    store = begun(place.open())
    threads = [
        threading.Thread(target=lambda name=f"thread-{n}": [appended(store, (name, str(k))) for k in range(20)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    assert_sound(store)
    for name in [*(f"process-{n}" for n in range(3)), *(f"thread-{n}" for n in range(4))]:
        assert texts_of(store, name) == [(n, str(n)) for n in range(20)]
    store.close()


def test_readers_of_one_store_do_not_wait_for_its_writer_to_think(store: Store) -> None:
    if not store.is_shared:
        pytest.skip("a store of one connection")
    appended(store, ("s", "0"))
    sizes: list[int] = []

    def read() -> None:
        with store.snapshot():
            sizes.append(store.head().size)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert sizes == [1] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_both_sides_of_a_fork_go_on(store: Store) -> None:
    appended(store, ("parent", "0"))
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for n in range(5):
                    appended(store, (f"child-{os.getpid()}", str(n)))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    for n in range(1, 6):
        appended(store, ("parent", str(n)))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    for name in ("parent", *(f"child-{child}" for child in children)):
        assert [text for _, text in texts_of(store, name)] == [str(n) for n in range(6 if name == "parent" else 5)]
    assert_sound(store)


def test_reading_only_changes_nothing(place: Place, store: Store) -> None:
    batch = appended(store, ("s", "0"))
    reader = place.open(read_only=True)
    with reader.snapshot():
        assert not reader.is_new()
        assert reader.head() == batch.head
        assert reader.leaf(0) == batch.leaves[0].data
    with pytest.raises(LedgerError), reader.transaction():
        append_within(reader, ("s", "1"))
    with store.snapshot():
        assert store.head() == batch.head
    reader.close()


def test_a_ledger_without_damage_says_so(store: Store) -> None:
    for count in (100, 500):
        appended(store, *[("s", str(n)) for n in range(count)])
    with store.snapshot():
        assert store.damage() == []


def test_a_closed_store_is_unavailable(place: Place) -> None:
    store = begun(place.open())
    store.close()
    store.close()
    for begin in (store.transaction, store.snapshot):
        with pytest.raises(LedgerError) as refused, begin():
            pass
        assert refused.value.code == "ledger.unavailable"
