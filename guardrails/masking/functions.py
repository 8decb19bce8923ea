"""A mask obligation as SQL that stands where the column stood, and as the Python function that gives the same.

| kind | yields | NULL |
|---|---|---|
| ``full`` | a constant of the column's type | the constant |
| ``null`` | NULL | NULL |
| ``fixed`` {value} | the value that the policy names | the value |
| ``partial`` {first, last} | the first and last characters around ``***`` | NULL |
| ``hash`` | HMAC-SHA256, in hexadecimal for text | NULL |
| ``pseudonym`` | ``tok_`` and 20 digits, a number for integers, a UUID for UUIDs | NULL |
| ``email`` | ``***@`` and the domain | NULL |
| ``date`` {to} | the beginning of the year, quarter, month, week, day, hour (UTC) | NULL |
| ``shift`` {days} | the date moved by up to so many days, for each person by the same number | NULL |
| ``bucket`` {size} | the multiple of size below | NULL |
| ``round`` {digits} | rounded half away from zero | NULL |
| ``noise`` {spread} | the whole number nearby, moved by at most `spread`, each value always alike | NULL |

With the option ``nulls: hide`` NULL is masked as if it were the constant of ``full`` (`kinds.null_stand_in`). With ``per`` the key of
``hash``, ``pseudonym`` and ``noise`` is another one for each value of that attribute of the principal's (`derived_keys`).

The first three are the same for every row and so tell nothing. The others tell what they keep, and whether the value is NULL;
`hash` and `pseudonym` tell which rows are equal, across columns and tables, so that joins and groups still work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from guardrails.errors import StatementError
from guardrails.masking import duckdb, judged, mysql, postgres, sqlite, values
from guardrails.masking.derived_keys import derived_key
from guardrails.masking.judged_types import JUDGED_TYPES
from guardrails.masking.kinds import PER, SUBJECT, Options, constant, hides_nulls, null_stand_in, options_of
from guardrails.masking.types import ColumnType
from guardrails.model import Column, DialectName, Mask, MaskExpression, Value

__all__ = ["check_mask", "mask_expression", "mask_value"]

_EXPRESSIONS: dict[DialectName, Callable[[Mask, ColumnType, Options, bytes], MaskExpression]] = {
    "sqlite": sqlite.expression,
    "postgres": postgres.expression,
    "mysql": mysql.expression,
    "duckdb": duckdb.expression,
    **judged.JUDGED_EXPRESSIONS,
}
_TWINS: dict[DialectName, Callable[[Mask, ColumnType, Options, Value | None, bytes], Value | None]] = {
    "sqlite": sqlite.apply,
    "mysql": mysql.apply,
    "duckdb": duckdb.apply,
    **dict.fromkeys(JUDGED_TYPES, judged.apply),
}


def mask_expression(mask: Mask, column: Column, dialect: DialectName, key: bytes) -> MaskExpression:
    """Returns a mask as SQL.

    Args:
        mask: The obligation; its kind is one of `guardrails.masking.kinds.MASK_KINDS`.
        column: The column with its declared type, which the expression keeps (in SQLite: its affinity).
        dialect: The engine's dialect. SQLite needs `guardrails.masking.sqlite_functions` registered.
        key: The mask key, 32 bytes. What is bound is derived from it.

    Returns:
        The expression; bound values are the same for all masks of one kind under one key.

    Raises:
        PolicyError: Mask, options and column do not fit together (policy.mask_invalid).
        StatementError: The dialect is judged only and the mask cannot be written in it (mask.unsupported).

    Example:
        >>> from guardrails.model import ColumnRef
        >>> mask = Mask(ColumnRef("customers", "ssn"), "full")
        >>> mask_expression(mask, Column("ssn", "text"), "postgres", bytes(32)).sql
        "CAST('***' AS text)"
    """
    type_, options = options_of(mask, column, dialect)
    return _EXPRESSIONS[dialect](mask, type_, options, key)


def check_mask(mask: Mask, column: Column, dialect: DialectName) -> None:
    """Raises PolicyError (policy.mask_invalid) when mask, options and column do not fit together.

    A mask that cannot be written in a dialect that is judged only is no fault of the policy: what needs it is refused.
    """
    given = dict(mask.options)
    whose = () if PER not in given or SUBJECT in given else ((SUBJECT, ""),)
    with suppress(StatementError):
        mask_expression(replace(mask, options=(*mask.options, *whose)), column, dialect, bytes(32))


def mask_value(
    mask: Mask, column: Column, value: Value | None, key: bytes, *, dialect: DialectName = "postgres"
) -> Value | None:
    """Returns what `mask_expression` yields for a value, as the engine's driver returns it.

    Raises:
        PolicyError: Mask, options and column do not fit together (policy.mask_invalid).
    """
    type_, options = options_of(mask, column, dialect)
    if value is None and hides_nulls(options):
        value = null_stand_in(mask, type_, dialect)
    if dialect in _TWINS:
        return _TWINS[dialect](mask, type_, options, value, key)
    if mask.kind in {"full", "null", "fixed"}:
        return constant(mask, type_, options, "postgres")
    return None if value is None else _postgres_value(mask, type_, options, value, key)


def _postgres_value(mask: Mask, type_: ColumnType, options: Options, value: Value, key: bytes) -> Value | None:
    match mask.kind, value:
        case ("hash", bytes()):
            return values.keyed_digest(value, derived_key(key, "hash", options))
        case ("hash", str()):
            return type_.fit(values.keyed_digest(_data(value, type_), derived_key(key, "hash", options)).hex())
        case ("pseudonym", int()):
            return values.pseudonym_integer(_data(value, type_), derived_key(key, "pseudonym", options), type_.bits)
        case ("pseudonym", UUID()):
            return UUID(bytes=values.keyed_digest(_data(value, type_), derived_key(key, "pseudonym", options))[:16])
        case ("pseudonym", str()):
            return type_.fit(values.pseudonym_text(_data(value, type_), derived_key(key, "pseudonym", options)))
        case ("partial", str()):
            return type_.fit(values.partial(_unpadded(value, type_), int(options["first"]), int(options["last"])))
        case ("email", str()):
            return type_.fit(values.email(_unpadded(value, type_)))
        case ("date", datetime()):
            moment = value.astimezone(UTC) if value.tzinfo else value
            return values.truncate(moment, str(options["to"]))
        case ("date", date()):
            return values.truncate(datetime(value.year, value.month, value.day), str(options["to"])).date()  # noqa: DTZ001
        case ("noise", int() | Decimal()):
            return _held(values.noise(value, int(options["spread"]), derived_key(key, "noise", options)), type_)
        case ("shift", datetime() | date()):
            _, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
            return values.shift_value(value, days)
        case ("bucket" | "round", int() | float() | Decimal()):
            return _number(mask.kind, type_, options, value)
    return None


def _held(value: int | Decimal, type_: ColumnType) -> int | Decimal:
    """Holds a whole number within the range of its type."""
    if isinstance(value, int):
        largest = int(2 ** (type_.bits - 1)) - 1
        return min(max(value, -largest - 1), largest)
    if type_.precision is None or not value.is_finite():
        return value
    most = Decimal(int(10 ** max(type_.precision - type_.scale, 0)) - 1)
    return min(max(value, -most), most)


def _number(kind: str, type_: ColumnType, options: Options, value: int | float | Decimal) -> Value | None:
    is_single = type_.family == "float" and type_.bits == 32
    exact = values.single(float(value)) if is_single else value
    if kind == "bucket":
        masked = values.bucket(exact, int(options["size"]), type_.bits)
    else:
        masked = values.round_to(exact, int(options["digits"]), type_.bits)
    return values.single(masked) if is_single and isinstance(masked, float) else masked


def _unpadded(text: str, type_: ColumnType) -> str:
    return text.rstrip(" ") if type_.is_blank_padded or type_.sql == "bpchar" else text


def _data(value: Value | None, type_: ColumnType) -> bytes:
    return (_unpadded(value, type_) if isinstance(value, str) else str(value)).encode()
