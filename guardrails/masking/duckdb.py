"""Masks as DuckDB expressions of the column's own type.

None of them raises an error for any stored value: what would overflow is held within the type's range. Keyed masks spell out
HMAC-SHA256 (RFC 2104) with `sha256`, over two blocks that are computed beforehand and bound as bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from uuid import UUID

from guardrails.errors import PolicyError
from guardrails.masking import values
from guardrails.masking.derived_keys import derived_key, hmac_blocks, key_name
from guardrails.masking.kinds import SUBJECT, Options, constant, hides_nulls, null_stand_in
from guardrails.masking.types import ColumnType
from guardrails.masking.values import DOMAIN_CHARACTERS, HIDDEN, MIN_HIDDEN, TOKEN_HEX_DIGITS, TOKEN_PREFIX
from guardrails.model import Mask, MaskExpression, Value

__all__ = ["apply", "expression"]

_COLUMN = '"__column__"'
_MOST_DIGITS = 18
"""Digits of a decimal that is masked by arithmetic; a product of two such still fits DuckDB's decimals of 38."""
_MOST_BITS = 65
"""Bits of an integer to which noise is added in 128."""
_EXACT = Context(prec=100)
_Build = Callable[[ColumnType, Options], str]
_BuildKeyed = Callable[[ColumnType, str], str]


def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    """Returns the expression; mask, type and options fit together (`guardrails.masking.kinds.options_of`)."""
    written = _expression(mask, type_, options, key)
    if not hides_nulls(options):
        return written
    known = f"coalesce({_COLUMN}, {_literal(null_stand_in(mask, type_, 'duckdb'), type_)})"
    return replace(written, sql=written.sql.replace(_COLUMN, known))


def _expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    if mask.kind in {"full", "null", "fixed"}:
        return MaskExpression(_literal(constant(mask, type_, options, "postgres"), type_))
    if mask.kind in {"hash", "pseudonym"}:
        keyed = _KEYED[mask.kind](type_, key_name(mask.kind, options))
        return MaskExpression(_if_not_null(keyed, type_), hmac_blocks(key, mask.kind, options))
    if mask.kind == "shift":
        name, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
        return MaskExpression(_if_not_null(_shift(type_, name), type_), {name: days})
    if type_.family == "integer" and type_.bits > _MOST_BITS and mask.kind == "noise":
        raise PolicyError("policy.mask_invalid", f"{mask.column} has too many digits for the mask `{mask.kind}`.")
    if mask.kind == "noise" and (type_.precision is None or type_.precision <= _MOST_DIGITS):
        noised = _noise(type_, int(options["spread"]), key_name(mask.kind, options))
        return MaskExpression(_if_not_null(noised, type_), hmac_blocks(key, mask.kind, options))
    if type_.precision is not None and type_.precision > _MOST_DIGITS:
        raise PolicyError("policy.mask_invalid", f"{mask.column} has too many digits for the mask `{mask.kind}`.")
    if type_.family == "float":
        raise PolicyError("policy.mask_invalid", f"The mask `{mask.kind}` does not fit {mask.column}, a float in DuckDB.")
    return MaskExpression(_if_not_null(_PLAIN[mask.kind](type_, options), type_))


