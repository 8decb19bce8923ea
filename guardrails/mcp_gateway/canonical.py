"""JSON in one form only, so that a definition has one digest: RFC 8785, the JSON Canonicalization Scheme.

The profile of the ledger's entries (`guardrails.ledger.entry`) leaves out what schemas of other people's tools have: keys beyond ASCII,
fractions, and numbers beyond 2^53, which RFC 8785 takes for the double that is nearest.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal

from guardrails.errors import UsageError

__all__ = ["canonical"]

_MOST_LEVELS = 64
_EXACT = 2**53


def canonical(value: object) -> bytes:
    """Returns the canonical bytes of a JSON value.

    Raises:
        UsageError: It is none, is nested more than 64 levels deep, or has text that is not valid Unicode (``usage.input_invalid``).

    Example:
        >>> canonical({"b": 1e21, "a": [True, 0.5]})
        b'{"a":[true,0.5],"b":1e+21}'
    """
    try:
        return _text(value, 0).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("usage.input_invalid", "A text of the JSON is not valid Unicode.") from None


def _text(value: object, level: int) -> str:
    if level > _MOST_LEVELS:
        raise UsageError("usage.input_invalid", f"The JSON is nested more than {_MOST_LEVELS} levels deep.")
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() if abs(value) <= _EXACT:
            return str(value)
        case int() | float():
            return _number(value)
        case list() | tuple():
            return f"[{','.join(_text(item, level + 1) for item in value)}]"
        case dict() if all(isinstance(key, str) for key in value):
            # By UTF-16 code units (RFC 8785, section 3.2.3).
            keys = sorted(value, key=lambda key: str(key).encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{_text(key, level)}:{_text(value[key], level + 1)}" for key in keys) + "}"
    raise UsageError("usage.input_invalid", f"A value of type {type(value).__name__} has no JSON form.")


def _number(value: float) -> str:
    """As ECMAScript writes a double (RFC 8785, section 3.2.2.3)."""
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise UsageError("usage.input_invalid", "A number is not finite.")
    if double == 0:
        return "0"
    parts = Decimal(repr(abs(double))).normalize().as_tuple()
    digits, sign = "".join(map(str, parts.digits)), "-" if double < 0 else ""
    count, point = len(digits), len(digits) + int(parts.exponent)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
