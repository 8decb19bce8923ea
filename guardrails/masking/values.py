"""What each mask makes of one value: the definition that the SQL of every dialect has to equal.

Total functions over plain values: for any input they return a masked value or None, so that no error tells anything about a
protected value. Keyed masks use HMAC-SHA256 (RFC 2104), with a key of their own for each kind of mask.
"""

from __future__ import annotations

import hmac
import math
import re
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal

__all__ = [
    "DOMAIN_CHARACTERS",
    "HIDDEN",
    "LARGEST_FLOAT",
    "MAX_SHIFT_DAYS",
    "MIN_HIDDEN",
    "PERIODS",
    "SHIFTED_YEARS",
    "TOKEN_HEX_DIGITS",
    "TOKEN_PREFIX",
    "bucket",
    "email",
    "keyed_digest",
    "noise",
    "partial",
    "pseudonym_integer",
    "pseudonym_text",
    "round_to",
    "shift",
    "shift_binding",
    "shift_days",
    "shift_epoch",
    "shift_text",
    "shift_value",
    "single",
    "subkey",
    "truncate",
    "truncate_epoch",
    "truncate_text",
]

HIDDEN = "***"
"""Stands for what is hidden, whatever its length."""
MIN_HIDDEN = 4
"""`partial` shows nothing of a text of which fewer characters than this would stay hidden."""
TOKEN_PREFIX = "tok_"  # noqa: S105 - what a pseudonym starts with, not a secret
TOKEN_HEX_DIGITS = 20
DOMAIN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"
LARGEST_FLOAT = 1.7e308
"""Floats beyond it, infinities and NaN become NULL: PostgreSQL raises for some of them, and an error would tell."""
SHIFTED_YEARS = (20, 9980)
"""Dates of other years become NULL where dates are shifted."""
MAX_SHIFT_DAYS = 3650
PERIODS = ("year", "quarter", "month", "week", "day", "hour")

