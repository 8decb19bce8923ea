"""Guarded tools for the tool runner of Anthropic's client: `client.beta.messages.tool_runner`.

    tools = runner_tools(guard, [find_orders])              # functions, or what `beta_tool` made of them
    run = tools.watch(client.beta.messages.tool_runner(model=…, max_tokens=…, messages=messages, tools=tools))
    for message in run:
        …
    if run.waiting:                                         # a person has to approve: the run has stopped
        …                                                   # until somebody has answered
        if run.retry():                                     # the calls that waited, and no others
            messages = run.history(messages)                # for a new runner

The runner hands its tools their input and nothing else. `watch` tells them the ids of message and call, for the ledger, lets the program's
own mistakes through that the runner would tell the model, and stops where a person has to approve. Without it everything is guarded and
recorded all the same, without those ids, and the model is told that it has to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from guardrails.errors import GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._anthropic_messages import FRAMEWORK, Results, result_content
from guardrails.integrations._anthropic_runs import AsyncRun, SyncRun, WatchedRun, Watches
from guardrails.integrations._dispatch import Call, acall_all, call_all
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, Reply, SqlArgument, require_fitting
from guardrails.integrations.anthropic import FunctionTools
from guardrails.model import Principal, Runtime

try:
    from anthropic.lib.tools import (
        BetaAsyncBuiltinFunctionTool,
        BetaAsyncFunctionTool,
        BetaBuiltinFunctionTool,
        BetaFunctionTool,
        ToolError,
    )
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "The tool runner needs anthropic.", hint="Install guardrails-sql[anthropic]."
    ) from missing

__all__ = ["AsyncRun", "AsyncRunnerTools", "RunnerTools", "SyncRun", "async_runner_tools", "runner_tools"]

Given: TypeAlias = Callable[..., object] | BetaFunctionTool[Any] | BetaAsyncFunctionTool[Any]
"""A function, or what `beta_tool` or `beta_async_tool` made of one."""


def runner_tools(guard: Guard, tools: Sequence[Given] = (), *, sql_argument: SqlArgument = None) -> RunnerTools:
    """Guards tools for the runner of the synchronous client.

    Args:
        guard: What they go through.
        tools: Functions with type hints, or what `beta_tool` made of them, which keep name, description and schema; the ready-made tool
            that takes the model's SQL when there are none.
        sql_argument: The argument that holds SQL, or by tool name (None for one that holds none); found by its usual names when None.

    Raises:
        UsageError: A tool cannot be described or guarded, is asynchronous, or two have the same name.
    """
    functions = _functions(guard, tools, sql_argument)
    for function in functions:
        if function.is_async:
            message = f"The tool {function.definition.name} is asynchronous."
            raise UsageError("usage.tool_unguardable", message, hint="Use async_runner_tools and the asynchronous client.")
    return RunnerTools(_Served(guard, functions), tools)


def async_runner_tools(guard: Guard, tools: Sequence[Given] = (), *, sql_argument: SqlArgument = None) -> AsyncRunnerTools:
    """As `runner_tools`, for the runner of the asynchronous client. Functions that are not asynchronous run in threads."""
    return AsyncRunnerTools(_Served(guard, _functions(guard, tools, sql_argument)), tools)


class RunnerTools(list["BetaBuiltinFunctionTool"]):
    """Guarded tools, as `tool_runner` takes them. Make it with `runner_tools`."""

    def __init__(self, served: _Served, tools: Sequence[Given]) -> None:
        super().__init__(_SyncTool(served, definition) for definition in served.definitions(tools))
        self._served = served

    def watch(self, runner: Any, *, principal: Principal | None = None, conversation_id: str | None = None) -> SyncRun:
        """Returns a run to go through in place of the runner.

        Args:
            runner: What `tool_runner` returned, streaming or not.
            principal: On whose behalf, where no session is active.
            conversation_id: Your id of the conversation.
        """
        served = self._served
        return SyncRun(runner, served.tools, served.watches, principal=principal, conversation_id=conversation_id)

    def run(self, message: object, **options: Any) -> Results | None:
        """Runs the calls of a message without the runner; see `guardrails.integrations.anthropic.FunctionTools.run`."""
        return self._served.tools.run(message, **options)


class AsyncRunnerTools(list["BetaAsyncBuiltinFunctionTool"]):
    """Guarded tools, as the asynchronous `tool_runner` takes them. Make it with `async_runner_tools`."""

    def __init__(self, served: _Served, tools: Sequence[Given]) -> None:
        super().__init__(_AsyncTool(served, definition) for definition in served.definitions(tools))
        self._served = served

    def watch(self, runner: Any, *, principal: Principal | None = None, conversation_id: str | None = None) -> AsyncRun:
        """As `RunnerTools.watch`."""
        served = self._served
        return AsyncRun(runner, served.tools, served.watches, principal=principal, conversation_id=conversation_id)

    async def run(self, message: object, **options: Any) -> Results | None:
        """As `RunnerTools.run`."""
        return await self._served.tools.arun(message, **options)


class _Served:
    """The guarded functions behind a list of tools, and the runs that it serves."""

    def __init__(self, guard: Guard, functions: Iterable[GuardedFunction]) -> None:
        self.guard = guard
        self.tools = FunctionTools(guard, functions)
        self.watches = Watches()

    def definitions(self, tools: Sequence[Given]) -> list[dict[str, Any]]:
        """What the model is told: of a tool of the vendor's, what that says itself."""
        ours = self.tools.definitions()
        theirs = [
            dict(tool.to_dict()) if isinstance(tool, (BetaFunctionTool, BetaAsyncFunctionTool)) else None for tool in tools
        ]
        return [told or made for told, made in zip(theirs or [None], ours, strict=True)]

    def call(self, name: str, given: object) -> Any:
        """Runs a call; a refusal is raised in the runner's own form."""
        run, call, runtime, principal = self._told(name, given)
        try:
            with self.guard.calling(runtime, principal):
                (reply,) = call_all(self.tools.toolbox, [call])
        except GuardrailsError as mistake:
            raise _noted(run, mistake) from None
        return _content(run, call, reply)

    async def acall(self, name: str, given: object) -> Any:
        """As `call`, without blocking the event loop."""
        run, call, runtime, principal = self._told(name, given)
        try:
            with self.guard.calling(runtime, principal):
                (reply,) = await acall_all(self.tools.toolbox, [call], 1)
        except GuardrailsError as mistake:
            raise _noted(run, mistake) from None
        return _content(run, call, reply)

    def _told(self, name: str, given: object) -> tuple[WatchedRun | None, Call, Runtime, Principal | None]:
        found = self.watches.find(given)
        if found is None:
            return None, Call("", name, given), Runtime(FRAMEWORK), None
        run, call_id, runtime = found
        return run, Call(call_id, name, given), runtime, run.principal


