"""What holds for a function of somebody else's, which knows nothing of limits: how long it may take, how much it may hand back.

A result that is larger is refused and not cut off: a function's result has no place that could say that it is not whole. A generator is
stopped where it goes beyond. What runs over its time is left to itself, and nothing that it still returns is used.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from guardrails.errors import EngineError
from guardrails.model import Limits
from guardrails.records import fields_of

__all__ = ["Bounds"]

T = TypeVar("T")


@dataclass(slots=True)
class Bounds:
    """The bounds of one call, whose time begins now.

    Args:
        limits: Those that hold.
        is_read_only: Whether nothing can have been changed; otherwise nobody knows what a call that runs over its time has done.
    """

    limits: Limits
    is_read_only: bool
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.limits.seconds

    def require_time(self) -> None:
        """Checks that there is time left.

        Raises:
            EngineError: There is none (``engine.timeout``, or ``engine.unknown_outcome`` where something may have been changed).
        """
        if time.monotonic() > self._until:
            raise self._overtime()

    def in_thread(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread of its own, in this context, and leaves it there when its time is over."""
        future = _started(function)
        concurrent.futures.wait([future], timeout=self._left())
        if not future.done():
            raise self._overtime()
        return future.result()

    async def ain_thread(self, function: Callable[[], T]) -> T:
        """As `in_thread`, without blocking the event loop."""
        waiting = asyncio.wrap_future(_started(function))
        await asyncio.wait({waiting}, timeout=self._left())
        if not waiting.done():
            raise self._overtime()
        return waiting.result()

    async def awaited(self, returned: Awaitable[object]) -> object:
        """Awaits what a function returned; cancels it when its time is over, and does not wait for it to agree."""
        task = asyncio.ensure_future(returned)
        try:
            await asyncio.wait({task}, timeout=self._left())
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_looked_at)
        if not task.done():
            raise self._overtime()
        return task.result()

    def held(self, returned: object) -> object:
        """Returns what a function returned, a generator drained: rows that nobody has looked at do not leave.

        Raises:
            EngineError: It is more than the limits allow (``limit.rows``, ``limit.bytes``), or takes too long.
        """
        if not inspect.isgenerator(returned):
            self._require_small(returned)
            return returned
        taken = _Taken(self)
        try:
            for item in returned:
                taken.add(item)
        finally:
            returned.close()
        return taken.items

    async def aheld(self, returned: AsyncIterator[object]) -> list[object]:
        """As `held`, of an async generator."""
        taken = _Taken(self)
        try:
            async for item in returned:
                taken.add(item)
        finally:
            close = getattr(returned, "aclose", None)
            if close is not None:
                await close()
        return taken.items

    def _require_small(self, returned: object) -> None:
        members = returned if isinstance(returned, dict) else fields_of(returned) or {}
        parts = [returned, *members.values()]
        if any(isinstance(part, (list, tuple, set, frozenset)) and len(part) > self.limits.rows for part in parts):
            raise self.too_many()
        if value_bytes(returned, self.limits.result_bytes) > self.limits.result_bytes:
            raise self.too_large()

    def too_many(self) -> EngineError:
        """Returns the error for more rows than allowed."""
        return EngineError("limit.rows", f"The tool returned more than {self.limits.rows:,} rows.{self._stands()}")

    def too_large(self) -> EngineError:
        """Returns the error for more bytes than allowed."""
        message = f"The tool returned more than {self.limits.result_bytes:,} bytes.{self._stands()}"
        return EngineError("limit.bytes", message)

    def _overtime(self) -> EngineError:
        message = f"The tool took longer than {self.limits.seconds:g} seconds, and what it returns is not used."
        return EngineError("engine.timeout" if self.is_read_only else "engine.unknown_outcome", message)

    def _stands(self) -> str:
        return "" if self.is_read_only else " What it did stands."

    def _left(self) -> float:
        return max(self._until - time.monotonic(), 0)


@dataclass(slots=True)
class _Taken:
    """What a generator has given so far."""

    bounds: Bounds
    items: list[object] = field(default_factory=list)
    size: int = 0

    def add(self, item: object) -> None:
        limits = self.bounds.limits
        self.bounds.require_time()
        if len(self.items) >= limits.rows:
            raise self.bounds.too_many()
        self.size += value_bytes(item, limits.result_bytes)
        if self.size > limits.result_bytes:
            raise self.bounds.too_large()
        self.items.append(item)


def value_bytes(value: object, most: int) -> int:
    """Returns the bytes that a value takes, roughly, whatever it is nested in; counting ends once there are more than `most`."""
    size, left = 0, [value]
    while left and size <= most:
        part = left.pop()
        match part:
            case str():
                size += len(part) if part.isascii() else len(part.encode("utf-8", "surrogatepass"))
            case bytes() | bytearray():
                size += len(part)
            case list() | tuple() | set() | frozenset():
                size += 8
                left.extend(part)
            case dict():
                size += 8
                left.extend((*part.keys(), *part.values()))
            case _:
                size += 8
                left.extend((fields_of(part) or {}).values())
    return size


def _started(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Starts a function in a thread of its own: of a pool, those that never end would take the places of all others."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except StopIteration:  # which no future can carry
            future.set_exception(RuntimeError("The function raised StopIteration."))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    future.set_running_or_notify_cancel()
    threading.Thread(target=work, name="guardrails-tool", daemon=True).start()
    return future


def _looked_at(task: asyncio.Future[object]) -> None:
    """Nobody waits any more for how it ended."""
    if not task.cancelled():
        task.exception()
