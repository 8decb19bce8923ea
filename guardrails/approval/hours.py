"""When a yes counts: the working hours that a policy names, in the time zone that it names."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from guardrails.errors import Denied
from guardrails.model import ApprovalTerms, WorkingHours

__all__ = ["is_within", "require_hours"]

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def require_hours(terms: ApprovalTerms, now: int) -> None:
    """Checks that a yes counts at this time.

    Args:
        terms: Of the request; all of their hours hold.
        now: Unix seconds.

    Raises:
        Denied: It does not (approval.outside_hours), or the time zone is not known here, so nobody can tell.
    """
    for hours in terms.hours:
        if not is_within(hours, now):
            raise Denied("approval.outside_hours", f"A yes counts only {_shown(hours)}.")


def is_within(hours: WorkingHours, now: int) -> bool:
    """Tells whether a time, in Unix seconds, is within the hours; where their zone is not known, none is."""
    try:
        local = datetime.fromtimestamp(now, UTC).astimezone(zoneinfo.ZoneInfo(hours.zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return local.weekday() in hours.days and hours.begins <= local.hour * 60 + local.minute < hours.ends


def _shown(hours: WorkingHours) -> str:
    days = ", ".join(_DAYS[day] for day in hours.days)
    return f"on {days} from {_clock(hours.begins)} to {_clock(hours.ends)} ({hours.zone})"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
