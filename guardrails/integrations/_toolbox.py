"""What all integrations share: guarded functions, and dispatching a model's calls to them.

Only the program's own mistakes stay exceptions; everything else is a reply for the model to read (`_replies`).
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast, get_type_hints

from pydantic import ValidationError

from guardrails.errors import GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._definitions import Definition, define
from guardrails.integrations._replies import (
    Reply,
    misfit_text,
    query_description,
    refusal_reply,
    refusal_text,
    reply_text,
    scannable,
)
from guardrails.tools import Sql, find_params_argument, find_sql_argument, is_stub, usual_sql_names

__all__ = [
    "QUERY_TOOL",
    "GuardedFunction",
    "Reply",
    "SqlArgument",
    "Toolbox",
    "guarded_functions",
    "query_description",
    "refusal_reply",
    "refusal_text",
    "reply_text",
    "require_fitting",
    "scannable",
    "sql_argument_of",
]

SqlArgument: TypeAlias = str | Mapping[str, str | None] | None
"""Which argument holds SQL: one name for all tools, or by tool name (None: it holds none); None finds it by its usual names."""

QUERY_TOOL = "query_database"
"""The name of the ready-made tool unless another is given."""


def sql_argument_of(tool: str, function: Callable[..., object], names: Iterable[str], chosen: SqlArgument) -> str | None:
    """Returns the name of the argument that holds a tool's SQL, None when it holds none.

    Args:
        tool: The tool's name.
        function: The function behind it, whose annotations may mark the argument with `guardrails.Sql`.
        names: The arguments that the model gives.
        chosen: What the caller said.

    Raises:
        UsageError: The caller named an argument that the tool lacks, or several may hold SQL (``usage.tool_unguardable``).
    """
    known = list(names)
    if isinstance(chosen, Mapping) and tool in chosen:
        named = chosen[tool]
        if named is not None and named not in known:
            raise UsageError("usage.tool_unguardable", f"The tool {tool} has no argument {named!r}.")
        return named
    if isinstance(chosen, str) and chosen in known:
        return chosen
    return _found_argument(function, known)


def require_fitting(chosen: SqlArgument, tools: Mapping[str, Collection[str]]) -> None:
    """Refuses a slip in what the caller said of SQL arguments, which would leave SQL to rules about a tool's name alone.

    Args:
        chosen: What the caller said.
        tools: The tools by name, each with its arguments.

    Raises:
        UsageError: No tool has the argument, or there is no such tool (``usage.tool_unguardable``).
    """
    if isinstance(chosen, str) and tools and not any(chosen in names for names in tools.values()):
        raise UsageError("usage.tool_unguardable", f"No tool has an argument {chosen!r} that could hold SQL.")
    unknown = sorted(set(chosen) - set(tools)) if isinstance(chosen, Mapping) else []
    if unknown:
        raise UsageError("usage.tool_unguardable", f"There is no tool {unknown[0]!r} whose argument could hold SQL.")


def _found_argument(function: Callable[..., object], names: list[str]) -> str | None:
    try:
        found = find_sql_argument(function)
        # What a framework fills in is none of the model's.
        if found in names:
            return found
    except (UsageError, ValueError):
        if _marked_more_than_once(function):
            raise
    try:
        return find_sql_argument(_with_arguments(names))
    except UsageError:
        if len(usual_sql_names(names)) > 1:
            raise
        return None


def _marked_more_than_once(function: Callable[..., object]) -> bool:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return False
    return sum(Sql in getattr(hint, "__metadata__", ()) for hint in hints.values()) > 1


def _with_arguments(names: Sequence[str]) -> Callable[..., object]:
    """A function that only has a signature: the arguments that a schema names."""

    def tool() -> None: ...

    usable = [name for name in names if name.isidentifier()]
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in usable]
    tool.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return tool


class GuardedFunction:
    """A function with its definition for a model; SQL goes through `Guard.call_tool`, the rest through `Guard.call_action`.

    Args:
        guard: What it goes through.
        function: The function: sync or async, with type hints.
        sql_argument: Which argument holds SQL.
        name: Tool name; the function's name when None.
        description: For the model; the function's docstring when None.

    Raises:
        UsageError: It cannot be described or guarded (``usage.tool_unguardable``).
    """

    def __init__(
        self,
        guard: Guard,
        function: Callable[..., object],
        sql_argument: SqlArgument = None,
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        self.definition: Definition = define(function, name=name, description=description)
        self._guard = guard
        self._function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._sql = sql_argument_of(self.definition.name, function, self.definition.argument_names, sql_argument)
        self._params = find_params_argument(function)
        self._runs_on_engine = self._sql is not None and is_stub(function)

    def call(self, given: Mapping[str, Any], call_id: str | None) -> object:
        """Calls it with a model's arguments; raises as `Guard.call_tool`, and ValidationError when they do not fit."""
        name, arguments = self.definition.name, self.definition.parse(given)
        if self._sql is None:
            return self._guard.call_action(_plain(self._function), arguments, name=name, tool_call_id=call_id)
        if self._runs_on_engine:
            sql, params = self._statement(arguments)
            return self._guard.execute(sql, params, tool=name, tool_call_id=call_id)
        options: dict[str, Any] = {"sql_argument": self._sql, "params_argument": self._params}
        return self._guard.call_tool(_plain(self._function), arguments, **options, tool=name, tool_call_id=call_id)

    async def acall(self, given: Mapping[str, Any], call_id: str | None) -> object:
        """As `call`, without blocking the event loop."""
        name, arguments = self.definition.name, self.definition.parse(given)
        plain = _aplain(self._function) if self.is_async else _plain(self._function)
        if self._sql is None:
            return await self._guard.acall_action(plain, arguments, name=name, tool_call_id=call_id)
        if self._runs_on_engine:
            sql, params = self._statement(arguments)
            return await self._guard.aexecute(sql, params, tool=name, tool_call_id=call_id)
        options: dict[str, Any] = {"sql_argument": self._sql, "params_argument": self._params}
        return await self._guard.acall_tool(plain, arguments, **options, tool=name, tool_call_id=call_id)

    def reply(self, returned: object) -> Reply:
        """Returns what a call returned as a reply."""
        return Reply(reply_text(returned), value=None if self._sql is not None else returned)

    def _statement(self, arguments: Mapping[str, Any]) -> tuple[str, Any]:
        params = arguments.get(self._params) if self._params else None
        return cast(str, arguments[cast(str, self._sql)]), params if params is not None else {}


