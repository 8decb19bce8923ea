"""When a yes counts: by the clock of the zone that the policy names, also where it is turned."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from guardrails.approval.hours import is_within, require_hours
from guardrails.errors import Denied
from guardrails.model import ApprovalTerms, WorkingHours

BERLIN = WorkingHours((0, 1, 2, 3, 4), 540, 1020, "Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-07-06T06:59:59", False),
        ("2026-07-06T07:00:00", True),
        ("2026-07-06T14:59:59", True),
        ("2026-07-06T15:00:00", False),
        # In winter the same clock is an hour later.
        ("2026-12-07T07:30:00", False),
        ("2026-12-07T08:00:00", True),
        # Sunday evening here is Monday nowhere near.
        ("2026-07-05T10:00:00", False),
    ],
)
def test_the_clock_of_the_zone_decides(moment: str, is_open: bool) -> None:
    assert is_within(BERLIN, at(moment)) == is_open


def test_all_hours_hold_and_none_are_always() -> None:
    noon = at("2026-07-06T10:00:00")
    night = WorkingHours((0,), 0, 60)
    require_hours(ApprovalTerms(), noon)
    require_hours(ApprovalTerms(hours=(BERLIN,)), noon)
    with pytest.raises(Denied) as caught:
        require_hours(ApprovalTerms(hours=(BERLIN, night)), noon)
    assert caught.value.code == "approval.outside_hours"
    assert "Monday from 00:00 to 01:00 (UTC)" in caught.value.message


def test_an_unknown_zone_is_never_open() -> None:
    assert not is_within(WorkingHours(tuple(range(7)), 0, 1440, "Mars/Olympus"), at("2026-07-06T10:00:00"))
