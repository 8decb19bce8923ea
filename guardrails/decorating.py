"""The decorators: a function, a method or a class becomes one of the same signature and kind whose calls go through a guard.

What a call is given is bound to the signature first, so that rules and entries speak of arguments by their names, however they were
passed. A method's receiver is no argument: it is neither judged nor recorded.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from guardrails.errors import UsageError
from guardrails.policy.schema import ACTION_WORDS
from guardrails.tools import find_params_argument, find_sql_argument, implementation, name_of

__all__ = ["Bound", "Calling", "Decorators", "Guardable"]

Guardable = TypeVar("Guardable", bound="Callable[..., object] | classmethod[Any, ..., Any]")
"""What can be decorated; what comes back has the same type."""
Function: TypeAlias = Callable[..., object]

_NAME = re.compile(r"[\w./:-]{1,200}")
_MARK = "__guardrails_guarded__"
_RECEIVERS = ("self", "cls")
_NO_RECEIVERS = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset})
"""What a method that is called through its class may be given in its receiver's place: data, which is judged."""
_CALL = "__call__"


@dataclass(frozen=True, slots=True)
class Bound:
    """One call: the function, made to take all its arguments by name, and the arguments so."""

    function: Function
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Calling:
    """How calls of one decorated function go through the guard."""

    call: Callable[[Bound], object]
    acall: Callable[[Bound], Coroutine[Any, Any, object]]


class Decorators:
    """The decorators of one guard, which keep the names of its tools apart.

    Args:
        tool_calling: Given the SQL argument, the argument for bound values, the tool's name, and whether it runs in a thread.
        action_calling: Given the action's name, and whether it runs in a thread.
    """

    def __init__(
        self,
        tool_calling: Callable[[str, str | None, str, bool], Calling],
        action_calling: Callable[[str, bool], Calling],
    ) -> None:
        self._tool_calling = tool_calling
        self._action_calling = action_calling
        self._owners: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def tool(self, target: Guardable, sql: str | None, name: str | None, in_thread: bool) -> Guardable:
        """See `Guard.tool`."""
        if inspect.isclass(target):
            hint = "Decorate the method that runs SQL, or use guard.action for a class."
            raise UsageError("usage.tool_unguardable", f"The class {target.__name__} is no function.", hint=hint)
        function = _function_of(target)
        argument = _sql_argument(function, sql)
        params = find_params_argument(function)
        return _rewrapped(target, self._tool_calling(argument, params, self._claimed(function, name, is_sql=True), in_thread))

    def action(self, target: Guardable, name: str | None, in_thread: bool) -> Guardable:
        """See `Guard.action`."""
        if inspect.isclass(target):
            return cast(Guardable, self._guarded_class(target, name or target.__name__, in_thread))
        return _rewrapped(target, self._action_calling(self._claimed(_function_of(target), name), in_thread))

    def _guarded_class(self, cls: type, name: str, in_thread: bool) -> type:
        """Guards every public method of a class, inherited ones too; `__call__` has the class's own name."""
        inherited = {a for base in cls.__mro__ if base is not object for a in vars(base)}
        members = {a: inspect.getattr_static(cls, a) for a in inherited if a == _CALL or not a.startswith("_")}
        methods = {
            a: raw for a, raw in members.items() if inspect.isfunction(raw) or isinstance(raw, (staticmethod, classmethod))
        }
        if not methods:
            raise UsageError("usage.tool_unguardable", f"The class {cls.__name__} has no public methods.")
        for attribute, raw in sorted(methods.items()):
            if getattr(_function_of(raw), _MARK, False):
                continue
            action = name if attribute == _CALL else f"{name}.{attribute}"
            calling = self._action_calling(self._claimed(_function_of(raw), action), in_thread)
            setattr(cls, attribute, _rewrapped(raw, calling, is_method=True))
        return cls

    def _claimed(self, function: Function, name: str | None, *, is_sql: bool = False) -> str:
        """Returns a tool's name, which from now on is this function's.

        In rules a word such as `write` is what statements do. For a tool that takes SQL that is what has to be allowed anyway.

        Raises:
            UsageError: No rule could name it, or another function has it (``usage.tool_unguardable``).
        """
        claimed = name_of(function) if name is None else name
        if not isinstance(claimed, str) or not _NAME.fullmatch(claimed) or (claimed in ACTION_WORDS and not is_sql):
            known = "letters, digits and any of . _ / : -, other than an SQL action's name"
            message = f"{str(claimed)[:80]!r} cannot be the name of a tool: a name has {known}."
            raise UsageError("usage.tool_unguardable", message, hint="Give the decorator another name.")
        inner = implementation(function)
        owner = (str(getattr(inner, "__module__", "")), str(getattr(inner, "__qualname__", repr(inner))))
        with self._lock:
            if self._owners.setdefault(claimed, owner) != owner:
                message = f"Two functions would be the tool {claimed}, which rules could not tell apart."
                raise UsageError("usage.tool_unguardable", message, hint="Give one of them another name.")
        return claimed


