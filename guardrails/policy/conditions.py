"""Conditions in CEL, the Common Expression Language (https://cel.dev): compiled when the policy is loaded, evaluated without effects.

A condition must be true or false; one that fails when it is evaluated denies, whatever the rule's effect.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from guardrails.model import Context, Principal

if TYPE_CHECKING:
    import cel

__all__ = ["VARIABLES", "CelArguments", "Condition", "ConditionError", "variables_of"]

VARIABLES = frozenset({"principal", "agent", "purpose", "action", "relation", "session", "arguments"})
"""What a condition may name."""

_FUNCTIONS = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches"),
        *("int", "uint", "double", "string", "bytes", "timestamp", "duration", "type", "dyn"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
_TYPE_NAMES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_ARGUMENT = re.compile(r"\barguments\b(?:\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\())?")
_WHOLE = range(-(2**63), 2**63)
_MACRO = r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*{}\s*,"


class ConditionError(ValueError):
    """A condition does not compile or does not evaluate to a truth value; the text says which, without values.

    `line` and `column` count from 1 inside the condition.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class CelArguments:
    """The arguments of a call as CEL knows them, and the names of those that it has no value for: a condition on them fails."""

    usable: Mapping[str, object]
    unusable: frozenset[str] = frozenset()

    @classmethod
    def of(cls, arguments: Mapping[str, object]) -> CelArguments:
        """Returns the arguments of a call."""
        usable = {name: _cel_value(value) for name, value in arguments.items() if _is_usable(value)}
        return cls(usable, frozenset(arguments) - frozenset(usable))


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition.

    Args:
        text: The CEL expression.
        variables: Names that it may use.

    Raises:
        ConditionError: It is not CEL, or names what does not exist.
    """

    text: str
    variables: frozenset[str] = VARIABLES
    _program: cel.Program = field(init=False, repr=False, compare=False)
    _arguments: frozenset[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The package brings its own command line along; policies without conditions do not pay for importing it.
        import cel

        try:
            program = cel.compile(self.text)
        except ValueError as error:
            raise _syntax_error(str(error)) from None
        object.__setattr__(self, "_program", program)
        named = frozenset(_ARGUMENT.findall(self.text))
        # Where `arguments` stands without a name after it, all of them are looked at.
        object.__setattr__(self, "_arguments", None if "" in named else named)
        for name in program.variables():
            if name not in self.variables | _TYPE_NAMES and not re.search(_MACRO.format(re.escape(name)), self.text):
                raise self._unknown("variable", name, self.variables)
        for name in program.functions():
            if name.isidentifier() and not name.startswith("_") and name not in _FUNCTIONS:
                raise self._unknown("function", name, _FUNCTIONS)
        if not program.variables():
            self.holds({})

    def holds(self, values: Mapping[str, object]) -> bool:
        """Evaluates the condition.

        Args:
            values: Of the variables, by name.

        Raises:
            ConditionError: It failed, or gave something else than true or false.
        """
        given = values.get("arguments")
        if isinstance(given, CelArguments):
            values = {**values, "arguments": self._looked_at(given)}
        try:
            result = self._program.execute(dict(values))
        except Exception as error:  # noqa: BLE001  whatever goes wrong inside a condition, the answer is a refusal
            raise ConditionError(f"failed ({type(error).__name__})") from None
        if not isinstance(result, bool):
            raise ConditionError("is not true or false")
        return result

    def _looked_at(self, given: CelArguments) -> Mapping[str, object]:
        if given.unusable if self._arguments is None else given.unusable & self._arguments:
            raise ConditionError("looks at an argument that CEL has no value for")
        return given.usable

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> ConditionError:
        near = difflib.get_close_matches(name, sorted(known), 1)
        meant = f"did you mean `{near[0]}`" if near else f"known are {', '.join(sorted(known))}"
        before = self.text[: max(0, self.text.find(name))]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return ConditionError(f"names the unknown {kind} `{name}`; {meant}", line, column)


def variables_of(principal: Principal, context: Context) -> dict[str, object]:
    """Returns the values of all variables but `action` and `relation`, which differ from use to use.

    `arguments` are those of the tool's call; there are none where a statement comes without one.

    `principal` has id, groups, issuer, verified and the ids of its actors, the attributes by their names, and all of these once more as
    `attributes`. What is not known is an empty text.
    """
    attributes = {name: _cel_value(value) for name, value in principal.attributes.items()}
    person = attributes | {
        "id": principal.id,
        "groups": sorted(principal.groups),
        "issuer": principal.issuer or "",
        "verified": principal.verified,
        "actors": [actor.id for actor in principal.actors],
        "attributes": attributes,
    }
    session = {
        "id": context.session_id,
        "model": context.model or "",
        "conversation": context.conversation_id or "",
        "tool": context.tool or "",
        "agent_key": context.agent_key or "",
    }
    return {
        "principal": person,
        "agent": context.agent or "",
        "purpose": context.purpose or "",
        "session": session,
        "arguments": CelArguments.of(context.arguments),
    }


def _cel_value(value: object) -> object:
    match value:
        case datetime() if value.tzinfo is not None:
            return value
        case UUID():
            return str(value)
        case Decimal():
            return math.nan if value.is_nan() else float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            return {str(name): _cel_value(item) for name, item in value.items()}
        case set() | frozenset():
            return sorted((_cel_value(item) for item in value), key=repr)
        case list() | tuple():
            return [_cel_value(item) for item in value]
    return value


def _is_usable(value: object) -> bool:
    """Whether CEL has a value that compares as this one does: not for whole numbers beyond 64 bits, NaN, or what is no text."""
    match value:
        case None | bool() | bytes() | date() | time() | timedelta() | UUID():
            return True
        case int():
            return value in _WHOLE
        case float():
            return not math.isnan(value)
        case Decimal():
            return not value.is_nan()
        case str():
            return value.isascii() or value.encode("utf-8", "replace").decode() == value
        case Mapping():
            return all(isinstance(name, str) and _is_usable(name) and _is_usable(item) for name, item in value.items())
        case list() | tuple() | set() | frozenset():
            return all(map(_is_usable, value))
    return False


def _syntax_error(text: str) -> ConditionError:
    found = _PLACE.search(text)
    if found is None:
        return ConditionError("is not valid CEL")
    # The list of everything that could have stood there helps nobody.
    message = re.sub(r" expecting .*", "", found[3]).strip()
    return ConditionError(f"is not valid CEL: {message}", int(found[1]), int(found[2]))
