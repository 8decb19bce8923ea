"""Decisions about real statements: parsed and resolved against a real schema, then held against a policy."""

from __future__ import annotations

from typing import Any

import pytest

from guardrails.catalog import from_ddl
from guardrails.model import (
    Access,
    ApprovalTerms,
    BreakGlass,
    Catalog,
    ColumnRef,
    Context,
    Decision,
    DialectName,
    Limits,
    Principal,
    RelationUse,
    Statement,
    WorkingHours,
)
from guardrails.policy import BoundPolicy, Policy, decide, decide_action
from guardrails.sql import parse, resolve

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT, region TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, region TEXT, status TEXT, total INTEGER);
CREATE TABLE salaries (id INTEGER PRIMARY KEY, person TEXT, amount INTEGER);
CREATE VIEW contacts AS SELECT id, name, email FROM customers;
CREATE VIEW payroll AS SELECT person, amount FROM salaries;
"""
CATALOG = from_ddl(SCHEMA, "sqlite")
ANA = Principal("ana", frozenset({"support"}), {"region": "west"})
NOBODY = Context()


def rule(id_: str = "r", effect: str = "allow", actions: str = "select", relations: str = "", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": id_, "effect": effect, "actions": actions.split(), **more}
    return fields | ({"relations": relations.split()} if relations else {})


def bound(*rules: dict[str, Any], catalog: Catalog = CATALOG, **sections: Any) -> BoundPolicy:
    return Policy(rules=list(rules), **sections).bind(catalog)


def access(sql: str, catalog: Catalog = CATALOG) -> Access:
    return resolve(parse(Statement(sql, {}, catalog.dialect), Limits()), catalog).access


def judge(sql: str, policy: BoundPolicy, principal: Principal = ANA, context: Context = NOBODY) -> Decision:
    return decide(access(sql, policy.catalog), policy, principal, context)


READ = rule("read", relations="customers orders")


def test_what_a_rule_allows_is_allowed_and_nothing_else() -> None:
    policy = bound(READ)
    allowed = judge("SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id", policy)
    assert (allowed.effect, allowed.code, allowed.rules, allowed.reasons) == ("allow", "ok", ("read",), ())
    assert allowed.policy_digest == policy.digest
    refused = judge("SELECT name, amount FROM customers JOIN salaries ON person = name", policy)
    assert (refused.effect, refused.code) == ("deny", "policy.no_rule")
    assert refused.reasons[0].message == "No rule allows select on salaries."
    assert refused.reasons[0].hint == "Relations that select may be used on: customers, orders."
    assert judge("DELETE FROM orders WHERE id = 1", policy).code == "policy.no_rule"


def test_all_denials_are_told() -> None:
    decision = judge(
        "SELECT ssn, amount FROM customers JOIN salaries ON person = name",
        bound(rule("no-pay", "deny", "read", "salaries"), READ, columns={"customers.ssn": {"mask": "deny"}}),
    )
    assert [r.code for r in decision.reasons] == ["policy.column_denied", "policy.denied", "policy.no_rule"]
    assert decision.rules == ("no-pay",)
    assert decision.obligations.masks == ()


def test_a_statement_without_relations_needs_no_rule() -> None:
    assert judge("SELECT 1", bound(READ)).effect == "allow"
    locked = bound(READ, rule("out", "deny", "all", principals={"groups": ["support"]}, message="You are suspended."))
    assert judge("SELECT 1", locked).reasons[0].message == "You are suspended."
    assert decide(Access("other", ("other",)), bound(READ), ANA, NOBODY).code == "policy.no_rule"


def test_columns_outside_the_judged_relations_are_refused() -> None:
    torn = Access("select", ("select",), (RelationUse("orders", "select"),), (ColumnRef("salaries", "amount"),))
    assert decide(torn, bound(READ), ANA, NOBODY).effect == "deny"
    behind_nothing = Access("select", ("select",), (RelationUse("orders", "select", "gone"),))
    assert decide(behind_nothing, bound(rule(relations="customers")), ANA, NOBODY).effect == "deny"


def test_an_allow_for_columns_covers_these_alone() -> None:
    policy = bound(
        rule("names", relations="customers", columns=["customers.id", "customers.name"]),
        rule("regions", columns=["customers.reg*"]),
        rule("orders", relations="orders"),
    )
    assert judge("SELECT name FROM customers WHERE region = 'west'", policy).rules == ("names", "regions")
    assert judge("SELECT count(*) FROM customers", policy).effect == "allow"
    for sql in (
        "SELECT * FROM customers",
        "SELECT name FROM customers ORDER BY email",
        "SELECT 1 FROM customers WHERE ssn > ''",
    ):
        decision = judge(sql, policy)
        assert decision.code == "policy.column_denied"
        assert decision.reasons[0].hint == "Use only these columns of customers: id, name, region."
        assert "ssn" not in str(decision.reasons)
        assert "email" not in str(decision.reasons)


def test_a_deny_for_columns_holds_where_one_is_read_or_written() -> None:
    policy = bound(rule("all", actions="read write", relations="*"), rule("no-ssn", "deny", "all", columns=["customers.ssn"]))
    assert judge("SELECT name FROM customers", policy).effect == "allow"
    assert judge("UPDATE customers SET name = 'x' WHERE id = 1", policy).effect == "allow"
    for sql in (
        "SELECT ssn FROM customers",
        "SELECT id FROM customers WHERE ssn LIKE '9%'",
        "UPDATE customers SET ssn = '1' WHERE id = 1",
        "UPDATE customers SET name = 'x' WHERE ssn = '1'",
        "INSERT INTO customers (id, ssn) VALUES (1, '2')",
        "DELETE FROM customers WHERE id = 1",
    ):
        assert judge(sql, policy).code == "policy.denied", sql


def test_a_deny_of_writing_a_column_lets_it_be_read() -> None:
    policy = bound(rule("all", actions="read write", relations="*"), rule("fixed", "deny", "write", columns=["orders.total"]))
    assert judge("SELECT total FROM orders", policy).effect == "allow"
    assert judge("UPDATE orders SET total = 0 WHERE id = 1", policy).code == "policy.denied"


def test_a_deny_of_reading_reaches_what_a_change_reads() -> None:
    policy = bound(rule("all", actions="read write", relations="*"), rule("blind", "deny", "select", "orders"))
    assert judge("INSERT INTO orders (id) VALUES (1)", policy).effect == "allow"
    assert judge("UPDATE orders SET status = 'x' WHERE total > 5", policy).code == "policy.denied"


def test_an_insert_from_a_query_needs_both() -> None:
    sql = "INSERT INTO orders (id, status) SELECT id, name FROM customers"
    write = rule("write", actions="insert", relations="orders")
    assert judge(sql, bound(READ)).code == "policy.no_rule"
    assert judge(sql, bound(write)).code == "policy.no_rule"
    assert judge(sql, bound(READ, write)).rules == ("read", "write")


def test_an_allow_of_a_view_is_enough_for_what_stands_behind_it() -> None:
    policy = bound(rule("view", relations="contacts"))
    assert judge("SELECT email FROM contacts", policy).effect == "allow"
    assert judge("SELECT email FROM customers", policy).effect == "deny"
    assert judge("SELECT contacts.email FROM contacts JOIN customers USING (id)", policy).effect == "deny"


def test_a_deny_and_an_approve_reach_behind_views_without_naming_what_stands_there() -> None:
    view = rule("view", relations="payroll contacts")
    denied = judge("SELECT amount FROM payroll", bound(view, rule("no", "deny", "select", "salaries")))
    assert denied.code == "policy.denied"
    assert "salaries" not in denied.reasons[0].message
    assert "payroll" in denied.reasons[0].message
    column = judge("SELECT amount FROM payroll", bound(view, columns={"salaries.amount": {"mask": "deny"}}))
    assert column.code == "policy.column_denied"
    assert "salaries" not in str(column.reasons)
    asked = judge("SELECT amount FROM payroll", bound(view, rule("ask", "approve", "select", "salaries")))
    assert (asked.effect, asked.code) == ("approve", "approval.required")
    masked = judge("SELECT email FROM contacts", bound(view, columns={"customers.email": {"mask": "full"}}))
    assert [str(m.column) for m in masked.obligations.masks] == ["customers.email"]


def test_a_change_needs_a_where_unless_a_rule_says_otherwise() -> None:
    strict = rule("strict", actions="update delete select", relations="orders")
    assert judge("DELETE FROM orders", bound(strict)).code == "policy.where_required"
    assert judge("UPDATE orders SET status = 'x' WHERE 1 = 1", bound(strict)).code == "policy.where_required"
    assert judge("DELETE FROM orders WHERE id = 1", bound(strict)).effect == "allow"
    lenient = rule("lenient", actions="delete", relations="orders", where="optional")
    assert judge("DELETE FROM orders", bound(strict, lenient)).effect == "allow"
    assert judge("UPDATE orders SET status = 'x'", bound(strict, lenient)).code == "policy.where_required"
    elsewhere = rule("elsewhere", actions="delete", relations="customers", where="optional")
    assert judge("DELETE FROM orders", bound(strict, elsewhere)).code == "policy.where_required"


def test_a_where_is_optional_only_where_the_rule_holds() -> None:
    strict = rule("strict", actions="delete select", relations="orders customers")
    when = rule("when", actions="delete", relations="orders customers", where="optional", when="relation == 'customers'")
    assert judge("DELETE FROM customers", bound(strict, when)).effect == "allow"
    assert judge("DELETE FROM orders", bound(strict, when)).code == "policy.where_required"


PURPOSES = {"purposes": {"fraud": {"description": "Fraud"}, "tax": None, "chat": None}}


def test_a_purpose_that_is_missing_is_named() -> None:
    policy = bound(READ, rule("pay", relations="salaries", purposes=["tax", "fraud"]), **PURPOSES)
    sql = "SELECT amount FROM salaries"
    assert judge(sql, policy, context=Context(purpose="tax")).effect == "allow"
    for context in (Context(), Context(purpose="chat"), Context(purpose="unheard-of")):
        decision = judge(sql, policy, context=context)
        assert decision.code == "policy.purpose_required"
        assert "fraud or tax" in decision.reasons[0].message
    stranger = bound(rule("pay", relations="salaries", purposes=["tax"], principals={"groups": ["finance"]}), **PURPOSES)
    assert judge(sql, stranger).code == "policy.no_rule"


def test_a_purpose_may_be_what_columns_lack() -> None:
    policy = bound(
        rule("some", columns=["customers.name"]), rule("more", columns=["customers.email"], purposes=["fraud"]), **PURPOSES
    )
    assert judge("SELECT name, email FROM customers", policy).code == "policy.purpose_required"
    assert judge("SELECT name, email FROM customers", policy, context=Context(purpose="fraud")).effect == "allow"
    assert judge("SELECT name, ssn FROM customers", policy).code == "policy.column_denied"


@pytest.mark.parametrize(
    ("principals", "is_meant"),
    [
        ({"groups": ["support"]}, True),
        ({"groups": ["x", "support"]}, True),
        ({"groups": ["Support"]}, False),
        ({"ids": ["ana"]}, True),
        ({"ids": ["ana"], "groups": ["x"]}, False),
        ({"agents": ["bot"]}, True),
        ({"agents": ["bot"], "ids": ["eve"]}, False),
        ({"agents": ["other"]}, False),
    ],
)
def test_every_list_of_principals_must_fit(principals: dict[str, list[str]], is_meant: bool) -> None:
    policy = bound(rule(relations="orders", principals=principals))
    decision = judge("SELECT id FROM orders", policy, context=Context(agent="bot"))
    assert (decision.effect == "allow") is is_meant


def test_a_condition_decides_with_the_variables_of_the_request() -> None:
    context = Context("bot", "m", "fraud", "s1", "c1", "sql")
    for condition, is_met in {
        "principal.id == 'ana' && principal.region == 'west' && 'support' in principal.groups": True,
        "principal.attributes.region == 'west' && principal.verified == 'unverified' && principal.issuer == ''": True,
        "agent == 'bot' && purpose == 'fraud' && action == 'select' && relation == 'orders'": True,
        "session.id == 's1' && session.model == 'm' && session.conversation == 'c1' && session.tool == 'sql'": True,
        "principal.groups.exists(g, g.startsWith('sup'))": True,
        "has(principal.clearance) && principal.clearance > 3": False,
        "agent == 'other'": False,
    }.items():
        policy = bound(rule(relations="orders", when=condition), **PURPOSES)
        assert (judge("SELECT id FROM orders", policy, context=context).effect == "allow") is is_met, condition


@pytest.mark.parametrize("effect", ["allow", "deny", "approve"])
@pytest.mark.parametrize("condition", ["principal.clearance > 3", "principal.region > 3", "principal.region"])
def test_a_condition_that_fails_denies_whatever_the_effect(effect: str, condition: str) -> None:
    policy = bound(rule("all", relations="*"), rule("odd", effect, relations="orders", when=condition))
    decision = judge("SELECT id FROM orders", policy)
    assert (decision.effect, decision.code, decision.rules) == ("deny", "policy.condition_error", ("odd",))
    assert "west" not in str(decision.reasons)
    assert judge("SELECT id FROM customers", policy).effect == "allow"


def test_an_approve_beats_an_allow_and_allows_by_itself() -> None:
    ask = rule("ask", "approve", "select", "orders", approval={"groups": ["lead"], "expires": "5m"}, message="Say why.")
    for policy in (bound(ask), bound(READ, ask)):
        decision = judge("SELECT id FROM orders", policy)
        assert (decision.effect, decision.code) == ("approve", "approval.required")
        assert decision.obligations.approval == ApprovalTerms(("lead",), 300, True)
        assert (decision.reasons[0].message, decision.reasons[0].rule) == ("Say why.", "ask")
    assert judge("SELECT id FROM orders", bound(READ, ask)).rules == ("ask", "read")


def test_an_approve_for_columns_asks_where_one_is_touched_and_allows_no_more() -> None:
    ask = rule("ask", "approve", columns=["customers.ssn"])
    assert judge("SELECT ssn FROM customers", bound(ask)).effect == "approve"
    assert judge("SELECT name FROM customers", bound(ask)).effect == "deny"
    assert judge("SELECT count(*) FROM customers", bound(ask)).effect == "deny"
    assert judge("SELECT ssn, name FROM customers", bound(ask)).effect == "deny"
    assert judge("SELECT name FROM customers", bound(READ, ask)).effect == "allow"
    assert judge("SELECT ssn, name FROM customers", bound(READ, ask)).effect == "approve"


def test_the_strictest_terms_hold() -> None:
    first = rule(
        "a", "approve", relations="orders", approval={"groups": ["lead", "cfo"], "expires": 60, "reason_required": False}
    )
    second = rule("b", "approve", relations="customers", approval={"groups": ["cfo", "legal"], "reason_required": True})
    third = rule("c", "approve", relations="salaries", approval={"groups": ["hr"]})
    fourth = rule("d", "approve", "select", "contacts")
    policy = bound(first, second, third, fourth)
    both = judge("SELECT 1 FROM orders, customers", policy)
    assert both.obligations.approval == ApprovalTerms(("cfo",), 60, True)
    assert judge("SELECT 1 FROM contacts", policy).obligations.approval == ApprovalTerms(("cfo", "legal"), 900, True)
    impossible = judge("SELECT 1 FROM orders, salaries", policy)
    assert (impossible.effect, impossible.code) == ("deny", "policy.obligation")


def test_the_terms_of_several_rules_are_met_together() -> None:
    day = {"begins": "09:00", "ends": "17:00"}
    first = {"quorum": 2, "hours": day, "break_glass": {"groups": ["oncall", "cfo"], "review": "2h"}, "window": "1h"}
    second = {"hours": {"days": ["sat"], "begins": "00:00", "ends": "24:00", "zone": "Europe/Berlin"}, "impact": "none"}
    third = {"break_glass": {"groups": ["oncall"], "review": "1h"}, "window": "30m", "hours": day}
    policy = bound(
        rule("a", "approve", relations="orders", approval=first),
        rule("b", "approve", relations="customers", approval=second),
        rule("c", "approve", relations="salaries", approval=third),
    )
    weekdays = WorkingHours((0, 1, 2, 3, 4), 540, 1020)
    alone = judge("SELECT 1 FROM orders", policy).obligations.approval
    assert alone == ApprovalTerms((), 900, True, 2, (weekdays,), BreakGlass(("cfo", "oncall"), 7200), 3600, "count")
    both = judge("SELECT 1 FROM orders, salaries", policy).obligations.approval
    assert both == ApprovalTerms((), 900, True, 2, (weekdays,), BreakGlass(("oncall",), 3600), 1800, "count")
    saturday = WorkingHours((5,), 0, 1440, "Europe/Berlin")
    mixed = judge("SELECT 1 FROM orders, customers", policy).obligations.approval
    assert mixed == ApprovalTerms((), 900, True, 2, (weekdays, saturday), None, 0, "none")


def test_an_approved_select_reads_the_real_values_that_the_rule_names() -> None:
    ask = rule("real", "approve", columns=["customers.email", "customers.ssn"], approval={"unmask": True}, purposes=["fraud"])
    columns = {"customers.email": {"mask": "full"}, "customers.ssn": {"mask": "deny"}, "customers.name": {"mask": "full"}}
    policy = bound(READ, ask, columns=columns, **PURPOSES)
    fraud = Context(purpose="fraud")
    decision = judge("SELECT name, email FROM customers WHERE email LIKE 'a%'", policy, context=fraud)
    assert (decision.effect, [str(c) for c in decision.obligations.lifted]) == ("approve", ["customers.email"])
    assert [str(m.column) for m in decision.obligations.masks] == ["customers.name", "customers.ssn"]
    assert judge("SELECT ssn FROM customers", policy, context=fraud).effect == "approve"
    masked = judge("SELECT name, email FROM customers", policy)
    assert (masked.effect, masked.obligations.lifted, len(masked.obligations.masks)) == ("allow", (), 3)
    assert judge("SELECT ssn FROM customers", policy).effect == "deny"


def test_masks_hold_for_every_relation_that_is_touched_but_for_who_is_exempt() -> None:
    columns = {
        "customers.email": {"mask": "partial", "last": 4},
        "customers.ssn": {"mask": "full", "except": {"groups": ["audit"], "purposes": ["fraud"]}},
        "salaries.amount": {"mask": "bucket", "size": 1000},
    }
    policy = bound(READ, columns=columns, **PURPOSES)
    audit = Principal("eve", frozenset({"audit"}))
    for person, purpose, masked in (
        (ANA, "fraud", ["customers.email", "customers.ssn"]),
        (audit, None, ["customers.email", "customers.ssn"]),
        (audit, "tax", ["customers.email", "customers.ssn"]),
        (audit, "fraud", ["customers.email"]),
    ):
        decision = judge("SELECT count(*) FROM customers", policy, person, Context(purpose=purpose))
        assert [str(m.column) for m in decision.obligations.masks] == masked
    assert decision.obligations.masks[0].options == (("last", 4),)


def test_a_shift_is_each_persons_own() -> None:
    policy = bound(READ, columns={"customers.region": {"mask": "shift", "days": 30}})
    people = [Principal("ana"), Principal("bo"), Principal("ana", issuer="https://idp")]
    masks = [judge("SELECT id FROM customers", policy, p).obligations.masks[0] for p in people]
    assert [dict(m.options)["days"] for m in masks] == [30, 30, 30]
    assert len({dict(m.options)["subject"] for m in masks}) == 3


def test_a_key_per_attribute_is_the_principals_or_refused() -> None:
    policy = bound(READ, columns={"customers.email": {"mask": "hash", "per": "tenant", "nulls": "keep"}})
    for value, subject in (("a", "a"), (7, "7")):
        decision = judge("SELECT id FROM customers", policy, Principal("ana", attributes={"tenant": value}))
        assert decision.obligations.masks[0].options == (("per", "tenant"), ("subject", subject))
    for attributes in (
        {},
        {"tenant": ""},
        {"tenant": None},
        {"tenant": ["a"]},
        {"tenant": True},
        {"tenant": 1.5},
        {"Tenant": "a"},
    ):
        decision = judge("SELECT id FROM customers", policy, Principal("ana", attributes=attributes))
        assert (decision.effect, decision.code) == ("deny", "policy.obligation")
    exempt = bound(READ, columns={"customers.email": {"mask": "hash", "per": "tenant", "except": {"groups": ["audit"]}}})
    assert judge("SELECT email FROM customers", exempt, Principal("eve", frozenset({"audit"}))).effect == "allow"


def test_a_denied_column_is_refused_without_its_name() -> None:
    policy = bound(rule(actions="read write", relations="*"), columns={"customers.ssn": {"mask": "deny"}})
    for sql in ("SELECT * FROM customers", "SELECT ssn FROM customers", "UPDATE customers SET ssn = '' WHERE id = 1"):
        decision = judge(sql, policy)
        assert decision.code == "policy.column_denied"
        assert decision.reasons[0].hint == "Use only these columns of customers: id, name, email, region."
        assert "ssn" not in str(decision.reasons)
    allowed = judge("SELECT name FROM customers", policy)
    assert [(str(m.column), m.kind) for m in allowed.obligations.masks] == [("customers.ssn", "deny")]
    assert judge("DELETE FROM customers WHERE id = 1", policy).effect == "allow"


def test_row_filters_carry_the_values_of_the_principal() -> None:
    rows = {
        "orders": "region = principal.region AND 'principal.secret' <> ''",
        "customers": {"predicate": "name = principal.id OR region IN (principal.groups)", "except": {"groups": ["audit"]}},
    }
    policy = bound(rule(relations="*"), rows=rows)
    filters = judge("SELECT 1 FROM orders JOIN contacts USING (id)", policy).obligations.row_filters
    assert [(f.relation, f.bindings) for f in filters] == [
        ("customers", (("groups", ["support"]), ("id", "ana"))),
        ("orders", (("region", "west"),)),
    ]
    audit = Principal("eve", frozenset({"audit"}), {"region": "east"})
    assert [f.relation for f in judge("SELECT 1 FROM orders, customers", policy, audit).obligations.row_filters] == ["orders"]


@pytest.mark.parametrize("attributes", [{}, {"region": {"a": 1}}, {"region": [["x"]]}, {"Region": "west"}])
def test_a_principal_without_the_attribute_is_refused(attributes: dict[str, Any]) -> None:
    policy = bound(READ, rows={"orders": "region = principal.region"})
    decision = judge("SELECT id FROM orders", policy, Principal("ana", frozenset(), attributes))
    assert (decision.effect, decision.code) == ("deny", "policy.obligation")
    assert judge("SELECT id FROM customers", policy, Principal("ana")).effect == "allow"


def test_an_attribute_does_not_replace_the_id_or_the_groups() -> None:
    forged = Principal("ana", frozenset({"support"}), {"id": "boss", "groups": ["admin"]})
    policy = bound(READ, rows={"orders": "region = principal.id"})
    assert judge("SELECT id FROM orders", policy, forged).obligations.row_filters[0].bindings == (("id", "ana"),)
    admins = bound(rule(relations="orders", when="'admin' in principal.groups || principal.id == 'boss'"))
    assert judge("SELECT id FROM orders", admins, forged).effect == "deny"


def test_limits_are_an_obligation_of_every_permit() -> None:
    decision = judge("SELECT 1", bound(READ, limits={"rows": 7, "seconds": 1.5}))
    assert decision.obligations.limits == Limits(rows=7, seconds=1.5)


TOOLS = (
    rule("mail", actions="email.send", when="arguments.to.endsWith('@example.com')"),
    rule("calendar", "approve", "calendar.*"),
    rule("no-wipe", "deny", "*.wipe"),
)


def test_tools_are_judged_by_name_and_arguments() -> None:
    policy = bound(READ, *TOOLS)
    send = {"to": "a@example.com", "urgent": True, "tags": ["x"]}
    assert decide_action("email.send", send, policy, ANA, NOBODY).effect == "allow"
    assert decide_action("email.send", {"to": "a@evil.test"}, policy, ANA, NOBODY).code == "policy.no_rule"
    assert decide_action("email.send", {}, policy, ANA, NOBODY).code == "policy.condition_error"
    assert decide_action("email.send", {"to": object()}, policy, ANA, NOBODY).code == "policy.condition_error"  # type: ignore[dict-item]
    assert decide_action("calendar.add", {}, policy, ANA, NOBODY).effect == "approve"
    assert decide_action("calendar.wipe", {}, policy, ANA, NOBODY).code == "policy.denied"
    assert decide_action("email.sendall", {}, policy, ANA, NOBODY).code == "policy.no_rule"


@pytest.mark.parametrize("name", ["select", "delete", "drop", "all", "read", "*"])
def test_words_of_sql_are_no_tools(name: str) -> None:
    policy = bound(rule(actions="all", relations="*"), *TOOLS)
    assert decide_action(name, {}, policy, ANA, NOBODY).code == "policy.no_rule"


def test_a_deny_of_everything_reaches_tools() -> None:
    policy = bound(*TOOLS, rule("out", "deny", "all", principals={"ids": ["ana"]}))
    assert decide_action("calendar.add", {}, policy, ANA, NOBODY).code == "policy.denied"
    assert decide_action("calendar.add", {}, policy, Principal("eve"), NOBODY).effect == "approve"


def test_a_tool_may_need_a_purpose() -> None:
    policy = bound(rule(actions="pay.out", purposes=["tax"]), **PURPOSES)
    assert decide_action("pay.out", {}, policy, ANA, NOBODY).code == "policy.purpose_required"
    assert decide_action("pay.out", {}, policy, ANA, Context(purpose="tax")).effect == "allow"


POSTGRES = from_ddl(
    """CREATE TABLE public.orders (id integer, "Total" integer, total integer);
       CREATE TABLE hr.salaries (id integer, amount integer);
       CREATE TABLE hr.orders (id integer);""",
    "postgres",
)


@pytest.mark.parametrize(
    ("relations", "effect", "is_meant"),
    [
        ("orders", "allow", {"orders"}),
        ("public.orders", "allow", {"orders"}),
        ("hr.*", "allow", {"hr.orders", "hr.salaries"}),
        ("or*", "allow", {"orders"}),
        ("*", "allow", {"orders", "hr.orders", "hr.salaries"}),
        ("*.orders", "allow", {"orders", "hr.orders"}),
        ("orders", "deny", {"orders", "hr.orders"}),
        ("Orders", "deny", {"orders", "hr.orders"}),
        ("sal*", "deny", {"hr.salaries"}),
    ],
)
def test_a_name_without_schema_means_the_default_but_in_a_deny_any(relations: str, effect: str, is_meant: set[str]) -> None:
    rules = [rule("r", effect, relations=relations)] + ([rule("all", relations="*", when="true")] if effect == "deny" else [])
    policy = bound(*rules, catalog=POSTGRES)
    for name in ("orders", "hr.orders", "hr.salaries"):
        allowed = judge(f"SELECT id FROM {name}", policy).effect == "allow"
        assert allowed is ((name in is_meant) is (effect == "allow")), name


def test_quoted_columns_are_told_apart_in_postgres() -> None:
    policy = bound(rule(columns=["orders.Total"]), catalog=POSTGRES)
    assert judge('SELECT "Total" FROM orders', policy).effect == "allow"
    assert judge("SELECT total FROM orders", policy).effect == "deny"


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_same_policy_decides_the_same_in_both_dialects(dialect: DialectName) -> None:
    catalog = from_ddl(SCHEMA, dialect)
    policy = bound(READ, rule("no", "deny", "select", "Salaries"), columns={"customers.ssn": {"mask": "deny"}}, catalog=catalog)
    assert judge("SELECT Name FROM CUSTOMERS", policy).effect == "allow"
    assert judge("SELECT SSN FROM Customers", policy).code == "policy.column_denied"
    assert judge("SELECT * FROM payroll", policy).code == "policy.denied"


def test_a_denied_column_suggests_only_columns_that_may_be_read() -> None:
    policy = bound(rule(columns=["customers.id", "customers.ssn"]), columns={"customers.ssn": {"mask": "deny"}})
    decision = judge("SELECT ssn FROM customers", policy)
    assert decision.reasons[0].hint == "Use only these columns of customers: id."


def test_columns_that_a_change_reads_are_judged_even_when_no_select_is_listed() -> None:
    id_, total = ColumnRef("orders", "id"), ColumnRef("orders", "total")
    torn = Access("update", ("update",), (RelationUse("orders", "update"),), (id_,), (total,))
    write = rule("write", actions="update", columns=["orders.total"])
    assert decide(torn, bound(write), ANA, NOBODY).code == "policy.column_denied"
    assert decide(torn, bound(write, rule("ids", columns=["orders.id"])), ANA, NOBODY).effect == "allow"
    everything = rule("all", actions="read write", relations="*")
    for effect, wanted in (("deny", "deny"), ("approve", "approve")):
        for column in ("orders.id", "orders.total"):
            changing = rule("r", effect, "update", columns=[column])
            assert decide(torn, bound(everything, changing), ANA, NOBODY).effect == wanted
        reading = rule("r", effect, "select", columns=["orders.id"])
        assert decide(torn, bound(everything, reading), ANA, NOBODY).effect == wanted
    unlimited = Access("delete", ("delete",), (RelationUse("orders", "delete"),), (id_,), (), is_restricted=False)
    rules = (
        rule("d", actions="delete", relations="orders"),
        rule("u", actions="update select", relations="orders", where="optional"),
    )
    assert decide(unlimited, bound(*rules), ANA, NOBODY).code == "policy.where_required"
