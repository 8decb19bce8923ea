"""An outcome in the transaction of its action: however that ends, both are there or neither is."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from guardrails.errors import GuardrailsError, LedgerError, TamperedError, UsageError
from guardrails.ledger.stores.base import Batch, Head, Leaf
from guardrails.ledger.stores.postgres import PostgresStore
from tests.support.cutting_proxy import CuttingProxy
from tests.support.ledger_stores import PostgresPlace, append_within, appended, assert_sound, begun, texts_of

ENDLESS = """
import sys
import psycopg
from tests.support.ledger_stores import appended, open_store

store = open_store(*sys.argv[1:4])
connection = psycopg.connect(sys.argv[2])
while True:
    connection.execute(sys.argv[4])
    with store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
    connection.commit()
    print("committed", flush=True)
"""


class Shop(PostgresPlace):
    """A ledger, and beside it in the same database a table of one account."""

    @property
    def change(self) -> str:
        return f'UPDATE "{self.schema}_shop".accounts SET balance = balance + 1'

    def balance(self) -> int:
        (row,) = self.execute(f'SELECT balance FROM "{self.schema}_shop".accounts')
        return int(str(row[0]))


@pytest.fixture
def shop(postgres_url: str) -> Iterator[Shop]:
    made = Shop.new(postgres_url)
    assert isinstance(made, Shop)
    made.execute(f'CREATE SCHEMA "{made.schema}_shop"')
    made.execute(f'CREATE TABLE "{made.schema}_shop".accounts AS SELECT 0 AS balance')
    begun(made.open()).close()
    yield made
    made.execute(f'DROP SCHEMA "{made.schema}_shop" CASCADE')
    made.remove()


@pytest.fixture
def store(shop: Shop) -> Iterator[PostgresStore]:
    opened = shop.open()
    assert isinstance(opened, PostgresStore)
    yield opened
    opened.close()


@pytest.fixture
def connection(shop: Shop) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with closing(psycopg.connect(shop.url)) as made:
        yield made


Connection = psycopg.Connection[tuple[object, ...]]


def assert_both(shop: Shop, store: PostgresStore, count: int) -> None:
    assert shop.balance() == count
    assert [text for _, text in texts_of(store, "s")] == ["changed"] * count
    assert_sound(store)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_an_entry_ends_as_its_action_does(shop: Shop, store: PostgresStore, connection: Connection, ends: str) -> None:
    for _ in range(3):
        connection.execute(shop.change)  # type: ignore[call-overload]
        with store.joined(connection) as joined:
            appended(joined, ("s", "changed"))
            with joined.snapshot():
                assert joined.head().size == len(joined.leaves(0, 9)) > 0
        assert_both(shop, store, 0) if ends == "rollback" else None
        getattr(connection, ends)()
    assert_both(shop, store, 3 if ends == "commit" else 0)
    appended(store, ("others", "0"))
    assert_sound(store)


def test_in_a_block_of_psycopg_and_over_sqlalchemy(shop: Shop, store: PostgresStore) -> None:
    with closing(psycopg.connect(shop.url, autocommit=True, row_factory=dict_row)) as mine:
        with mine.transaction():
            mine.execute(shop.change)  # type: ignore[call-overload]
            with store.joined(mine) as joined:  # type: ignore[arg-type]
                appended(joined, ("s", "changed"))
            assert mine.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        assert_both(shop, store, 1)
    engine = sa.create_engine(make_url(shop.url).set(drivername="postgresql+psycopg"))
    with engine.begin() as alchemy:
        alchemy.execute(sa.text(shop.change))
        with store.joined(alchemy.connection.driver_connection) as joined:  # type: ignore[arg-type]
            appended(joined, ("s", "changed"))
    engine.dispose()
    assert_both(shop, store, 2)


def test_settings_are_kept_and_durability_is_raised(shop: Shop, store: PostgresStore, connection: Connection) -> None:
    connection.execute("SET search_path = public, pg_catalog")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET lock_timeout = '7s'")
    connection.commit()
    connection.execute(shop.change)  # type: ignore[call-overload]
    with store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
    show = "SELECT current_setting('search_path'), current_setting('lock_timeout'), current_setting('synchronous_commit')"
    assert connection.execute(show).fetchone() == ("public, pg_catalog", "7s", "on")
    connection.commit()
    assert connection.execute(show).fetchone() == ("public, pg_catalog", "7s", "off")
    assert_both(shop, store, 1)


def test_functions_in_the_callers_path_are_not_called(shop: Shop, store: PostgresStore, connection: Connection) -> None:
    evil = f'"{shop.schema}_shop"'
    shop.execute(f"CREATE FUNCTION {evil}.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'")
    shop.execute(f"CREATE TABLE {evil}.entries (idx int)")
    connection.execute(f"SET search_path = {evil}, pg_catalog")  # type: ignore[call-overload]
    for _ in range(2):
        connection.execute(shop.change)  # type: ignore[call-overload]
        with store.joined(connection) as joined:
            appended(joined, ("s", "changed"))
        connection.commit()
    assert_both(shop, store, 2)


def _bad_batch(joined: PostgresStore) -> None:
    with joined.transaction():
        joined.write(Batch(0, Head("k", "n", 1), [Leaf(b"x" * 70_000, "s", 0)]))


def _own_mistake(joined: PostgresStore) -> None:
    with joined.transaction():
        append_within(joined, ("s", "changed"))
        raise ZeroDivisionError


def _wrong_start(joined: PostgresStore) -> None:
    with joined.transaction():
        joined.write(Batch(7, Head("k", "n", 8), [Leaf(b"x", "s", 0)]))


def _outside_of_its_transaction(joined: PostgresStore) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("fail", [_bad_batch, _own_mistake, _wrong_start, _outside_of_its_transaction])
def test_a_transaction_whose_entry_failed_cannot_commit(
    shop: Shop, store: PostgresStore, connection: Connection, fail: Callable[[object], None]
) -> None:
    connection.execute(shop.change)  # type: ignore[call-overload]
    with suppress(LedgerError, ZeroDivisionError), store.joined(connection) as joined:
        fail(joined)
    connection.commit()
    assert_both(shop, store, 0)
    appended(store, ("others", "0"))


def test_a_savepoint_is_refused(shop: Shop, store: PostgresStore, connection: Connection) -> None:
    connection.execute(shop.change)  # type: ignore[call-overload]
    with suppress(UsageError), connection.transaction(), store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
        pytest.fail("an entry was written that could be undone alone")
    connection.rollback()
    assert_both(shop, store, 0)


def test_what_cannot_be_joined_is_refused(
    shop: Shop, store: PostgresStore, connection: Connection, new_postgres: Callable[[], str]
) -> None:
    with pytest.raises(UsageError), store.joined(connection):
        pass
    with pytest.raises(UsageError), store.joined("a connection"):  # type: ignore[arg-type]
        pass
    connection.execute(shop.change)  # type: ignore[call-overload]
    with store.joined(connection) as joined:
        pass
    with pytest.raises(UsageError), joined.transaction():
        pass
    with store.joined(connection) as joined, pytest.raises(UsageError):
        joined.head()
    connection.commit()
    elsewhere = Shop(new_postgres(), shop.schema)
    begun(elsewhere.open()).close()
    with closing(psycopg.connect(elsewhere.url)) as other:
        other.execute("SELECT 1")
        with store.joined(other) as joined, pytest.raises(LedgerError, match="another database"):
            appended(joined, ("s", "changed"))
    with closing(PostgresStore(shop.url, schema=f"{shop.schema}_none")) as none:
        connection.execute("SELECT 1")
        with none.joined(connection) as joined, pytest.raises(TamperedError):
            appended(joined, ("s", "changed"))


def test_a_transaction_that_cannot_see_the_last_entry_fails(shop: Shop, store: PostgresStore, connection: Connection) -> None:
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute(shop.change)  # type: ignore[call-overload]
    appended(store, ("others", "0"))
    with store.joined(connection) as joined, pytest.raises(LedgerError, match="READ COMMITTED"):
        appended(joined, ("s", "changed"))
    connection.rollback()
    connection.execute(shop.change)  # type: ignore[call-overload]
    with store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
    connection.commit()
    assert_both(shop, store, 1)


def test_others_append_after_the_joined_transaction(shop: Shop, store: PostgresStore, connection: Connection) -> None:
    connection.execute(shop.change)  # type: ignore[call-overload]
    with store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
    waiting = threading.Thread(target=lambda: appended(store, ("others", "0")))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive(), "an entry was appended between an entry and its commit"
    connection.commit()
    waiting.join(20)
    with store.snapshot():
        assert [data.split(b"\n")[0] for _, data in store.leaves(0, 9)] == [b"s", b"others"]
    assert_both(shop, store, 1)


@pytest.mark.parametrize("moment", ["changed", "locked", "written", "before the commit"])
def test_a_server_process_that_is_ended_leaves_neither(shop: Shop, store: PostgresStore, moment: str) -> None:
    connection = psycopg.connect(shop.url)

    def end(now: str) -> None:
        if now == moment:
            assert shop.execute("SELECT pg_terminate_backend(%s, 10000)", connection.info.backend_pid) == [(True,)]

    def change() -> None:
        connection.execute(shop.change)  # type: ignore[call-overload]
        end("changed")
        with store.joined(connection) as joined, joined.transaction():
            end("locked")
            append_within(joined, ("s", "changed"))
            end("written")
        end("before the commit")
        connection.commit()

    with pytest.raises((GuardrailsError, psycopg.Error)) as failed:
        change()
    if isinstance(failed.value, LedgerError):
        assert failed.value.code == "ledger.connection_lost"
    assert_both(shop, store, 0)
    appended(store, ("others", "0"))


@pytest.mark.parametrize(("way", "count"), [("unsent", 0), ("unanswered", 1)])
def test_a_commit_that_is_cut_off_is_of_both(shop: Shop, store: PostgresStore, way: str, count: int) -> None:
    between = CuttingProxy(shop.url, b"COMMIT\0", way)  # type: ignore[arg-type]
    connection = psycopg.connect(between.url)
    connection.execute(shop.change)  # type: ignore[call-overload]
    with store.joined(connection) as joined:
        appended(joined, ("s", "changed"))
    between.is_armed = True
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert between.cuts == 1
    assert_both(shop, store, count)
    between.close()


def test_killed_processes_leave_both_or_neither(shop: Shop, store: PostgresStore) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(12):
        before = shop.balance()
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, *shop.address, shop.change],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        child.kill()
        acknowledged = len([line for line in [first, *child.stdout] if line == "committed\n"])
        _, errors = child.communicate()
        assert child.returncode == -signal.SIGKILL, errors
        with store.transaction():  # whoever was in the middle has ended
            pass
        count = shop.balance()
        assert before + acknowledged <= count <= before + acknowledged + 1, seed
        assert_both(shop, store, count)
