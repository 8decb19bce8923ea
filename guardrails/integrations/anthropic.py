"""Guarded tools for Anthropic's Messages API.

`run` takes the model's message as the client returns it, or as a dictionary, and returns the message of results to send back; refusals
have ``is_error``. Nothing of Anthropic's is imported: both are plain data.

Source: Anthropic API reference, tool use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from guardrails.guard import Guard
from guardrails.integrations._anthropic_messages import FRAMEWORK, Results, read_message, read_use, result_block
from guardrails.integrations._dispatch import Call, acall_all, call_all
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, Reply, SqlArgument, Toolbox, guarded_functions
from guardrails.model import Principal, Runtime

__all__ = ["FunctionTools", "Results", "SqlTool", "guard_tools"]


class FunctionTools:
    """Several guarded functions as tools. Make it with `guard_tools`."""

    def __init__(self, guard: Guard, functions: Iterable[GuardedFunction]) -> None:
        self.guard = guard
        self.toolbox = Toolbox(functions)

    def definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools`."""
        return [{"name": d.name, "description": d.description, "input_schema": d.schema} for d in self.toolbox.definitions]

    def run(
        self,
        message: object,
        *,
        principal: Principal | None = None,
        conversation_id: str | None = None,
        earlier: Results | None = None,
    ) -> Results | None:
        """Runs all tool uses of a model's message, in order; each gets exactly one result.

        A call that waits for a person's approval has that as its result, and is listed in `waiting`. When the person has said yes, run
        the same message again with `earlier`: what has a result keeps it, what waited is tried again. Refusals, malformed and unknown
        calls, and functions that fail, are results with ``is_error``. Nothing of a message that was cut off is run, and nothing of one
        that the vendor's own tools have paused: it goes back as it is. What runs at the vendor's is left alone.

        Args:
            message: As the client returns it, also at the end of a stream, or as a dictionary; or a list of all events of a stream.
            principal: On whose behalf, where no session is active.
            conversation_id: Your id of the conversation.
            earlier: What an earlier run of the same message returned.

        Returns:
            The user's message to append; None when the model called nothing here.

        Raises:
            UsageError: It is no message, two of its calls have one id, a tool is asynchronous (``usage.input_invalid``), a stream has no
                end (``usage.answer_cut``), or no session is active (``usage.no_session``). In the first cases nothing has run.
            IdentityError: The session is another person's, or may not go on.
        """
        asked, runtime = read_message(message)
        calls = _left(asked, earlier)
        with self.guard.calling(replace(runtime, conversation_id=conversation_id), principal):
            return _merged(asked, calls, call_all(self.toolbox, calls), earlier)

    async def arun(
        self,
        message: object,
        *,
        principal: Principal | None = None,
        conversation_id: str | None = None,
        earlier: Results | None = None,
        limit: int = 8,
    ) -> Results | None:
        """As `run`, with at most `limit` calls at the same time, and without blocking the event loop."""
        asked, runtime = read_message(message)
        calls = _left(asked, earlier)
        with self.guard.calling(replace(runtime, conversation_id=conversation_id), principal):
            return _merged(asked, calls, await acall_all(self.toolbox, calls, limit), earlier)

    def handle(self, tool_use: object) -> dict[str, Any]:
        """Runs one call and returns its `tool_result` block.

        Args:
            tool_use: A block of type `tool_use`, as an object of the client or as a dictionary.

        Returns:
            The block; refusals and malformed calls are text in it, with ``is_error``.

        Raises:
            UsageError: It is no such block (``usage.input_invalid``), a tool is asynchronous, or no session is active.
        """
        call = read_use(tool_use)
        with self.guard.calling(Runtime(FRAMEWORK)):
            return result_block(call.id, self.toolbox.dispatch(call.name, call.arguments, call.id))

    async def ahandle(self, tool_use: object) -> dict[str, Any]:
        """As `handle`, without blocking the event loop; asynchronous functions are awaited."""
        call = read_use(tool_use)
        with self.guard.calling(Runtime(FRAMEWORK)):
            return result_block(call.id, await self.toolbox.adispatch(call.name, call.arguments, call.id))


class SqlTool(FunctionTools):
    """A ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when a call is handled.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def __init__(self, guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> None:
        super().__init__(guard, [query_function(guard, name, description)])

    def definition(self) -> dict[str, Any]:
        """Returns the entry of `tools`."""
        return self.definitions()[0]


def guard_tools(guard: Guard, functions: Iterable[Callable[..., object]], *, sql_argument: SqlArgument = None) -> FunctionTools:
    """Guards Python functions as tools.

    A function with an argument that holds SQL receives the regenerated statement; the call of any other is an action of its name,
    which a rule of the policy must allow.

    Args:
        guard: What they go through.
        functions: Functions with type hints, sync or async.
        sql_argument: The argument that holds SQL, or by function name (None for one that holds none); found by its usual names when
            None.

    Raises:
        UsageError: A function cannot be described or guarded, or two have the same name.
    """
    return FunctionTools(guard, guarded_functions(guard, functions, sql_argument))


def _left(asked: Iterable[Call], earlier: Results | None) -> list[Call]:
    """The calls that have no result yet, or one that waits."""
    done = set(earlier.blocks) - set(earlier.waiting) if earlier else set()
    return [call for call in asked if call.id not in done]


def _merged(asked: Iterable[Call], calls: Iterable[Call], replies: Iterable[Reply], earlier: Results | None) -> Results | None:
    made = {call.id: reply for call, reply in zip(calls, replies, strict=True)}
    known = earlier.blocks if earlier else {}
    blocks = [result_block(call.id, made[call.id]) if call.id in made else known[call.id] for call in asked]
    waiting = {call_id: reply.request_id for call_id, reply in made.items() if reply.request_id}
    return Results(blocks, waiting) if blocks else None
