"""Ending a statement from outside, because nobody waits for its answer any more: reads only, since a change half done is no answer.

Whoever starts calls puts an `Interrupt` in force for each; an engine registers, around the part of a read that may take long, how the
connection is told to end. Between them no interrupt reaches a connection that somebody else has got meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from guardrails.errors import EngineError

__all__ = ["Interrupt", "interruptible"]


class Interrupt:
    """Asks what runs in one call to end. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], object] | None = None
        self._is_asked = False

    @property
    def is_asked(self) -> bool:
        return self._is_asked

    def ask(self) -> None:
        """Ends a read that runs, and any that begins later in the same call; returns when the engine has been told."""
        with self._lock:
            self._is_asked = True
            if self._end is not None:
                self._end()

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Lets the engines hear it, for what is called inside."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    @contextmanager
    def registered(self, end: Callable[[], object]) -> Iterator[None]:
        """Calls `end` when it is asked inside.

        Raises:
            EngineError: It was asked before (engine.cancelled).
        """
        with self._lock:
            if self._is_asked:
                raise _cancelled()
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None


_CURRENT: ContextVar[Interrupt | None] = ContextVar("guardrails_interrupt", default=None)


@contextmanager
def interruptible(end: Callable[[], object]) -> Iterator[None]:
    """Lets the interrupt in force, if there is one, end what runs inside.

    Args:
        end: Tells the connection to end its statement, from another thread.

    Raises:
        EngineError: It was ended so (engine.cancelled).
    """
    interrupt = _CURRENT.get()
    if interrupt is None:
        yield
        return
    with interrupt.registered(end):
        try:
            yield
        except Exception as error:
            if interrupt.is_asked:
                raise _cancelled() from error
            raise


def _cancelled() -> EngineError:
    return EngineError("engine.cancelled", "Nobody waits for the answer any more.")
