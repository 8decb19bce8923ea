"""The two drivers of the flow: they perform its steps, one after the other, in a thread or on an event loop.

Whatever a step raises goes back into the flow, which records it before it goes on; so an outcome follows every intent, also when the
caller is interrupted.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from guardrails import flow
from guardrails.bounds import Bounds
from guardrails.errors import UsageError
from guardrails.model import Execution, Result, Value

__all__ = ["Perform", "Runner", "adrive", "drive"]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs a step's plan, or calls an action when there is none.

    Args:
        run: Does it. It returns an execution, or whatever a function returns.
        is_bounded: Whether it is a function, which is held to the limits here; an engine of ours holds them itself.
        is_async: Whether it returns what is to be awaited, so that it needs no thread beside the event loop.
        in_thread: Whether it runs in a thread of its own in synchronous calls too, where it can be left when its time is over.
    """

    run: Callable[[flow.Execute], object]
    is_bounded: bool = False
    is_async: bool = False
    in_thread: bool = False


Perform: TypeAlias = Callable[[flow.Step], flow.Answer]
"""Performs any step but `flow.Execute`."""


def drive(steps: flow.Flow, perform: Perform, runner: Runner) -> Result:
    """Performs the flow in this thread and returns its result; raises what the flow raises."""
    step = _next(steps, None, None)
    while not isinstance(step, Result):
        try:
            answer = _execution(runner, step) if isinstance(step, flow.Execute) else perform(step)
        except BaseException as error:  # noqa: BLE001 - goes back into the flow, which raises it again
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
        except BaseException as error:  # noqa: BLE001 - goes back into the flow, which raises it again
            step = _next(steps, None, error)
        else:
            step = _next(steps, answer, None)
    return step


def _next(steps: flow.Flow, answer: flow.Answer, error: BaseException | None) -> flow.Step | Result:
    """Sends an answer or throws an error into the flow; returns its next step, or the result when it has ended."""
    if isinstance(error, GeneratorExit):  # which would close the flow, and nothing would be recorded
        error = RuntimeError("The function raised GeneratorExit.")
    try:
        return steps.send(answer) if error is None else steps.throw(error)
    except StopIteration as stop:
        return cast(Result, stop.value)


def _execution(runner: Runner, step: flow.Execute) -> Execution:
    """Runs, and gives what a function returned the shape of an execution: one column `value`, one row."""
    started = time.perf_counter()
    if not runner.is_bounded:
        return _shaped(runner.run(step), started)
    bounds = _bounds(step)

    def work() -> object:
        return bounds.held(_synchronous(runner.run(step)))

    returned = bounds.in_thread(work) if runner.in_thread else work()
    bounds.require_time()
    return _of_value(returned, started)


async def _aexecution(runner: Runner, step: flow.Execute) -> Execution:
    started = time.perf_counter()
    if not runner.is_bounded:
        return _shaped(await asyncio.to_thread(runner.run, step), started)
    bounds = _bounds(step)
    if runner.is_async:
        returned = runner.run(step)
    else:
        returned = await bounds.ain_thread(lambda: bounds.held(runner.run(step)))
    if inspect.isawaitable(returned):
        returned = bounds.held(await bounds.awaited(returned))
    if isinstance(returned, AsyncIterator):
        returned = await bounds.awaited(bounds.aheld(returned))
    return _of_value(returned, started)


def _bounds(step: flow.Execute) -> Bounds:
    return Bounds(step.limits, is_read_only=step.plan is not None and step.plan.is_read_only)


def _synchronous(returned: object) -> object:
    """Refuses what only an event loop can run; it has not begun to run, and never does."""
    if inspect.iscoroutine(returned):
        returned.close()
    if inspect.isawaitable(returned) or isinstance(returned, AsyncIterator):
        message = "The function returned something to await in a synchronous call."
        raise UsageError("usage.tool_unguardable", message, hint="Guard the async function itself, below other decorators.")
    return returned


def _shaped(returned: object, started: float) -> Execution:
    if isinstance(returned, Execution):
        return replace(returned, duration_ms=returned.duration_ms or _since(started))
    return _of_value(returned, started)


def _of_value(returned: object, started: float) -> Execution:
    """What a function returned, whatever it is: only an engine of ours says how a statement was executed."""
    return Execution(("value",), ((cast(Value, returned),),), duration_ms=_since(started))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
