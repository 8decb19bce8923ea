"""Reads are ended from outside on real engines, changes are not, and nobody else's statement is hit."""

from __future__ import annotations

import contextvars
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from guardrails import Guard, Policy, Principal
from guardrails.engines.interrupting import Interrupt
from guardrails.errors import EngineError
from tests.support.schema import make_sqlite_shop

POLICY = """
version: 1
rules: [{id: all, effect: allow, actions: [select, insert], relations: [orders, copies]}]
limits: {seconds: 20, rows_changed: 10000000}
"""
TABLES = "CREATE TABLE orders (id INTEGER); CREATE TABLE copies (id INTEGER); INSERT INTO orders VALUES (1), (2)"
LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n",
    "duckdb": "SELECT count(*) AS c FROM range(100000) AS a(x), range(1000000) AS b(y) WHERE (x * y) % 7 = 3",
    "postgres": "SELECT count(*) AS c FROM generate_series(1, 2000000000) AS g(i)",
}


@pytest.fixture(params=sorted(LONG))
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    name = request.param
    if name == "sqlite":
        database = f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}"
        with sqlite3.connect(tmp_path / "shop.db") as connection:
            connection.execute("CREATE TABLE copies (id INTEGER)")
    elif name == "duckdb":
        with duckdb.connect(str(tmp_path / "shop.duckdb")) as opened:
            opened.execute(TABLES)
        database = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    else:
        database = str(request.getfixturevalue("postgres_db"))
        with psycopg.connect(database) as made:
            made.execute(TABLES)
    with (
        Guard.open(Policy.from_text(POLICY), database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened_guard,
        opened_guard.session(principal=Principal("ana")),
    ):
        yield opened_guard


def started(pool: ThreadPoolExecutor, call: Callable[[], object], interrupt: Interrupt) -> Any:
    def run() -> object:
        with interrupt.in_force():
            return call()

    return pool.submit(contextvars.copy_context().run, run)


def test_a_read_is_ended_and_the_next_one_is_not(guard: Guard) -> None:
    interrupt, other = Interrupt(), Interrupt()
    with ThreadPoolExecutor(2) as pool:
        began = time.monotonic()
        long = started(pool, lambda: guard.execute(LONG[guard.database.dialect]), interrupt)
        while interrupt._end is None:
            assert not long.done()
            time.sleep(0.01)
        interrupt.ask()
        with pytest.raises(EngineError, match=r"engine\.cancelled"):
            long.result(15)
        assert time.monotonic() - began < 10
        # Whoever gets the connection next is not hit, also when it is asked once more; in the call itself nothing begins again.
        interrupt.ask()
        assert started(pool, lambda: guard.execute("SELECT count(*) AS c FROM orders"), other).result(15).rows[0][0] > 0
        with pytest.raises(EngineError, match=r"engine\.cancelled"):
            started(pool, lambda: guard.execute("SELECT id FROM orders"), interrupt).result(15)
    outcomes = [entry.get("error", entry["status"]) for entry in guard.ledger.entries() if entry["type"] == "outcome"]
    assert outcomes == ["engine.cancelled", "ok", "engine.cancelled"]


def test_a_change_goes_on_to_its_end(guard: Guard) -> None:
    interrupt = Interrupt()
    interrupt.ask()
    with ThreadPoolExecutor(1) as pool:
        change = started(pool, lambda: guard.execute("INSERT INTO copies SELECT id FROM orders"), interrupt)
        assert change.result(15).rows_changed >= 2
    (outcome,) = [entry for entry in guard.ledger.entries() if entry["type"] == "outcome"]
    assert outcome["status"] == "ok"


def test_asking_races_with_the_end_of_short_reads(guard: Guard) -> None:
    """Each read ends in one of two ways, and the connections stay good."""
    with ThreadPoolExecutor(4) as pool:
        for number in range(30):
            interrupt = Interrupt()
            read = started(pool, lambda: guard.execute("SELECT count(*) AS c FROM orders"), interrupt)
            asking = threading.Timer(number / 2000, interrupt.ask)
            asking.start()
            try:
                assert read.result(15).rows[0][0] >= 2
            except EngineError as error:
                assert error.code == "engine.cancelled"
            asking.join()
        assert guard.execute("SELECT count(*) AS c FROM orders").rows[0][0] is not None