def apply(mask: Mask, type_: ColumnType, options: Options, value: Value | None, key: bytes) -> Value | None:
    """Returns what the expression yields for a stored value (the Python twin), as the driver returns it."""
    if mask.kind in {"full", "null", "fixed"}:
        whole = constant(mask, type_, options, "postgres")
        return json.dumps(whole) if isinstance(whole, (dict, list)) else whole
    match mask.kind, value:
        case ("hash" | "pseudonym", _) if value is not None:
            return _keyed(mask.kind, type_, value, derived_key(key, mask.kind, options))
        case ("partial", str()):
            return values.partial(value, int(options["first"]), int(options["last"]))
        case ("email", str()):
            return values.email(value)
        case ("date", datetime()):
            return values.truncate(value.astimezone(UTC) if value.tzinfo else value, str(options["to"]))
        case ("date", date()):
            return values.truncate(datetime(value.year, value.month, value.day), str(options["to"])).date()  # noqa: DTZ001
        case ("bucket", int()):
            return max(value // int(options["size"]) * int(options["size"]), _lowest(type_))
        case ("bucket", Decimal()):
            size = int(options["size"])
            return _held(Decimal(math.floor(value) // size * size), type_)
        case ("shift", date()):
            _, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
            return values.shift_value(value, days)
        case ("noise", int()):
            moved = values.noise(value, int(options["spread"]), derived_key(key, "noise", options))
            return min(max(int(moved), _lowest(type_)), _highest(type_))
        case ("noise", Decimal()):
            whole = _rounded(int(_EXACT.scaleb(value, type_.scale)), -type_.scale) // 10**type_.scale
            most = 10 ** ((type_.precision or 18) - type_.scale) - 1
            moved = values.noise(whole, int(options["spread"]), derived_key(key, "noise", options))
            return Decimal(min(max(int(moved), -most), most)).quantize(Decimal(1).scaleb(-type_.scale), context=_EXACT)
        case ("round", int()):
            return min(max(_rounded(value, int(options["digits"])), _lowest(type_)), _highest(type_))
        case ("round", Decimal()):
            scaled = int(_EXACT.scaleb(value, type_.scale))
            rounded = Decimal(_rounded(scaled, int(options["digits"]) - type_.scale))
            return _held(_EXACT.scaleb(rounded, -type_.scale), type_)
    return None


def _keyed(kind: str, type_: ColumnType, value: Value, key: bytes) -> Value:
    data = value if isinstance(value, bytes) else str(value).encode()
    if kind == "hash":
        digest = values.keyed_digest(data, key)
        return digest if isinstance(value, bytes) else digest.hex()
    if isinstance(value, int):
        return values.pseudonym_integer(data, key, _signed_bits(type_))
    if isinstance(value, UUID):
        return UUID(bytes=values.keyed_digest(data, key)[:16])
    return values.pseudonym_text(data, key)


def _rounded(value: int, digits: int) -> int:
    if digits >= 0:
        return value
    unit = int(10**-digits)
    return (abs(value) + unit // 2) // unit * unit * (1 if value >= 0 else -1)


def _held(value: Decimal, type_: ColumnType) -> Decimal:
    most = _EXACT.scaleb(Decimal(10 ** (type_.precision or 18) - 1), -type_.scale)
    return min(max(value, most.copy_negate()), most).quantize(Decimal(1).scaleb(-type_.scale), context=_EXACT)


def _is_unsigned(type_: ColumnType) -> bool:
    return type_.sql.startswith("u") and type_.family == "integer"


def _signed_bits(type_: ColumnType) -> int:
    return type_.bits - 1 if _is_unsigned(type_) else type_.bits


def _lowest(type_: ColumnType) -> int:
    return 0 if _is_unsigned(type_) else -(2 ** (type_.bits - 1))


def _highest(type_: ColumnType) -> int:
    # An unsigned type counts as one of a bit more, of which the lower half is never used.
    return int(2 ** (type_.bits - 1)) - 1


def _literal(value: Value | None, type_: ColumnType) -> str:
    match value:
        case None:
            # The type of a branch that is never taken: also for types whose names this library cannot cast to.
            return f"CASE WHEN FALSE THEN {_COLUMN} END"
        case bool():
            text = "true" if value else "false"
        case bytes():
            text = ""
        case datetime():
            text = value.isoformat(" ")
        case date() | time():
            text = value.isoformat()
        case timedelta():
            text = "0 seconds"
        case dict() | list():
            text = json.dumps(value)
        case UUID() | str() | int() | float():
            text = str(value)
        case _:
            text = format(value, "f")
    escaped = text.replace("'", "''")
    return f"CAST('{escaped}' AS {type_.sql})"


def _digest(key: str, type_: ColumnType) -> str:
    """HMAC in hexadecimal, lower case."""
    data = _COLUMN if type_.family == "bytes" else f"encode(CAST({_COLUMN} AS text))"
    return _hmac(key, data)


def _hmac(key: str, data: str) -> str:
    inner = f"unhex(sha256(CAST(:{key}_inner AS blob) || {data}))"
    return f"sha256(CAST(:{key}_outer AS blob) || {inner})"


def _hash(type_: ColumnType, key: str) -> str:
    return f"unhex({_digest(key, type_)})" if type_.family == "bytes" else _digest(key, type_)


def _pseudonym(type_: ColumnType, key: str) -> str:
    hexadecimal = _digest(key, type_)
    if type_.family == "uuid":
        return f"CAST(left({hexadecimal}, 32) AS uuid)"
    if type_.family == "integer":
        number = f"CAST('0x' || left({hexadecimal}, 16) AS ubigint)"
        return f"({number} & CAST('{2 ** (_signed_bits(type_) - 1) - 1}' AS ubigint))"
    return f"'{TOKEN_PREFIX}' || left({hexadecimal}, {TOKEN_HEX_DIGITS})"


def _partial(_: ColumnType, options: Options) -> str:
    text, first, last = f"CAST({_COLUMN} AS text)", int(options["first"]), int(options["last"])
    shown = f"left({text}, {first}) || '{HIDDEN}' || right({text}, {last})"
    return f"CASE WHEN length({text}) < {first + last + MIN_HIDDEN} THEN '{HIDDEN}' ELSE {shown} END"


def _email(_: ColumnType, __: Options) -> str:
    text = f"CAST({_COLUMN} AS text)"
    domain = f"split_part({text}, '@', 2)"
    has_one_at = f"length({text}) - length(replace({text}, '@', '')) = 1"
    # By length: the comparison of split_part with '' is one that DuckDB 2.0 cannot bind.
    is_plain = f"length({domain}) > 0 AND length(translate({domain}, '{DOMAIN_CHARACTERS}', '')) = 0"
    return f"CASE WHEN {has_one_at} AND {is_plain} THEN '{HIDDEN}@' || {domain} ELSE '{HIDDEN}' END"


def _date(type_: ColumnType, options: Options) -> str:
    period = options["to"]
    if type_.family == "timestamptz":
        # In UTC, not in the session's time zone.
        return f"timezone('UTC', date_trunc('{period}', timezone('UTC', {_COLUMN})))"
    return f"date_trunc('{period}', {_COLUMN})"


def _shift(type_: ColumnType, name: str) -> str:
    days = f"CAST(:{name} AS integer)"
    moved = f"{_COLUMN} + {days}" if type_.family == "date" else f"{_COLUMN} + to_hours(24 * {days})"
    moment = f"timezone('UTC', {_COLUMN})" if type_.family == "timestamptz" else f"CAST({_COLUMN} AS timestamp)"
    first, last = (f"CAST('{year:04}-01-01' AS timestamp)" for year in (values.SHIFTED_YEARS[0], values.SHIFTED_YEARS[1] + 1))
    return f"CASE WHEN {moment} >= {first} AND {moment} < {last} THEN {moved} ELSE NULL END"


def _below(whole: str, size: int) -> str:
    """The multiple of the size that is not above a whole number."""
    return f"({whole} - (({whole} % {size}) + {size}) % {size})"


def _bucket(type_: ColumnType, options: Options) -> str:
    size = int(options["size"])
    if type_.family == "numeric":
        return _held_sql(f"CAST({_below(f'CAST(floor({_COLUMN}) AS int128)', size)} AS decimal(38, {type_.scale}))", type_)
    return f"greatest({_below(f'CAST({_COLUMN} AS int128)', size)}, CAST('{_lowest(type_)}' AS int128))"


def _rounded_sql(whole: str, digits: int) -> str:
    unit = 10**-digits
    return f"((abs({whole}) + {unit // 2}) // {unit} * {unit} * sign({whole}))"


def _round(type_: ColumnType, options: Options) -> str:
    digits = int(options["digits"])
    if type_.family == "numeric":
        if digits >= type_.scale:
            return _COLUMN
        scaled = f"CAST(CAST({_COLUMN} AS decimal(38, {type_.scale})) * {10**type_.scale} AS int128)"
        unit = format(_EXACT.scaleb(Decimal(1), -type_.scale), "f")
        back = f"CAST({_rounded_sql(scaled, digits - type_.scale)} AS decimal(19, 0)) * CAST('{unit}' AS decimal(18, {type_.scale}))"
        return _held_sql(f"CAST({back} AS decimal(38, {type_.scale}))", type_)
    whole = f"CAST({_COLUMN} AS int128)"
    if digits >= 0:
        return whole
    low, high = f"CAST('{_lowest(type_)}' AS int128)", f"CAST('{_highest(type_)}' AS int128)"
    return f"least(greatest({_rounded_sql(whole, digits)}, {low}), {high})"


def _noise(type_: ColumnType, spread: int, key: str) -> str:
    if type_.family == "numeric":
        unit = 10**type_.scale
        scaled = f"CAST(CAST({_COLUMN} AS decimal(38, {type_.scale})) * {unit} AS int128)"
        whole = f"({_rounded_sql(scaled, -type_.scale)} // {unit})" if type_.scale else scaled
        most = 10 ** ((type_.precision or 18) - type_.scale) - 1
        low, high = -most, most
    else:
        whole, low, high = f"CAST({_COLUMN} AS int128)", _lowest(type_), _highest(type_)
    digest = _hmac(key, f"encode(CAST({whole} AS text))")
    number = f"(CAST('0x' || left({digest}, 16) AS ubigint) & CAST('{2**63 - 1}' AS ubigint))"
    moved = f"{whole} + CAST({number} % {2 * spread + 1} AS int128) - {spread}"
    return f"least(greatest({moved}, CAST('{low}' AS int128)), CAST('{high}' AS int128))"


def _held_sql(number: str, type_: ColumnType) -> str:
    most = format(_EXACT.scaleb(Decimal(10 ** (type_.precision or 18) - 1), -type_.scale), "f")
    low, high = f"CAST('-{most}' AS decimal(38, {type_.scale}))", f"CAST('{most}' AS decimal(38, {type_.scale}))"
    return f"least(greatest({number}, {low}), {high})"


def _if_not_null(masked: str, type_: ColumnType) -> str:
    return f"CASE WHEN {_COLUMN} IS NULL THEN NULL ELSE CAST({masked} AS {type_.sql}) END"


_KEYED: dict[str, _BuildKeyed] = {"hash": _hash, "pseudonym": _pseudonym}
_PLAIN: dict[str, _Build] = {"partial": _partial, "email": _email, "date": _date, "bucket": _bucket, "round": _round}