class _SyncTool(BetaBuiltinFunctionTool):
    """A guarded tool of the synchronous runner."""

    def __init__(self, served: _Served, definition: dict[str, Any]) -> None:
        self._served = served
        self._definition = definition

    def to_dict(self) -> Any:
        return self._definition

    def call(self, input: object) -> Any:  # noqa: A002  the vendor's name
        return self._served.call(self.name, input)


class _AsyncTool(BetaAsyncBuiltinFunctionTool):
    """A guarded tool of the asynchronous runner."""

    def __init__(self, served: _Served, definition: dict[str, Any]) -> None:
        self._served = served
        self._definition = definition

    def to_dict(self) -> Any:
        return self._definition

    async def call(self, input: object) -> Any:  # noqa: A002  the vendor's name
        return await self._served.acall(self.name, input)


def _functions(guard: Guard, tools: Sequence[Given], sql_argument: SqlArgument) -> list[GuardedFunction]:
    if not tools:
        return [query_function(guard, QUERY_TOOL, None)]
    made = [_function(guard, tool, sql_argument) for tool in tools]
    require_fitting(sql_argument, {one.definition.name: one.definition.argument_names for one in made})
    return made


def _function(guard: Guard, tool: Given, sql_argument: SqlArgument) -> GuardedFunction:
    if isinstance(tool, (BetaFunctionTool, BetaAsyncFunctionTool)):
        return GuardedFunction(guard, tool.func, sql_argument, name=tool.name, description=tool.description)
    if callable(tool):
        return GuardedFunction(guard, tool, sql_argument)
    raise UsageError("usage.tool_unguardable", f"A {type(tool).__name__} is neither a function nor made of one.")


def _noted(run: WatchedRun | None, mistake: GuardrailsError) -> GuardrailsError:
    if run is not None:
        run.fail(mistake)
    return mistake


def _content(run: WatchedRun | None, call: Call, reply: Reply) -> Any:
    if run is not None:
        run.note(call.id, reply)
    if reply.is_error:
        raise ToolError(reply.text)
    return result_content(reply)
