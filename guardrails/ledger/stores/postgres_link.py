"""Transactions and snapshots of a ledger on connections of its own, through the loss of connections and servers."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.stores.base import Batch, Head
from guardrails.ledger.stores.postgres_connect import Connection, Link, Target, is_lost, qualified, translated
from guardrails.ledger.stores.postgres_locking import begin_and_lock, begin_snapshot, run_all
from guardrails.ledger.stores.postgres_pool import Pool
from guardrails.ledger.stores.postgres_recovery import Work, commit, look_up, lost_before_commit, take_up
from guardrails.ledger.stores.postgres_statements import INSERT_HEAD, for_batch, head_values

__all__ = ["OwnTransactions"]

_T = TypeVar("_T")


class OwnTransactions:
    """One writing thread at a time, and any number of reading ones. See `guardrails.ledger.stores.postgres_rows.Transactions`.

    Args:
        target: The ledger.

    Raises:
        LedgerError: The server cannot be reached or must not hold a ledger (ledger.unavailable).
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._pool = Pool(target)
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)

            def in_child() -> None:
                if transactions := reference():
                    transactions._begin_anew()

            os.register_at_fork(after_in_child=in_child)

    @property
    def schema(self) -> str:
        return self.target.schema

    @property
    def place(self) -> str:
        """Which database of which server it is, the same after a failover."""
        return self._pool.place

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.target.is_read_only:
            raise LedgerError("ledger.unavailable", "The ledger was opened for reading only.")
        self._refuse_nesting()
        with self._write_lock:
            work = self._begin(begin_and_lock)
            with self._entered(work):
                yield
                _refuse_child(work)
                self._commit(work)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._refuse_nesting()
        with self._entered(self._begin(_begin_reading)):
            yield

    def head(self) -> Head | None:
        return self._work().head

    def run(self, template: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        work = self._work()
        self._flush(work)
        statement = qualified(template, self.schema)
        return self._guarded(work, lambda connection: connection.execute(statement, parameters, binary=True).fetchall())

    def change(self, template: str, parameters: tuple[object, ...] = ()) -> int:
        work = self._work()
        self._flush(work)
        statement = qualified(template, self.schema)
        count = self._guarded(work, lambda connection: connection.execute(statement, parameters).rowcount)
        work.done.append((template, parameters))
        return count

    def define(self, script: str) -> None:
        """Runs a script that makes tables. What is done with it cannot be taken up on another connection."""
        work = self._work()
        work.can_resume = False
        self._guarded(work, lambda connection: connection.execute(script.encode()))

    def begin_with(self, head: Head) -> None:
        work = self._work()
        self.change(INSERT_HEAD, head_values(head))
        work.head = head

    def store(self, batch: Batch) -> None:
        """Stores a batch together with the COMMIT, or as soon as something else is read in this transaction."""
        work = self._work()
        work.queued += for_batch(batch)
        work.batches.append(batch)
        work.head = batch.head

    def vacuum(self, table: str) -> None:
        """Writes a table anew without its deleted rows; the server warns, and does nothing, where the role may not."""
        self._refuse_nesting()
        link = self._pool.lend()
        try:
            link.connection.execute(qualified("VACUUM (FULL) {s}." + table, self.schema))
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            self._pool.give_back(link)

    def close(self) -> None:
        self._pool.close()

    def _begin_anew(self) -> None:
        """At first, and in a child after a fork, which has none of its parent's other threads."""
        self._here = threading.local()
        self._write_lock = threading.Lock()

    def _refuse_nesting(self) -> None:
        if getattr(self._here, "work", None) is not None:
            raise UsageError("usage.bug", "A ledger's transactions and snapshots are not nested.")

    def _work(self) -> Work:
        work: Work | None = getattr(self._here, "work", None)
        if work is None:
            raise UsageError("usage.bug", "A ledger's store is read and written inside a transaction or a snapshot.")
        _refuse_child(work)
        return work

    @contextmanager
    def _entered(self, work: Work) -> Iterator[None]:
        here = self._here
        here.work = work
        try:
            yield
        finally:
            here.work = None
            if work.pid == os.getpid() and work.link is not None:
                self._pool.give_back(work.link)

    def _begin(self, begin: Callable[[Connection, str], tuple[Head | None, str]]) -> Work:
        """Begins on a connection that answers: one that was idle may have been lost long ago."""
        deadline = time.monotonic() + self.target.reconnect_s
        while True:
            link = self._pool.lend()
            try:
                head, xid = begin(link.connection, self.schema)
            except psycopg.Error as error:
                if not is_lost(error, link.connection) or time.monotonic() > deadline:
                    self._pool.give_back(link)
                    raise translated(error) from error
                self._pool.drop(link)
            except BaseException:
                self._pool.drop(link)
                raise
            else:
                return Work(link, head, head, xid, os.getpid())

    def _guarded(self, work: Work, action: Callable[[Connection], _T]) -> _T:
        while True:
            link = _link_of(work)
            try:
                return action(link.connection)
            except psycopg.Error as error:
                if not is_lost(error, link.connection):
                    raise translated(error) from error
                self._lose(work, link)
                if work.xid:
                    take_up(self._pool, work, link)
                else:
                    self._read_again(work)

    def _read_again(self, work: Work) -> None:
        """Puts a snapshot on another connection, as long as nobody has appended since it was taken."""
        again = self._begin(_begin_reading)
        if again.head is None or again.head != work.head:
            if again.link is not None:
                self._pool.give_back(again.link)
            raise LedgerError("ledger.connection_lost", "The connection was lost, and the state that was being read is gone.")
        work.link = again.link

    def _flush(self, work: Work) -> None:
        """Runs what is queued, so that it is seen by what is read next."""
        if work.queued:
            queued, work.queued = work.queued, []
            self._guarded(work, lambda connection: run_all(connection, self.schema, queued))
            work.done += queued

    def _commit(self, work: Work) -> None:
        link = _link_of(work)
        try:
            commit(link, self.schema, work.queued)
        except psycopg.Error as error:
            if not is_lost(error, link.connection):
                raise translated(error) from error
            self._lose(work, link)
            look_up(self._pool, work, link)

    def _lose(self, work: Work, link: Link) -> None:
        self._pool.drop(link)
        work.link = None


def _begin_reading(connection: Connection, schema: str) -> tuple[Head | None, str]:
    return begin_snapshot(connection, schema), ""


def _link_of(work: Work) -> Link:
    if work.link is None:
        raise lost_before_commit()
    return work.link


def _refuse_child(work: Work) -> None:
    if work.pid != os.getpid():
        raise LedgerError("ledger.unavailable", "A transaction belongs to the process that began it.")
