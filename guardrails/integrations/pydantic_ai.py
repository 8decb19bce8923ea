"""Pydantic AI: an agent's tools behind the guard, and its own pause for statements that need a person.

`GuardTools` guards every tool of an agent, `GuardToolset` those of one toolset, `guard_tools` single tools; `sql_tool` is ready-made. Tool
definitions stay as they are. A refusal is a `ModelRetry` with the reason, so that the model repairs its call; when no try is left, or
nothing can be repaired, it is a `ToolFailed`, and the run goes on. Who acts is the `Principal` in the run's `deps`, or the session's.

For approvals, give a `DeferringChannel` to `Guard.open` and `DeferredToolRequests` to the agent as an output type: the run ends with the
deferred call. When somebody has answered, run the agent with the message history and `resume(requests)`: the call is made again, and
what becomes of it is what the store says (see `guardrails.integrations._pausing`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from guardrails.approval import Answer
from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._pausing import is_pause, pause_facts
from guardrails.integrations._pydantic_ai import GuardedTool, calling
from guardrails.integrations._toolbox import QUERY_TOOL, SqlArgument, query_description, require_fitting
from guardrails.model import ApprovalRequest

try:
    from pydantic_ai import ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext, Tool, ToolApproved
    from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering, WrapOutputProcessHandler
    from pydantic_ai.models import ModelRequestContext
    from pydantic_ai.output import OutputContext
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Pydantic AI's tools need pydantic-ai.", hint="Install guardrails-sql[pydantic-ai]."
    ) from missing

__all__ = ["DeferringChannel", "GuardTools", "GuardToolset", "guard_tools", "resume", "sql_tool"]

_GUARD = "__guardrails_guard__"
"""The attribute of a guarded tool's function that tells its guard."""
_HARMLESS = ("tool_search",)
"""Tools of providers that only tell a model of the agent's own tools."""


@dataclass(init=False)
class GuardToolset(WrapperToolset[Any]):
    """A toolset whose tools go through the guard: of functions, of an MCP server, combined, prefixed, dynamic.

    A tool with an argument that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name, as
    it is inside this toolset, which a rule of the policy must allow.

    Args:
        guard: What they go through.
        wrapped: The toolset; it is not changed.
        sql_argument: The argument that holds SQL, or by tool name (None for a tool that holds none); found by its usual names (sql,
            query, statement…) or by the annotation `Sql` when None.
    """

    guard: Guard
    sql_argument: SqlArgument

    def __init__(self, guard: Guard, wrapped: AbstractToolset[Any], sql_argument: SqlArgument = None) -> None:
        super().__init__(wrapped)
        self.guard = guard
        self.sql_argument = sql_argument

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Returns the wrapped toolset's tools.

        Raises:
            UsageError: One of them is run by somebody else, where no guard is (``usage.tool_unguardable``).
        """
        tools = await super().get_tools(ctx)
        for name, tool in tools.items():
            if tool.tool_def.kind == "external":
                raise UsageError(
                    "usage.tool_unguardable",
                    f"The tool {name} runs outside of this process, where its calls do not go through the guard.",
                    hint="Guard the other toolsets one by one with GuardToolset, and the call where it is carried out.",
                )
        return tools

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Any:
        """Calls a tool through the guard; raises as `GuardedTool.call`."""
        function = _function_behind(tool)
        if getattr(function, _GUARD, None) is self.guard:
            # Guarded already: a statement that was regenerated once is not judged again.
            return await super().call_tool(name, tool_args, ctx, tool)
        parameters = tool.tool_def.parameters_json_schema.get("properties", {})
        guarded = GuardedTool.of(self.guard, name, function, parameters, self.sql_argument)

        async def run(arguments: dict[str, Any], context: RunContext[Any]) -> Any:
            return await self.wrapped.call_tool(name, arguments, context, tool)

        return await guarded.call(tool_args, ctx, run)


@dataclass
class GuardTools(AbstractCapability[Any]):
    """Guards every tool that an agent runs, wherever it comes from; the policy needs a rule for each.

    It is next to the tools: what other capabilities make of a call has been made before the guard judges it. A request that offers a tool
    which the model's provider runs, such as web search, is not sent. An output function, which the framework calls with what the model
    wrote and not as a tool, is not called.

    Args:
        guard: What the calls go through.
        sql_argument: As for `GuardToolset`.
        unsafe_unguarded: What may run all the same: kinds of the provider's tools, such as ``web_search``, and names of output functions.

    Raises:
        UsageError: It shall be loaded on demand, which would leave the tools unguarded until then (``usage.tool_unguardable``).
    """

    guard: Guard
    sql_argument: SqlArgument = None
    unsafe_unguarded: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.defer_loading:
            raise UsageError("usage.tool_unguardable", "A guard that is loaded on demand guards nothing until then.")

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Returns None: a guard is not part of an agent's specification."""
        return None

    def get_ordering(self) -> CapabilityOrdering:
        """Says that it stands inside of all others."""
        return CapabilityOrdering(position="innermost")

    async def before_model_request(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 - of the base class
        request_context: ModelRequestContext,
    ) -> ModelRequestContext:
        """Looks at what a request offers to the model.

        Raises:
            UsageError: One of the tools is run by the provider, where no guard is (``usage.tool_unguardable``).
        """
        for tool in request_context.model_request_parameters.native_tools:
            if tool.kind not in (*_HARMLESS, *self.unsafe_unguarded):
                raise UsageError(
                    "usage.tool_unguardable",
                    f"The tool {tool.kind} is run by the model's provider, where its calls do not go through the guard.",
                    hint="Leave it out, or name it in unsafe_unguarded.",
                )
        return request_context

    async def before_output_process(self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any) -> Any:  # noqa: ARG002
        """Looks at what becomes of the model's output.

        Raises:
            UsageError: A function would be called with it past the guard (``usage.tool_unguardable``).
        """
        name = output_context.function_name
        if output_context.has_function and name not in self.unsafe_unguarded:
            raise UsageError(
                "usage.tool_unguardable",
                f"The output function {name or 'of one of several outputs'} is no tool, and its calls do not go through the guard.",
                hint="Make it a tool; or decorate it with guard.tool or guard.action, and name it in unsafe_unguarded.",
            )
        return output

    async def wrap_output_process(
        self,
        ctx: RunContext[Any],
        *,
        output_context: OutputContext,
        output: Any,
        handler: WrapOutputProcessHandler,
    ) -> Any:
        """Lets an output function that is guarded itself know for whom the run is."""
        with calling(self.guard, ctx) if output_context.has_function else nullcontext():
            return await handler(output)

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Returns the agent's toolset, guarded."""
        return GuardToolset(self.guard, toolset, self.sql_argument)


