"""What becomes of a ledger's transaction when its connection is lost.

Until it is committed, a transaction is no more than the lock of the head's row, what was read under it, and a list of statements.
So the lock is taken again on another connection: if the head is still the one that was locked before, nothing else has changed
either, and the statements are run again; if not, the transaction has failed and is surely not stored. When the connection is lost
during COMMIT, what was stored is looked up first, under the lock, which no undecided transaction of ours can hold any longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psycopg

from guardrails.errors import LedgerError
from guardrails.ledger.stores.base import Batch, Head
from guardrails.ledger.stores.postgres_connect import Link, is_lost, qualified, translated
from guardrails.ledger.stores.postgres_locking import begin_and_lock, run_all
from guardrails.ledger.stores.postgres_pool import Pool
from guardrails.ledger.stores.postgres_statements import COMMIT, LEAF, Statement

__all__ = ["Work", "commit", "look_up", "lost_before_commit", "take_up"]

_PATIENCE_S = 2.0
"""How long the server may take to notice by itself that the connection of an old transaction is gone."""
_END_PROCESS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s"


@dataclass(slots=True)
class Work:
    """One open transaction or snapshot of one thread.

    Args:
        link: The connection that it is on; None once that was lost.
        head: The head now, within the transaction; None when there is no ledger yet.
        locked: The head as it was found.
        xid: The transaction's id on the server; empty for a snapshot.
        pid: The process that began it.
        done: Statements that changed something in it.
        queued: Statements that are to be run together with the COMMIT.
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

    @property
    def has_changes(self) -> bool:
        return bool(self.done or self.queued) or not self.can_resume


def take_up(pool: Pool, work: Work, lost: Link) -> None:
    """Puts a transaction whose COMMIT was not sent on another connection, at the place where it was.

    Raises:
        LedgerError: Others have appended meanwhile (ledger.connection_lost), or no server came back (ledger.unavailable).
    """
    while True:
        link, head, xid = _lock_again(pool, lost)
        try:
            if head != work.locked or not work.can_resume:
                raise lost_before_commit()
            run_all(link.connection, pool.target.schema, work.done)
        except psycopg.Error as error:
            pool.drop(link)
            if not is_lost(error, link.connection):
                raise translated(error) from error
            lost = link
        except BaseException:
            pool.give_back(link)
            raise
        else:
            work.link, work.xid = link, xid
            return


def look_up(pool: Pool, work: Work, lost: Link) -> None:
    """Returns once a transaction whose COMMIT was not answered is surely stored, if need be by storing it again.

    Raises:
        LedgerError: It is surely not stored (ledger.connection_lost), or nobody can tell (ledger.commit_unknown).
    """
    while True:
        try:
            link, head, xid = _lock_again(pool, lost)
        except LedgerError as error:
            raise LedgerError(
                "ledger.commit_unknown",
                "The connection was lost during the commit, and the server did not come back in time to tell what became of it.",
                evidence=error.evidence,
            ) from error
        try:
            statements: list[Statement] = []
            if work.has_changes and not _is_stored(pool, work, lost, link, head):
                if head != work.locked or not work.can_resume:
                    raise lost_before_commit()
                work.xid = xid
                statements = [*work.done, *work.queued]
            # Also when it is stored: this commit waits for the standby that the lost one may have waited for in vain.
            commit(link, pool.target.schema, statements)
        except psycopg.Error as error:
            if not is_lost(error, link.connection):
                raise translated(error) from error
            lost = link
        else:
            return
        finally:
            pool.give_back(link)


def commit(link: Link, schema: str, statements: list[Statement]) -> None:
    """Runs the last statements of a transaction and its COMMIT in one round trip.

    Raises:
        LedgerError: It is stored on this server and perhaps not on its standby (ledger.commit_unknown).
    """
    link.warnings.clear()
    run_all(link.connection, schema, [*statements, COMMIT])
    if any("replicat" in warning for warning in link.warnings):
        raise LedgerError(
            "ledger.commit_unknown",
            "The batch is stored, but perhaps not on the standby that it was to wait for.",
            evidence={"warnings": list(link.warnings)},
        )


def lost_before_commit() -> LedgerError:
    """Returns the error for a transaction that is surely not stored."""
    return LedgerError("ledger.connection_lost", "The connection to the ledger's server was lost; nothing was stored.")


def _is_stored(pool: Pool, work: Work, lost: Link, link: Link, head: Head | None) -> bool:
    if head is None:
        return False
    for batch in reversed(work.batches):
        if batch.leaves:
            # Of all entries only ours has these bytes: its id is random.
            found = link.connection.execute(qualified(LEAF, pool.target.schema), (batch.start,)).fetchone()
            return found is not None and found[0] == batch.leaves[0].data
    if head == work.head != work.locked:
        return True
    if link.timeline == lost.timeline:
        row = link.connection.execute("SELECT pg_xact_status(%s::xid8)", (work.xid,)).fetchone()
        return row is not None and row[0] == "committed"
    if head != work.locked or not work.can_resume:
        raise LedgerError("ledger.commit_unknown", "The connection was lost during the commit, and another server took over.")
    return False


def _lock_again(pool: Pool, lost: Link) -> tuple[Link, Head | None, str]:
    """Locks the head on a new connection, ending the server process of the lost one if that still holds it."""
    schema, reconnect_s = pool.target.schema, pool.target.reconnect_s
    deadline = time.monotonic() + reconnect_s
    while True:
        link = Link.open(pool.target, wait_s=max(0.0, deadline - time.monotonic()))
        try:
            try:
                head, xid = begin_and_lock(link.connection, schema, wait_s=_PATIENCE_S)
            except psycopg.errors.LockNotAvailable:
                link.connection.execute("ROLLBACK")
                link.connection.execute(_END_PROCESS, (lost.pid, lost.backend_start))
                head, xid = begin_and_lock(link.connection, schema)
        except psycopg.Error as error:
            pool.drop(link)
            if not is_lost(error, link.connection) or time.monotonic() > deadline:
                raise translated(error) from error
        except BaseException:
            pool.drop(link)
            raise
        else:
            return link, head, xid
