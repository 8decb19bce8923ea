"""Guarded tools for OpenAI's clients, for Chat Completions and for the Responses API.

Definitions are strict JSON Schemas; `run` takes what the model answered, as the client returns it or as the dictionary that travels, and
returns what to append to the conversation. Nothing of OpenAI's is imported: both are plain data.

Sources: OpenAI API reference, function calling with Chat Completions and with Responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from guardrails.guard import Guard
from guardrails.integrations._definitions import Definition
from guardrails.integrations._dispatch import Answers, Call, acall_all, call_all
from guardrails.integrations._openai_answers import Asked, read_answer, read_call
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, Reply, SqlArgument, Toolbox, guarded_functions
from guardrails.model import Principal, Runtime

__all__ = ["Answers", "FunctionTools", "SqlTool", "guard_tools"]

_FRAMEWORK = "openai"


class FunctionTools:
    """Several guarded functions as tools. Make it with `guard_tools`."""

    def __init__(self, guard: Guard, functions: Iterable[GuardedFunction]) -> None:
        self._guard = guard
        self._toolbox = Toolbox(functions)

    def chat_definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools` for Chat Completions."""
        return [{"type": "function", "function": _fields(d)} for d in self._toolbox.definitions]

    def responses_definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools` for the Responses API."""
        return [{"type": "function", **_fields(d)} for d in self._toolbox.definitions]

    def run(
        self,
        answer: object,
        *,
        principal: Principal | None = None,
        conversation_id: str | None = None,
        earlier: Answers | None = None,
    ) -> Answers:
        """Runs all calls of a model's answer, in order; each gets exactly one answer.

        A call that waits for a person's approval is answered with that, and listed in `waiting`. When the person has said yes, run
        the same answer again with `earlier`: what has been answered stays, what waited is tried again. Refusals, malformed and unknown
        calls, and functions that fail, are text for the model. Nothing of an answer that was cut off is run.

        Args:
            answer: A completion or one choice's message (Chat Completions), a response (Responses), or a list of all events of a stream
                of either; as objects of the client or as dictionaries. A message alone does not tell whether it was cut off.
            principal: On whose behalf, where no session is active.
            conversation_id: Your id of the conversation; the response's conversation, or ``conversation_id`` of its metadata when None.
            earlier: What an earlier run of the same answer returned.

        Returns:
            The messages or items to append, none when the model called nothing.

        Raises:
            UsageError: It is no answer, two of its calls have one id, a tool is asynchronous (``usage.input_invalid``), a stream has no
                end (``usage.answer_cut``), or no session is active (``usage.no_session``). In the first cases nothing has run.
            IdentityError: The session is another person's, or may not go on.
        """
        asked, runtime = _told(answer, conversation_id)
        calls = _left(asked, earlier)
        with self._guard.calling(runtime, principal):
            return _merged(asked, calls, call_all(self._toolbox, calls), earlier)

    async def arun(
        self,
        answer: object,
        *,
        principal: Principal | None = None,
        conversation_id: str | None = None,
        earlier: Answers | None = None,
        limit: int = 8,
    ) -> Answers:
        """As `run`, with at most `limit` calls at the same time, and without blocking the event loop."""
        asked, runtime = _told(answer, conversation_id)
        calls = _left(asked, earlier)
        with self._guard.calling(runtime, principal):
            return _merged(asked, calls, await acall_all(self._toolbox, calls, limit), earlier)

    def handle(self, tool_call: object) -> dict[str, Any]:
        """Runs one call and returns what to append: a message of role `tool`, or a `function_call_output`.

        Args:
            tool_call: One of `message.tool_calls` (Chat Completions), or one `function_call` of `response.output`; as an object of the
                client or as a dictionary.

        Returns:
            The answer, in the form that belongs to the call. Refusals and malformed calls are text in it.

        Raises:
            UsageError: It is no call (``usage.input_invalid``), a tool is asynchronous, or no session is active.
        """
        asked = read_call(tool_call)
        call = asked.call
        if call.hindrance is not None:
            return asked.answered(call.hindrance)
        with self._guard.calling(Runtime(_FRAMEWORK)):
            return asked.answered(self._toolbox.dispatch(call.name, call.arguments, call.id).text)

    async def ahandle(self, tool_call: object) -> dict[str, Any]:
        """As `handle`, without blocking the event loop; asynchronous functions are awaited."""
        asked = read_call(tool_call)
        call = asked.call
        if call.hindrance is not None:
            return asked.answered(call.hindrance)
        with self._guard.calling(Runtime(_FRAMEWORK)):
            return asked.answered((await self._toolbox.adispatch(call.name, call.arguments, call.id)).text)


class SqlTool(FunctionTools):
    """A ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when a call is handled.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def __init__(self, guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> None:
        super().__init__(guard, [query_function(guard, name, description)])

    def chat_definition(self) -> dict[str, Any]:
        """Returns the entry of `tools` for Chat Completions."""
        return self.chat_definitions()[0]

    def responses_definition(self) -> dict[str, Any]:
        """Returns the entry of `tools` for the Responses API."""
        return self.responses_definitions()[0]


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


def _fields(definition: Definition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "description": definition.description,
        "parameters": definition.schema,
        "strict": definition.is_strict,
    }


def _told(answer: object, conversation_id: str | None) -> tuple[list[Asked], Runtime]:
    asked, runtime = read_answer(answer)
    return asked, replace(runtime, conversation_id=conversation_id or runtime.conversation_id)


def _left(asked: Iterable[Asked], earlier: Answers | None) -> list[Call]:
    """The calls that have no answer yet, or one that waits."""
    done = {_call_id(item) for item in earlier or ()} - set(earlier.waiting if earlier else ())
    return [one.call for one in asked if one.call.id not in done]


def _merged(asked: Iterable[Asked], calls: Iterable[Call], replies: Iterable[Reply], earlier: Answers | None) -> Answers:
    made = {call.id: reply for call, reply in zip(calls, replies, strict=True)}
    known = {_call_id(item): item for item in earlier or ()}
    items = [one.answered(made[one.call.id].text) if one.call.id in made else known[one.call.id] for one in asked]
    return Answers(items, {call_id: reply.request_id for call_id, reply in made.items() if reply.request_id})


def _call_id(item: dict[str, Any]) -> object:
    return item.get("tool_call_id", item.get("call_id"))
