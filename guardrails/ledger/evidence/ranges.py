"""Which entries a bundle is about: from indices, or from times by halving the log, whose times never go back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.entry import decode, format_time

__all__ = ["find_time", "parse_moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_moment(text: str) -> str:
    """Returns a time in the form that entries have it.

    Args:
        text: RFC 3339 with a zone, such as ``2026-03-01T09:00:00Z``, or a date, which stands for its beginning in UTC.

    Raises:
        UsageError: It is neither (usage.input_invalid).
    """
    try:
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        elif _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
        else:
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise UsageError(
            "usage.input_invalid",
            "A time is neither a date nor RFC 3339 with a zone.",
            hint="Write 2026-03-01 or 2026-03-01T09:00:00Z.",
        ) from error
    return format_time((moment - _EPOCH) // timedelta(microseconds=1))


def find_time(leaf: Callable[[int], bytes], size: int, time: str) -> int:
    """Returns the index of the first entry at or after a time; `size` where there is none.

    Args:
        leaf: Gives an entry's bytes.
        size: Number of entries.
        time: As `parse_moment` returns it.

    Raises:
        LedgerError: An entry has no time (ledger.entry_invalid), or what `leaf` raises.
    """
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        found = decode(leaf(middle)).get("time")
        if not isinstance(found, str):
            raise LedgerError("ledger.entry_invalid", f"Entry {middle} has no time.")
        low, high = (middle + 1, high) if found < time else (low, middle)
    return low