def guarded_functions(
    guard: Guard, functions: Iterable[Callable[..., object]], sql_argument: SqlArgument
) -> list[GuardedFunction]:
    """Returns functions, guarded. Raises as `GuardedFunction` and `require_fitting`."""
    made = [GuardedFunction(guard, function, sql_argument) for function in functions]
    require_fitting(sql_argument, {one.definition.name: one.definition.argument_names for one in made})
    return made


class Toolbox:
    """Guarded functions by name, and the dispatch of a model's calls to them.

    Args:
        functions: The functions; their names differ.

    Raises:
        UsageError: Two tools have the same name (``usage.input_invalid``).
    """

    def __init__(self, functions: Iterable[GuardedFunction]) -> None:
        listed = list(functions)
        self._functions = {f.definition.name: f for f in listed}
        if len(self._functions) != len(listed):
            raise UsageError("usage.input_invalid", "Two tools have the same name.")

    @property
    def definitions(self) -> list[Definition]:
        """The tools' definitions, in the order in which they were given."""
        return [f.definition for f in self._functions.values()]

    def dispatch(self, name: str, arguments: object, call_id: str | None) -> Reply:
        """Calls a tool for a model; refusals, malformed arguments and unknown tools are text to read.

        Args:
            name: The tool's name, as the model wrote it.
            arguments: An object, or JSON text of one.
            call_id: The vendor's id of the call, for the ledger.

        Raises:
            UsageError: No session is active, or the tool is asynchronous.
            Exception: What a tool that is not SQL raised.
        """
        self.require_synchronous(name)
        try:
            found = self._find(name)
            return found.reply(found.call(_parsed(arguments), call_id))
        except ValidationError as error:
            return Reply(misfit_text(error), is_error=True)
        except GuardrailsError as error:
            return refusal_reply(error)

    async def adispatch(self, name: str, arguments: object, call_id: str | None) -> Reply:
        """As `dispatch`, without blocking the event loop."""
        try:
            found = self._find(name)
            return found.reply(await found.acall(_parsed(arguments), call_id))
        except ValidationError as error:
            return Reply(misfit_text(error), is_error=True)
        except GuardrailsError as error:
            return refusal_reply(error)

    def require_synchronous(self, name: str) -> None:
        """Checks that a tool, if there is one of this name, can be called without an event loop.

        Raises:
            UsageError: It is asynchronous (``usage.input_invalid``).
        """
        if name in self._functions and self._functions[name].is_async:
            message = f"The tool {name} is asynchronous."
            raise UsageError("usage.input_invalid", message, hint="Use the method whose name begins with `a`: ahandle, arun.")

    def _find(self, name: str) -> GuardedFunction:
        found = self._functions.get(name)
        if found is None:
            known = ", ".join(self._functions)
            raise UsageError("usage.input_invalid", f"There is no tool {name[:60]!r}.", hint=f"There are: {known}.")
        return found


def _parsed(arguments: object) -> dict[str, Any]:
    try:
        parsed = _from_text(arguments) if isinstance(arguments, (str, bytes)) else arguments
    except (ValueError, RecursionError):
        raise UsageError("usage.input_invalid", "The arguments are not valid JSON.", hint="Send one JSON object.") from None
    if not isinstance(parsed, Mapping):
        raise UsageError("usage.input_invalid", "The arguments are not an object.", hint="Send one JSON object.")
    return {str(key): value for key, value in parsed.items()}


def _from_text(arguments: str | bytes) -> object:
    """Reads JSON that means the same to every reader: no key twice, no NaN. Some models write nothing for no arguments."""
    return json.loads(arguments or "{}", object_pairs_hook=_distinct_keys, parse_constant=_no_constant)


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _plain(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def call(**arguments: Any) -> object:
        returned = function(**arguments)
        return list(map(scannable, returned)) if inspect.isgenerator(returned) else scannable(returned)

    return call


def _aplain(function: Callable[..., Any]) -> Callable[..., object]:
    @functools.wraps(function)
    async def call(**arguments: Any) -> object:
        returned = function(**arguments)
        if inspect.isasyncgen(returned):
            return [scannable(item) async for item in returned]
        return scannable(await returned)

    return call
