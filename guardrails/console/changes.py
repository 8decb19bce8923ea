"""Telling open pages that something has changed: one watcher for a process, however many pages are open.

It runs while somebody listens. Changes of requests wake it at once (the approvals' own `watch`); the ledger's size is looked at between.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

__all__ = ["Changes"]

_MOST_LISTENERS = 200


class Changes:
    """Numbers the states of what pages show. Belongs to one event loop."""

    def __init__(self) -> None:
        self._number = 0
        self._condition = asyncio.Condition()
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many listen as may."""
        return self._listeners >= _MOST_LISTENERS

    async def listen(self, wait: Callable[[object], object], *, silence_s: float = 15) -> AsyncIterator[int | None]:
        """Yields a new number after each change, and None after so many seconds without one.

        Args:
            wait: Blocks until the state is another one than the given (None at first) or some time is over, and returns it. Called
                in a thread, by one listener's loop for all.
            silence_s: Seconds.
        """
        self._listeners += 1
        if self._task is None:
            self._task = asyncio.create_task(self._watch(wait))
        seen = self._number
        try:
            while True:
                try:
                    async with self._condition:
                        await asyncio.wait_for(self._condition.wait_for(functools.partial(self._has_moved, seen)), silence_s)
                    seen = self._number
                    yield seen
                except TimeoutError:
                    if self._task.done():
                        return
                    yield None
        finally:
            self._listeners -= 1
            if self._listeners == 0:
                task, self._task = self._task, None
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _has_moved(self, seen: int) -> bool:
        return self._number != seen

    async def _watch(self, wait: Callable[[object], object]) -> None:
        state: object = None
        while True:
            found = await asyncio.to_thread(wait, state)
            if found != state and state is not None:
                async with self._condition:
                    self._number += 1
                    self._condition.notify_all()
            state = found
