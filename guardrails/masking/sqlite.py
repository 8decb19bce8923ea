"""Masks as SQLite expressions, over functions that the engine registers on its connections.

Text reaches them as bytes, so that a text that is not valid UTF-8 is masked like any other instead of raising an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Any

from guardrails.masking import values
from guardrails.masking.derived_keys import derived_key, key_name
from guardrails.masking.kinds import MASK_KINDS, SUBJECT, Options, constant, hides_nulls, null_stand_in
from guardrails.masking.types import ColumnType
from guardrails.model import Mask, MaskExpression, Value

__all__ = ["SqliteFunction", "apply", "expression", "sqlite_functions"]

SqliteFunction = Callable[..., Value | None]

_PREFIX = "guardrails_mask_"
_COLUMN = '"__column__"'
_ARGUMENT = f"CASE WHEN typeof({_COLUMN}) = 'text' THEN CAST({_COLUMN} AS BLOB) ELSE {_COLUMN} END"
_REMEMBERED, _LONGEST = 16_384, 100
"""How many values of a mask are remembered, and the longest of them in characters or bytes."""
# An expression has no affinity of its own; a cast gives it the column's, on which comparisons depend.
_AFFINITIES = {"text": "TEXT", "integer": "INTEGER", "float": "REAL", "bytes": "BLOB"}


def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    """Returns the expression; mask, type and options fit together (`guardrails.masking.kinds.options_of`)."""
    written = _expression(mask, type_, options, key)
    if not hides_nulls(options):
        return written
    known = f"coalesce({_COLUMN}, {_literal(null_stand_in(mask, type_, 'sqlite'))})"
    return replace(written, sql=written.sql.replace(_COLUMN, known))


def _expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    if mask.kind in {"full", "null", "fixed"}:
        return MaskExpression(_cast(_literal(constant(mask, type_, options, "sqlite")), type_))
    name = f"{_PREFIX}{_function(mask.kind, type_)}"
    if mask.kind in {"hash", "pseudonym"}:
        parameter = f"{key_name(mask.kind, options)}_key"
        call = f"{name}({_ARGUMENT}, :{parameter})"
        return MaskExpression(_cast(call, type_), {parameter: derived_key(key, mask.kind, options)})
    if mask.kind == "shift":
        parameter, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
        return MaskExpression(f"{name}({_ARGUMENT}, :{parameter})", {parameter: days})
    if mask.kind == "noise":
        parameter = f"{key_name(mask.kind, options)}_key"
        call = f"{name}({_ARGUMENT}, {options['spread']}, :{parameter})"
        return MaskExpression(call, {parameter: derived_key(key, mask.kind, options)})
    call = f"{name}({', '.join([_ARGUMENT, *(_literal(option) for option in _own(mask, options))])})"
    return MaskExpression(call if mask.kind in {"date", "bucket", "round"} else _cast(call, type_))


def sqlite_functions() -> Mapping[str, tuple[int, SqliteFunction]]:
    """Returns the functions to register (all deterministic): name to number of arguments and function.

    The dear ones remember what they said of short values: SQLite asks again for each row that a join looks at.
    """
    return _FUNCTIONS


def apply(mask: Mask, type_: ColumnType, options: Options, value: Value | None, key: bytes) -> Value | None:
    """Returns what the expression yields for a stored value (the Python twin)."""
    if mask.kind in {"full", "null", "fixed"}:
        return constant(mask, type_, options, "sqlite")
    _, function = sqlite_functions()[_PREFIX + _function(mask.kind, type_)]
    stored = int(value) if isinstance(value, bool) else value
    if mask.kind in {"hash", "pseudonym"}:
        return function(stored, derived_key(key, mask.kind, options))
    if mask.kind == "shift":
        return function(stored, values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)[1])
    if mask.kind == "noise":
        return function(stored, options["spread"], derived_key(key, "noise", options))
    return function(stored, *_own(mask, options))


def _own(mask: Mask, options: Options) -> list[str | int]:
    """The values of the kind's own options, in their order."""
    return [options[name] for name, _ in MASK_KINDS[mask.kind].options]


