"""What happens when a guarded function is called: its arguments are judged, the call is recorded, run within bounds, and recorded again.

`Guard.call_tool` and `Guard.call_action` are these two, and their asynchronous twins; the decorators of `guardrails.decorating`
end here as well.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from guardrails import flow
from guardrails.arguments import Arguments
from guardrails.calling import call_with_plan, sql_arguments
from guardrails.decorating import Calling
from guardrails.drivers import Runner
from guardrails.model import Result
from guardrails.running import Running
from guardrails.sessions import Session, Sessions
from guardrails.tools import is_stub, name_of

__all__ = ["Functions"]

Function = Callable[..., object]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that is judged: the steps that are left, who runs it, and whether the guard's own engine answers."""

    session: Session
    steps: flow.Flow
    runner: Runner
    is_ours: bool = False

    def returned(self, result: Result) -> object:
        return result.dicts() if self.is_ours else result.rows[0][0]


class Functions:
    """Calls functions for one guard.

    Args:
        sessions: Tell who calls.
        running: Judges the calls and performs their steps.
    """

    def __init__(self, sessions: Sessions, running: Running) -> None:
        self._sessions = sessions
        self._running = running

    def call_tool(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
        injected: Collection[str],
        in_thread: bool,
    ) -> object:
        """See `Guard.call_tool`."""
        given = Arguments.of(arguments)
        call = self._tool(function, given, sql_argument, params_argument, tool, tool_call_id, injected, in_thread)
        return call.returned(self._running.drive(call.steps, call.session, call.runner))

    async def acall_tool(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
        injected: Collection[str],
    ) -> object:
        """See `Guard.acall_tool`."""
        given = Arguments.of(arguments)  # taken before anything else can run
        call = await asyncio.to_thread(self._tool, function, given, sql_argument, params_argument, tool, tool_call_id, injected)
        return call.returned(await self._running.adrive(call.steps, call.session, call.runner))

    def call_action(
        self, function: Function, arguments: Mapping[str, Any], name: str, tool_call_id: str | None, in_thread: bool
    ) -> object:
        """See `Guard.call_action`."""
        call = self._action(function, arguments, name, tool_call_id, in_thread)
        return call.returned(self._running.drive(call.steps, call.session, call.runner))

    async def acall_action(
        self, function: Function, arguments: Mapping[str, Any], name: str, tool_call_id: str | None
    ) -> object:
        """See `Guard.acall_action`."""
        call = self._action(function, arguments, name, tool_call_id)
        return call.returned(await self._running.adrive(call.steps, call.session, call.runner))

    def tool_calling(self, sql_argument: str, params_argument: str | None, tool: str, in_thread: bool) -> Calling:
        """Returns how calls of a decorated function that takes SQL go."""
        names = sql_argument, params_argument, tool, None, ()
        return Calling(
            lambda bound: self.call_tool(bound.function, bound.arguments, *names, in_thread),
            lambda bound: self.acall_tool(bound.function, bound.arguments, *names),
        )

    def action_calling(self, name: str, in_thread: bool) -> Calling:
        """Returns how calls of another decorated function go."""
        return Calling(
            lambda bound: self.call_action(bound.function, bound.arguments, name, None, in_thread),
            lambda bound: self.acall_action(bound.function, bound.arguments, name, None),
        )

    def _tool(
        self,
        function: Function,
        given: Arguments,
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
        injected: Collection[str],
        in_thread: bool = False,
    ) -> _Call:
        session = self._sessions.current(tool or name_of(function), tool_call_id)
        further = given.without(sql_argument, params_argument, *injected)
        if further:
            session = replace(session, context=replace(session.context, arguments=further))
        sql, params = sql_arguments(given.passed, sql_argument, params_argument)
        is_ours = is_stub(function)
        steps = self._running.statement_flow(sql, params, session, is_ours=is_ours)
        if is_ours:
            return _Call(session, steps, self._running.engine_runner(session), is_ours)
        run = functools.partial(call_with_plan, function, dict(given.passed), sql_argument, params_argument)
        return _Call(session, steps, _runner(function, lambda step: run(step.plan), in_thread))

    def _action(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        name: str,
        tool_call_id: str | None,
        in_thread: bool = False,
    ) -> _Call:
        given = Arguments.of(arguments)
        session = self._sessions.current(name, tool_call_id)
        steps = self._running.action_flow(name, given.seen, session)
        return _Call(session, steps, _runner(function, lambda _: function(**given.passed), in_thread))


def _runner(function: Function, run: Callable[[flow.Execute], object], in_thread: bool) -> Runner:
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return Runner(run, is_bounded=True, is_async=is_async, in_thread=in_thread)