def _function_of(target: object) -> Function:
    return cast(Function, target.__func__ if isinstance(target, (staticmethod, classmethod)) else target)


def _sql_argument(function: Function, chosen: str | None) -> str:
    if chosen is None:
        return find_sql_argument(function)
    if chosen not in inspect.signature(function).parameters:
        raise UsageError("usage.tool_unguardable", f"{name_of(function)} has no argument {chosen!r} that could hold SQL.")
    return chosen


def _rewrapped(target: Guardable, calling: Calling, *, is_method: bool = False) -> Guardable:
    """Wraps what is decorated; a static or class method stays one, in whichever order the decorators stand."""
    match target:
        case staticmethod():
            return cast(Guardable, staticmethod(_wrapped(target.__func__, calling, has_receiver=False)))
        case classmethod():
            return cast(Guardable, classmethod(_wrapped(target.__func__, calling, has_receiver=True)))
    function = cast(Function, target)
    return cast(Guardable, _wrapped(function, calling, has_receiver=is_method or _is_written_as_method(function)))


def _is_written_as_method(function: Function) -> bool:
    """Whether a function stands in a class and names its receiver as methods do."""
    enclosing = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    first = next(iter(inspect.signature(function).parameters), "")
    return bool(enclosing) and not enclosing.endswith("<locals>") and first in _RECEIVERS


def _wrapped(function: Function, calling: Calling, *, has_receiver: bool) -> Function:
    """Returns a function of the same signature and kind (sync, async, generator, async generator) that goes through a guard."""
    binder = _Binder(function, inspect.signature(function), has_receiver)
    made = _KINDS[_kind_of(function)](binder, calling)
    wrapped = functools.wraps(function)(made)
    setattr(wrapped, _MARK, True)
    return wrapped


def _kind_of(function: Function) -> str:
    inner: object = function
    if not (inspect.isroutine(function) or isinstance(function, functools.partial)):
        inner = type(function).__call__  # an object that can be called
    kinds = {
        "asyncgen": inspect.isasyncgenfunction(inner),
        "coroutine": inspect.iscoroutinefunction(inner),
        "generator": inspect.isgeneratorfunction(inner),
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "plain")


@dataclass(frozen=True, slots=True)
class _Binder:
    """Binds what a call is given to a function's signature."""

    function: Function
    signature: inspect.Signature
    has_receiver: bool

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Returns the call with its arguments by name, defaults filled in.

        Raises:
            TypeError: They do not fit the signature, as Python says.
            UsageError: A keyword argument has the name of another parameter (``usage.input_invalid``).
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments, receivers = dict(bound.arguments), dict[str, Any]()
        if self.has_receiver and args and type(args[0]) not in _NO_RECEIVERS:
            first = next(iter(self.signature.parameters.values()))
            if first.kind is not inspect.Parameter.VAR_POSITIONAL:
                receivers[first.name] = arguments.pop(first.name)
        spread = next((p.name for p in self.signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD), None)
        if spread is not None:
            further = arguments.pop(spread)
            if any(name in self.signature.parameters for name in further):
                raise UsageError("usage.input_invalid", "A keyword argument has the name of another parameter.")
            arguments |= further

        def given(named: dict[str, Any]) -> inspect.BoundArguments:
            known = receivers | {name: value for name, value in named.items() if name in self.signature.parameters}
            if spread is not None:
                known[spread] = {name: value for name, value in named.items() if name not in self.signature.parameters}
            return inspect.BoundArguments(self.signature, cast(Any, known))

        return Bound(_taking_names(self.function, given), arguments)


def _taking_names(function: Function, given: Callable[[dict[str, Any]], inspect.BoundArguments]) -> Function:
    """Returns a function that takes all arguments by name, and hands them on as the signature wants them."""

    @functools.wraps(function)
    def call(**named: Any) -> object:
        bound = given(named)
        return function(*bound.args, **bound.kwargs)

    @functools.wraps(function)
    async def acall(**named: Any) -> object:
        return await cast("Coroutine[Any, Any, object]", call(**named))

    return acall if _kind_of(function) == "coroutine" else call


def _plain(binder: _Binder, calling: Calling) -> Function:
    def run(*args: Any, **kwargs: Any) -> object:
        return calling.call(binder.bind(args, kwargs))

    return run


def _coroutine(binder: _Binder, calling: Calling) -> Function:
    async def arun(*args: Any, **kwargs: Any) -> object:
        return await calling.acall(binder.bind(args, kwargs))

    return arun


def _generator(binder: _Binder, calling: Calling) -> Function:
    def generate(*args: Any, **kwargs: Any) -> Iterator[object]:
        yield from cast("list[object]", calling.call(binder.bind(args, kwargs)))

    return generate


def _asyncgen(binder: _Binder, calling: Calling) -> Function:
    async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[object]:
        for item in cast("list[object]", await calling.acall(binder.bind(args, kwargs))):
            yield item

    return agenerate


_KINDS: dict[str, Callable[[_Binder, Calling], Function]] = {
    "plain": _plain,
    "coroutine": _coroutine,
    "generator": _generator,
    "asyncgen": _asyncgen,
}