# Exact for every number of PostgreSQL's type numeric.
_EXACT = Context(prec=200_000, Emax=999_999, Emin=-999_999, rounding=ROUND_HALF_UP, traps=[])
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - PostgreSQL's timestamp has no zone
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:([ T])(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def subkey(key: bytes, kind: str) -> bytes:
    """Returns the key of one kind of mask, 32 bytes; see `guardrails.masking.derived_keys`."""
    return hmac.digest(key, f"guardrails mask {kind}".encode("utf-8", "surrogatepass"), "sha256")


def keyed_digest(data: bytes, kind_key: bytes) -> bytes:
    """Returns HMAC-SHA256 of `data`."""
    return hmac.digest(kind_key, data, "sha256")


def pseudonym_text(data: bytes, kind_key: bytes) -> str:
    """Returns the token of a value; equal values have equal tokens, whatever column they stand in."""
    return TOKEN_PREFIX + keyed_digest(data, kind_key).hex()[:TOKEN_HEX_DIGITS]


def pseudonym_integer(data: bytes, kind_key: bytes, bits: int) -> int:
    """Returns a number from 0 to the largest of a signed type of so many bits."""
    return int.from_bytes(keyed_digest(data, kind_key)[:8], "big") & ((1 << (bits - 1)) - 1)


def partial(text: str, first: int, last: int) -> str:
    """Keeps the first and last characters, unless fewer than `MIN_HIDDEN` would stay hidden."""
    if len(text) < first + last + MIN_HIDDEN:
        return HIDDEN
    return text[:first] + HIDDEN + text[len(text) - last :]


def email(text: str) -> str:
    """Keeps the domain of what looks like an address, and nothing of anything else."""
    _, at, domain = text.partition("@")
    is_domain = bool(at and domain) and "@" not in domain and not domain.strip(DOMAIN_CHARACTERS)
    return f"{HIDDEN}@{domain}" if is_domain and all(c in DOMAIN_CHARACTERS for c in domain) else HIDDEN


def single(value: float) -> float:
    """Returns the nearest value of a 32-bit float."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def bucket(value: int | float | Decimal, size: int, bits: int = 64) -> int | float | Decimal | None:
    """Returns the largest multiple of `size` that is not above the value, held within the integer type's range."""
    if isinstance(value, int):
        return max(value // size * size, -(1 << (bits - 1)))
    if isinstance(value, Decimal):
        if not value.is_finite():
            return value
        remainder = _EXACT.remainder(value, Decimal(size))
        below = _EXACT.add(remainder, Decimal(size)) if remainder < 0 else remainder
        return _EXACT.subtract(value, below)
    if not abs(value) <= LARGEST_FLOAT:
        return None
    if abs(value) < size:  # the quotient could underflow
        return float(-size) if value < 0 else 0.0
    return float(math.floor(value / size)) * size


def round_to(value: int | float | Decimal, digits: int, bits: int = 64) -> int | float | Decimal | None:
    """Rounds half away from zero to so many digits after the point (negative: before it), within the integer type's range.

    A float counts with the digits that its type guarantees: 15, or 6 when `bits` is 32.
    """
    if isinstance(value, int):
        if digits >= 0:
            return value
        unit = int(10**-digits)
        rounded = (abs(value) + unit // 2) // unit * unit * (1 if value >= 0 else -1)
        return min(max(rounded, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)
    if isinstance(value, Decimal):
        return _quantized(value, digits)
    if not abs(value) <= LARGEST_FLOAT:
        return None
    return float(_quantized(Decimal(format(value, ".6g" if bits == 32 else ".15g")), digits))


def noise(value: int | Decimal, spread: int, kind_key: bytes) -> int | Decimal:
    """Rounds to a whole number and moves it by at most `spread`, always in the same way, so that asking again averages nothing out.

    Equal whole numbers are moved alike. What is no number stays none.
    """
    whole = value if isinstance(value, int) else _EXACT.to_integral_value(value)
    if isinstance(whole, Decimal) and not whole.is_finite():
        return whole
    offset = pseudonym_integer(format(int(whole), "d").encode(), kind_key, 64) % (2 * spread + 1) - spread
    return whole + offset if isinstance(whole, int) else _EXACT.add(whole, Decimal(offset))


def shift_days(days: int, subject: str, kind_key: bytes) -> int:
    """Returns by how many days a person sees dates moved: from -days to days, never 0, and always the same."""
    number = pseudonym_integer(subject.encode("utf-8", "surrogatepass"), kind_key, 64) % (2 * days) - days
    return number if number < 0 else number + 1


def shift_binding(days: int, subject: str, key: bytes) -> tuple[str, int]:
    """Returns the name under which the number of days is bound, and the number."""
    return f"mask_shift_{days}", shift_days(days, subject, subkey(key, "shift"))


def shift(moment: datetime, days: int) -> datetime | None:
    """Moves a moment by so many days of 24 hours; None outside the years of `SHIFTED_YEARS`, where it could leave the calendar."""
    return moment + timedelta(days=days) if SHIFTED_YEARS[0] <= moment.year <= SHIFTED_YEARS[1] else None


def shift_value(value: date, days: int) -> date | None:
    """Moves a date or a moment, which stays what it is."""
    if isinstance(value, datetime):
        # In UTC, where every day has 24 hours.
        return shift(value.astimezone(UTC) if value.tzinfo else value, days)
    moved = shift(datetime(value.year, value.month, value.day), days)  # noqa: DTZ001
    return moved.date() if moved is not None else None


def shift_text(text: str, days: int) -> str | None:
    """Moves the date in an ISO 8601 date or date and time, as SQLite keeps them, and leaves its time; None for anything else."""
    found = _ISO.fullmatch(text)
    try:
        moved = shift(datetime.fromisoformat(text[:10]), days) if found else None
    except ValueError:
        return None
    return moved.date().isoformat() + text[10:] if moved is not None else None


def shift_epoch(seconds: int, days: int) -> int | None:
    """Moves Unix seconds; None outside the years of `SHIFTED_YEARS`."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return seconds + 86_400 * days if shift(moment, days) is not None else None


def truncate(moment: datetime, period: str) -> datetime:
    """Returns the beginning of the year, quarter, month, ISO week, day or hour of a moment."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    match period:
        case "hour":
            return hour
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1)


def truncate_text(text: str, period: str) -> str | None:
    """Truncates an ISO 8601 date or date and time, as SQLite keeps them, in its own form and zone; None for anything else."""
    found = _ISO.fullmatch(text)
    if not found:
        return None
    year, month, day, separator, hour, minute, second, zone = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001
    except ValueError:
        return None
    start = truncate(moment, period)
    shown = date.isoformat(start)
    return f"{shown}{separator}{start.hour:02}:00:00{zone or ''}" if separator else shown


def truncate_epoch(seconds: int, period: str) -> int | None:
    """Truncates Unix seconds in UTC; None outside the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return int(truncate(moment, period).replace(tzinfo=UTC).timestamp())


def _quantized(value: Decimal, digits: int) -> Decimal:
    if not value.is_finite():
        return value
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent <= digits:
        return value
    return _EXACT.quantize(value, Decimal((0, (1,), -digits)))
