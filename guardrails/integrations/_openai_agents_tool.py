"""One tool of the OpenAI Agents SDK, guarded: what the model is told of it stays, and its calls go through the guard.

A tool keeps its own way of running: the SDK reads the arguments, hands in the run's context, and runs it. Only what it is handed
differs: the regenerated statement in place of the model's. The SDK asks twice: whether a call has to wait, where nothing runs and no
yes is used, and then to run it, where the guard judges anew, whatever the SDK holds for approved.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, cast
from weakref import WeakKeyDictionary

from agents import FunctionTool, RunContextWrapper
from agents.agent import AgentBase
from agents.tool import maybe_invoke_function_tool_failure_error_function
from agents.tool_context import ToolContext
from pydantic import BaseModel, ValidationError

from guardrails.calling import sql_arguments
from guardrails.errors import EngineError, GuardrailsError, IdentityError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._openai_agents_context import calling
from guardrails.integrations._toolbox import SqlArgument, refusal_text, reply_text, scannable, sql_argument_of
from guardrails.masking.scan import scan_rows
from guardrails.model import ApprovalRequest
from guardrails.tools import is_stub, params_argument_among

__all__ = ["GuardedTool", "guarded_tool", "parsed_arguments"]

_PLAIN = (str, int, float, bool, list, dict, type(None))


class GuardedTool:
    """A tool's calls, through a guard.

    Args:
        guard: What they go through.
        tool: The tool, which is left as it is.
        sql_argument: Which argument holds SQL.
        agent: The agent that it belongs to; None when several may use it, which the SDK then says.
        function: What it was made of; by default what the SDK knows of that.

    Raises:
        UsageError: The argument that was named is not the tool's, or the tool is an agent (usage.tool_unguardable).
    """

    def __init__(
        self,
        guard: Guard,
        tool: FunctionTool,
        sql_argument: SqlArgument,
        *,
        agent: AgentBase[Any] | None = None,
        function: Callable[..., object] | None = None,
    ) -> None:
        if guarded_tool(tool) is not None:
            raise UsageError("usage.tool_unguardable", f"The tool {tool.name} goes through another guard already.")
        if getattr(tool, "_is_agent_tool", False):
            hint = "Guard the agent instead: guard_agent(guard, agent).as_tool(…)."
            raise UsageError("usage.tool_unguardable", f"Behind the tool {tool.name} is an agent.", hint=hint)
        function = function or getattr(tool, "__wrapped__", None)
        names = list(tool.params_json_schema.get("properties", {}))
        self.guard = guard
        self.name = tool.name
        self.waits_for_others = tool.needs_approval is not False
        self._given = tool
        self._sql = sql_argument_of(tool.name, function or _unknown, names, sql_argument)
        self._params = params_argument_among(names)
        self._names = frozenset(names)
        self._runs_here = self._sql is not None and function is not None and is_stub(function)
        self._loud = _with_errors_raised(tool)
        self._agent = agent
        self._acting: WeakKeyDictionary[RunContextWrapper[Any], AgentBase[Any]] = WeakKeyDictionary()

    def made(self) -> FunctionTool:
        """Returns the SDK's tool: the given one, but for what a call does and what it waits for."""
        made = copy.copy(self._given)
        made.on_invoke_tool = self.invoke
        if not self.guard.asks_people:
            return made
        made.needs_approval = self.pauses
        if self._agent is None:
            # The SDK says to no call that may have to wait which agent makes it, and to this question, before each turn, it does.
            made.is_enabled = self.enabled
        return made

    async def enabled(self, context: RunContextWrapper[Any], agent: AgentBase[Any]) -> bool:
        """Tells what the tool itself tells about being offered, and notes whose turn it is."""
        self._acting[context] = agent
        own = self._given.is_enabled
        said = own(context, agent) if callable(own) else own
        return bool(await said if inspect.isawaitable(said) else said)

    async def pauses(self, context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        """Tells whether a call has to wait for a person: for one whom the policy asks for, who is asked now, or as the tool wants."""
        with calling(self.guard, context, self._agent or self._acting.get(context)):
            request = await asyncio.to_thread(self.request, arguments, call_id, is_asked=True)
        return await self._wants_to_wait(context, arguments, call_id) or request is not None

    def request(self, arguments: Mapping[str, Any], call_id: str | None, *, is_asked: bool) -> ApprovalRequest | None:
        """Returns the request that a call waits for, None when it waits for none; see `Guard.request_approval`."""
        if self._sql is None:
            return self.guard.request_action_approval(self.name, arguments, tool_call_id=call_id, is_asked=is_asked)
        try:
            sql, params = sql_arguments(arguments, self._sql, self._params)
        except UsageError:  # The call itself says so to the model.
            return None
        statement = {*arguments} if self._runs_here else {self._sql, self._params}
        further = {name: value for name, value in arguments.items() if name not in statement}
        where = {"runs_here": self._runs_here, "is_asked": is_asked}
        return self.guard.request_approval(sql, params, tool=self.name, tool_call_id=call_id, arguments=further, **where)

    async def invoke(self, context: ToolContext[Any], text: str) -> Any:
        """Runs a call; what is refused, and where it failed, is text for the model.

        Raises:
            UsageError: No session is active, and the run's context names nobody.
            IdentityError: The run's context names another person than the session, or the person's token has expired.
            Exception: What the tool raised, when it lets its errors end the run.
        """
        with calling(self.guard, context, context.agent or self._agent):
            try:
                return await self._called(context, parsed_arguments(text))
            except IdentityError:
                raise
            except EngineError as error:
                # A tool's own words about errors may hold data: by default the model reads the guard's.
                if self._runs_here or error.__cause__ is None or self._given._use_default_failure_error_function:
                    return await self._refused(context, error)
                return await self._failed(context, error)
            except GuardrailsError as error:
                return await self._refused(context, error)
            except Exception as error:  # noqa: BLE001 - of a tool that is not SQL; it says itself what becomes of its errors
                return await self._failed(context, error)

    async def _called(self, context: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        call_id = context.tool_call_id
        if self._sql is not None and self._runs_here:
            sql, params = sql_arguments(arguments, self._sql, self._params)
            return reply_text(await self.guard.aexecute(sql, params, tool=self.name, tool_call_id=call_id))
        returned: list[Any] = []

        async def run(**regenerated: Any) -> object:
            returned.append(await self._loud.on_invoke_tool(*_handed(context, regenerated)))
            return _looked_through(returned[0])

        if self._sql is None:
            scanned = await self.guard.acall_action(run, arguments, name=self.name, tool_call_id=call_id)
        else:
            named = {"sql_argument": self._sql, "params_argument": self._params, "tool": self.name}
            scanned = await self.guard.acall_tool(run, arguments, tool_call_id=call_id, **cast(Any, named))
        return _rebuilt(returned[0], scanned)

    async def _refused(self, context: ToolContext[Any], error: GuardrailsError) -> str:
        text = refusal_text(error)
        if getattr(self._given, "output_json_schema", None) is not None:
            # The SDK notes that this is no output of the tool's, for which the schema of its outputs would hold.
            await maybe_invoke_function_tool_failure_error_function(
                function_tool=_with_plain_errors(self._given), context=context, error=error
            )
        return text

    async def _failed(self, context: ToolContext[Any], error: Exception) -> Any:
        if not hasattr(self._given.on_invoke_tool, "__agents_bind_function_tool__"):
            raise error  # Made by hand: its errors end the run.
        text = await maybe_invoke_function_tool_failure_error_function(function_tool=self._given, context=context, error=error)
        if text is None:
            raise error
        ((looked_through,),), _ = scan_rows(("error",), ((text,),))
        return looked_through

    async def _wants_to_wait(self, context: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        own = self._given.needs_approval
        if not callable(own):
            return own
        # The tool's own rule sees what the model wrote, which is not what runs where defaults fill in.
        return self._names != frozenset(arguments) or bool(await own(context, arguments, call_id))


def guarded_tool(tool: object) -> GuardedTool | None:
    """Returns what guards a tool, None when nothing does."""
    found = getattr(getattr(tool, "on_invoke_tool", None), "__self__", None)
    return found if isinstance(found, GuardedTool) else None


def parsed_arguments(text: str) -> dict[str, Any]:
    """Returns a call's arguments.

    Raises:
        UsageError: They are not one JSON object (usage.input_invalid).
    """
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise UsageError("usage.input_invalid", "The arguments are not a JSON object.", hint="Send one JSON object.")
    return arguments


def _with_errors_raised(tool: FunctionTool) -> FunctionTool:
    """The tool with its errors raised to the guard, which records them, rather than told to the model."""
    loud = copy.copy(tool)
    loud._use_default_failure_error_function = False
    loud._failure_error_function = None
    return loud


def _with_plain_errors(tool: FunctionTool) -> FunctionTool:
    plain = copy.copy(tool)
    plain._use_default_failure_error_function = True
    plain.output_json_schema = None
    return plain


def _handed(context: ToolContext[Any], arguments: Mapping[str, Any]) -> tuple[ToolContext[Any], str]:
    """What the tool is handed: nothing in it is the model's own statement.

    Raises:
        UsageError: A value that the guard binds has no JSON form (usage.tool_unguardable).
    """
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise UsageError("usage.tool_unguardable", "A value that the guarded statement binds has no JSON form.") from None
    handed = copy.copy(context)
    handed.tool_arguments = text
    if context.tool_call is not None:
        handed.tool_call = context.tool_call.model_copy(update={"arguments": text})
    return handed, text


def _looked_through(value: object) -> object:
    """What a tool returned, as the scan can look through it; the SDK shows a model everything else as text, too."""
    plain = scannable(value)
    return plain if isinstance(plain, _PLAIN) else str(plain)


def _rebuilt(returned: object, scanned: object) -> object:
    """What the scan left alone, as the object that it was: an image, a model, a file; else a model of the same kind, or plain values."""
    if scanned == _looked_through(returned):
        return returned
    if isinstance(returned, BaseModel):
        try:
            return type(returned).model_validate(scanned)
        except ValidationError:
            return scanned
    return scanned


def _unknown() -> None:
    """Stands for a function that nobody knows; only the schema tells its arguments."""
