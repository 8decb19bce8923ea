"""What holds of every call of a function: arguments that are not named do not matter, a rate is never exceeded, a copy is a copy."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.approval.place import Place
from guardrails.arguments import Arguments
from guardrails.bounds import value_bytes
from guardrails.catalog import from_ddl
from guardrails.displaying import Display
from guardrails.model import Context, Principal, Rate
from guardrails.policy import Policy, decide_action
from guardrails.policy.schema import ArgumentMask
from guardrails.rates import RateCounter

CATALOG = from_ddl("CREATE TABLE orders (id integer)", "sqlite")
SECRET = "s3cret-7f3a"

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.dates()
    | st.decimals()
)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=3)
    ),
    max_leaves=6,
)
things = values | st.builds(object) | st.just(print)
arguments = st.dictionaries(st.sampled_from(("a", "b", "c", "to")), things, max_size=4)
CONDITIONS = ("arguments.to == 'x'", "arguments.to != 'x'", "size(arguments.to) < 3", "arguments.to > 1", "!has(arguments.to)")


@given(arguments, arguments, st.sampled_from(CONDITIONS), st.sampled_from(("allow", "approve", "deny")))
@settings(max_examples=200, deadline=None)
def test_arguments_that_no_condition_names_do_not_matter(
    given_: dict[str, Any], others: dict[str, Any], condition: str, effect: str
) -> None:
    rules = [
        {"id": "r", "effect": effect, "actions": ["t.x"], "when": condition},
        {"id": "s", "effect": "allow", "actions": ["t.*"]},
    ]
    policy = Policy(rules=rules).bind(CATALOG)
    named = {name: value for name, value in given_.items() if name == "to"}
    decisions = [
        decide_action("t.x", Arguments.of(given).seen, policy, Principal("ana"), Context())
        for given in (named, named | {name: value for name, value in others.items() if name != "to"})
    ]
    assert decisions[0] == decisions[1]
    assert decisions[0].effect in ("allow", "approve", "deny")
    if effect == "allow" and decisions[0].code != "policy.condition_error":
        assert decisions[0].effect == "allow"


def same(one: object, two: object) -> bool:
    return one == two or repr(one) == repr(two)  # NaN


@given(st.dictionaries(st.sampled_from(("a", "b")), values, max_size=2))
@settings(max_examples=200, deadline=None)
def test_what_is_handed_on_equals_what_was_given_and_shares_nothing_that_changes(given_: dict[str, Any]) -> None:
    before = copy.deepcopy(given_)
    taken = Arguments.of(given_)
    assert same(dict(taken.passed), before)

    def spoil(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                spoil(item)
            value.append("spoilt")
        elif isinstance(value, dict):
            for item in value.values():
                spoil(item)
            value["spoilt"] = 1
        elif isinstance(value, tuple):
            for item in value:
                spoil(item)

    for value in given_.values():
        spoil(value)
    assert same(dict(taken.passed), before)
    assert "spoilt" not in repr(taken.seen)


@given(values, st.sampled_from(("nothing", "hide", "full", "null", "partial", "email", "hash", "pseudonym", "date", "round")))
@settings(max_examples=200, deadline=None)
def test_no_value_reaches_an_entry_unless_the_policy_names_it(value: Any, how: str) -> None:
    hidden = {"deep": [value, {"text": SECRET}]} if how in ("nothing", "hide") else SECRET
    treatments = {} if how == "nothing" else {"v": "hide" if how == "hide" else ArgumentMask(mask=how)}  # type: ignore[arg-type]
    display = Display({"v": hidden, "w": SECRET}, treatments, b"k" * 32)  # type: ignore[dict-item]
    assert SECRET not in repr(display.entry())
    if how != "nothing":
        assert SECRET not in repr(display.for_approver()["v"])


@given(values)
@settings(max_examples=200, deadline=None)
def test_any_argument_can_be_shown(value: Any) -> None:
    display = Display(Arguments.of({"v": value}).seen, {"v": "show"}, b"k" * 32)
    (shown,) = display.entry()
    kind = shown["value"]
    assert kind is None or isinstance(kind, (str, bool)) or (isinstance(kind, int) and abs(kind) <= 2**53)
    assert not isinstance(kind, str) or len(kind) <= 201
    assert set(display.for_approver()) == {"v"}
    assert value_bytes(value, 10**9) >= 0


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=40),
    st.lists(st.builds(Rate, st.integers(1, 4), st.integers(1, 20)), min_size=1, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_within_no_span_of_time_are_there_more_calls_than_a_rate_allows(gaps: list[int], rates: list[Rate]) -> None:
    counter = RateCounter(Place(None))
    now_s, granted = 1_000_000, list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guardrails.rates.time.time_ns", lambda: now_s * 10**9)
        for gap in gaps:
            now_s += gap // 4
            answer = counter.take("caller", rates)
            # The model: every call within the last span counts, and nothing else does.
            waits = [
                sorted(t for t in granted if t > now_s - r.per_s)[-r.calls] + r.per_s - now_s
                for r in rates
                if sum(t > now_s - r.per_s for t in granted) >= r.calls
            ]
            assert answer.is_granted == (not waits)
            assert answer.wait_s == max(waits, default=0)
            if answer.is_granted:
                granted.append(now_s)
    counter.close()
    for rate in rates:
        assert all(sum(start <= t < start + rate.per_s for t in granted) <= rate.calls for start in granted)


def test_infinite_numbers_are_shown_as_text() -> None:
    assert Display({"v": math.inf}, {"v": "show"}, b"k" * 32).entry()[0]["value"] == "inf"
