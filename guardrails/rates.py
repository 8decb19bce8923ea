"""How often a principal calls a tool: counted over a sliding window, for all threads, processes and hosts that share a ledger.

A call counts when it is made and is allowed; what is refused, or waits for an approval, does not. Beside a ledger in a file the counts
are in ``<path>.rates``, in a server in the schema of the approvals. They hold no names, only a digest of who calls what.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from guardrails.approval.place import Place
from guardrails.errors import Denied
from guardrails.model import Principal, Rate
from guardrails.steps import Counted

__all__ = ["RateCounter", "rate_key"]

_US = 1_000_000
_FILE = """
    CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY AUTOINCREMENT, caller TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS calls_by_caller ON calls (caller, at);
"""
_SERVER = """
    CREATE TABLE IF NOT EXISTS {schema}.calls
        (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, caller TEXT NOT NULL, at BIGINT NOT NULL);
    CREATE INDEX IF NOT EXISTS calls_by_caller ON {schema}.calls (caller, at);
"""
_LONGEST_US = 30 * 86_400 * _US
"""No rate has a longer span."""
_LOCK = 0x67726174


def rate_key(principal: Principal, tool: str) -> str:
    """Returns what calls are counted by: a digest of who calls (id and issuer) and the tool."""
    return hashlib.sha256(json.dumps([principal.id, principal.issuer, tool]).encode()).hexdigest()


class RateCounter:
    """Counts calls; made by whoever opens the ledger. Safe to share between threads. Nothing is opened before the first call is counted.

    Args:
        place: Where the counts are.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._store: _Store | None = None
        self._inherited: _Store | None = None
        self._pid = os.getpid()

    def take(self, caller: str, rates: Sequence[Rate]) -> Counted:
        """Counts one call, if every rate has room for it.

        Args:
            caller: From `rate_key`.
            rates: All have to hold.

        Raises:
            Denied: The calls cannot be counted (``limit.uncounted``).
        """
        with self._transaction(caller) as (store, now_us):
            waits = [wait for rate in rates if (wait := _wait_us(store, caller, rate, now_us)) > 0]
            if waits:
                return Counted(False, wait_s=-(-max(waits) // _US))
            store.forget(caller, now_us - max(rate.per_s for rate in rates) * _US)
            return Counted(True, store.add(caller, now_us))

    def give_back(self, caller: str, call: int) -> None:
        """Takes back a call that was counted and not made.

        Raises:
            Denied: As `take`.
        """
        with self._transaction(caller) as (store, _):
            store.remove(call)

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    @contextmanager
    def _transaction(self, caller: str) -> Iterator[tuple[_Store, int]]:
        with self._lock:
            try:
                if self._pid != os.getpid():  # a connection is not to be used, nor closed, on both sides of a fork
                    self._inherited, self._store, self._pid = self._store, None, os.getpid()
                if self._store is None:
                    self._store = _ServerStore(self._place) if self._place.target is not None else _FileStore(self._place)
                with self._store.transaction(caller) as now_us:
                    yield self._store, now_us
            except Denied:
                raise
            except Exception as error:
                broken, self._store = self._store, None
                if broken is not None:
                    broken.close()
                evidence = {"error": type(error).__name__}
                raise Denied("limit.uncounted", "The calls of this tool cannot be counted.", evidence=evidence) from error


def _wait_us(store: _Store, caller: str, rate: Rate, now_us: int) -> int:
    """Returns how long there is no room for a call; a time in the future, from before the clock was set back, counts too."""
    times = store.latest(caller, now_us - rate.per_s * _US, rate.calls)
    return times[-1] + rate.per_s * _US - now_us if len(times) == rate.calls else 0


class _Store(Protocol):
    """The calls that are counted, within a transaction that no other about the same caller overlaps."""

    def transaction(self, caller: str, /) -> AbstractContextManager[int]: ...
    def latest(self, caller: str, after_us: int, most: int) -> list[int]: ...
    def add(self, caller: str, at_us: int) -> int: ...
    def remove(self, call: int) -> None: ...
    def forget(self, caller: str, until_us: int) -> None: ...
    def close(self) -> None: ...


class _FileStore:
    def __init__(self, place: Place) -> None:
        self._connection: sqlite3.Connection = place.connect()
        # Counts need not survive a loss of power.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_FILE)
        self._connection.execute("DELETE FROM calls WHERE at < ?", (time.time_ns() // 1000 - _LONGEST_US,))

    @contextmanager
    def transaction(self, _: str) -> Iterator[int]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield time.time_ns() // 1000
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def latest(self, caller: str, after_us: int, most: int) -> list[int]:
        query = "SELECT at FROM calls WHERE caller = ? AND at > ? ORDER BY at DESC LIMIT ?"
        return [at for (at,) in self._connection.execute(query, (caller, after_us, most))]

    def add(self, caller: str, at_us: int) -> int:
        inserted = self._connection.execute("INSERT INTO calls (caller, at) VALUES (?, ?)", (caller, at_us))
        return inserted.lastrowid or 0

    def remove(self, call: int) -> None:
        self._connection.execute("DELETE FROM calls WHERE id = ?", (call,))

    def forget(self, caller: str, until_us: int) -> None:
        self._connection.execute("DELETE FROM calls WHERE caller = ? AND at <= ?", (caller, until_us))

    def close(self) -> None:
        self._connection.close()


class _ServerStore:
    def __init__(self, place: Place) -> None:
        from psycopg import sql

        self._connection = place.connect()
        schema = sql.Identifier(place.schema or "")
        self._calls = sql.SQL("{}.calls").format(schema)
        self._sql = sql.SQL
        found = self._connection.execute("SELECT to_regclass(%s)", (f'"{place.schema}".calls',)).fetchone()
        if found is None or found[0] is None:
            # Of several processes that open the counts at the same time, one makes the table.
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            self._connection.execute(sql.SQL(_SERVER).format(schema=schema))
        old = sql.SQL("DELETE FROM {} WHERE at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - %s")
        self._connection.execute(old.format(self._calls), (_LONGEST_US,))
        self._connection.commit()

    @contextmanager
    def transaction(self, caller: str) -> Iterator[int]:
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, caller))
            now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            yield int(self._connection.execute(now).fetchone()[0])

    def latest(self, caller: str, after_us: int, most: int) -> list[int]:
        query = self._sql("SELECT at FROM {} WHERE caller = %s AND at > %s ORDER BY at DESC LIMIT %s").format(self._calls)
        return [int(at) for (at,) in self._connection.execute(query, (caller, after_us, most)).fetchall()]

    def add(self, caller: str, at_us: int) -> int:
        query = self._sql("INSERT INTO {} (caller, at) VALUES (%s, %s) RETURNING id").format(self._calls)
        return int(self._connection.execute(query, (caller, at_us)).fetchone()[0])

    def remove(self, call: int) -> None:
        self._connection.execute(self._sql("DELETE FROM {} WHERE id = %s").format(self._calls), (call,))

    def forget(self, caller: str, until_us: int) -> None:
        query = self._sql("DELETE FROM {} WHERE caller = %s AND at <= %s").format(self._calls)
        self._connection.execute(query, (caller, until_us))

    def close(self) -> None:
        self._connection.close()
