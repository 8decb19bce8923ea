"""What a policy says of tools: conditions on arguments of every type, which word holds where globs overlap, what is shown of a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, PrivateAttr

from guardrails.arguments import Arguments
from guardrails.catalog import from_ddl
from guardrails.displaying import Display
from guardrails.model import Context, Opaque, Principal, Rate
from guardrails.policy import BoundPolicy, Policy, decide_action, treatments_of
from guardrails.policy.schema import ArgumentMask
from guardrails.policy.tools import limits_of, rates_of

CATALOG = from_ddl("CREATE TABLE orders (id integer)", "sqlite")
ANA = Principal("ana")


def policy(**more: Any) -> BoundPolicy:
    rules = more.pop("rules", [{"id": "r", "effect": "allow", "actions": ["t.*"]}])
    return Policy(rules=rules, **more).bind(CATALOG)


def effect(condition: str, arguments: dict[str, Any], *, of: str = "allow") -> str:
    rules = [{"id": "r", "effect": of, "actions": ["t.x"], "when": condition}]
    rules += [{"id": "s", "effect": "allow", "actions": ["t.x"]}] if of != "allow" else []
    decision = decide_action("t.x", Arguments.of(arguments).seen, policy(rules=rules), ANA, Context())
    return decision.code if decision.effect == "deny" else decision.effect


@dataclass
class Order:
    number: int
    tags: list[str] = field(default_factory=list)


class Mail(BaseModel):
    to: str
    order: Order | None = None


class Kept(BaseModel):
    to: str
    _secret: str = PrivateAttr("x")


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("arguments.v.a[1].b == 'x'", {"a": [1, {"b": "x"}]}),
        ("arguments.v == null", None),
        ("arguments.v == '2026-01-02'", date(2026, 1, 2)),
        ("arguments.v < timestamp('2026-01-03T00:00:00Z')", datetime(2026, 1, 2, tzinfo=UTC)),
        ("arguments.v < 100.5", Decimal("100.25")),
        ("arguments.v == 9223372036854775807", 2**63 - 1),
        ("arguments.v == 'red'", Colour.RED),
        ("arguments.v.startsWith('/tmp/')", PurePosixPath("/tmp/x")),
        ("arguments.v == '00000000-0000-0000-0000-000000000001'", UUID(int=1)),
        ("arguments.v.number == 1 && 'a' in arguments.v.tags", Order(1, ["a"])),
        ("arguments.v.order.number == 2", Mail(to="x", order=Order(2))),
        ("arguments.v == ['a', 'b']", {"b", "a"}),
        ("size(arguments.v) == 2 && arguments.v[0]", (True, 1.5)),
        ("arguments.v == b'x'", bytearray(b"x")),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith(("arg", "size")) else "value",
)
def test_conditions_know_values_of_every_type(condition: str, value: object) -> None:
    assert effect(condition, {"v": value, "connection": object()}) == "allow"


UNUSABLE: dict[str, Any] = {
    "object": object(),
    "function": print,
    "large": 2**63,
    "nan": math.nan,
    "exact-nan": Decimal("NaN"),
    "signalling-nan": Decimal("sNaN"),
    "surrogate": "\ud800",
    "in-a-list": [1, object()],
    "in-a-mapping": {"a": {"b": 2**64}},
    "clashing-keys": {1: "a", "1": "b"},
    "iterator": iter([1]),
    "model-with-more": Kept(to="x"),
    "too-deep": [[[]]],
}
deep: list[Any] = []
UNUSABLE["too-deep"] = deep
for _ in range(100):
    inner: list[Any] = []
    deep.append(inner)
    deep = inner


@pytest.mark.parametrize("value", list(UNUSABLE.values()), ids=list(UNUSABLE))
@pytest.mark.parametrize(
    "condition",
    [
        "arguments.v != 'x'",
        "!(arguments.v == 'x')",
        "has(arguments.v)",
        "!has(arguments.v)",
        "size(arguments) < 9",
        "!('v' in arguments)",
    ],
)
def test_a_condition_on_what_cel_has_no_value_for_denies_whatever_the_rule(condition: str, value: object) -> None:
    for of in ("allow", "approve", "deny"):
        assert effect(condition, {"v": value, "w": 1}, of=of) == "policy.condition_error"
    assert effect("arguments.w == 1", {"v": value, "w": 1}) == "allow"


@pytest.mark.parametrize("condition", ["arguments.v == 1", "arguments.missing == 1", "arguments.v.x == 1", "arguments.w < 1"])
def test_a_condition_that_cannot_be_evaluated_denies(condition: str) -> None:
    assert effect(condition, {"w": "text"}) == "policy.condition_error"


def test_rules_about_statements_know_the_arguments_of_the_tool() -> None:
    from guardrails.model import Access, RelationUse
    from guardrails.policy import decide

    rule = {"id": "r", "effect": "allow", "actions": ["select"], "relations": ["orders"], "when": "arguments.target == 'test'"}
    access = Access("select", ("select",), (RelationUse("orders", "select"),))
    bound = policy(rules=[rule])
    effects = [
        decide(access, bound, ANA, Context(tool="run", arguments=arguments)).effect
        for arguments in ({"target": "test"}, {"target": "production"}, {})
    ]
    assert effects == ["allow", "deny", "deny"]


def test_of_several_globs_the_stricter_word_holds_and_a_name_of_its_own_holds_alone() -> None:
    email, full = ArgumentMask(mask="email"), ArgumentMask(mask="full")
    bound = policy(
        tools={
            "t.*": {"seconds": 5, "arguments": {"a": "show", "b": email, "c": "show", "d": email}},
            "*.x": {"seconds": 3, "arguments": {"a": email, "b": "hide", "c": "show", "d": full}},
            "t.own": {"arguments": {"a": "show"}},
        },
        rates=[{"tools": ["t.*"], "calls": 5, "per": 60}, {"tools": ["t.x", "*.x"], "calls": 2, "per": "1s"}],
        limits={"seconds": 7},
    )
    assert treatments_of(bound, "t.x") == {"a": email, "b": "hide", "c": "show", "d": "hide"}
    assert treatments_of(bound, "t.own") == {"a": "show"}
    assert (treatments_of(bound, "other"), treatments_of(bound, None)) == ({}, {})
    assert [limits_of(bound, name).seconds for name in ("t.x", "t.y", "t.own", "other", None)] == [3, 5, 5, 7, 7]
    assert rates_of(bound, "t.x") == (Rate(2, 1), Rate(5, 60))
    assert (rates_of(bound, "t.y"), rates_of(bound, "u.z"), rates_of(bound, None)) == ((Rate(5, 60),), (), ())


SHOWN = [
    ("show", "call ana@example.org", "call [email]", "call ana@example.org"),
    ("show", 2**53 + 1, "9007199254740993", 2**53 + 1),
    ("show", [1.5, {"a": None}], '[1.5, {"a": null}]', [1.5, {"a": None}]),
    ("show", Opaque("Connection"), "<Connection>", "<Connection>"),
    ({"mask": "email"}, "ana@example.org", "***@example.org", "***@example.org"),
    ({"mask": "email"}, ["ana@example.org"], "***", "***"),
    ({"mask": "email"}, 5, "***", "***"),
    ({"mask": "partial", "last": 2}, "DE12345678", "***78", "***78"),
    ({"mask": "date", "to": "month"}, "2026-03-09", "2026-03-01", "2026-03-01"),
    ({"mask": "date", "to": "year"}, date(2026, 3, 9), "2026-01-01", date(2026, 1, 1)),
    ({"mask": "bucket", "size": 100}, 250, 200, 200),
    ({"mask": "bucket", "size": 100}, 2**80, "1208925819614629174706100", 1208925819614629174706100),
    ({"mask": "bucket", "size": 100}, True, "***", "***"),
    ({"mask": "round", "digits": 1}, 1.25, "1.3", 1.3),
    ({"mask": "null"}, "x", None, None),
    ({"mask": "full"}, "x", "***", "***"),
    ({"mask": "partial", "last": 2}, Opaque("Connection"), "***", "***"),
]


@pytest.mark.parametrize(("treatment", "value", "entry", "approver"), SHOWN, ids=[str(n) for n in range(len(SHOWN))])
def test_a_value_is_shown_as_the_policy_says(treatment: Any, value: Any, entry: object, approver: object) -> None:
    how = ArgumentMask(**treatment) if isinstance(treatment, dict) else treatment
    display = Display({"v": value}, {"v": how}, b"k" * 32)
    assert [shown["value"] for shown in display.entry()] == [entry]
    assert display.for_approver() == {"v": approver}


def test_what_nobody_speaks_of_is_not_in_the_entry_and_scanned_for_the_approver() -> None:
    display = Display({"a": "ana@example.org", "b": "s3cret", "c": ["x@example.org"]}, {"b": "hide"}, b"k" * 32)
    assert display.entry() == []
    assert display.for_approver() == {"a": "[email]", "b": "***", "c": ["[email]"]}
    token = Display({"v": "ana"}, {"v": ArgumentMask(mask="pseudonym")}, b"k" * 32).entry()[0]["value"]
    assert str(token).startswith("tok_")


def test_what_is_handed_on_is_a_copy_of_data_and_the_object_itself_of_anything_else() -> None:
    connection, order, kept = object(), Order(1, ["a"]), Kept(to="x")
    given = {"list": [[1], {"a": [2]}], "order": order, "connection": connection, "kept": kept, "mixed": [connection, [3]]}
    taken = Arguments.of(given)
    given["list"][0].append(9)  # type: ignore[index, union-attr]
    order.tags.append("b")
    assert taken.passed["list"] == [[1], {"a": [2]}]
    assert (taken.passed["order"], taken.passed["order"] is order) == (Order(1, ["a"]), False)
    assert taken.passed["connection"] is connection
    assert taken.passed["kept"] is kept
    assert taken.passed["mixed"][0] is connection
    assert taken.seen["order"] == {"number": 1, "tags": ["a"]}
    assert taken.seen["kept"] == Opaque("Kept")


def test_policies_that_say_nothing_of_tools_keep_their_digest() -> None:
    rules = [{"id": "r", "effect": "allow", "actions": ["t.x"]}]
    assert Policy(rules=rules).digest == Policy(rules=rules, tools={}, rates=[]).digest
    assert '"tools"' not in Policy(rules=rules).canonical
    assert Policy(rules=rules, tools={"t.x": {"seconds": 1.0}}).digest != Policy(rules=rules).digest
