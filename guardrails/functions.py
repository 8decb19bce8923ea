"""What happens when a guarded function is called: its arguments are judged, the call is recorded, run within bounds, and recorded again.

`Guard.call_tool` and `Guard.call_action` are these two, and their asynchronous twins; the decorators of `guardrails.decorating`
end here as well.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guardrails import flow
from guardrails.calling import call_with_plan, sql_arguments
from guardrails.decorating import Calling
from guardrails.drivers import Runner
from guardrails.model import Params, Result
from guardrails.sessions import Session
from guardrails.tools import is_stub, name_of

__all__ = ["Driving", "Functions"]


@dataclass(frozen=True, slots=True)
class Driving:
    """What a guard does for a call.

    Args:
        current: Returns the session in force, with the tool and the call's id.
        statement_flow: Judges a statement; the last argument tells whether the guard's own engine runs it.
        action_flow: Judges an action by its name and arguments.
        run_plan: Runs a plan on the guard's own engine.
        drive: Performs the steps of a flow.
        adrive: The same without blocking the event loop.
    """

    current: Callable[[str | None, str | None], Session]
    statement_flow: Callable[[str, Params | None, Session, bool], flow.Flow]
    action_flow: Callable[[str, Mapping[str, Any], Session], flow.Flow]
    run_plan: Callable[[Session, flow.Execute], object]
    drive: Callable[[flow.Flow, Session, Runner], Result]
    adrive: Callable[[flow.Flow, Session, Runner], Awaitable[Result]]


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
        guard: What the guard does for a call.
    """

    def __init__(self, guard: Driving) -> None:
        self._guard = guard

    def call_tool(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
    ) -> object:
        """See `Guard.call_tool`."""
        call = self._tool(function, arguments, sql_argument, params_argument, tool, tool_call_id)
        return call.returned(self._guard.drive(call.steps, call.session, call.runner))

    async def acall_tool(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
    ) -> object:
        """See `Guard.acall_tool`."""
        call = await asyncio.to_thread(self._tool, function, arguments, sql_argument, params_argument, tool, tool_call_id)
        return call.returned(await self._guard.adrive(call.steps, call.session, call.runner))

    def call_action(
        self, function: Callable[..., object], arguments: Mapping[str, Any], name: str, tool_call_id: str | None
    ) -> object:
        """See `Guard.call_action`."""
        call = self._action(function, arguments, name, tool_call_id)
        return call.returned(self._guard.drive(call.steps, call.session, call.runner))

    async def acall_action(
        self, function: Callable[..., object], arguments: Mapping[str, Any], name: str, tool_call_id: str | None
    ) -> object:
        """See `Guard.acall_action`."""
        call = self._action(function, arguments, name, tool_call_id)
        return call.returned(await self._guard.adrive(call.steps, call.session, call.runner))

    def tool_calling(self, sql_argument: str, params_argument: str | None, tool: str) -> Calling:
        """Returns how calls of a decorated function that takes SQL go."""
        names = sql_argument, params_argument, tool, None
        return Calling(
            lambda bound: self.call_tool(bound.function, bound.arguments, *names),
            lambda bound: self.acall_tool(bound.function, bound.arguments, *names),
        )

    def action_calling(self, name: str) -> Calling:
        """Returns how calls of another decorated function go."""
        return Calling(
            lambda bound: self.call_action(bound.function, bound.arguments, name, None),
            lambda bound: self.acall_action(bound.function, bound.arguments, name, None),
        )

    def _tool(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        sql_argument: str,
        params_argument: str | None,
        tool: str | None,
        tool_call_id: str | None,
    ) -> _Call:
        session = self._guard.current(tool or name_of(function), tool_call_id)
        sql, params = sql_arguments(arguments, sql_argument, params_argument)
        is_ours = is_stub(function)
        steps = self._guard.statement_flow(sql, params, session, is_ours)
        if is_ours:
            return _Call(session, steps, functools.partial(self._guard.run_plan, session), is_ours)
        run = functools.partial(call_with_plan, function, dict(arguments), sql_argument, params_argument)
        return _Call(session, steps, lambda step: run(step.plan))

    def _action(
        self, function: Callable[..., object], arguments: Mapping[str, Any], name: str, tool_call_id: str | None
    ) -> _Call:
        session = self._guard.current(name, tool_call_id)
        steps = self._guard.action_flow(name, arguments, session)
        return _Call(session, steps, lambda _: function(**arguments))
