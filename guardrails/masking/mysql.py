"""Masks as MySQL and MariaDB expressions, each within `CASE WHEN FALSE THEN column ELSE … END`, or `WHEN column IS NULL`.

The branch that never shows a value gives the expression the column's type, character set and collation, so that comparisons, unions
and joins with other columns work as before. None of the expressions raises an error for any stored value. Keyed masks spell out
HMAC-SHA256 (RFC 2104) with `SHA2`, over two blocks that are computed beforehand and bound as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from uuid import UUID

from guardrails.errors import PolicyError
from guardrails.masking import values
from guardrails.masking.derived_keys import derived_key, hmac_blocks, key_name
from guardrails.masking.kinds import SUBJECT, Options, constant, hides_nulls, null_stand_in
from guardrails.masking.types import ColumnType
from guardrails.masking.values import HIDDEN, MIN_HIDDEN, TOKEN_HEX_DIGITS, TOKEN_PREFIX
from guardrails.model import Mask, MaskExpression, Value

__all__ = ["apply", "expression"]

_COLUMN = "`__column__`"
_MOST_DIGITS = 50
"""Digits before the point of a decimal that is masked by arithmetic; the server's decimals end at 65."""
_LARGEST_ROUNDED = 1e33
"""Doubles beyond it are what rounding would leave them, and decimals cannot hold them with a fraction."""
_DOMAIN_BYTES = "^(2[DE]|3[0-9]|4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A])+$"
"""`guardrails.masking.values.DOMAIN_CHARACTERS` in hexadecimal."""
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
_Build = Callable[[ColumnType, Options], str]
_BuildKeyed = Callable[[ColumnType, str], str]


