"""Telling open pages that something has changed: one watcher for a process, however many pages are open.

It runs while somebody listens. Changes of requests wake it at once (the approvals' own `watch`); the ledger's size is looked at between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

__all__ = ["Changes"]

_LOG = logging.getLogger(__name__)
_MOST_LISTENERS = 200
_REST_S = 0.25
"""Pages load themselves again after a change: not more often than this."""


class Changes:
    """Numbers the states of what pages show. Belongs to one event loop."""

    def __init__(self) -> None:
        self._number = 0
        self._condition = asyncio.Condition()
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False

    @property
    def is_full(self) -> bool:
        """Whether as many listen as may."""
        return self._listeners >= _MOST_LISTENERS

    async def end(self) -> None:
        """Lets everybody who listens go."""
        self._has_ended = True
        async with self._condition:
            self._condition.notify_all()

    async def listen(self, wait: Callable[[object], object], *, silence_s: float = 15) -> AsyncIterator[int | None]:
        """Yields a new number after each change, and None after so many seconds without one, until the watcher fails or ends.

        Args:
            wait: Blocks until the state is another one than the given (None at first) or some time is over, and returns it. Called
                in a thread, by one listener's loop for all.
            silence_s: Seconds.
        """
        self._listeners += 1
        if self._task is None or self._task.done():  # one that failed is tried anew, whoever still waits for it
            self._task = asyncio.create_task(self._watch(wait))
        seen = self._number
        try:
            while not self._has_ended:
                moved = await self._moved(seen, silence_s)
                if moved is None and self._task.done():
                    return
                if moved is not None:
                    seen = moved
                if not self._has_ended:
                    yield moved
        finally:
            self._listeners -= 1
            if self._listeners == 0 and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _moved(self, seen: int, timeout_s: float) -> int | None:
        """Waits for a number other than `seen`; None when the time is over."""
        try:
            async with asyncio.timeout(timeout_s), self._condition:
                await self._condition.wait_for(lambda: self._number != seen or self._has_ended)
        except TimeoutError:
            return None
        return self._number

    async def _watch(self, wait: Callable[[object], object]) -> None:
        state: object = None
        while not self._has_ended:
            try:
                found = await asyncio.to_thread(wait, state)
            except Exception:
                # Listeners are let go after their silence; browsers come again, and then it may have been mended.
                _LOG.exception("console: watching for changes failed")
                raise
            if found != state and state is not None:
                self._number += 1
                async with self._condition:
                    self._condition.notify_all()
                await asyncio.sleep(_REST_S)
            state = found
