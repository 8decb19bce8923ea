"""Policies held against schemas: names that mean nothing there are errors at their place, names that do become keys."""

from __future__ import annotations

import pytest

from guardrails.catalog import from_ddl
from guardrails.demo.shop import SCHEMA as DEMO_SCHEMA
from guardrails.errors import PolicyError
from guardrails.model import Column, ColumnRef, DialectName, Mask, RowFilter
from guardrails.policy import Policy
from tests.support.policies import EXAMPLE

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT, region TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, region TEXT, total INTEGER);
"""
_HEAD = "version: 1\nrules:\n  - {id: a, effect: allow, actions: [select], relations: [orders]}\n"


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_smallest_useful_policy_binds(dialect: DialectName) -> None:
    bound = Policy.from_text(EXAMPLE).bind(from_ddl(SCHEMA, dialect))
    email, ssn = ColumnRef("customers", "email"), ColumnRef("customers", "ssn")
    assert bound.masks == {email: Mask(email, "pseudonym"), ssn: Mask(ssn, "full")}
    assert bound.row_filters == {"orders": RowFilter("orders", "region = principal.region")}
    assert bound.rules[0].relations == {"orders", "customers"}


@pytest.mark.parametrize(
    ("code", "marked", "said"),
    [
        ("policy.unknown_relation", _HEAD.replace("orders", "▸ordres"), "Did you mean `orders`?"),
        ("policy.unknown_relation", _HEAD.replace("orders", "orders, ▸hr.orders"), "no relation"),
        ("policy.unknown_relation", _HEAD.replace("orders", "▸'inv*'"), "no relation `inv*`"),
        ("policy.unknown_relation", _HEAD.replace("allow", "deny").replace("orders", "▸ordres"), "`orders`"),
        ("policy.unknown_relation", _HEAD.replace("allow", "deny").replace("select", "reveal").replace("orders", "▸ordres"), "`orders`"),
        ("policy.unknown_relation", _HEAD.replace("]}", "], columns: [▸orders.totl]}"), "Did you mean `total`?"),
        ("policy.unknown_relation", _HEAD.replace("]}", "], columns: [▸'orders.x*']}"), "no column"),
        ("policy.unknown_relation", f"{_HEAD}columns:\n  ▸customer.email: {{mask: full}}\n", "`customers`"),
        ("policy.unknown_relation", f"{_HEAD}columns:\n  ▸customers.mail: {{mask: full}}\n", "`email`"),
        ("policy.unknown_relation", f"{_HEAD}rows:\n  ▸order: id = 1\n", "`orders`"),
        ("policy.contradiction", _HEAD.replace("]}", "], columns: [▸customers.email]}"), "not about"),
        ("policy.contradiction", _HEAD.replace("orders", "orders, ▸customers").replace("]}", "], columns: [orders.id]}"), "none of"),
        ("policy.contradiction", f"{_HEAD}columns:\n  customers.ssn: {{mask: full}}\n  ▸main.customers.ssn: {{mask: hash}}\n", "same"),
        ("policy.contradiction", f"{_HEAD}rows:\n  orders: id = 1\n  ▸main.orders: id = 2\n", "same"),
        ("policy.mask_invalid", f"{_HEAD}columns:\n  orders.total: {{mask: ▸partial, last: 4}}\n", "does not fit"),
        ("policy.mask_invalid", f"{_HEAD}columns:\n  orders.id: {{mask: pseudonym, ▸tokens: resolve}}\n", "no texts"),
        ("policy.mask_invalid", f"{_HEAD}columns:\n  orders.total: {{mask: ▸fixed, value: many}}\n", "does not fit"),
        ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: ▸regio = principal.region\n", "regio"),
        ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: ▸region = (SELECT 1)\n", "row filter"),
        ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: {{predicate: ▸region = 'x'; DROP TABLE orders}}\n", "row filter"),
    ],
)  # fmt: skip
def test_what_the_schema_lacks_is_refused_at_its_place(code: str, marked: str, said: str) -> None:
    before, _, after = marked.partition("▸")
    policy = Policy.from_text(before + after, source="p.yaml")
    with pytest.raises(PolicyError) as caught:
        policy.bind(from_ddl(SCHEMA, "sqlite"))
    error = caught.value
    assert (error.code, error.line, error.column) == (code, before.count("\n") + 1, len(before) - before.rfind("\n")), str(
        error
    )
    assert said in error.message


def test_every_name_that_is_missing_is_listed() -> None:
    policy = Policy.from_text(_HEAD.replace("[orders]", "[x, y]") + "columns:\n  z.a: {mask: full}\n")
    with pytest.raises(PolicyError) as caught:
        policy.bind(from_ddl(SCHEMA, "sqlite"))
    problems = caught.value.evidence["problems"]
    assert isinstance(problems, list)
    assert [(p["line"], p["code"]) for p in problems] == [(3, "policy.unknown_relation")] * 2 + [(5, "policy.unknown_relation")]


def test_a_relation_of_another_schema_is_suggested() -> None:
    catalog = from_ddl("CREATE TABLE hr.salaries (id integer); CREATE TABLE public.orders (id integer)", "postgres")
    with pytest.raises(PolicyError, match=r"Did you mean `hr\.salaries`"):
        Policy.from_text(_HEAD.replace("orders", "salaries")).bind(catalog)


def test_a_deny_may_look_ahead_with_a_glob() -> None:
    text = _HEAD + "  - {id: d, effect: deny, actions: [all], relations: ['secret_*'], columns: ['*.token']}\n"
    bound = Policy.from_text(text).bind(from_ddl(SCHEMA, "sqlite"))
    assert bound.rules[1].relations == frozenset()


def test_what_is_to_be_created_need_not_exist() -> None:
    text = _HEAD + "  - {id: c, effect: allow, actions: [create], relations: [scratch]}\n"
    assert Policy.from_text(text).bind(from_ddl(SCHEMA, "sqlite")).rules[1].relations == frozenset()


def test_case_counts_as_it_does_for_the_engine() -> None:
    text = _HEAD.replace("orders", "ORDERS") + "columns:\n  Customers.SSN: {mask: full}\n"
    for dialect in ("sqlite", "postgres"):
        bound = Policy.from_text(text).bind(from_ddl(SCHEMA, dialect))  # type: ignore[arg-type]
        assert bound.rules[0].relations == {"orders"}
        assert list(bound.masks) == [ColumnRef("customers", "ssn")]
    quoted = from_ddl('CREATE TABLE "Orders" (id integer); CREATE TABLE orders (id integer)', "postgres")
    assert Policy.from_text(_HEAD.replace("orders", "Orders")).bind(quoted).rules[0].relations == {"Orders"}
    assert Policy.from_text(_HEAD).bind(quoted).rules[0].relations == {"orders"}
    only_quoted = from_ddl('CREATE TABLE "Orders" (id integer)', "postgres")
    with pytest.raises(PolicyError, match="no relation `orders`"):
        Policy.from_text(_HEAD).bind(only_quoted)


def test_purposes_of_sessions_are_declared_where_the_policy_declares_any() -> None:
    catalog = from_ddl(SCHEMA, "sqlite")
    declared = Policy.from_text(f"{_HEAD}purposes: {{fraud: {{description: x}}}}\n").bind(catalog)
    declared.require_purpose("fraud")
    declared.require_purpose(None)
    with pytest.raises(PolicyError, match="Did you mean `fraud`") as caught:
        declared.require_purpose("frud")
    assert caught.value.code == "policy.purpose_unknown"
    Policy.from_text(_HEAD).bind(catalog).require_purpose("anything")


def test_the_policy_of_the_demo_binds() -> None:
    from importlib.resources import files

    text = files("guardrails.demo").joinpath("policy.yaml").read_text("utf-8")
    bound = Policy.from_text(text).bind(from_ddl(DEMO_SCHEMA, "sqlite"))
    assert ColumnRef("payments", "card_number") in bound.masks


def test_masks_know_the_type_of_their_column() -> None:
    policy = Policy.from_text(f"{_HEAD}columns:\n  customers.ssn: {{mask: pseudonym}}\n")
    wide = from_ddl(SCHEMA, "postgres")
    policy.bind(wide)
    narrow = from_ddl(SCHEMA.replace("ssn TEXT", "ssn varchar(9)"), "postgres")
    assert Column("ssn", "varchar(9)").name in narrow.relations["customers"].column_names
    with pytest.raises(PolicyError, match="too short"):
        policy.bind(narrow)