def expression(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> MaskExpression:
    """Returns the expression; mask, type and options fit together (`guardrails.masking.kinds.options_of`)."""
    if mask.kind in {"full", "null", "fixed"}:
        literal = _literal(_constant(mask, type_, options))
        is_integer = type_.family == "integer" and mask.kind != "null"
        return MaskExpression(_typed(f"CAST({literal} AS {_integer(type_)})" if is_integer else literal))
    masked, bindings = _masked(mask, type_, options, key)
    if not hides_nulls(options):
        return MaskExpression(_if_not_null(masked), bindings)
    known = f"COALESCE({_COLUMN}, {_literal(null_stand_in(mask, type_, 'mysql'))})"
    return MaskExpression(_typed(masked.replace(_COLUMN, known)), bindings)


def _masked(mask: Mask, type_: ColumnType, options: Options, key: bytes) -> tuple[str, dict[str, Value]]:
    """Returns what stands for a value that is not NULL, and what it binds."""
    name = key_name(mask.kind, options)
    if mask.kind in {"hash", "pseudonym"}:
        return _KEYED[mask.kind](type_, name), {**hmac_blocks(key, mask.kind, options)}
    if mask.kind == "shift":
        number, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
        year = f"YEAR({_COLUMN}) BETWEEN {values.SHIFTED_YEARS[0]} AND {values.SHIFTED_YEARS[1]}"
        return f"CASE WHEN {year} THEN DATE_ADD({_COLUMN}, INTERVAL (:{number}) DAY) END", {number: days}
    if mask.kind == "noise" and (type_.precision is None or type_.precision - type_.scale <= _MOST_DIGITS):
        return _noise(type_, int(options["spread"]), name), {**hmac_blocks(key, mask.kind, options)}
    if type_.precision is not None and type_.precision - type_.scale > _MOST_DIGITS:
        raise PolicyError("policy.mask_invalid", f"{mask.column} has too many digits for the mask `{mask.kind}`.")
    return _PLAIN[mask.kind](type_, options), {}


def apply(mask: Mask, type_: ColumnType, options: Options, value: Value | None, key: bytes) -> Value | None:
    """Returns what the expression yields for a stored value (the Python twin), as the driver returns it."""
    if mask.kind in {"full", "null", "fixed"}:
        return _constant(mask, type_, options)
    if value is None:
        return None
    if mask.kind in {"hash", "pseudonym"}:
        return _keyed(mask.kind, type_, value, derived_key(key, mask.kind, options))
    match mask.kind, value:
        case ("partial", str()):
            return _cut(values.partial(value, int(options["first"]), int(options["last"])), type_)
        case ("email", str()):
            return _cut(values.email(value), type_)
        case ("date", datetime()):
            return values.truncate(value, str(options["to"]))
        case ("date", date()):
            return values.truncate(datetime(value.year, value.month, value.day), str(options["to"])).date()  # noqa: DTZ001
        case ("bucket", float()):
            return values.bucket(_exact(value, type_), int(options["size"]))
        case ("bucket", int() | Decimal()):
            return values.bucket(value, int(options["size"]), type_.bits)
        case ("shift", date()):
            _, days = values.shift_binding(int(options["days"]), str(options[SUBJECT]), key)
            return values.shift_value(value, days)
        case ("noise", int() | Decimal()):
            return _held(values.noise(value, int(options["spread"]), derived_key(key, "noise", options)), type_)
        case ("round", float()):
            return _rounded(_exact(value, type_), int(options["digits"]))
        case ("round", int() | Decimal()):
            return values.round_to(value, int(options["digits"]), type_.bits)
    return None


def _keyed(kind: str, type_: ColumnType, value: Value, key: bytes) -> Value:
    data = value if isinstance(value, bytes) else str(value).encode()
    digest = values.keyed_digest(data, key)
    if kind == "hash":
        return digest if type_.family == "bytes" else _cut(digest.hex(), type_)
    if type_.family == "integer":
        return values.pseudonym_integer(data, key, type_.bits)
    if type_.family == "uuid":
        text = digest.hex()
        return str(UUID(f"{text[:12]}4{text[13:16]}8{text[17:32]}"))
    return _cut(values.pseudonym_text(data, key), type_)


def _constant(mask: Mask, type_: ColumnType, options: Options) -> Value | None:
    """The one value that ``full``, ``null`` or ``fixed`` stands for, in the types of MySQL's driver."""
    value = constant(mask, type_, options, "postgres")
    match value:
        case bool():
            return int(value)
        case UUID():
            return str(value)
        case dict() | list():
            return json.dumps(value)
    return json.dumps(value) if type_.family == "json" else value


def _literal(value: Value | None) -> str:
    match value:
        case None:
            return "NULL"
        case datetime():
            return f"CAST('{value.isoformat(' ')}' AS DATETIME({6 if value.microsecond else 0}))"
        case date():
            return f"CAST('{value.isoformat()}' AS DATE)"
        case time() | timedelta():
            return "CAST('00:00:00' AS TIME)"
        case bytes():
            return "CAST('' AS BINARY)"
        case float():
            text = repr(value)
            return text if "e" in text else f"{text}e0"
        case Decimal():
            return format(value, "f")
        case int():
            return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _typed(masked: str) -> str:
    return f"CASE WHEN FALSE THEN {_COLUMN} ELSE {masked} END"


def _if_not_null(masked: str) -> str:
    return f"CASE WHEN {_COLUMN} IS NULL THEN {_COLUMN} ELSE {masked} END"


def _fitting(text: str, type_: ColumnType) -> str:
    return text if type_.length is None else f"LEFT({text}, {type_.length})"


def _cut(text: str, type_: ColumnType) -> str:
    return text if type_.length is None else text[: type_.length]


def _digest(key: str, type_: ColumnType) -> str:
    """HMAC-SHA256 in hexadecimal, over bytes as they are, numbers as digits, and text in UTF-8."""
    if type_.family == "bytes":
        data = _COLUMN
    else:
        # A number's zeros in front (ZEROFILL) are its column's, not the number's.
        text = f"CAST({_COLUMN} + 0 AS CHAR)" if type_.family == "integer" else _COLUMN
        data = f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)"
    return _hmac(key, data)


