"""Tool guardrails of the OpenAI Agents SDK, for tools whose own bodies stay: judged and recorded before, looked through afterwards.

A guardrail cannot change a call, only let it be or reject it. So a statement passes only when the model wrote it exactly as the guard
writes it: then what the tool runs is the guard's own text. One for which values have to be masked, or rows left out, is refused. The
guard's flow of the call waits between the two guardrails for the tool, so that the call is recorded before and after, and a yes is used.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from agents import Agent, FunctionTool, ToolGuardrailFunctionOutput, ToolInputGuardrail, ToolOutputGuardrail
from agents.tool_context import ToolContext
from agents.tool_guardrails import ToolInputGuardrailData, ToolOutputGuardrailData

from guardrails.calling import sql_arguments
from guardrails.errors import Denied, EngineError, GuardrailsError, IdentityError
from guardrails.guard import Guard
from guardrails.integrations._openai_agents_context import calling
from guardrails.integrations._openai_agents_tool import parsed_arguments
from guardrails.integrations._toolbox import SqlArgument, refusal_text, reply_text, scannable, sql_argument_of
from guardrails.tools import params_argument_among

__all__ = ["GuardrailPair", "tool_guardrails"]

_NOT_FOLLOWED = (
    "Refused (usage.tool_unguardable): Nobody would look at what the tool returns: it lacks the output guardrail of the pair."
)
_NOT_JUDGED = "Refused (usage.tool_unguardable): The call was not judged before it ran, so its result stays here."


@dataclass(frozen=True, slots=True)
class GuardrailPair:
    """Two guardrails that belong together: a tool needs both."""

    input: ToolInputGuardrail[Any]
    output: ToolOutputGuardrail[Any]


def tool_guardrails(guard: Guard, *, sql_argument: SqlArgument = None) -> GuardrailPair:
    """Returns guardrails for tools that the application keeps as they are.

    They are weaker than `guard_tools`: nothing can be masked or filtered, no run pauses, and the statement runs on the tool's own
    connection, without the engine's lock-down. Use them where a tool may not be wrapped.

    Args:
        guard: What judges and records the calls.
        sql_argument: The argument that holds SQL, or by tool name; found by its usual names when None.
    """
    judging = _Judging(guard, sql_argument)
    return GuardrailPair(
        ToolInputGuardrail(judging.before, name="guardrails_before"),
        ToolOutputGuardrail(judging.after, name="guardrails_after"),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that was let through: the guard's flow of it, and where it waits for what the tool returns."""

    flow: asyncio.Task[object]
    output: asyncio.Future[object]


