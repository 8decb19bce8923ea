"""What a LangChain tool returns, taken apart for the scan and put together again from what the scan left.

Messages, commands, documents and artifacts keep their types. Whatever is put together holds only values that were scanned; where the scan
changed a shape, its plain form is returned instead.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

__all__ = ["Returned"]

_OF_MESSAGES = frozenset({"id", "tool_call_id", "type", "name", "status"})
_OF_COMMANDS = frozenset({"graph", "goto"})
"""Fields that steer the framework and that no model reads as content."""


class Returned:
    """Holds what one call returned, between taking it apart and putting it together."""

    def __init__(self) -> None:
        self._value: object = None

    def taken(self, value: object) -> object:
        """Returns plain lists and dictionaries of what a function returned; a coroutine of them when it returned an awaitable."""
        if inspect.isawaitable(value):
            return self._awaited(value)
        self._value = list(value) if inspect.isgenerator(value) else value
        return _plain(self._value)

    def together(self, scanned: object) -> Any:
        """Returns what was taken apart, with what the scan left of it."""
        return _rebuilt(self._value, scanned)

    async def _awaited(self, value: Awaitable[object]) -> object:
        return self.taken(await value)


def _plain(value: object) -> object:
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            fields = _fields(value)
            return value if fields is None else {name: _plain(getattr(value, name)) for name in fields}


def _rebuilt(value: object, scanned: object) -> object:
    match value, scanned:
        case Mapping(), dict() if [str(key) for key in value] == list(scanned):
            return {key: _rebuilt(item, scanned[str(key)]) for key, item in value.items()}
        case (list() | tuple(), list()) if len(scanned) <= len(value):
            # Rows beyond a limit are gone.
            items = [_rebuilt(item, found) for item, found in zip(value, scanned, strict=False)]
            return tuple(items) if isinstance(value, tuple) else items
        case (set() | frozenset(), list()):
            return value if scanned == _plain(value) else scanned
        case _:
            fields = _fields(value)
            if fields is None or not isinstance(scanned, dict) or list(scanned) != list(fields):
                return scanned
            return _replaced(value, {name: _rebuilt(getattr(value, name), scanned[name]) for name in fields})


def _fields(value: object) -> Iterable[str] | None:
    """The fields of a model or a dataclass that are looked through; None for everything else."""
    if isinstance(value, BaseModel):
        kept = _OF_MESSAGES if isinstance(value, BaseMessage) else frozenset()
        return [name for name in [*type(value).model_fields, *(value.model_extra or {})] if name not in kept]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = _OF_COMMANDS if type(value).__name__ == "Command" else frozenset()
        return [field.name for field in dataclasses.fields(value) if field.init and field.name not in kept]
    return None


def _replaced(value: Any, fields: Mapping[str, object]) -> object:
    if isinstance(value, BaseModel):
        return value.model_copy(update=dict(fields))
    try:
        return dataclasses.replace(value, **fields)
    except (TypeError, ValueError):
        # Not every dataclass can be made from its fields.
        return fields
