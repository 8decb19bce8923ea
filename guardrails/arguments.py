"""What a function is called with, taken once: a copy that the call gets, and the same as plain data, which is judged and recorded.

Between the judgement and the call nothing can change what was judged: a list that another thread still holds is not the one that the
function gets. What is no data (a connection, a framework's context object) is handed on as it is; rules that look at it refuse.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from guardrails.errors import UsageError
from guardrails.model import Given, Opaque, Value
from guardrails.records import fields_of

__all__ = ["Arguments"]

_MOST_LEVELS = 64
_ATOMS = (str, int, float, bytes, Decimal, date, time, timedelta, UUID, PurePath, Enum)
"""Types whose values never change; `bool` is an `int`, `datetime` a `date`."""
_CONTAINERS = (list, tuple, set, frozenset, dict, bytearray)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call.

    Args:
        passed: What the function gets, by name.
        seen: The same as plain data; an `Opaque` stands for what is none.
    """

    passed: Mapping[str, Any]
    seen: Mapping[str, Given]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Arguments:
        """Takes the arguments of a call.

        Raises:
            UsageError: They change while they are copied (``usage.input_invalid``).
        """
        try:
            passed = {name: _copied(value, 0) for name, value in given.items()}
        except RuntimeError as error:
            raise UsageError("usage.input_invalid", "The arguments change while the call is made.") from error
        # Of the copy, so that both say the same.
        return cls(passed, {str(name): _seen(value, 0) for name, value in passed.items()})

    def without(self, *names: str | None) -> Mapping[str, Given]:
        """Returns the plain data of all other arguments."""
        return {name: value for name, value in self.seen.items() if name not in names}


def _copied(value: object, level: int) -> Any:
    """Copies what is data and can change; everything else is as it was."""
    if value is None or isinstance(value, _ATOMS) or level > _MOST_LEVELS:
        return value
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return kind(_copied(item, level + 1) for item in tuple(cast("list[object]", value)))
    if kind is dict:
        return {key: _copied(item, level + 1) for key, item in tuple(cast("dict[object, object]", value).items())}
    is_data = isinstance(value, _CONTAINERS) or fields_of(value) is not None
    if is_data and not isinstance(_seen(value, level), Opaque):
        return copy.deepcopy(value)
    return value


def _seen(value: object, level: int) -> Given:
    if level > _MOST_LEVELS:
        return Opaque("nested value")
    match value:
        case None | bool():
            return value
        case Enum():
            return _seen(value.value, level + 1)
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case bytes() | bytearray():
            return bytes(value)
        case Decimal() | date() | time() | timedelta() | UUID():
            return value
        case PurePath():
            return str(value)
        case list() | tuple():
            return _items([_seen(item, level + 1) for item in value])
        case set() | frozenset():
            return _items(sorted((_seen(item, level + 1) for item in value), key=repr))
        case dict():
            return _members(dict(value), level)
    fields = fields_of(value)
    return Opaque(type(value).__name__) if fields is None else _members(fields, level)


def _items(items: list[Given]) -> Given:
    return next((item for item in items if isinstance(item, Opaque)), None) or cast("list[Value]", items)


def _members(members: Mapping[Any, object], level: int) -> Given:
    names = [str(name) for name in members]
    if len(set(names)) != len(names):
        return Opaque("mapping")  # 1 and "1" are two keys that would become one
    seen = dict(zip(names, (_seen(item, level + 1) for item in members.values()), strict=True))
    return next((item for item in seen.values() if isinstance(item, Opaque)), None) or cast("dict[str, Value]", seen)
