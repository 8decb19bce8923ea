"""Group commit: threads that append at the same time share one transaction, and with it one wait for the disk.

Whoever comes while nobody commits leads: it commits everything that waits, itself included, and hands the lead to the first of those
that came meanwhile. Nobody waits for company; batches grow by themselves when the disk is slower than the callers.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from guardrails.errors import LedgerError

__all__ = ["GroupCommit", "Ticket"]

T = TypeVar("T")
R = TypeVar("R")


class Ticket(Generic[T, R]):
    """One caller's part of a batch. The committer sets `result`, or `error` where this part alone is refused."""

    __slots__ = ("_leads", "_woken", "error", "is_settled", "request", "result")

    def __init__(self, request: T) -> None:
        self.request = request
        self.result: R | None = None
        self.error: BaseException | None = None
        self.is_settled = False
        self._leads = False
        self._woken: threading.Lock | None = None


class GroupCommit(Generic[T, R]):
    """Runs a commit function for batches of tickets, one batch at a time.

    Args:
        commit: Called with a function that gives the tickets of the batch, in the order in which they came; the later it is called,
            the more of them wait. Called again, it gives the same ones. The result or the error of each is set by it; what it raises
            is the error of all.
        limit: Most tickets in one batch.
    """

    def __init__(self, commit: Callable[[Callable[[], list[Ticket[T, R]]]], None], *, limit: int = 512) -> None:
        self._commit = commit
        self._limit = limit
        self._lock = threading.Lock()
        self._queue: list[Ticket[T, R]] = []
        self._is_busy = False
        _start_anew_in_children(self)

    def submit(self, request: T) -> R:
        """Returns the result of one request once its batch is durable.

        Raises:
            LedgerError: Its batch failed, or it was refused.
        """
        ticket: Ticket[T, R] = Ticket(request)
        with self._lock:
            self._queue.append(ticket)
            leads, self._is_busy = not self._is_busy, True
            if not leads:
                ticket._woken = threading.Lock()
                ticket._woken.acquire()
        if not leads:
            self._wait(ticket)
        if not ticket.is_settled:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value] # a settled ticket without an error has a result

    def _start_anew(self) -> None:
        self._lock, self._queue, self._is_busy = threading.Lock(), [], False

    def _wait(self, ticket: Ticket[T, R]) -> None:
        try:
            if ticket._woken is not None:
                ticket._woken.acquire()
        except BaseException:
            # Interrupted: the entry may still be written. The lead, if it came meanwhile, must not be lost.
            with self._lock:
                if ticket in self._queue:
                    self._queue.remove(ticket)
                if ticket._leads:
                    self._hand_over()
            raise

    def _lead(self) -> None:
        drawn: list[Ticket[T, R]] = []

        def draw() -> list[Ticket[T, R]]:
            if not drawn:
                with self._lock:
                    drawn.extend(self._queue[: self._limit])
                    del self._queue[: self._limit]
            return drawn

        try:
            self._commit(draw)
        except BaseException as error:
            self._settle(draw(), error)
            raise
        self._settle(draw(), None)

    def _settle(self, batch: list[Ticket[T, R]], error: BaseException | None) -> None:
        with self._lock:
            self._hand_over()
        for ticket in batch:
            if error is not None:
                ticket.error = _own(error)
            ticket.is_settled = True
            _wake(ticket)

    def _hand_over(self) -> None:
        if self._queue:
            self._queue[0]._leads = True
            _wake(self._queue[0])
        else:
            self._is_busy = False


def _wake(ticket: Ticket[T, R]) -> None:
    if ticket._woken is not None and ticket._woken.locked():
        ticket._woken.release()


def _own(error: BaseException) -> BaseException:
    """Each caller raises an exception of its own: one object raised in several threads would mix their tracebacks."""
    if isinstance(error, LedgerError):
        own = type(error)(error.code, error.message, hint=error.hint, evidence=error.evidence)
    else:
        own = LedgerError(
            "ledger.unavailable", "The append was interrupted.", hint="Look up whether it is there, then try again."
        )
    own.__cause__ = error
    return own


def _start_anew_in_children(group: GroupCommit[T, R]) -> None:
    # Threads do not cross a fork, so nobody in the child leads and nobody waits.
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(group)

    def in_child() -> None:
        if here := reference():
            here._start_anew()

    os.register_at_fork(after_in_child=in_child)