def _hmac(key: str, data: str) -> str:
    inner = f"UNHEX(SHA2(CONCAT(:{key}_inner, {data}), 256))"
    # What HEX gives is known to be ASCII, which fits every character set that the column may have.
    return f"LOWER(HEX(UNHEX(SHA2(CONCAT(:{key}_outer, {inner}), 256))))"


def _hash(type_: ColumnType, key: str) -> str:
    digest = _digest(key, type_)
    return f"UNHEX({digest})" if type_.family == "bytes" else _fitting(digest, type_)


def _pseudonym(type_: ColumnType, key: str) -> str:
    digest = _digest(key, type_)
    if type_.family == "uuid":
        # MariaDB takes those of known versions alone, so that version 4 and its variant are written in (RFC 9562).
        ends = f"SUBSTRING({digest}, 1, 8), SUBSTRING({digest}, 9, 4)", f"SUBSTRING({digest}, 21, 12)"
        middle = f"CONCAT('4', SUBSTRING({digest}, 14, 3)), CONCAT('8', SUBSTRING({digest}, 18, 3))"
        return f"CONCAT_WS('-', {ends[0]}, {middle}, {ends[1]})"
    if type_.family == "integer":
        number = f"CAST(CONV(LEFT({digest}, 16), 16, 10) AS UNSIGNED) & {2 ** (type_.bits - 1) - 1}"
        return f"CAST({number} AS {_integer(type_)})"
    return _fitting(f"CONCAT('{TOKEN_PREFIX}', LEFT({digest}, {TOKEN_HEX_DIGITS}))", type_)


def _partial(type_: ColumnType, options: Options) -> str:
    first, last = int(options["first"]), int(options["last"])
    shown = f"CONCAT(LEFT({_COLUMN}, {first}), '{HIDDEN}', RIGHT({_COLUMN}, {last}))"
    masked = f"CASE WHEN CHAR_LENGTH({_COLUMN}) < {first + last + MIN_HIDDEN} THEN '{HIDDEN}' ELSE {shown} END"
    return _fitting(masked, type_)


def _email(type_: ColumnType, _: Options) -> str:
    domain = f"SUBSTRING_INDEX({_COLUMN}, '@', -1)"
    has_one_at = f"CHAR_LENGTH({_COLUMN}) - CHAR_LENGTH(REPLACE({_COLUMN}, '@', '')) = 1"
    # In hexadecimal: letters that a collation takes for others stay apart.
    is_plain = f"REGEXP_INSTR(HEX(CONVERT({domain} USING utf8mb4)), '{_DOMAIN_BYTES}') = 1"
    masked = f"CASE WHEN {has_one_at} AND {is_plain} THEN CONCAT('{HIDDEN}@', {domain}) ELSE '{HIDDEN}' END"
    return _fitting(masked, type_)


def _date(type_: ColumnType, options: Options) -> str:
    year = f"CAST(DATE_FORMAT({_COLUMN}, '%Y-01-01') AS DATE)"
    start = {
        "year": year,
        "quarter": f"{year} + INTERVAL (3 * (QUARTER({_COLUMN}) - 1)) MONTH",
        "month": f"CAST(DATE_FORMAT({_COLUMN}, '%Y-%m-01') AS DATE)",
        "week": f"DATE({_COLUMN}) - INTERVAL (WEEKDAY({_COLUMN})) DAY",
        "day": f"DATE({_COLUMN})",
        "hour": f"DATE_FORMAT({_COLUMN}, '%Y-%m-%d %H:00:00')",
    }[str(options["to"])]
    # Dates such as 2020-00-00 have no beginning of anything.
    is_whole = f"YEAR({_COLUMN}) > 0 AND MONTH({_COLUMN}) > 0 AND DAYOFMONTH({_COLUMN}) > 0"
    target = "DATE" if type_.family == "date" else "DATETIME"
    return f"CASE WHEN {is_whole} THEN CAST({start} AS {target}) END"