def _function(kind: str, type_: ColumnType) -> str:
    if kind == "pseudonym" and type_.family == "integer":
        return "pseudonym_integer"
    return "hash_bytes" if kind == "hash" and type_.family == "bytes" else kind


def _cast(sql: str, type_: ColumnType) -> str:
    affinity = _AFFINITIES.get(type_.family)
    return f"CAST({sql} AS {affinity})" if affinity and sql != "NULL" else sql


def _literal(value: Value | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return "''"
    return repr(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


def _remembering(function: SqliteFunction) -> SqliteFunction:
    known = lru_cache(_REMEMBERED, typed=True)(function)

    @wraps(function)
    def answer(value: Any, *options: Any) -> Value | None:
        # The two zeros are equal, and a mask may tell them apart; what is long would fill the memory.
        if value and (isinstance(value, (int, float)) or (isinstance(value, (bytes, str)) and len(value) <= _LONGEST)):
            return known(value, *options)
        return function(value, *options)

    return answer


def _bytes(value: Value | None) -> bytes:
    """Returns the bytes of SQLite's text form of a value (``%!.15g`` for reals)."""
    match value:
        case bytes():
            return value
        case float():
            text = format(value, ".15g")
            return (text if set(text) - set("-0123456789") else f"{text}.0").encode()
    return str(value).encode("utf-8", "replace")


def _text(value: Value | None) -> str:
    return _bytes(value).decode("utf-8", "replace")


def _hash(value: Value | None, key: bytes) -> str | None:
    return None if value is None else values.keyed_digest(_bytes(value), key).hex()


def _hash_bytes(value: Value | None, key: bytes) -> bytes | None:
    return None if value is None else values.keyed_digest(_bytes(value), key)


def _pseudonym(value: Value | None, key: bytes) -> str | None:
    return None if value is None else values.pseudonym_text(_bytes(value), key)


def _pseudonym_integer(value: Value | None, key: bytes) -> int | None:
    return None if value is None else values.pseudonym_integer(_bytes(value), key, 64)


def _partial(value: Value | None, first: int, last: int) -> str | None:
    return None if value is None else values.partial(_text(value), first, last)


def _email(value: Value | None) -> str | None:
    return None if value is None else values.email(_text(value))


def _date(value: Value | None, period: str) -> str | int | None:
    if isinstance(value, int):
        return values.truncate_epoch(value, period)
    return values.truncate_text(_text(value), period) if isinstance(value, (str, bytes)) else None


def _bucket(value: Value | None, size: int) -> Value | None:
    return values.bucket(value, size) if isinstance(value, (int, float)) else None


def _round(value: Value | None, digits: int) -> Value | None:
    return values.round_to(value, digits) if isinstance(value, (int, float)) else None


def _noise(value: Value | None, spread: int, key: bytes) -> int | None:
    """Of the whole number nearby; None for what is no number, or beyond SQLite's integers."""
    if isinstance(value, float):
        value = round(value) if abs(value) < 2**63 else None
    if not isinstance(value, int):
        return None
    return min(max(int(values.noise(value, spread, key)), -(2**63)), 2**63 - 1)


def _shift(value: Value | None, days: int) -> str | int | None:
    if isinstance(value, int):
        return values.shift_epoch(value, days)
    return values.shift_text(_text(value), days) if isinstance(value, (str, bytes)) else None


_CHEAP: tuple[tuple[int, SqliteFunction], ...] = ((3, _partial), (1, _email), (2, _bucket))
_DEAR: tuple[tuple[int, SqliteFunction], ...] = (
    *((2, _hash), (2, _hash_bytes), (2, _pseudonym), (2, _pseudonym_integer)),
    *((3, _noise), (2, _round), (2, _date), (2, _shift)),
)
_FUNCTIONS: Mapping[str, tuple[int, SqliteFunction]] = {
    f"{_PREFIX}{function.__name__.removeprefix('_')}": (count, known)
    for count, function, known in (*((c, f, f) for c, f in _CHEAP), *((c, f, _remembering(f)) for c, f in _DEAR))
}
"""Looking up what was said takes about a microsecond, as the cheap ones do."""
