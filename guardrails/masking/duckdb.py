"""Masks as DuckDB expressions."""

from __future__ import annotations

from guardrails.masking.kinds import Options
from guardrails.masking.types import ColumnType
from guardrails.model import Mask, MaskExpression, Value

__all__ = ["apply", "expression"]


def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    """Returns the expression; mask, type and options fit together (`guardrails.masking.kinds.options_of`)."""
    raise NotImplementedError


def apply(mask: Mask, type_: ColumnType, options: Options, value: Value | None, key: bytes) -> Value | None:
    """Returns what the expression yields for a stored value (the Python twin)."""
    raise NotImplementedError
