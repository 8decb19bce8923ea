"""Conditions in CEL: what is accepted when the policy is loaded, and that nothing but true and false comes out."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from guardrails.model import Context, Principal
from guardrails.policy.conditions import CelArguments, Condition, ConditionError, variables_of


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "agent == 'a' ? true : false",
        "['a', 'b'].exists(x, x == agent)",
        "['a'].map(x, x + agent).filter(y, size(y) > 1).all(z, z != '')",
        "type(agent) == string && int('1') == 1 && double(1) == 1.0",
        "timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026 || duration('1h') > duration('1m')",
        "agent.matches('^[a-z]+$') && agent.contains('a') && agent.startsWith('a') && agent.endsWith('a')",
        "{'a': 1}.a == 1 && 'a' in principal.groups",
    ],
)
def test_plain_cel_is_accepted(text: str) -> None:
    Condition(text).holds({"agent": "a", "principal": {"groups": ["a"]}})


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("agent ==", 1, 9),
        ("true &&\n  agent = 'x'", 2, 9),
        ("true &&\n  agnt == 'x'", 2, 3),
        ("now() > 1", 1, 1),
        ("size(relations) > 1", 1, 6),
        ("1", 1, 1),
        ("'text'", 1, 1),
        ("1 / 0 == 1", 1, 1),
    ],
)
def test_what_is_not_a_condition_is_refused_at_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition(text)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "principal.x == 1",
        "principal.n > 'a'",
        "principal.n",
        "agent + 1 == 2",
        "principal.n / 0 == 1",
        "principal.groups[9] == 'a'",
    ],
)
def test_what_fails_says_so_without_values(text: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition(text).holds({"agent": "s3cret", "principal": {"n": 5, "groups": ["s3cret"]}})
    assert "s3cret" not in str(caught.value)


def test_attributes_of_every_type_can_be_compared() -> None:
    attributes = {
        "uuid": UUID(int=1),
        "money": Decimal("1.5"),
        "day": date(2026, 1, 2),
        "moment": datetime(2026, 1, 2, tzinfo=UTC),
        "span": timedelta(hours=1),
        "nested": {"list": [UUID(int=2)]},
        "big": 2**70,
    }
    values = variables_of(Principal("ana", frozenset({"b", "a"}), attributes), Context()) | {"action": "", "relation": ""}
    for text in (
        "principal.uuid == '00000000-0000-0000-0000-000000000001'",
        "principal.money > 1.0",
        "principal.day == '2026-01-02'",
        "principal.moment == timestamp('2026-01-02T00:00:00Z')",
        "principal.span == duration('1h')",
        "principal.nested.list[0].endsWith('2')",
        "principal.groups == ['a', 'b']",
        "agent == '' && purpose == '' && session.id == ''",
    ):
        assert Condition(text).holds(values), text


def test_sets_become_lists_in_a_fixed_order() -> None:
    assert CelArguments.of({"tags": frozenset({"b", "a"})}).usable == {"tags": ["a", "b"]}


def test_policies_without_conditions_do_not_import_cel() -> None:
    code = "import sys, guardrails.policy; raise SystemExit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
