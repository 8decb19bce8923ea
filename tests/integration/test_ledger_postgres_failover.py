"""A ledger in PostgreSQL whose connections and servers are lost at every moment: nothing is lost, doubled or out of order."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from guardrails.errors import LedgerError
from guardrails.ledger.stores.base import Store
from guardrails.ledger.stores.postgres import PostgresStore
from tests.conftest import missing
from tests.support.cutting_proxy import CuttingProxy, Way
from tests.support.ledger_stores import (
    PostgresPlace,
    append_within,
    appended,
    assert_sound,
    begun,
    secret,
    texts_of,
)
from tests.support.private_postgres import PrivateServer, private_server, programs

MOMENTS = {"beginning": b"BEGIN", "reading": b"archived_sessions", "writing": b"INSERT INTO", "committing": b"COMMIT\0"}
APPENDERS = """
import sys, threading
from tests.support.ledger_stores import append_until_stored, open_store

store = open_store(*sys.argv[1:4])
print("opened", flush=True)
process, threads, count = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
failed = []

def run(name):
    try:
        for n in range(count):
            append_until_stored(store, name, str(n))
    except BaseException as error:
        failed.append(repr(error))

running = [threading.Thread(target=run, args=(f"{process}-{k}",)) for k in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
print(failed)
sys.exit(bool(failed))
"""


@pytest.fixture
def place(postgres_url: str) -> Iterator[PostgresPlace]:
    made = PostgresPlace.new(postgres_url)
    begun(made.open()).close()
    yield made
    made.remove()


@pytest.fixture
def proxy(place: PostgresPlace) -> Iterator[Callable[..., tuple[CuttingProxy, PostgresStore]]]:
    """Makes a proxy and a store behind it."""
    made: list[Any] = []

    def make(needle: bytes, way: Way, meanwhile: Callable[[], object] = lambda: None) -> tuple[CuttingProxy, PostgresStore]:
        between = CuttingProxy(place.url, needle, way, meanwhile)
        store = PostgresStore(between.url, schema=place.schema)
        made.extend((store, between))
        return between, store

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("way", ["unsent", "unanswered", "held"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lost_connection_is_replaced_and_the_batch_stored_once(
    place: PostgresPlace, proxy: Callable[..., tuple[CuttingProxy, PostgresStore]], moment: str, way: Way
) -> None:
    between, store = proxy(MOMENTS[moment], way)
    between.is_armed = True
    batch = appended(store, ("s", "0"), opened=[("i", 0)], secrets=[secret(0, "sql", b"m" * 32)])
    assert between.cuts == 1
    appended(store, ("s", "1"), closed=["i"])
    with closing(place.open()) as direct:
        assert texts_of(direct, "s") == [(0, "0"), (1, "1")]
        with direct.snapshot():
            assert direct.leaf(0) == batch.leaves[0].data
            assert direct.secrets(0) == batch.secrets
            assert direct.open_intents() == []
        assert_sound(direct)


@pytest.mark.parametrize("way", ["unsent", "unanswered"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_when_others_append_meanwhile_a_batch_is_stored_once_or_surely_not(
    place: PostgresPlace, proxy: Callable[..., tuple[CuttingProxy, PostgresStore]], moment: str, way: Way
) -> None:
    other = place.open()
    between, store = proxy(MOMENTS[moment], way, lambda: appended(other, ("others", "0")))
    between.is_armed = True
    is_stored = True
    try:
        appended(store, ("s", "0"))
    except LedgerError as error:
        assert error.code == "ledger.connection_lost"
        is_stored = False
    assert between.cuts == 1
    # At the beginning nothing had been read that could be out of date; with the COMMIT the batch had arrived, or had not.
    # Whether the COMMIT comes in one piece with what it commits is not ours to say.
    assert moment == "writing" or is_stored == (moment == "beginning" or (moment == "committing" and way == "unanswered"))
    assert texts_of(other, "s") == [(0, "0")] * is_stored
    assert texts_of(other, "others") == [(0, "0")]
    appended(store, ("s", "again"))
    assert_sound(other)
    other.close()


def test_a_head_alone_and_an_erasure_are_looked_up_too(
    place: PostgresPlace, proxy: Callable[..., tuple[CuttingProxy, PostgresStore]]
) -> None:
    other = place.open()
    appended(other, ("s", "0"), secrets=[secret(0, "sql")])
    for way, is_stored in (("unanswered", True), ("unsent", False)):
        between, store = proxy(MOMENTS["committing"], way, lambda: appended(other, ("others", "0")))
        between.is_armed = True
        try:
            appended(store)  # no entry, a new note
            assert is_stored
        except LedgerError as error:
            assert (error.code, is_stored) == ("ledger.connection_lost", False)
        assert between.cuts == 1
        between, store = proxy(MOMENTS["committing"], way)
        between.is_armed = True
        with store.transaction():
            assert store.erase([(0, "sql")]) == is_stored
        assert between.cuts == 1
    with other.snapshot():
        assert other.secrets(0) == []
    assert_sound(other)
    other.close()


def test_a_server_that_stays_away_after_the_commit_leaves_it_unknown(place: PostgresPlace) -> None:
    between = CuttingProxy(place.url, MOMENTS["committing"], "unanswered", lambda: between.close())
    store = PostgresStore(between.url, schema=place.schema, reconnect_s=1)
    between.is_armed = True
    with pytest.raises(LedgerError) as unknown:
        appended(store, ("s", "0"))
    assert unknown.value.code == "ledger.commit_unknown"
    with closing(place.open()) as direct:
        assert texts_of(direct, "s") == [(0, "0")]
    store.close()


def _end_connections(place: PostgresPlace, name: str) -> int:
    query = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
    (row,) = place.execute(query, name)
    # A process ends a moment after it was told to.
    deadline = time.monotonic() + 10
    while place.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", name) and time.monotonic() < deadline:
        time.sleep(0.01)
    return int(str(row[0]))


@pytest.fixture
def named(place: PostgresPlace) -> Iterator[tuple[Store, Callable[[], int]]]:
    """A store, and what ends its server processes."""
    url = make_url(place.url).update_query_dict({"application_name": place.schema})
    store = PostgresStore(url.render_as_string(hide_password=False), schema=place.schema)
    yield store, lambda: _end_connections(place, place.schema)
    store.close()


@pytest.mark.parametrize("moment", ["idle", "locked", "read", "written", "flushed", "erased"])
def test_a_server_process_that_is_ended_is_made_up_for(named: tuple[Store, Callable[[], int]], moment: str) -> None:
    store, end = named
    appended(store, ("s", "0"), secrets=[secret(0, "a"), secret(0, "b")])
    ended = end() if moment == "idle" else 0
    with store.transaction():
        ended += end() if moment == "locked" else 0
        assert store.next_seqs({"s"}) == {"s": 1}
        ended += end() if moment == "read" else 0
        if moment == "erased":
            assert store.erase([(0, "a")]) == 1
            ended += end()
        batch = append_within(store, ("s", "1"))
        if moment == "flushed":
            assert store.leaf(1) == batch.leaves[0].data
        ended += end() if moment in ("written", "flushed") else 0
    assert ended == 1
    assert texts_of(store, "s") == [(0, "0"), (1, "1")]
    with store.snapshot():
        assert [each.name for each in store.secrets(0)] == (["b"] if moment == "erased" else ["a", "b"])
    assert_sound(store)


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_snapshot_whose_connection_is_lost_does_not_go_on_with_another_state(
    place: PostgresPlace, named: tuple[Store, Callable[[], int]], is_moved: bool
) -> None:
    store, end = named
    batch = appended(store, ("s", "0"))
    with store.snapshot():
        assert end() == 1
        if is_moved:
            with closing(place.open()) as other:
                appended(other, ("others", "0"))
            with pytest.raises(LedgerError) as lost:
                store.leaf(0)
            assert lost.value.code == "ledger.connection_lost"
        else:
            assert store.leaf(0) == batch.leaves[0].data
    assert texts_of(store, "s") == [(0, "0")]


def test_beginning_a_ledger_survives_the_loss_of_its_answer(postgres_url: str) -> None:
    place = PostgresPlace.new(postgres_url)
    for way in ("unsent", "unanswered"):
        between = CuttingProxy(place.url, MOMENTS["committing"], way)
        store = PostgresStore(between.url, schema=place.schema)
        between.is_armed = True
        if way == "unsent":
            with pytest.raises(LedgerError) as lost:
                begun(store)
            assert lost.value.code == "ledger.connection_lost"
        else:
            begun(store)
        assert between.cuts == 1
        store.close()
        between.close()
    with closing(place.open()) as direct:
        appended(direct, ("s", "0"))
        assert_sound(direct)
    place.remove()


def _start_appenders(place: PostgresPlace, processes: int, threads: int, count: int) -> list[subprocess.Popen[str]]:
    """Starts them; all have opened the ledger when it returns."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDERS, *place.address, f"p{n}", str(threads), str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "opened\n"
    return children


def _assert_all_stored(place: PostgresPlace, processes: int, threads: int, count: int) -> None:
    with closing(place.open()) as store:
        assert_sound(store)
        for process in range(processes):
            for thread in range(threads):
                expected = [(n, str(n)) for n in range(count)]
                assert texts_of(store, f"p{process}-{thread}") == expected
        with store.snapshot():
            assert store.head().size == processes * threads * count
            assert store.damage() == []


def test_four_processes_of_eight_threads_append_while_server_processes_are_killed(place: PostgresPlace) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    children = _start_appenders(place, 4, 8, 25)
    kills = 0
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'guardrails ledger' AND datname = current_database() ORDER BY random() LIMIT 1"
    )
    with closing(psycopg.connect(place.url, autocommit=True)) as connection:
        while any(child.poll() is None for child in children):
            kills += len(connection.execute(query).fetchall())
            time.sleep(chance.uniform(0, 0.03))
    for child in children:
        out, errors = child.communicate(timeout=60)
        assert child.returncode == 0, (seed, out, errors)
    assert kills > 20
    _assert_all_stored(place, 4, 8, 25)


