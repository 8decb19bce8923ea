"""The two drivers of the flow: they perform its steps, one after the other, in a thread or on an event loop.

Whatever a step raises goes back into the flow, which records it before it goes on; so an outcome follows every intent, also when the
caller is interrupted.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeAlias, cast

from guardrails import flow
from guardrails.model import Execution, Result, Value

__all__ = ["Perform", "Runner", "adrive", "drive"]

Runner: TypeAlias = Callable[[flow.Execute], object]
"""Runs a step's plan, or calls an action when there is none."""
Perform: TypeAlias = Callable[[flow.Step], flow.Answer]
"""Performs any step but `flow.Execute`."""


def drive(steps: flow.Flow, perform: Perform, runner: Runner) -> Result:
    """Performs the flow in this thread and returns its result; raises what the flow raises."""
    step = _next(steps, None, None)
    while not isinstance(step, Result):
        try:
            answer = _execution(runner, step) if isinstance(step, flow.Execute) else perform(step)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - goes back into the flow, which raises it again
            step = _next(steps, None, error)
        else:
            step = _next(steps, answer, None)
    return step


async def adrive(steps: flow.Flow, perform: Perform, runner: Runner) -> Result:
    """Performs the flow without blocking the loop: I/O in threads, coroutines awaited here. Raises what the flow raises."""
    step = _next(steps, None, None)
    while not isinstance(step, Result):
        try:
            if isinstance(step, flow.Execute):
                answer: flow.Answer = await _aexecution(runner, step)
            else:
                answer = await asyncio.to_thread(perform, step)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes back into the flow, which raises it again
            step = _next(steps, None, error)
        else:
            step = _next(steps, answer, None)
    return step


def _next(steps: flow.Flow, answer: flow.Answer, error: BaseException | None) -> flow.Step | Result:
    """Sends an answer or throws an error into the flow; returns its next step, or the result when it has ended."""
    try:
        return steps.send(answer) if error is None else steps.throw(error)
    except StopIteration as stop:
        return cast(Result, stop.value)


def _execution(runner: Runner, step: flow.Execute) -> Execution:
    """Runs, and gives what a function returned the shape of an execution: one column `value`, one row."""
    started = time.perf_counter()
    return _shaped(_drained(runner(step)), started)


async def _aexecution(runner: Runner, step: flow.Execute) -> Execution:
    started = time.perf_counter()
    returned = await asyncio.to_thread(runner, step)
    if inspect.isawaitable(returned):
        returned = await returned
    if isinstance(returned, AsyncIterator):
        returned = [item async for item in returned]
    return _shaped(_drained(returned), started)


def _drained(returned: object) -> object:
    """Generators are drained before the scan: rows that nobody has looked at do not leave."""
    return list(returned) if inspect.isgenerator(returned) else returned


def _shaped(returned: object, started: float) -> Execution:
    elapsed_ms = (time.perf_counter() - started) * 1000
    if isinstance(returned, Execution):
        return replace(returned, duration_ms=returned.duration_ms or elapsed_ms)
    return Execution(("value",), ((cast(Value, returned),),), duration_ms=elapsed_ms)
