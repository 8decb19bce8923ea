"""LlamaIndex: an agent's tools behind the guard, and a workflow's own pause for statements that need a person.

Tool metadata stays as it is. A refusal is a `ToolOutput` with `is_error` whose text the model reads. Who acts is the `Principal` that lies
under `principal` in the workflow context's store, or the session's.

For approvals, give an `InputRequiredChannel` to `Guard.open`: the call pauses the workflow with an `InputRequiredEvent`, and its context
can be serialised. When somebody has answered, send `resume(event)` into the workflow: the call is made again, and what becomes of it is
what the store says (see `guardrails.integrations._pausing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from guardrails.approval import Answer
from guardrails.calling import sql_arguments
from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._toolbox import (
    QUERY_TOOL,
    SqlArgument,
    query_description,
    refusal_text,
    reply_text,
    require_fitting,
    scannable,
    sql_argument_of,
)
from guardrails.model import ApprovalRequest
from guardrails.tools import is_stub, params_argument_among

try:
    from llama_index.core.tools import AsyncBaseTool, BaseTool, FunctionTool, ToolOutput, adapt_to_async_tool
    from workflows import Context
    from workflows.events import HumanResponseEvent, InputRequiredEvent
    from workflows.runtime.types.results import WaitingForEvent

    from guardrails.integrations._llama_index import OUTSIDE, Caller, PauseRequested, Waiting
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "LlamaIndex's tools need llama-index-core.", hint="Install guardrails-sql[llama-index]."
    ) from missing

__all__ = ["InputRequiredChannel", "guard_tools", "resume", "sql_tool"]

_CONTEXT = "guardrails_context"


def guard_tools(
    guard: Guard, tools: Iterable[BaseTool | Callable[..., Any]], *, sql_argument: SqlArgument = None
) -> list[FunctionTool]:
    """Returns LlamaIndex's own tool objects, guarded; the given ones are not changed.

    A tool with an argument that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name,
    which a rule of the policy must allow.

    Args:
        guard: What they go through.
        tools: Tools of any kind, or plain functions; one that goes through this guard already is returned as it is.
        sql_argument: The argument that holds SQL, or by tool name (None for a tool that holds none); found by its usual names (sql,
            query, statement…) or by the annotation `Sql` when None.

    Raises:
        UsageError: A tool cannot be guarded, or `sql_argument` names what is not there (``usage.tool_unguardable``).
    """
    named = (tool if isinstance(tool, BaseTool) else FunctionTool.from_defaults(tool) for tool in tools)
    made = [
        tool
        if isinstance(tool, _GuardedTool) and tool.guard is guard
        else _GuardedTool(guard, adapt_to_async_tool(tool), sql_argument)
        for tool in named
    ]
    require_fitting(sql_argument, {tool.metadata.get_name(): tool.argument_names for tool in made})
    return list(made)


def sql_tool(guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> FunctionTool:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """
    text = description if description is not None else query_description(guard)
    return _GuardedTool(guard, FunctionTool.from_defaults(_query, name=name, description=text), None)


