"""The connections of one process to a ledger's server, lent to one thread at a time; none of them crosses a fork."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress

import psycopg

from guardrails.errors import LedgerError
from guardrails.ledger.stores.postgres_connect import Link, Target

__all__ = ["Pool"]

_MAX_IDLE = 4
_IDLE = psycopg.pq.TransactionStatus.IDLE


class Pool:
    """Lends connections, and makes them when none is idle.

    Args:
        target: Where they lead to. The first is made at once, so that a wrong URL is told of where it is given.

    Raises:
        LedgerError: The server cannot be reached or must not hold a ledger (ledger.unavailable).
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.is_closed = False
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        link = Link.open(target)
        self.place = link.place
        self.give_back(link)
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)

            def in_child() -> None:
                if pool := reference():
                    pool._forget()

            os.register_at_fork(after_in_child=in_child)

    def lend(self) -> Link:
        """Returns a connection that nobody else uses. One that was idle may have been lost meanwhile.

        Raises:
            LedgerError: No server answered in time, or the ledger is closed (ledger.unavailable).
        """
        if self.is_closed:
            raise LedgerError("ledger.unavailable", "The ledger is closed.")
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Link.open(self.target, wait_s=self.target.reconnect_s)

    def give_back(self, link: Link) -> None:
        """Takes a connection back, undoing what is not committed on it."""
        if link.connection.info.transaction_status != _IDLE:
            with suppress(psycopg.Error):  # it is closed below then, which undoes as well
                link.connection.execute("ROLLBACK")
        with self._lock:
            is_usable = link.connection.info.transaction_status == _IDLE
            if is_usable and not self.is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(link)
                return
        link.connection.close()

    def drop(self, link: Link) -> None:
        """Closes a connection that was lost, and the idle ones, which led to the same server."""
        link.connection.close()
        self._close_idle()

    def close(self) -> None:
        """Closes all that no thread uses now, and each of the others when it is given back."""
        self.is_closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.connection.close()

    def _forget(self) -> None:
        """In a child after a fork: the connections are the parent's, and ending them in words would end them there too."""
        inherited, self._idle = self._idle, []
        self._lock = threading.Lock()  # the old one may be held by a thread that the child does not have
        for link in inherited:
            # The driver does not touch a connection of another process again.
            with suppress(OSError, psycopg.Error):
                os.close(link.connection.fileno())
