"""Masks for dialects that are judged only: constants of the column's type. What depends on the value could be tried on no engine here.

A column of a type that is not known can be masked by NULL alone; see `guardrails.masking.judged_types`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from guardrails.errors import StatementError
from guardrails.masking.judged_types import JUDGED_TYPES
from guardrails.masking.kinds import Options, constant
from guardrails.masking.types import ColumnType
from guardrails.model import DialectName, Mask, MaskExpression, Value

__all__ = ["JUDGED_EXPRESSIONS", "apply"]

Expression = Callable[[Mask, ColumnType, Options, bytes], MaskExpression]

_CONSTANTS = frozenset({"full", "null", "fixed"})
_PLAIN_TEXT = re.compile(r"[^'\\\x00-\x1f\x7f]*")


def _expression_of(dialect: DialectName) -> Expression:
    """Returns the function that gives a dialect's expressions; type and options fit together.

    The function raises:
        StatementError: The mask depends on the value, or its constant cannot be written for certain (``mask.unsupported``).
    """

    def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:  # noqa: ARG001 - as in the others
        if mask.kind not in _CONSTANTS:
            raise _unsupported(
                f"The mask `{mask.kind}` of {mask.column} cannot be written for {dialect}, which is judged only."
            )
        value = constant(mask, type_, options, "postgres")
        if type_.family == "unknown":
            return MaskExpression("NULL")
        text = _literal(value, type_, dialect)
        if text is None:
            raise _unsupported(f"The constant of the mask of {mask.column} cannot be written for {dialect}.")
        return MaskExpression(text)

    return expression


JUDGED_EXPRESSIONS: Mapping[DialectName, Expression] = {name: _expression_of(name) for name in JUDGED_TYPES}
"""By dialect, the function that gives a mask as SQL."""


def apply(mask: Mask, type_: ColumnType, options: Options, value: Value | None, key: bytes) -> Value | None:  # noqa: ARG001
    """Returns what the expression yields for a stored value (the Python twin): a constant."""
    return constant(mask, type_, options, "postgres")


def _literal(value: Value | None, type_: ColumnType, dialect: DialectName) -> str | None:
    """Returns a value as a constant of the type, None when what stands in it could be read in several ways."""
    if value is None:
        return f"CAST(NULL AS {type_.sql})"
    if dialect == "oracle" and isinstance(value, date):
        # A cast would depend on the session's date format.
        is_moment = isinstance(value, datetime)
        function, picture = ("TO_TIMESTAMP", "YYYY-MM-DD HH24:MI:SS.FF6") if is_moment else ("TO_DATE", "YYYY-MM-DD")
        return f"{function}('{_moment(value, dialect) if is_moment else value.isoformat()}', '{picture}')"
    text = _plain(value, dialect)
    return f"CAST({text} AS {type_.sql})" if text is not None else None


def _plain(value: Value, dialect: DialectName) -> str | None:
    match value:
        case bool():
            return str(int(value)) if dialect == "tsql" else str(value).upper()
        case Decimal():
            return format(value, "f")
        case int() | float():
            return repr(value)
        case datetime():
            return f"'{_moment(value, dialect)}'"
        case date() | time() | UUID():
            return f"'{value}'"
        case str():
            # Without N before it, a constant of T-SQL is cut down to the code page of the database.
            is_plain = _PLAIN_TEXT.fullmatch(value) is not None and (value.isascii() or dialect != "tsql")
            return f"'{value}'" if is_plain else None
    return None


def _moment(value: date, dialect: DialectName) -> str:
    """Returns a timestamp's text; T-SQL reads the form with a T the same way in every language."""
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    text = moment.strftime("%Y-%m-%dT%H:%M:%S" if dialect == "tsql" else "%Y-%m-%d %H:%M:%S")
    text += moment.strftime(".%f") if moment.microsecond else ""
    offset = moment.strftime("%z")
    blank = " " if dialect == "trino" else ""
    return f"{text}{blank}{offset[:3]}:{offset[3:5]}" if offset else text


def _unsupported(message: str) -> StatementError:
    return StatementError(
        "mask.unsupported", message, hint="Leave the column out; the masks full, null and fixed can be written."
    )
