"""Operations of the HTTP API: what each takes, gives and needs, as data from which requests are checked and the document is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from guardrails.console.context import Console
from guardrails.console.viewer import Role, Viewer

__all__ = [
    "Answer",
    "Call",
    "Flag",
    "Given",
    "Identifier",
    "Index",
    "Label",
    "Nothing",
    "Operation",
    "Seconds",
    "Size",
    "operation",
]

Method: TypeAlias = Literal["GET", "POST"]
P = TypeVar("P", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)

_MOST_INDEX = 2**53 - 1


class Given(BaseModel):
    """What a caller sends: nothing beyond what is named, and no type made of another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


class Nothing(Given):
    """An operation takes no parameters, or no body."""


def _whole(value: object) -> object:
    """Numbers in an address are written as JSON writes whole numbers."""
    if not isinstance(value, str):
        return value
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (digits != "0" and digits.startswith("0")) or len(digits) > 17:
        raise ValueError("must be a whole number")
    return int(value)


def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Index = Annotated[int, Field(ge=0, le=_MOST_INDEX), BeforeValidator(_whole)]
"""Of an entry, from 0, or a size of the log."""
Seconds = Annotated[int, Field(ge=0, le=_MOST_INDEX), BeforeValidator(_whole)]
"""Unix seconds."""
Size = Annotated[int, Field(ge=1, le=200), BeforeValidator(_whole)]
"""How many items of a list."""
Flag = Annotated[bool, BeforeValidator(_flag)]
Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
"""An id of ours."""
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""A name that somebody else gave."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """One call of an operation: by whom, with what, and when (Unix seconds)."""

    console: Console
    viewer: Viewer
    parameters: P
    body: B
    now: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Args:
        method: Of HTTP.
        path: Below ``/api/v1``; names in braces are parameters.
        name: Its id in the document.
        summary: What it does, in a line.
        roles: Of which one is enough.
        parameters: Those of the path and of the query.
        body: What is sent along; `Nothing` for nothing.
        answer: What comes back.
        statuses: Of HTTP that its refusals may have, beyond those that every operation has.
        run: Does it.
    """

    method: Method
    path: str
    name: str
    summary: str
    roles: tuple[Role, ...]
    parameters: type[BaseModel]
    body: type[BaseModel]
    answer: type[BaseModel]
    statuses: tuple[int, ...]
    run: Callable[[Call[Any, Any]], BaseModel]


def operation(
    method: Method,
    path: str,
    answer: type[BaseModel],
    *,
    parameters: type[P] = Nothing,  # type: ignore[assignment]
    body: type[B] = Nothing,  # type: ignore[assignment]
    roles: tuple[Role, ...] = ("viewer",),
    statuses: tuple[int, ...] = (),
) -> Callable[[Callable[[Call[P, B]], BaseModel]], Operation]:
    """Decorates a function of a `Call`: it becomes an operation, named and summarised as the function is."""

    def decorate(run: Callable[[Call[P, B]], BaseModel]) -> Operation:
        summary = (run.__doc__ or "").strip().partition("\n")[0]
        return Operation(method, path, run.__name__, summary, roles, parameters, body, answer, statuses, run)

    return decorate
