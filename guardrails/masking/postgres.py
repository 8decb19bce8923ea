"""Masks as PostgreSQL expressions, of functions in `pg_catalog` alone and of the column's own type.

None of them raises an error for any stored value: what would overflow is held within the type's range. Keyed masks spell
out HMAC-SHA256 (RFC 2104) with `sha256(bytea)`, over two blocks that are computed beforehand and bound as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from uuid import UUID

from guardrails.masking.derived_keys import hmac_blocks, key_name
from guardrails.masking.kinds import SUBJECT, Options, constant, hides_nulls, null_stand_in
from guardrails.masking.types import ColumnType
from guardrails.masking.values import (
    DOMAIN_CHARACTERS,
    HIDDEN,
    LARGEST_FLOAT,
    MIN_HIDDEN,
    SHIFTED_YEARS,
    TOKEN_HEX_DIGITS,
    TOKEN_PREFIX,
    shift_binding,
)
from guardrails.model import Mask, MaskExpression, Value

__all__ = ["expression"]

_COLUMN = '"__column__"'
_Build = Callable[[ColumnType, Options], str]
_BuildKeyed = Callable[[ColumnType, str], str]


def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    """Returns the expression; mask, type and options fit together (`guardrails.masking.kinds.options_of`)."""
    written = _expression(mask, type_, options, key)
    if not hides_nulls(options):
        return written
    known = f"coalesce({_COLUMN}, {_literal(null_stand_in(mask, type_, 'postgres'), type_)})"
    return replace(written, sql=written.sql.replace(_COLUMN, known))


def _expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    if mask.kind in {"full", "null", "fixed"}:
        return MaskExpression(_literal(constant(mask, type_, options, "postgres"), type_))
    if mask.kind in {"hash", "pseudonym"}:
        return MaskExpression(_KEYED[mask.kind](type_, key_name(mask.kind, options)), hmac_blocks(key, mask.kind, options))
    if mask.kind == "shift":
        name, days = shift_binding(int(options["days"]), str(options[SUBJECT]), key)
        return MaskExpression(_shift(type_, name), {name: days})
    if mask.kind == "noise":
        noised = _noise(type_, int(options["spread"]), key_name(mask.kind, options))
        return MaskExpression(noised, hmac_blocks(key, mask.kind, options))
    return MaskExpression(_PLAIN[mask.kind](type_, options))


def _literal(value: Value | None, type_: ColumnType) -> str:
    if value is None:
        if type_.family != "unknown" or type_.is_known_array:
            return f"CAST(NULL AS {type_.sql})"
        # The type of a branch that is never taken, for types whose names this library cannot cast to. The planner sees the column there.
        return f"CASE WHEN FALSE THEN {_COLUMN} END"
    match value:
        case bool():
            text = "true" if value else "false"
        case bytes():
            text = ""
        case datetime():
            text = value.isoformat(" ")
        case date() | time():
            text = value.isoformat()
        case timedelta():
            text = "0"
        case dict() | list():
            text = json.dumps(value)
        case UUID() | str() | int() | float():
            text = str(value)
        case _:
            text = format(value, "f")
    if type_.family == "json" and not isinstance(value, (dict, list)):
        text = json.dumps(value)
    escaped = text.replace("'", "''")
    return f"CAST('{escaped}' AS {type_.sql})"


def _digest(key: str, type_: ColumnType) -> str:
    return _hmac(key, _COLUMN if type_.family == "bytes" else f"convert_to(CAST({_COLUMN} AS text), 'UTF8')")


def _hmac(key: str, data: str) -> str:
    inner = f"sha256(CAST(:{key}_inner AS bytea) || {data})"
    return f"sha256(CAST(:{key}_outer AS bytea) || {inner})"


def _hash(type_: ColumnType, key: str) -> str:
    digest = _digest(key, type_)
    return digest if type_.family == "bytes" else f"CAST(encode({digest}, 'hex') AS {type_.sql})"


def _pseudonym(type_: ColumnType, key: str) -> str:
    hexadecimal = f"encode({_digest(key, type_)}, 'hex')"
    if type_.family == "uuid":
        return f"CAST(left({hexadecimal}, 32) AS uuid)"
    if type_.family == "integer":
        number = f"CAST(CAST('x' || left({hexadecimal}, 16) AS bit(64)) AS bigint)"
        return f"CAST(({number} & {2 ** (type_.bits - 1) - 1}) AS {type_.sql})"
    return f"CAST('{TOKEN_PREFIX}' || left({hexadecimal}, {TOKEN_HEX_DIGITS}) AS {type_.sql})"


def _partial(type_: ColumnType, options: Options) -> str:
    text, first, last = f"CAST({_COLUMN} AS text)", int(options["first"]), int(options["last"])
    parts = [f"left({text}, {first})"] * (first > 0) + [f"'{HIDDEN}'"] + [f"right({text}, {last})"] * (last > 0)
    shown = f"CASE WHEN length({text}) >= {first + last + MIN_HIDDEN} THEN {' || '.join(parts)} ELSE '{HIDDEN}' END"
    # The first or the last characters of a NULL are NULL; of none there are none.
    return _if_not_null(shown, type_.sql)


def _email(type_: ColumnType, _: Options) -> str:
    # The collation is for the tests alone: the masked value has the column's own.
    text, plain = f"CAST({_COLUMN} AS text)", f'(CAST({_COLUMN} AS text) COLLATE "C")'
    has_domain = f"{plain} ~ '^[^@]*@[{DOMAIN_CHARACTERS}]+$'"
    masked = f"CASE WHEN {has_domain} THEN '{HIDDEN}@' || right({text}, - strpos({plain}, '@')) ELSE '{HIDDEN}' END"
    return _if_not_null(masked, type_.sql)


def _date(type_: ColumnType, options: Options) -> str:
    period = options["to"]
    if type_.family == "date" and period == "day":
        return _COLUMN
    if type_.family == "timestamptz":
        # In UTC, not in the session's time zone, which the agent may choose.
        return f"(date_trunc('{period}', {_COLUMN} AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')"
    return f"CAST(date_trunc('{period}', CAST({_COLUMN} AS timestamp)) AS {type_.sql})"


def _shift(type_: ColumnType, name: str) -> str:
    days = f"CAST(:{name} AS integer)"
    # By 24 hours each: days of an interval are the session's, in its time zone.
    moved = f"{_COLUMN} + {days}" if type_.family == "date" else f"{_COLUMN} + {days} * CAST('24 hours' AS interval)"
    moment = f"{_COLUMN} AT TIME ZONE 'UTC'" if type_.family == "timestamptz" else f"CAST({_COLUMN} AS timestamp)"
    first, last = (f"CAST('{year:04}-01-01' AS timestamp)" for year in (SHIFTED_YEARS[0], SHIFTED_YEARS[1] + 1))
    return f"CASE WHEN {moment} >= {first} AND {moment} < {last} THEN CAST({moved} AS {type_.sql}) ELSE NULL END"


def _bucket(type_: ColumnType, options: Options) -> str:
    size = int(options["size"])
    if type_.family == "float":
        number = f"CAST({_COLUMN} AS double precision)"
        near_zero = f"CASE WHEN {number} < 0 THEN -{size} ELSE 0 END"
        below = f"CASE WHEN abs({number}) < {size} THEN {near_zero} ELSE floor({number} / {size}) * {size} END"
        return _if_finite(number, below, type_.sql)
    if type_.family == "numeric":
        # Without digits after the point, however many the value has.
        lower = f"div({_COLUMN}, {size}) * {size}"
        return f"CASE WHEN mod({_COLUMN}, {size}) < 0 THEN {lower} - {size} ELSE {lower} END"
    number, lowest = f"CAST({_COLUMN} AS bigint)", -(2 ** (type_.bits - 1))
    lower = f"{number} - mod({number}, {size})"
    # A NULL goes to the last branch: the greatest of NULL and a number is the number.
    held = f"greatest({lower}, {lowest + size}) - {size}"
    return f"CAST(CASE WHEN mod({number}, {size}) < 0 THEN {held} ELSE {lower} END AS {type_.sql})"


def _round(type_: ColumnType, options: Options) -> str:
    digits = int(options["digits"])
    rounded = f"round(CAST({_COLUMN} AS numeric), {digits})"
    if type_.family == "float":
        return _if_finite(f"CAST({_COLUMN} AS double precision)", rounded, type_.sql)
    if type_.family == "numeric":
        return rounded
    if digits >= 0:
        return _COLUMN
    number, unit, largest = f"CAST({_COLUMN} AS bigint)", int(10**-digits), 2 ** (type_.bits - 1) - 1
    left, nearer = f"mod({number}, {unit})", f"{number} - mod({number}, {unit})"
    up = f"least({nearer}, {largest - unit}) + {unit}"
    down = f"greatest({nearer}, {unit - largest - 1}) - {unit}"
    half = unit // 2
    return f"CAST(CASE WHEN {left} >= {half} THEN {up} WHEN {left} <= -{half} THEN {down} ELSE {nearer} END AS {type_.sql})"


def _noise(type_: ColumnType, spread: int, key: str) -> str:
    is_integer = type_.family == "integer"
    whole = _COLUMN if is_integer else f"round(CAST({_COLUMN} AS numeric), 0)"
    digest = _hmac(key, f"convert_to(CAST({whole} AS text), 'UTF8')")
    hexadecimal = f"encode({digest}, 'hex')"
    number = f"CAST(CAST('x' || left({hexadecimal}, 16) AS bit(64)) AS bigint) & {2**63 - 1}"
    # Only beside the ends of bigint would bigint not do.
    wide = "bigint" if type_.bits <= 32 else "numeric"
    moved = f"CAST({whole} AS {wide}) + mod(({number}), {2 * spread + 1}) - {spread}"
    if is_integer:
        largest = 2 ** (type_.bits - 1) - 1
        moved = f"least(greatest({moved}, {-largest - 1}), {largest})"
    elif type_.precision is not None:
        most = 10 ** max(type_.precision - type_.scale, 0) - 1
        # NaN is above every number, and stays what it is.
        moved = f"CASE WHEN {whole} = CAST('NaN' AS numeric) THEN {whole} ELSE least(greatest({moved}, {-most}), {most}) END"
    return _if_not_null(moved, type_.sql)


def _if_not_null(masked: str, type_sql: str) -> str:
    return f"CASE WHEN {_COLUMN} IS NULL THEN NULL ELSE CAST({masked} AS {type_sql}) END"


def _if_finite(number: str, masked: str, type_sql: str) -> str:
    # PostgreSQL sorts NaN above every number.
    return f"CASE WHEN abs({number}) <= {LARGEST_FLOAT!r} THEN CAST({masked} AS {type_sql}) ELSE NULL END"


_KEYED: dict[str, _BuildKeyed] = {"hash": _hash, "pseudonym": _pseudonym}
_PLAIN: dict[str, _Build] = {"partial": _partial, "email": _email, "date": _date, "bucket": _bucket, "round": _round}
