"""The OpenAI Agents SDK's own pause: a statement that needs a person interrupts the run, whose state goes on when somebody has answered.

    tools = PausingTools(guard)
    agent = Agent("bot", tools=tools.tools)
    result = await Runner.run(agent, "…")
    while result.interruptions:
        state, waiting = result.to_state(), tools.waiting(result)     # both can be kept: `state.to_json()`, and a dictionary of text
        …                                                             # until somebody has answered in the console
        if tools.proceed(state, waiting):
            result = await Runner.run(agent, state)

To the SDK a call that goes on is approved, which is not enough for the guard: what nobody has approved in the store does not run (see
`guardrails.integrations._pausing`). The SDK asks before a call whether it needs approval, and the request is filed then. Where the answer
is there already, from a grant ahead or a yes that was not used yet, the statement runs at that moment and the call hands its rows over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from guardrails.errors import ApprovalRequired, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import (
    QUERY_TOOL,
    GuardedFunction,
    Reply,
    SqlArgument,
    Toolbox,
    refusal_text,
    reply_text,
    sql_argument_of,
)
from guardrails.tools import find_params_argument

try:
    from agents import FunctionTool, RunContextWrapper, RunResult, RunResultStreaming, RunState
    from agents.items import ToolApprovalItem
    from agents.tool_context import ToolContext
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Pausing a run needs openai-agents.", hint="Install guardrails-sql[openai-agents]."
    ) from missing

__all__ = ["PausingTools"]

_MOST_KEPT = 1000


class PausingTools:
    """Guarded functions as tools that pause the run; the ready-made one, which takes the model's SQL, unless functions are given.

    A tool with input guardrails of its own is never tried before them; it does not pause, and tells the model that the statement waits.
    Neither do actions that are not SQL.

    Args:
        guard: What they go through, opened without a channel that waits; a session must be active while the agent runs.
        functions: Functions with type hints, sync or async.
        sql_argument: The argument that holds SQL, or by function name; found by its usual names when None.
        name: The ready-made tool's name.

    Raises:
        UsageError: A function cannot be described or guarded, or two have the same name.
    """

    def __init__(
        self,
        guard: Guard,
        functions: Iterable[Callable[..., object]] = (),
        *,
        sql_argument: SqlArgument = None,
        name: str = QUERY_TOOL,
    ) -> None:
        self._guard = guard
        self._tried = _Tried()
        given = list(functions)
        guarded = [GuardedFunction(guard, function, sql_argument) for function in given]
        statements = [_statement_of(*pair, sql_argument) for pair in zip(guarded, given, strict=True)]
        if not given:
            guarded, statements = [query_function(guard, name, None)], [("sql", None)]
        toolbox = Toolbox(guarded)
        self.tools: list[FunctionTool] = [
            _Tool(guard, toolbox, function, statement, self._tried).made
            for function, statement in zip(guarded, statements, strict=True)
        ]

    def waiting(self, result: RunResult | RunResultStreaming) -> dict[str, str]:
        """Returns the requests that an interrupted run waits for, by the ids of its calls."""
        found = {_call_id(item): self._tried.request(result.context_wrapper, _call_id(item)) for item in result.interruptions}
        return {call_id: request_id for call_id, request_id in found.items() if request_id}

    def proceed(self, state: RunState[Any, Any], waiting: Mapping[str, str]) -> bool:
        """Lets the calls go on whose requests are answered, whatever the answer; a no becomes a refusal that the model reads.

        Args:
            state: Of the interrupted run.
            waiting: As `waiting` returned it.

        Returns:
            Whether the run can go on: at least one call can, or somebody else's interruption has to be dealt with.
        """
        ours = [item for item in state.get_interruptions() if _call_id(item) in waiting]
        answered = [item for item in ours if self._is_answered(waiting[_call_id(item)])]
        for item in answered:
            state.approve(item)
        return bool(answered)

    def _is_answered(self, request_id: str) -> bool:
        return all(request.id != request_id for request in self._guard.pending())


class _Tried:
    """What came of calls that were tried when the SDK asked, by run and call; a run is known by its own count of usage."""

    def __init__(self) -> None:
        # The count is kept too, so that its identity is not another's while the entry is there.
        self._replies: dict[tuple[int, str], tuple[object, Reply]] = {}
        self._requests: dict[tuple[int, str], tuple[object, str]] = {}

    def keep_reply(self, context: RunContextWrapper[Any], call_id: str, reply: Reply) -> None:
        _bounded(self._replies)[id(context.usage), call_id] = (context.usage, reply)

    def keep_request(self, context: RunContextWrapper[Any], call_id: str, request_id: str) -> None:
        _bounded(self._requests)[id(context.usage), call_id] = (context.usage, request_id)

    def take_reply(self, context: RunContextWrapper[Any], call_id: str) -> Reply | None:
        found = self._replies.pop((id(context.usage), call_id), None)
        return found[1] if found else None

    def request(self, context: RunContextWrapper[Any], call_id: str) -> str | None:
        found = self._requests.get((id(context.usage), call_id))
        return found[1] if found else None


class _Tool:
    """One function as the SDK's tool."""

    def __init__(
        self,
        guard: Guard,
        toolbox: Toolbox,
        function: GuardedFunction,
        statement: tuple[str, str | None] | None,
        tried: _Tried,
    ) -> None:
        self._guard = guard
        self._toolbox = toolbox
        self._function = function
        self._statement = statement
        self._tried = tried
        definition = function.definition
        self.made = FunctionTool(
            name=definition.name,
            description=definition.description,
            params_json_schema=definition.schema,
            on_invoke_tool=self._invoke,
            strict_json_schema=definition.is_strict,
            needs_approval=self._pauses,
        )

    async def _invoke(self, context: ToolContext[Any], arguments: str) -> str:
        reply = self._tried.take_reply(context, context.tool_call_id)
        if reply is None:
            reply = await self._toolbox.adispatch(self._function.definition.name, arguments, context.tool_call_id)
        return reply.text

    async def _pauses(self, context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        """Tells whether a call has to wait for a person; only one for which the policy asks that is tried."""
        if self._statement is None or self.made.tool_input_guardrails or not await self._asks(arguments, self._statement):
            return False
        try:
            reply = Reply(reply_text(await self._function.acall(arguments, call_id)))
        except ApprovalRequired as waiting:
            self._tried.keep_request(context, call_id, waiting.request.id)
            return True
        except GuardrailsError as error:
            reply = Reply(refusal_text(error), is_error=True)
        self._tried.keep_reply(context, call_id, reply)
        return False

    async def _asks(self, arguments: dict[str, Any], statement: tuple[str, str | None]) -> bool:
        try:
            parsed = self._function.definition.parse(arguments)
        except ValidationError:
            return False
        sql, params = parsed[statement[0]], parsed.get(statement[1]) if statement[1] else None
        decision = await asyncio.to_thread(self._guard.check, sql, params)
        return decision.effect == "approve"


def _statement_of(
    guarded: GuardedFunction, function: Callable[..., object], chosen: SqlArgument
) -> tuple[str, str | None] | None:
    """Returns which arguments hold a function's SQL and bound values; None when it runs none."""
    names = guarded.definition.argument_names
    sql = sql_argument_of(guarded.definition.name, function, names, chosen)
    return None if sql is None else (sql, find_params_argument(function))


def _call_id(item: ToolApprovalItem) -> str:
    raw = item.raw_item
    found = raw.get("call_id") if isinstance(raw, dict) else getattr(raw, "call_id", None)
    return found if isinstance(found, str) else ""


def _bounded(kept: dict[tuple[int, str], Any]) -> dict[tuple[int, str], Any]:
    """Forgets the oldest where there are too many; a call that is forgotten is made when the SDK makes it."""
    while len(kept) >= _MOST_KEPT:
        del kept[next(iter(kept))]
    return kept