def guard_tools(
    guard: Guard, tools: Iterable[Tool[Any] | Callable[..., Any]], *, sql_argument: SqlArgument = None
) -> list[Tool[Any]]:
    """Returns Pydantic AI's own tool objects, guarded; the given ones are not changed.

    Args:
        guard: What they go through.
        tools: Tools, or plain functions; one that goes through this guard already is returned as it is.
        sql_argument: As for `GuardToolset`.

    Raises:
        UsageError: A tool cannot be guarded, or `sql_argument` names what is not there (``usage.tool_unguardable``).
    """
    made = [_guarded(guard, tool if isinstance(tool, Tool) else Tool(tool), sql_argument) for tool in tools]
    require_fitting(sql_argument, {tool.name: _argument_names(tool) for tool in made})
    return made


def sql_tool(guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> Tool[Any]:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """
    text = description if description is not None else query_description(guard)
    return _guarded(guard, Tool(_query, name=name, description=text), None)


class DeferringChannel:
    """Defers the tool call in which the guard runs.

    Args:
        console_url: Where the console is, for the link in the call's metadata; None leaves it out.
    """

    pauses_with: tuple[type[Exception], ...] = (ApprovalRequired,)

    def __init__(self, console_url: str | None = None) -> None:
        self._console_url = console_url

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Defers; does not return.

        Raises:
            pydantic_ai.ApprovalRequired: With what may be shown of the request as its metadata.
        """
        raise ApprovalRequired(metadata=pause_facts(request, self._console_url))


def resume(requests: DeferredToolRequests) -> DeferredToolResults:
    """Returns the results with which the agent makes its deferred calls again.

    To Pydantic AI they are approved, which is not enough for the guard: what nobody has approved in the store is deferred once more,
    what was denied is refused. Calls that others deferred are left to the application, which may `update` the results with its own.
    """
    ours = {call.tool_call_id for call in requests.approvals if is_pause(requests.metadata.get(call.tool_call_id))}
    return requests.build_results(approvals={call_id: ToolApproved() for call_id in ours})


async def _query(sql: str) -> str: ...  # type: ignore[empty-body]


def _guarded(guard: Guard, tool: Tool[Any], sql_argument: SqlArgument) -> Tool[Any]:
    if getattr(tool.function, _GUARD, None) is guard:
        return tool
    schema = tool.function_schema
    guarded_tool = GuardedTool.of(guard, tool.name, tool.function, _argument_names(tool), sql_argument)
    if schema.single_arg_name is not None and guarded_tool.sql is not None and guarded_tool.sql != schema.single_arg_name:
        raise UsageError(
            "usage.tool_unguardable",
            f"The SQL of the tool {tool.name} is inside its only argument, {schema.single_arg_name}.",
            hint="Take the SQL as an argument of its own.",
        )

    async def call(context: RunContext[Any], /, *args: Any, **kwargs: Any) -> Any:
        named = dict(zip(schema.positional_fields, args, strict=False)) | kwargs
        if schema.var_positional_field is not None:
            named[schema.var_positional_field] = args[len(schema.positional_fields) :]
        return await guarded_tool.call(named, context, schema.call)

    setattr(call, _GUARD, guard)
    guarded = copy.copy(tool)
    # Replaced in the tool, so that nobody who takes the function out of it goes past the guard.
    guarded.function, guarded.takes_ctx = call, True
    guarded.function_schema = replace(schema, function=call, takes_ctx=True, is_async=True)
    return guarded


def _argument_names(tool: Tool[Any]) -> list[str]:
    """Returns the arguments as the model knows them and as the function does, which is another name where the function has an alias."""
    parameters = list(inspect.signature(tool.function).parameters.values())[1 if tool.takes_ctx else 0 :]
    own = (p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    schema = tool.function_schema
    shown = schema.json_schema.get("properties", {})
    return list(dict.fromkeys([*shown, *(own if schema.single_arg_name is None else ())]))


def _function_behind(tool: ToolsetTool[Any]) -> Callable[..., Any] | None:
    """Returns the function that a tool of a toolset runs, however the toolset is wrapped; None when it is not a function's."""
    inner = tool
    while isinstance(source := getattr(inner, "source_tool", None), ToolsetTool):
        inner = source
    schema = getattr(getattr(inner, "call_func", None), "__self__", None)
    function = getattr(schema, "function", None)
    return function if callable(function) else None
