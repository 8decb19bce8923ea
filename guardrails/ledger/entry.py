"""The bytes of an entry: a profile of RFC 8785 (JSON Canonicalization Scheme) in which a fast encoder is exact.

ASCII keys make sorting by UTF-8 bytes equal to RFC 8785's sorting by UTF-16 units; integers up to 2^53 and no floats leave no
room for number formats. What is outside the profile is refused, never adjusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import orjson

from guardrails.errors import LedgerError

__all__ = [
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "MAX_INTEGER",
    "VERSION",
    "check",
    "decode",
    "encode",
    "format_time",
    "is_outcome",
    "parse_time",
]

VERSION = 2
"""The entry format, stamped as ``v``: 2 has a signature in each entry and ids that tell the index, 1 had neither."""
MAX_ENTRY_BYTES = 65_535
"""An entry is below 64 KiB, the bound of C2SP tlog-tiles entry bundles."""
MAX_INTEGER = 2**53
MAX_DEPTH = 32

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def check(entry: Mapping[str, object]) -> dict[str, object]:
    """Returns an entry as a plain dictionary if it is within the profile.

    Raises:
        LedgerError: A value is outside the profile (ledger.entry_invalid); the evidence holds its path, never the value.
    """
    plain = dict(entry)
    if not _is_plain(plain, 1):
        _check(plain)  # slower, and tells where
    return plain


def encode(entry: Mapping[str, object], *, is_checked: bool = False) -> bytes:
    """Returns the canonical bytes of an entry.

    Args:
        entry: A mapping of ASCII keys to None, booleans, integers |n| <= 2^53, strings of valid Unicode, lists
            and dictionaries.
        is_checked: It is known to be within the profile.

    Raises:
        LedgerError: A value is outside the profile (ledger.entry_invalid); the evidence holds its path, never the value.
    """
    plain = entry if is_checked else check(entry)
    data = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    if len(data) > MAX_ENTRY_BYTES:
        raise _invalid("The entry is larger than 64 KiB.", "$")
    return data


def decode(data: bytes) -> dict[str, object]:
    """Returns the entry in `data`, which must be exactly what `encode` writes.

    Raises:
        LedgerError: It is not canonical JSON of the profile (ledger.entry_invalid).
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise _invalid("The entry is larger than 64 KiB.", "$")
    try:
        entry = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _invalid("The entry is not JSON.", "$") from error
    if not isinstance(entry, dict) or encode(entry) != data:
        raise _invalid("The entry is not in canonical form.", "$")
    return entry


def is_outcome(entry: Mapping[str, object]) -> bool:
    """Tells whether an entry closes an intent: its type is ``outcome`` or starts with ``outcome.``."""
    kind = entry.get("type")
    return isinstance(kind, str) and (kind == "outcome" or kind.startswith("outcome."))


def format_time(time_us: int) -> str:
    """Returns Unix microseconds as RFC 3339 in UTC with six decimals and ``Z``."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return f"{moment.isoformat()[:19]}.{moment.microsecond:06d}Z"


def parse_time(text: object) -> int:
    """Returns Unix microseconds of a text that `format_time` wrote.

    Raises:
        LedgerError: It has another form (ledger.entry_invalid).
    """
    try:
        if not isinstance(text, str) or not _TIME.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid("The time is not RFC 3339 in UTC with microseconds.", "$.time") from error
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _is_plain(value: object, depth: int) -> bool:
    """Tells whether a value is surely within the profile; whatever it does not know it leaves to `_check`."""
    kind = type(value)
    if kind is str:
        return value.isascii()  # type: ignore[attr-defined,no-any-return]
    if value is None or kind is bool:
        return True
    if kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER  # type: ignore[operator]
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, dict) and kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item, depth + 1) for key, item in value.items())
    return kind is list and isinstance(value, list) and all(_is_plain(item, depth + 1) for item in value)


def _check(entry: dict[str, object]) -> None:
    # Exact types only: a subclass (an enumeration, a date string) might be written otherwise than it compares.
    pending: list[tuple[object, str, int]] = [(entry, "$", 1)]
    while pending:
        value, path, depth = pending.pop()
        kind = type(value)
        if value is None or kind is bool:
            continue
        if kind is str:
            _check_text(value, path)
        elif kind is int:
            if not -MAX_INTEGER <= value <= MAX_INTEGER:  # type: ignore[operator]
                raise _invalid("An integer is beyond 2^53; write it as a string.", path)
        elif depth > MAX_DEPTH:
            raise _invalid(f"The entry is nested deeper than {MAX_DEPTH} levels.", "$")
        elif isinstance(value, dict) and kind is dict:
            for key, item in value.items():
                if type(key) is not str or not key.isascii():
                    raise _invalid("A key is not an ASCII string.", path)
                pending.append((item, f"{path}.{key}", depth + 1))
        elif isinstance(value, (list, tuple)) and kind in (list, tuple):
            pending.extend((item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        else:
            raise _invalid(f"A value of type {kind.__name__} is not allowed in an entry.", path)


def _check_text(text: object, path: str) -> None:
    try:
        str(text).encode()
    except UnicodeEncodeError as error:
        raise _invalid("A string holds a lone surrogate.", path) from error


def _invalid(message: str, path: str) -> LedgerError:
    return LedgerError("ledger.entry_invalid", message, evidence={"path": path[:200]})