class _Judging:
    """Both guardrails of a pair, and the calls between them."""

    def __init__(self, guard: Guard, sql_argument: SqlArgument) -> None:
        self._guard = guard
        self._sql_argument = sql_argument
        self._calls: WeakKeyDictionary[ToolContext[Any], _Call] = WeakKeyDictionary()

    async def before(self, data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        context = data.context
        if not self._comes_after(data.agent, context.tool_name):
            return ToolGuardrailFunctionOutput.reject_content(_NOT_FOLLOWED)
        with calling(self._guard, context, data.agent):
            try:
                self._calls[context] = await self._begun(context)
            except IdentityError:
                raise
            except GuardrailsError as error:
                return ToolGuardrailFunctionOutput.reject_content(refusal_text(error))
        return ToolGuardrailFunctionOutput.allow()

    async def after(self, data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        call = self._calls.pop(data.context, None)
        if call is None:
            return ToolGuardrailFunctionOutput.reject_content(_NOT_JUDGED)
        plain = scannable(data.output)
        if not call.output.done():
            call.output.set_result(plain)
        try:
            scanned = await call.flow
        except GuardrailsError as error:
            return ToolGuardrailFunctionOutput.reject_content(refusal_text(error))
        if scanned == plain:
            return ToolGuardrailFunctionOutput.allow()
        return ToolGuardrailFunctionOutput.reject_content(reply_text(scanned))

    def _comes_after(self, agent: Agent[Any], name: str) -> bool:
        """Tells whether the tool, or else the MCP servers of which one has it, has the other guardrail of the pair too."""
        named = [tool for tool in agent.tools if isinstance(tool, FunctionTool) and tool.name == name]
        after = [owner.tool_output_guardrails or [] for owner in named or agent.mcp_servers]
        return bool(after) and all(any(one.guardrail_function == self.after for one in listed) for listed in after)

    async def _begun(self, context: ToolContext[Any]) -> _Call:
        """Begins the guard's flow of a call, up to where the tool runs.

        Raises:
            GuardrailsError: The call is refused, or waits for a person.
        """
        arguments = parsed_arguments(context.tool_arguments)
        name, names = context.tool_name, list(arguments)
        sql = sql_argument_of(name, _unknown, names, self._sql_argument)
        waiting = _Waiting(asyncio.get_running_loop())
        if sql is None:
            flow = self._guard.acall_action(waiting.run, arguments, name=name, tool_call_id=context.tool_call_id)
        else:
            written = await asyncio.to_thread(self._written, arguments, sql, params_argument_among(names))
            named = {"sql_argument": sql, "params_argument": written.params_argument, "tool": name}
            run = functools.partial(waiting.run_as_written, written)
            flow = self._guard.acall_tool(run, arguments, tool_call_id=context.tool_call_id, **cast(Any, named))
        begun = asyncio.ensure_future(flow)
        # A tool whose error ends the run never comes back; when the SDK is through with the call, it is recorded as one that failed.
        cast("asyncio.Task[object]", asyncio.current_task()).add_done_callback(waiting.end)
        await waiting.reached(begun)
        return _Call(begun, waiting.output)

    def _written(self, arguments: Mapping[str, Any], sql: str, params: str | None) -> _Written:
        """Returns the model's statement beside what may be told of the guard's.

        Raises:
            Denied: They differ where a person's yes would be used up (policy.rewrite_needed).
        """
        text, values = sql_arguments(arguments, sql, params)
        decision = self._guard.check(text, values)
        obligations = decision.obligations
        is_plain = not (obligations.masks or obligations.row_filters)
        written = _Written(sql, params, text, dict(arguments).get(params or ""), decision.sql if is_plain else None)
        if decision.effect == "approve" and decision.sql != text:
            raise written.refusal()
        return written


@dataclass(frozen=True, slots=True)
class _Written:
    """The statement as the model wrote it: where it stands, its text and values, and the guard's text if it may be told."""

    sql_argument: str
    params_argument: str | None
    text: str
    values: object
    told: str | None

    def is_regenerated(self, arguments: Mapping[str, Any]) -> bool:
        values = arguments.get(self.params_argument) if self.params_argument else None
        return arguments[self.sql_argument] == self.text and (values or None) == (self.values or None)

    def refusal(self) -> Denied:
        if self.told is None:
            message = "Values would have to be masked or rows left out, which this tool cannot do."
            return Denied("policy.rewrite_needed", message, hint="Leave the protected columns and relations out.")
        message = "This tool runs statements only as the guard writes them."
        return Denied("policy.rewrite_needed", message, hint=f"Send exactly this: {self.told}")


class _Waiting:
    """Where the guard's flow of a call waits for what the tool returns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.output: asyncio.Future[object] = loop.create_future()
        self._reached: asyncio.Future[None] = loop.create_future()

    async def reached(self, flow: asyncio.Future[Any]) -> None:
        """Waits until the tool may run; raises what the flow raises before that."""
        await asyncio.wait([flow, cast("asyncio.Future[Any]", self._reached)], return_when=asyncio.FIRST_COMPLETED)
        if not self._reached.done():
            flow.result()

    def end(self, _: object) -> None:
        """Says that the tool does not come back any more."""
        if self._reached.done() and not self.output.done():
            self.output.set_exception(EngineError("engine.failed", "The tool failed."))

    async def run(self, **_: object) -> object:
        self._reached.set_result(None)
        return await self.output

    async def run_as_written(self, written: _Written, **arguments: object) -> object:
        if not written.is_regenerated(arguments):
            raise written.refusal()
        return await self.run()


def _unknown() -> None:
    """Stands for the tool's function, which a guardrail does not see."""
