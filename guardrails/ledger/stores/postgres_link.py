"""Transactions of a ledger on connections of its own, through the loss of connections and servers.

Until it is committed, a transaction here is no more than the lock of the head's row, what was read under it, and a list of
statements. When the connection is lost, the lock is taken again on the next connection: if the head is still the one that was
locked before, nothing else has changed either, and the statements are run again; if not, the transaction fails. When it is lost
during COMMIT, what was stored is looked up first, under the lock, which no undecided transaction of ours can hold any longer.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.stores.base import Batch, Head
from guardrails.ledger.stores.postgres_connect import PLACE, Connection, Link, Target, is_lost, qualified, translated
from guardrails.ledger.stores.postgres_locking import begin_and_lock, begin_snapshot, run_all
from guardrails.ledger.stores.postgres_statements import INSERT_HEAD, LEAF, Statement, for_batch, head_values

__all__ = ["OwnConnections", "Work"]

_T = TypeVar("_T")
_MAX_IDLE = 4
_PATIENCE_S = 2.0
"""How long the server may take to notice by itself that the connection of an old transaction is gone."""


@dataclass(slots=True)
class Work:
    """One open transaction or snapshot of one thread.

    Args:
        link: The connection that it is on; None once that was lost.
        head: The head now, within the transaction; None when there is no ledger yet.
        locked: The head as it was found.
        xid: The transaction's id on the server; empty for a snapshot.
        done: Statements that were run in it and changed something.
        queued: Statements that are to be run with the COMMIT.
        batches: What `done` and `queued` store.
        can_resume: It can be begun again, as all of it is in `locked`, `done` and `queued`.
    """

    link: Link | None
    head: Head | None
    locked: Head | None
    xid: str
    pid: int
    done: list[Statement] = field(default_factory=list)
    queued: list[Statement] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    can_resume: bool = True


class OwnConnections:
    """Lends connections to threads: one to the thread that writes, others to those that read. Implements `Transactions`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._is_closed = False
        self._idle: list[Link] = []
        self._reset()
        link = Link.open(target)
        row = link.connection.execute(PLACE).fetchone()
        self.place = str(row[0]) if row else ""
        self._give_back(link)
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)

            def in_child() -> None:
                if connections := reference():
                    connections._forget()

            os.register_at_fork(after_in_child=in_child)

    @property
    def schema(self) -> str:
        return self.target.schema

    def close(self) -> None:
        """Closes all that no thread uses now; the others are closed when they are given back."""
        self._is_closed = True
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.target.is_read_only:
            raise LedgerError("ledger.unavailable", "The ledger was opened for reading only.")
        self._refuse_nesting()
        with self._write_lock:
            work = self._begin_until_answered(self._begin_write)
            with self._open(work):
                yield
                self._refuse_child(work)
                self._commit(work)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._refuse_nesting()
        with self._open(self._begin_until_answered(self._begin_read)):
            yield

    def work(self) -> Work:
        """Returns the work that this thread is in.

        Raises:
            UsageError: It is in none (usage.bug).
        """
        work: Work | None = getattr(self._here, "work", None)
        if work is None:
            raise UsageError("usage.bug", "A ledger's store is read and written inside a transaction or a snapshot.")
        self._refuse_child(work)
        return work

    def run(self, template: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Runs a statement that reads, and returns its rows."""
        work = self.work()
        self._flush(work)
        statement = qualified(template, self.schema)
        return self._guarded(work, lambda connection: connection.execute(statement, parameters, binary=True).fetchall())

    def change(self, template: str, parameters: tuple[object, ...] = ()) -> int:
        """Runs a statement that changes rows, and returns how many."""
        work = self.work()
        self._flush(work)
        statement = qualified(template, self.schema)
        count = self._guarded(work, lambda connection: connection.execute(statement, parameters).rowcount)
        work.done.append((template, parameters))
        return count

    def define(self, script: str) -> None:
        """Runs a script that makes tables. What follows it cannot be taken up on another connection."""
        work = self.work()
        work.can_resume = False
        self._guarded(work, lambda connection: connection.execute(script.encode()))

    def head(self) -> Head | None:
        return self.work().head

    def begin_with(self, head: Head) -> None:
        """Stores the first head."""
        work = self.work()
        self.change(INSERT_HEAD, head_values(head))
        work.head = head

    def store(self, batch: Batch) -> None:
        """Stores a batch together with the COMMIT, or as soon as something else is read in this transaction."""
        work = self.work()
        work.queued += for_batch(batch)
        work.batches.append(batch)
        work.head = batch.head

    def vacuum(self, table: str) -> None:
        """Writes a table anew without its deleted rows; the server warns, and does nothing, where the role may not."""
        self._refuse_nesting()
        link = self._lend()
        try:
            link.connection.execute(qualified("VACUUM (FULL) {s}." + table, self.schema))
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            self._give_back(link)

    def _refuse_nesting(self) -> None:
        if self._is_closed:
            raise LedgerError("ledger.unavailable", "The ledger is closed.")
        if getattr(self._here, "work", None) is not None:
            raise UsageError("usage.bug", "A ledger's transactions and snapshots are not nested.")

    @staticmethod
    def _refuse_child(work: Work) -> None:
        if work.pid != os.getpid():
            raise LedgerError("ledger.unavailable", "A transaction belongs to the process that began it.")

    @contextmanager
    def _open(self, work: Work) -> Iterator[None]:
        self._here.work = work
        try:
            yield
        finally:
            self._here.work = None
            if work.pid == os.getpid() and work.link is not None:
                self._give_back(work.link)

    def _begin_until_answered(self, begin: Callable[[Link], Work]) -> Work:
        """Begins on a connection that answers: one that was idle may have been lost long ago."""
        deadline = time.monotonic() + self.target.reconnect_s
        while True:
            link = self._lend()
            try:
                return begin(link)
            except psycopg.Error as error:
                if not is_lost(error, link.connection) or time.monotonic() > deadline:
                    self._give_back(link)
                    raise translated(error) from error
                self._drop(link)
            except BaseException:
                self._drop(link)
                raise

    def _begin_write(self, link: Link) -> Work:
        head, xid = begin_and_lock(link.connection, self.schema)
        return Work(link, head, head, xid, os.getpid())

    def _begin_read(self, link: Link) -> Work:
        head = begin_snapshot(link.connection, self.schema)
        return Work(link, head, head, "", os.getpid())

    def _guarded(self, work: Work, action: Callable[[Connection], _T]) -> _T:
        while True:
            link = self._link(work)
            try:
                return action(link.connection)
            except psycopg.Error as error:
                if not is_lost(error, link.connection):
                    raise translated(error) from error
                self._lose(work)
                if not work.xid or not work.can_resume:
                    raise _lost_before_commit() from error
                self._take_up(work, link)

    def _link(self, work: Work) -> Link:
        if work.link is None:
            raise _lost_before_commit()
        return work.link

    def _flush(self, work: Work) -> None:
        """Runs what is queued, so that it is seen by what is read next."""
        if work.queued:
            queued, work.queued = work.queued, []
            self._guarded(work, lambda connection: run_all(connection, self.schema, queued))
            work.done += queued

    def _commit(self, work: Work) -> None:
        link = self._link(work)
        link.warnings.clear()
        try:
            run_all(link.connection, self.schema, [*work.queued, ("COMMIT", ())])
        except psycopg.Error as error:
            if not is_lost(error, link.connection):
                raise translated(error) from error
            self._lose(work)
            if work.done or work.queued or not work.can_resume:
                self._look_up(work, link)
            return
        if link.warnings and any("replicat" in warning for warning in link.warnings):
            raise LedgerError(
                "ledger.commit_unknown",
                "The batch is stored, but perhaps not on the standby that it was to wait for.",
                evidence={"warnings": list(link.warnings)},
            )

    def _look_up(self, work: Work, lost: Link) -> None:
        """Returns once the transaction whose answer was lost is surely stored, if need be by storing it again.

        Raises:
            LedgerError: It is surely not stored (ledger.connection_lost), or nobody can be asked (ledger.commit_unknown).
        """
        statements = [*work.done, *work.queued, ("COMMIT", ())]
        while True:
            try:
                link, head, xid = self._lock_again(lost)
            except LedgerError as error:
                raise LedgerError(
                    "ledger.commit_unknown",
                    "The connection was lost during the commit, and the server did not come back in time to tell whether it happened.",
                    evidence=error.evidence,
                ) from error
            try:
                if self._is_stored(work, lost, link, head):
                    return
                if not work.can_resume or head != work.locked:
                    raise _lost_before_commit()
                work.xid = xid
                run_all(link.connection, self.schema, statements)
                return
            except psycopg.Error as error:
                if not is_lost(error, link.connection):
                    raise translated(error) from error
                lost = link
            finally:
                self._give_back(link)

    def _is_stored(self, work: Work, lost: Link, link: Link, head: Head | None) -> bool:
        if head is None:
            return False
        for batch in reversed(work.batches):
            if batch.leaves:
                # Of all entries only ours has these bytes: its id is random.
                found = link.connection.execute(qualified(LEAF, self.schema), (batch.start,)).fetchone()
                return found is not None and found[0] == batch.leaves[0].data
        if work.head != work.locked and head == work.head:
            return True
        if link.timeline == lost.timeline:
            row = link.connection.execute("SELECT pg_xact_status(%s::xid8)", (work.xid,)).fetchone()
            return row is not None and row[0] == "committed"
        if head == work.locked:
            return False
        raise LedgerError("ledger.commit_unknown", "The connection was lost during the commit, and another server took over.")

    def _take_up(self, work: Work, lost: Link) -> None:
        """Puts the transaction on another connection, at the place where it was."""
        while True:
            link, head, xid = self._lock_again(lost)
            try:
                if head != work.locked:
                    raise _lost_before_commit()
                run_all(link.connection, self.schema, work.done)
            except psycopg.Error as error:
                self._drop(link)
                if not is_lost(error, link.connection):
                    raise translated(error) from error
                lost = link
            except BaseException:
                self._give_back(link)
                raise
            else:
                work.link, work.xid = link, xid
                return

    def _lock_again(self, lost: Link) -> tuple[Link, Head | None, str]:
        """Locks the head on a new connection, ending the server process of the lost one if that still holds it."""
        deadline = time.monotonic() + self.target.reconnect_s
        while True:
            link = Link.open(self.target, wait_s=max(0.0, deadline - time.monotonic()))
            try:
                try:
                    head, xid = begin_and_lock(link.connection, self.schema, wait_s=_PATIENCE_S)
                except psycopg.errors.LockNotAvailable:
                    link.connection.execute("ROLLBACK")
                    link.connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s",
                        (lost.pid, lost.backend_start),
                    )
                    head, xid = begin_and_lock(link.connection, self.schema)
                return link, head, xid
            except psycopg.Error as error:
                self._drop(link)
                if not is_lost(error, link.connection) or time.monotonic() > deadline:
                    raise translated(error) from error
            except BaseException:
                self._drop(link)
                raise

    def _lend(self) -> Link:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        return Link.open(self.target, wait_s=self.target.reconnect_s)

    def _give_back(self, link: Link) -> None:
        """Takes a connection back, undoing what is not committed on it."""
        if link.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):  # then it is closed below, which undoes as well
                link.connection.execute("ROLLBACK")
        with self._idle_lock:
            is_usable = link.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if is_usable and not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(link)
                return
        link.connection.close()

    def _drop(self, link: Link) -> None:
        """Closes a connection that was lost, and the idle ones, which led to the same server."""
        link.connection.close()
        with self._idle_lock:
            idle, self._idle = self._idle, []
        for other in idle:
            other.connection.close()

    def _lose(self, work: Work) -> None:
        if work.link is not None:
            self._drop(work.link)
            work.link = None

    def _reset(self) -> None:
        self._here = threading.local()
        self._write_lock = threading.Lock()
        self._idle_lock = threading.Lock()
        self._idle = []

    def _forget(self) -> None:
        """In a child after a fork: the connections are the parent's, and closing them in words would end them there."""
        inherited = self._idle
        self._reset()
        for link in inherited:
            # The driver does not touch a connection of another process again.
            with suppress(OSError, psycopg.Error):
                os.close(link.connection.fileno())


def _lost_before_commit() -> LedgerError:
    return LedgerError("ledger.connection_lost", "The connection to the ledger's server was lost; nothing was stored.")