def _bucket(type_: ColumnType, options: Options) -> str:
    size = int(options["size"])
    if type_.family == "float":
        number = f"CAST({_COLUMN} AS DOUBLE)"
        near_zero = f"CASE WHEN {number} < 0 THEN -{size} ELSE 0 END"
        below = f"CASE WHEN ABS({number}) < {size} THEN {near_zero} ELSE FLOOR({number} / {size}) * {size} END"
        return f"CASE WHEN ABS({number}) <= {values.LARGEST_FLOAT!r} THEN CAST({below} AS DOUBLE) END"
    number = _decimal(type_)
    below = f"{number} - MOD(MOD({number}, {size}) + {size}, {size})"
    if type_.family == "numeric":
        return f"({below})"
    return f"CAST(GREATEST({below}, {-(2 ** (type_.bits - 1))}) AS {_integer(type_)})"


def _round(type_: ColumnType, options: Options) -> str:
    digits = int(options["digits"])
    if type_.family == "float":
        number = f"CAST({_COLUMN} AS DOUBLE)"
        rounded = f"CAST(ROUND(CAST({number} AS DECIMAL(65, 30)), {digits}) AS DOUBLE)"
        return f"CASE WHEN ABS({number}) < {_LARGEST_ROUNDED!r} THEN {rounded} ELSE {number} END"
    rounded = f"ROUND({_decimal(type_)}, {digits})"
    if type_.family == "numeric":
        return rounded
    largest = 2 ** (type_.bits - 1) - 1
    return f"CAST(LEAST(GREATEST({rounded}, {-largest - 1}), {largest}) AS {_integer(type_)})"


def _noise(type_: ColumnType, spread: int, key: str) -> str:
    # The sum makes 0 of what would be written -0.
    whole = f"(CAST(ROUND({_decimal(type_)}, 0) AS DECIMAL(65, 0)) + 0)"
    digest = _hmac(key, f"CAST(CONVERT(CAST({whole} AS CHAR) USING utf8mb4) AS BINARY)")
    number = f"(CAST(CONV(LEFT({digest}, 16), 16, 10) AS UNSIGNED) & {2**63 - 1})"
    offset = f"CAST(MOD({number}, {2 * spread + 1}) AS SIGNED) - {spread}"
    low, high = _range(type_)
    held = f"LEAST(GREATEST({whole} + {offset}, {low}), {high})"
    return f"CAST({held} AS {_integer(type_)})" if type_.family == "integer" else held


def _range(type_: ColumnType) -> tuple[int, int]:
    """The whole numbers that the type holds."""
    if type_.family == "integer":
        largest = 2 ** (type_.bits - 1) - 1
        # An unsigned type counts as one of a bit more, of which the lower half is never used.
        return (0 if type_.bits % 8 else -largest - 1), largest
    most = 10 ** ((type_.precision or 10) - type_.scale) - 1
    return -most, most


def _held(value: int | Decimal, type_: ColumnType) -> int | Decimal:
    low, high = _range(type_)
    return min(max(value, low), high)


def _decimal(type_: ColumnType) -> str:
    """A decimal with room to spare, so that no step overflows."""
    return f"CAST({_COLUMN} AS DECIMAL(65, {type_.scale if type_.family == 'numeric' else 0}))"


def _integer(type_: ColumnType) -> str:
    """What an integer is cast to; with a signed one, the branch of an unsigned column would become a decimal."""
    return "UNSIGNED" if type_.bits % 8 else "SIGNED"


def _exact(value: float, type_: ColumnType) -> float:
    return values.single(value) if type_.bits == 32 else value


def _rounded(value: float, digits: int) -> float:
    """Rounds half away from zero what the server writes for a double: the shortest text that reads back as it."""
    if abs(value) >= _LARGEST_ROUNDED:
        return value
    text = Decimal(repr(value)).quantize(Decimal((0, (1,), -30)), context=_EXACT)
    return float(_EXACT.quantize(text, Decimal((0, (1,), -digits))))


_KEYED: dict[str, _BuildKeyed] = {"hash": _hash, "pseudonym": _pseudonym}
_PLAIN: dict[str, _Build] = {"partial": _partial, "email": _email, "date": _date, "bucket": _bucket, "round": _round}
