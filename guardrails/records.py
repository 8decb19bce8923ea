"""Objects that are plain data: dataclasses and pydantic models that hold their fields and nothing else."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TypeVar, cast

from pydantic import BaseModel

__all__ = ["fields_of", "with_fields"]

T = TypeVar("T")


def fields_of(value: object) -> dict[str, object] | None:
    """Returns what a dataclass or a pydantic model holds; None for anything else, and where it holds more than its fields."""
    if isinstance(value, BaseModel):
        return None if value.__pydantic_private__ else dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        if set(getattr(value, "__dict__", ())) <= set(names):
            return {name: getattr(value, name, None) for name in names}
    return None


def with_fields(value: T, fields: Mapping[str, object]) -> T:
    """Returns a copy of such an object with other values in its fields."""
    if isinstance(value, BaseModel):
        return cast(T, value.model_copy(update=dict(fields)))
    made = copy.copy(value)
    for name, item in fields.items():
        object.__setattr__(made, name, item)  # frozen ones too: nobody else has the copy yet
    return made
