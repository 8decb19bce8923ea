"""How one call of a Pydantic AI tool goes through the guard: who makes it, what is judged, and how the answer is told to the agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from guardrails.calling import sql_arguments
from guardrails.errors import ApprovalRequired as NeedsPerson
from guardrails.errors import (
    CatalogError,
    EngineError,
    GuardrailsError,
    LedgerError,
    PolicyError,
    UsageError,
)
from guardrails.guard import Guard
from guardrails.integrations._runtime import principal_in, purpose_in
from guardrails.integrations._toolbox import SqlArgument, refusal_text, reply_text, scannable, sql_argument_of
from guardrails.model import Runtime
from guardrails.tools import is_stub, params_argument_among

try:
    from pydantic_ai import ApprovalRequired, CallDeferred, ModelRetry, RunContext, ToolReturn
    from pydantic_ai.exceptions import ToolFailed
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Pydantic AI's tools need pydantic-ai.", hint="Install guardrails-sql[pydantic-ai]."
    ) from missing

__all__ = ["Call", "GuardedTool", "calling"]

Arguments: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[[Arguments, RunContext[Any]], Awaitable[Any]]
"""Runs a tool: its validated arguments by name, and the run's context."""

_CONTROL_FLOW = (ApprovalRequired, CallDeferred)
_BEYOND_REPAIR = (NeedsPerson, LedgerError, CatalogError, PolicyError)
"""Refusals that no other arguments turn into a yes."""


@dataclass(frozen=True, slots=True)
class GuardedTool:
    """A tool as the guard sees it.

    Args:
        guard: What its calls go through.
        name: Its name, where it is wrapped.
        function: The function behind it; None if there is none in this process.
        sql: The argument that holds SQL; None makes its calls actions of its name.
        params: The argument that takes bound values; None if there is none.
    """

    guard: Guard
    name: str
    function: Callable[..., Any] | None
    sql: str | None
    params: str | None

    @classmethod
    def of(
        cls, guard: Guard, name: str, function: Callable[..., Any] | None, names: Iterable[str], chosen: SqlArgument
    ) -> GuardedTool:
        """Finds out which of the arguments `names` holds SQL.

        Raises:
            UsageError: The caller named an argument that the tool lacks, or several are marked (``usage.tool_unguardable``).
        """
        known = list(names)
        sql = sql_argument_of(name, function or _nameless, known, chosen)
        return cls(guard, name, function, sql, params_argument_among(known))

    async def call(self, arguments: Arguments, context: RunContext[Any], run: Call) -> Any:
        """Calls the tool, guarded, for the person and the agent that the run's context names.

        Args:
            arguments: Validated, by name.
            context: The run's.
            run: Runs the tool itself.

        Returns:
            What the tool returned, as it is unless the scan replaced something in it.

        Raises:
            ModelRetry: Refused; the model may repair its call, and has tries left.
            ToolFailed: Refused for good, or no try is left: the run goes on, with the reason as the call's result.
            ApprovalRequired: A person has to say yes first, and the guard's channel defers the call.
            GuardrailsError: The program's mistake: nobody is known to act, or another person than the session's.
        """
        with calling(self.guard, context):
            try:
                return await self._guarded(arguments, context, run)
            except GuardrailsError as error:
                raise _told(error, context) from error

    async def _guarded(self, arguments: Arguments, context: RunContext[Any], run: Call) -> Any:
        call_id = context.tool_call_id
        if self.sql is not None and self.function is not None and is_stub(self.function):
            sql, values = sql_arguments(arguments, self.sql, self.params)
            return reply_text(await self.guard.aexecute(sql, values, tool=self.name, tool_call_id=call_id))
        returned: list[Any] = []

        async def called(**judged: Any) -> Any:
            # The guard's own copy of the arguments, of their types.
            returned.append(await run(judged, context))
            return scannable(returned[0])

        if self.sql is None:
            scanned = await self.guard.acall_action(called, arguments, name=self.name, tool_call_id=call_id)
        else:
            scanned = await self.guard.acall_tool(
                called,
                arguments,
                sql_argument=self.sql,
                params_argument=self.params,
                tool=self.name,
                tool_call_id=call_id,
            )
        return _given_back(returned[0], scanned)


def calling(guard: Guard, context: RunContext[Any]) -> AbstractContextManager[None]:
    """Puts in force what a run's context tells of who acts; raises as `Guard.calling`."""
    return guard.calling(_runtime(context), principal_in(context.deps))


def _nameless() -> None:
    """Stands for the function of a tool that has none here."""


def _runtime(context: RunContext[Any]) -> Runtime:
    return Runtime(
        "pydantic-ai",
        agent=context.agent.name if context.agent is not None else None,
        model=context.model.model_name,
        conversation_id=context.conversation_id,
        run_id=context.run_id,
        purpose=purpose_in(context.deps),
    )


def _told(error: GuardrailsError, context: RunContext[Any]) -> BaseException:
    """Returns a refusal as Pydantic AI tells it to the model; raises what is not the model's affair as it is."""
    cause = error.__cause__
    if isinstance(error, EngineError) and isinstance(cause, _CONTROL_FLOW):
        # The tool itself asked for a pause, which the guard took for a failure of the tool.
        return cause
    text = refusal_text(error)
    is_repairable = not isinstance(error, _BEYOND_REPAIR) and not error.code.startswith("approval.")
    # A refusal too many would end the run with an exception, as if the model had broken: the last one is an answer instead.
    return ModelRetry(text) if is_repairable and context.retry < context.max_retries else ToolFailed(text)


def _given_back(returned: Any, scanned: Any) -> Any:
    """Returns the tool's own object where the scan left it alone, with its type; otherwise what the scan made of it."""
    if scannable(returned) == scanned:
        return returned
    if isinstance(returned, ToolReturn) and isinstance(scanned, Mapping):
        parts = {f.name: _given_back(getattr(returned, f.name), scanned[f.name]) for f in fields(returned) if f.init}
        return replace(returned, **parts)
    if isinstance(returned, (list, tuple)) and isinstance(scanned, list) and len(returned) == len(scanned):
        return [_given_back(old, new) for old, new in zip(returned, scanned, strict=True)]
    return scanned