@pytest.fixture
def own_server() -> Iterator[PrivateServer]:
    if programs() is None:
        missing("no programs of a PostgreSQL server were found")
    with private_server() as server:
        server.make()
        server.start()
        yield server


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_that_is_started_anew_is_waited_for(own_server: PrivateServer, mode: str) -> None:
    place = PostgresPlace.new(own_server.url)
    begun(place.open()).close()
    children = _start_appenders(place, 2, 4, 300)
    restarts = 0
    while any(child.poll() is None for child in children) and restarts < 3:
        time.sleep(0.4)
        own_server.stop(mode)
        own_server.start()
        restarts += 1
    for child in children:
        out, errors = child.communicate(timeout=90)
        assert child.returncode == 0, (out, errors)
    assert restarts > 1
    _assert_all_stored(place, 2, 4, 300)


def test_a_standby_takes_over(own_server: PrivateServer) -> None:
    """The commits wait for the standby, so none that was acknowledged is missing on it."""
    primary = own_server
    with private_server() as standby:
        standby.copy_from(primary, "standby")
        standby.start()
        both = f"postgresql://tester@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
        place, first = PostgresPlace.new(both), PostgresPlace.new(primary.url)
        place = PostgresPlace(both, first.schema)
        begun(place.open()).close()
        with closing(psycopg.connect(primary.url, autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")
        with closing(PostgresPlace(standby.url, first.schema).open(read_only=True)) as reader:
            _wait_for_the_ledger(reader)
        children = _start_appenders(place, 2, 4, 100)
        time.sleep(1)
        primary.stop("immediate")
        standby.promote()
        for child in children:
            out, errors = child.communicate(timeout=90)
            assert child.returncode == 0, (out, errors)
        with closing(psycopg.connect(standby.url, autocommit=True)) as connection:
            (row,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchall()
            assert row[0].startswith("00000002"), "the standby was not promoted"
        _assert_all_stored(PostgresPlace(standby.url, first.schema), 2, 4, 100)


@pytest.mark.parametrize("ends", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_whose_wait_for_the_standby_is_broken_off_is_not_acknowledged(own_server: PrivateServer, ends: str) -> None:
    place = PostgresPlace.new(own_server.url)
    store = begun(place.open())
    _require_standby(place, "nobody")
    ended: list[LedgerError | None] = []

    def append() -> None:
        try:
            appended(store, ("s", "0"))
            ended.append(None)
        except LedgerError as error:
            ended.append(error)

    waiting = threading.Thread(target=append)
    waiting.start()
    query = f"SELECT {ends}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'guardrails ledger'"
    deadline = time.monotonic() + 20
    while not place.execute(query) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ends == "pg_cancel_backend":
        waiting.join(20)
        assert ended[0] is not None
        assert ended[0].code == "ledger.commit_unknown"
    else:
        time.sleep(1)
        assert not ended, "acknowledged without a standby"
    _require_standby(place, "")
    waiting.join(20)
    assert ended[0] is None or ends == "pg_cancel_backend"
    assert texts_of(store, "s") == [(0, "0")]
    store.close()


def _require_standby(place: PostgresPlace, name: str) -> None:
    with closing(psycopg.connect(place.url, autocommit=True)) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")  # type: ignore[call-overload]
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while place.execute("SHOW synchronous_standby_names") != [(name,)] and time.monotonic() < deadline:
        time.sleep(0.02)


def _wait_for_the_ledger(reader: Store) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with reader.snapshot():
            if not reader.is_new():
                return
        time.sleep(0.05)
    raise AssertionError("the standby does not follow")


def test_no_server_at_all_is_told_soon() -> None:
    began = time.monotonic()
    with pytest.raises(LedgerError) as refused, suppress(ZeroDivisionError):
        PostgresStore("postgresql://127.0.0.1:1,127.0.0.1:2/nothing")
    assert refused.value.code == "ledger.unavailable"
    assert time.monotonic() - began < 10