class InputRequiredChannel:
    """Pauses the workflow in which the guard runs; outside of one, the model is told that its call waits.

    Args:
        console_url: Where the console is, for the link in the event; None leaves it out.
    """

    pauses_with: tuple[type[Exception], ...] = (PauseRequested,)

    def __init__(self, console_url: str | None = None) -> None:
        self._console_url = console_url

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Pauses; does not return.

        Raises:
            PauseRequested: To the tool that runs.
        """
        raise PauseRequested(request, self._console_url)


def resume(event: InputRequiredEvent) -> HumanResponseEvent:
    """Returns the event that makes a paused call again.

    It says nothing of the answer: what nobody has approved in the store is not run, and the model is told that it waits.

    Args:
        event: The one that the workflow paused with.
    """
    return HumanResponseEvent.model_validate({name: event.get(name) for name in ("request", "call")})


def _query(sql: str) -> str: ...  # type: ignore[empty-body]


class _GuardedTool(FunctionTool):
    """A tool that looks like the one inside; it asks for the workflow's context, which tells who calls."""

    def __init__(self, guard: Guard, tool: AsyncBaseTool, sql_argument: SqlArgument) -> None:
        super().__init__(self._text, metadata=tool.metadata, async_fn=self._atext)
        self.requires_context, self.ctx_param_name = True, _CONTEXT
        self.guard = guard
        self._tool = tool
        self._inner_context: str | None = getattr(tool, "ctx_param_name", None)
        self._fixed: dict[str, Any] = {**getattr(tool, "_field_defaults", {}), **getattr(tool, "partial_params", {})}
        self._names = list(tool.metadata.get_parameters_dict()["properties"])
        function = tool.real_fn if isinstance(tool, FunctionTool) else None
        self._sql = sql_argument_of(self._name, function or _nameless, self.argument_names, sql_argument)
        self._params = params_argument_among(self.argument_names)
        self._is_stub = self._sql is not None and function is not None and is_stub(function)

    @property
    def argument_names(self) -> list[str]:
        """The arguments that the model gives, and those that are fixed."""
        return [*self._names, *self._fixed]

    @property
    def _name(self) -> str:
        return self._tool.metadata.get_name()

    def __call__(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return self.call(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Calls it, guarded; outside of a workflow, so that only a session tells who acts."""
        arguments, _ = self._bound(args, kwargs)
        with self.guard.calling(OUTSIDE):
            try:
                return self._called(arguments)
            except PauseRequested as pause:
                return self._refused(pause.as_refusal(), arguments)
            except GuardrailsError as error:
                return self._refused(error, arguments)

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Calls it, guarded, for the person and the agent that the workflow's context names."""
        arguments, context = self._bound(args, kwargs)
        caller = await Caller.of(context)
        waiting = Waiting.of(context, caller.call_id, self._name)
        has_waited = await waiting.is_over()
        with self.guard.calling(caller.runtime, caller.principal):
            try:
                output = await self._acalled(arguments, context, caller.call_id)
            except PauseRequested as pause:
                if not has_waited:
                    await waiting.begin(pause)
                output = self._refused(pause.as_refusal(), arguments)
            except GuardrailsError as error:
                output = self._refused(error, arguments)
        if has_waited:
            await waiting.forget()
        return output

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Context[Any] | None]:
        arguments = self._fixed | dict(zip(self._names, args, strict=False)) | dict(kwargs)
        context = arguments.pop(_CONTEXT, None)
        return arguments, context if isinstance(context, Context) else None

    def _called(self, arguments: dict[str, Any]) -> ToolOutput:
        if self._sql is not None and self._is_stub:
            statement = sql_arguments(arguments, self._sql, self._params)
            return self._replied(self.guard.execute(*statement, tool=self._name), arguments)
        outputs: list[ToolOutput] = []

        def run(**given: Any) -> Any:
            outputs.append(self._tool.call(**given))
            return _seen_of(outputs[0])

        if self._sql is None:
            scanned = self.guard.call_action(run, arguments, name=self._name)
        else:
            scanned = self.guard.call_tool(
                run, arguments, sql_argument=self._sql, params_argument=self._params, tool=self._name
            )
        return _given_back(outputs[0], scanned, arguments)

    async def _acalled(self, arguments: dict[str, Any], context: Context[Any] | None, call_id: str | None) -> ToolOutput:
        if self._sql is not None and self._is_stub:
            statement = sql_arguments(arguments, self._sql, self._params)
            return self._replied(await self.guard.aexecute(*statement, tool=self._name, tool_call_id=call_id), arguments)
        injected = {self._inner_context: context} if self._inner_context is not None and context is not None else {}
        outputs: list[ToolOutput] = []

        async def run(**given: Any) -> Any:
            outputs.append(await self._tool.acall(**given, **injected))
            return _seen_of(outputs[0])

        if self._sql is None:
            scanned = await self.guard.acall_action(run, arguments, name=self._name, tool_call_id=call_id)
        else:
            argument: dict[str, Any] = {"params_argument": self._params, "tool": self._name, "tool_call_id": call_id}
            scanned = await self.guard.acall_tool(run, arguments, sql_argument=self._sql, **argument)
        return _given_back(outputs[0], scanned, arguments)

    def _replied(self, result: object, arguments: Mapping[str, Any]) -> ToolOutput:
        text = reply_text(result)
        return ToolOutput(tool_name=self._name, content=text, raw_input=_as_given(arguments), raw_output=text)

    def _refused(self, error: GuardrailsError, arguments: Mapping[str, Any]) -> ToolOutput:
        if isinstance(error, EngineError) and isinstance(error.__cause__, WaitingForEvent):
            # The tool itself waits for an event, which the guard took for a failure of the tool.
            raise error.__cause__
        text = refusal_text(error)
        given = _as_given(arguments)
        return ToolOutput(tool_name=self._name, content=text, raw_input=given, raw_output=text, is_error=True)

    def _text(self, *args: Any, **kwargs: Any) -> str:
        return self.call(*args, **kwargs).content

    async def _atext(self, *args: Any, **kwargs: Any) -> str:
        return (await self.acall(*args, **kwargs)).content


def _nameless() -> None:
    """Stands for the function of a tool that has none."""


def _seen_of(output: ToolOutput) -> Any:
    """Returns what of a tool's output the model and the application read, as the scan sees it."""
    return scannable({"blocks": output.blocks, "raw_output": output.raw_output})


def _as_given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a call's arguments as an output tells them."""
    return {"args": (), "kwargs": dict(arguments)}


def _given_back(output: ToolOutput, scanned: Any, arguments: Mapping[str, Any]) -> ToolOutput:
    """Returns the tool's output with what the scan made of it, and with what the model gave: not the statement that ran in its place."""
    changes: dict[str, Any] = {"raw_input": _as_given(arguments)}
    if _seen_of(output) != scanned:
        blocks = [type(block).model_validate(seen) for block, seen in zip(output.blocks, scanned["blocks"], strict=True)]
        changes |= {"blocks": blocks, "raw_output": scanned["raw_output"]}
    return output.model_copy(update=changes)
