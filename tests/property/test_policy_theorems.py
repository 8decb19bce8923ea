"""What holds of every decision, whatever the rules, the statement and the principal: the theorems of `guardrails.policy.decide`.

Rules and accesses are generated over one small schema with views, so that they meet often; some rules have conditions, of which some
fail. An independent model of the effect, written from the description alone, is the oracle.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guardrails.catalog import from_ddl
from guardrails.errors import PolicyError
from guardrails.model import Access, ColumnRef, Context, Decision, Principal, RelationUse, Statement
from guardrails.policy import BoundPolicy, Policy, decide, decide_action, visible
from guardrails.sql import parse, resolve

CATALOG = from_ddl(
    """CREATE TABLE a (x TEXT, y TEXT); CREATE TABLE b (x TEXT, y TEXT); CREATE TABLE c (x TEXT, y TEXT);
       CREATE VIEW v AS SELECT x, y FROM a;""",
    "sqlite",
)
BASES = ("a", "b", "c")
ACTIONS = ("select", "insert", "update", "delete")
GROUPS = ("g", "h")
PURPOSES = ("p", "q")
RANK = {"deny": 0, "approve": 1, "allow": 2}
# What each condition gives for a principal whose attribute n is 1: True, False, or None when it fails.
CONDITIONS = {"principal.n == 1": True, "principal.n == 2": False, "principal.missing == 1": None, "relation == 'b'": "b"}

Rule = dict[str, Any]


def some(*items: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(items), min_size=1, max_size=2, unique=True)


@st.composite
def a_rule(draw: st.DrawFn, effects: tuple[str, ...] = ("allow", "allow", "approve", "deny")) -> Rule:
    rule: Rule = {
        "effect": draw(st.sampled_from(effects)),
        "actions": draw(some("all", "read", "write", *ACTIONS, "tool.*")),
        "relations": draw(some("*", "[ab]", "a", "b", "c", "v")),
    }
    if set(rule["actions"]) == {"tool.*"}:
        del rule["relations"]
        return rule
    if draw(st.integers(0, 3)) == 0:
        del rule["relations"]
        rule["columns"] = draw(some("a.x", "b.y", "*.x", "v.*", "c.x"))
    for key, values in (("groups", GROUPS), ("agents", ("bot", "other"))):
        if draw(st.integers(0, 4)) == 0:
            rule.setdefault("principals", {})[key] = draw(some(*values))
    if draw(st.integers(0, 3)) == 0:
        rule["purposes"] = draw(some(*PURPOSES))
    if draw(st.integers(0, 5)) == 0:
        rule["when"] = draw(st.sampled_from(sorted(CONDITIONS)))
    if (
        rule["effect"] != "deny"
        and draw(st.integers(0, 3)) == 0
        and {"update", "delete", "write", "all"} & set(rule["actions"])
    ):
        rule["where"] = "optional"
    return rule


@st.composite
def an_access(draw: st.DrawFn) -> Access:
    uses: set[RelationUse] = set()
    reads: set[ColumnRef] = set()
    writes: set[ColumnRef] = set()
    fewest = 0 if draw(st.integers(0, 9)) == 0 else 1
    for name in draw(st.lists(st.sampled_from((*BASES, "v")), min_size=fewest, max_size=2, unique=True)):
        action = draw(st.sampled_from(ACTIONS)) if name != "v" else "select"
        columns = {ColumnRef(name, c) for c in draw(st.lists(st.sampled_from("xy"), max_size=2))}
        uses.add(RelationUse(name, action))
        if action != "select":
            writes |= columns
            columns = {ColumnRef(name, "x")} if draw(st.booleans()) else set()
        reads |= columns
        if columns:
            uses.add(RelationUse(name, "select"))
        if name == "v":
            uses.add(RelationUse("a", "select", "v"))
            reads |= {ColumnRef("a", c.column) for c in columns}
    ordered = tuple(sorted(uses, key=lambda u: (u.relation, u.action, u.via or "")))
    actions = tuple(sorted({u.action for u in uses if u.via is None} | {"select"}))
    is_restricted = draw(st.booleans())
    return Access("select", actions, ordered, tuple(sorted(reads)), tuple(sorted(writes)), is_restricted=is_restricted)


principals = st.builds(
    lambda groups, n: Principal("ana", frozenset(groups), {"n": n}), st.sets(st.sampled_from(GROUPS)), st.just(1)
)
contexts = st.builds(Context, agent=st.sampled_from(("bot", None)), purpose=st.sampled_from((*PURPOSES, None)))
rules_of = st.lists(a_rule(), min_size=1, max_size=6)


SECTIONS: dict[str, Any] = {
    "purposes": {"p": None, "q": None},
    "columns": {"a.x": {"mask": "full"}, "b.y": {"mask": "deny", "except": {"groups": ["h"]}}, "c.x": {"mask": "null"}},
    "rows": {"b": "x = principal.id", "c": {"predicate": "y = principal.n", "except": {"purposes": ["q"]}}},
}


def bound(rules: list[Rule], *, plain: bool = False) -> BoundPolicy:
    numbered = [{"id": f"r{n}"} | rule for n, rule in enumerate(rules)]
    try:
        return Policy(rules=numbered, **({"purposes": SECTIONS["purposes"]} if plain else SECTIONS)).bind(CATALOG)
    except PolicyError as error:
        # Generated rules may contradict each other; those policies do not load.
        assert error.code == "policy.contradiction", error
        assume(False)
        raise


def codes(decision: Decision) -> set[tuple[str, str]]:
    return {(r.code, r.message) for r in decision.reasons}


@given(rules_of, an_access(), principals, contexts)
@settings(max_examples=250, deadline=None)
def test_decisions_agree_with_the_model(rules: list[Rule], access: Access, principal: Principal, context: Context) -> None:
    decision = decide(access, bound(rules, plain=True), principal, context)
    assert decision.effect == model(rules, access, principal, context), decision


@given(rules_of, an_access(), principals, contexts, a_rule(("deny",)))
@settings(max_examples=100, deadline=None)
def test_one_more_deny_never_allows_more(
    rules: list[Rule], access: Access, principal: Principal, context: Context, extra: Rule
) -> None:
    before = decide(access, bound(rules), principal, context)
    after = decide(access, bound([*rules, extra]), principal, context)
    assert RANK[after.effect] <= RANK[before.effect]


@given(rules_of, an_access(), principals, contexts, a_rule(("allow",)))
@settings(max_examples=100, deadline=None)
def test_one_more_allow_never_takes_a_deny_away(
    rules: list[Rule], access: Access, principal: Principal, context: Context, extra: Rule
) -> None:
    before = decide(access, bound(rules), principal, context)
    after = decide(access, bound([*rules, extra]), principal, context)
    refusing = {"policy.denied", "policy.condition_error"}
    kept = {reason for reason in codes(before) if reason[0] in refusing}
    assert kept <= codes(after)
    if kept:
        assert after.effect == "deny"


@given(rules_of, an_access(), principals, contexts)
@settings(max_examples=100, deadline=None)
def test_forbid_trumps_permit(rules: list[Rule], access: Access, principal: Principal, context: Context) -> None:
    assume(access.relations)
    everything = {"effect": "allow", "actions": ["all"], "relations": ["*"], "where": "optional"}
    forbid = {"effect": "deny", "actions": ["all"]}
    decision = decide(access, bound([*rules, everything, forbid]), principal, context)
    assert decision.effect == "deny"
    assert "policy.denied" in {r.code for r in decision.reasons}
    assert f"r{len(rules) + 1}" in decision.rules


@given(st.lists(a_rule(("deny",)), max_size=4), an_access(), principals, contexts)
@settings(max_examples=100, deadline=None)
def test_default_deny(rules: list[Rule], access: Access, principal: Principal, context: Context) -> None:
    assume(access.relations)
    # A policy needs a rule; this one allows nobody anything.
    nobody = {"effect": "allow", "actions": ["all"], "relations": ["*"], "principals": {"ids": ["nobody"]}}
    decision = decide(access, bound([*rules, nobody]), principal, context)
    assert decision.effect == "deny"
    assert decide_action("tool.x", {}, bound([*rules, nobody]), principal, context).effect == "deny"


@given(rules_of, an_access(), principals, contexts, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_rules_is_irrelevant(
    rules: list[Rule], access: Access, principal: Principal, context: Context, chance: random.Random
) -> None:
    numbered = [{"id": f"n{n}"} | rule for n, rule in enumerate(rules)]
    shuffled = chance.sample(numbered, len(numbered))
    before = decide(access, bound(numbered), principal, context)
    after = decide(access, bound(shuffled), principal, context)
    assert replace(after, policy_digest="") == replace(before, policy_digest="")
    tool = decide_action("tool.x", {}, bound(numbered), principal, context)
    assert replace(decide_action("tool.x", {}, bound(shuffled), principal, context), policy_digest="") == replace(
        tool, policy_digest=""
    )


@given(an_access(), an_access(), principals, contexts)
@settings(max_examples=100, deadline=None)
def test_obligations_only_grow_with_relations(one: Access, two: Access, principal: Principal, context: Context) -> None:
    everything = {"effect": "allow", "actions": ["all"], "relations": ["*"], "where": "optional"}
    asking = {"effect": "approve", "actions": ["all"], "relations": ["c"], "approval": {"groups": ["g"], "expires": 60}}
    policy = bound([everything, asking])
    # A column that is denied is a refusal, which has no obligations to compare.
    one, two = (replace(a, reads=tuple(c for c in a.reads if str(c) != "b.y"), writes=()) for a in (one, two))
    both = replace(
        one,
        actions=tuple(sorted({*one.actions, *two.actions})),
        relations=tuple(sorted({*one.relations, *two.relations}, key=lambda u: (u.relation, u.action, u.via or ""))),
        reads=tuple(sorted({*one.reads, *two.reads})),
    )
    small, large = (decide(a, policy, principal, context) for a in (one, both))
    assert "deny" not in (small.effect, large.effect)
    assert set(small.obligations.masks) <= set(large.obligations.masks)
    assert {f.relation for f in small.obligations.row_filters} <= {f.relation for f in large.obligations.row_filters}
    assert RANK[large.effect] <= RANK[small.effect]
    assert large.obligations.limits == small.obligations.limits


@given(rules_of, an_access(), principals, contexts)
@settings(max_examples=100, deadline=None)
def test_a_refusal_has_reasons_and_no_obligations_but_limits(
    rules: list[Rule], access: Access, principal: Principal, context: Context
) -> None:
    decision = decide(access, bound(rules), principal, context)
    if decision.effect == "deny":
        assert decision.reasons
        assert (decision.obligations.masks, decision.obligations.row_filters, decision.obligations.approval) == ((), (), None)
    else:
        assert decision.rules or not access.relations
        assert (decision.obligations.approval is not None) is (decision.effect == "approve")


WORDS = {"read": {"select"}, "write": {"insert", "update", "delete", "merge"}, "all": set(ACTIONS)}
RELATIONS = {"*": {"a", "b", "c", "v"}, "[ab]": {"a", "b"}}
COLUMNS = {
    "*.x": {ColumnRef(r, "x") for r in (*BASES, "v")},
    "v.*": {ColumnRef("v", "x"), ColumnRef("v", "y")},
    "a.x": {ColumnRef("a", "x")},
    "b.y": {ColumnRef("b", "y")},
    "c.x": {ColumnRef("c", "x")},
}


def model(rules: list[Rule], access: Access, principal: Principal, context: Context) -> str:
    """The effect as the description gives it, without any of the library's own parts."""
    asks = False
    for use in access.relations:
        reads = {c for c in access.reads if c.relation == use.relation}
        writes = {c for c in access.writes if c.relation == use.relation}
        covered: set[ColumnRef] = set()
        is_granted = is_where_optional = False
        for rule in rules:
            actions = set[str]().union(*(WORDS.get(a, {a}) for a in rule["actions"]))
            columns = set[ColumnRef]().union(*(COLUMNS[c] for c in rule.get("columns", ())))
            about = set[str]().union(*(RELATIONS.get(r, {r}) for r in rule.get("relations", ()))) | {
                c.relation for c in columns
            }
            # Reading columns is a select of them, whatever else happens to the relation.
            as_select = rule["effect"] != "allow" and bool(reads) and "select" in actions
            if use.relation not in about or not (use.action in actions or as_select):
                continue
            is_reading = use.action == "select" or use.action not in actions
            touched = reads if is_reading else reads | writes
            if rule["effect"] != "allow" and columns and not columns & touched:
                continue
            who = rule.get("principals", {})
            if "groups" in who and not principal.groups & set(who["groups"]):
                continue
            if "agents" in who and context.agent not in who["agents"]:
                continue
            if "purposes" in rule and context.purpose not in rule["purposes"]:
                continue
            if rule["effect"] == "allow" and use.via is not None:
                continue
            holds: Any = CONDITIONS[rule["when"]] if "when" in rule else True
            if holds is None:
                return "deny"
            if holds is False or (holds == "b" and use.relation != "b"):
                continue
            if rule["effect"] == "deny":
                return "deny"
            asks = asks or rule["effect"] == "approve"
            needed = reads if use.action == "select" else writes
            if use.action in actions and not (rule["effect"] == "approve" and columns and not columns & needed):
                is_granted = True
                covered |= columns or reads | writes
                is_where_optional = is_where_optional or rule.get("where") == "optional"
        needed = reads if use.action == "select" else writes
        if use.via is None and not (is_granted and needed <= covered):
            return "deny"
        if use.via is None and use.action in ("update", "delete") and not (access.is_restricted or is_where_optional):
            return "deny"
    return "approve" if asks else "allow"


@given(rules_of, principals, contexts)
@settings(max_examples=100, deadline=None)
def test_what_is_seen_of_the_schema_is_what_a_select_may_read(
    rules: list[Rule], principal: Principal, context: Context
) -> None:
    policy = bound(rules)
    seen = visible(policy, principal, context)
    for key, relation in CATALOG.relations.items():
        for column in relation.column_names:
            statement = Statement(f"SELECT {column} FROM {key}")
            access = resolve(parse(statement), CATALOG).access
            is_refused = decide(access, policy, principal, context).effect == "deny"
            assert is_refused == (column not in seen.get(key, ())), (key, column)


@given(rules_of, an_access(), principals, contexts, st.sampled_from(["a.x", "b.y", "*.x", "v.*"]))
@settings(max_examples=150, deadline=None)
def test_an_approval_lifts_the_masks_that_it_names_of_reads_alone_and_nothing_else_changes(
    rules: list[Rule], access: Access, principal: Principal, context: Context, named: str
) -> None:
    asking: Rule = {"effect": "approve", "actions": ["select"], "columns": [named]}
    before = decide(access, bound([*rules, asking]), principal, context)
    policy = bound([*rules, asking | {"approval": {"unmask": True}}])
    after = decide(access, policy, principal, context)
    lifted = set(after.obligations.lifted)
    assert lifted <= policy.rules[-1].columns
    assert not lifted or (after.effect == "approve" and set(access.actions) == {"select"})
    if after.effect == "approve" and before.effect == "approve":
        kept = tuple(mask for mask in before.obligations.masks if mask.column not in lifted)
        assert after.obligations.masks == kept
        assert after.obligations.row_filters == before.obligations.row_filters
    else:
        # What a mask refuses may be read once it is approved; nothing runs that did not have to be approved.
        assert after.effect == before.effect or (before.effect, after.effect) == ("deny", "approve")


RATES: list[dict[str, Any]] = [
    {"tools": ["tool.x"], "calls": 3, "per": 60},
    {"tools": ["tool.*", "other"], "calls": 9, "per": "1h"},
    {"tools": ["other"], "calls": 1, "per": 1},
]


@given(rules_of, an_access(), principals, st.sampled_from(("tool.x", "tool.y", "other", None)), st.permutations(RATES))
@settings(max_examples=40, deadline=None)
def test_every_permit_is_bound_to_the_rates_and_the_time_of_its_tool_and_to_no_others(
    rules: list[Rule], access: Access, principal: Principal, tool: str | None, rates: list[dict[str, Any]]
) -> None:
    expected = {"tool.x": {(3, 60), (9, 3600)}, "tool.y": {(9, 3600)}, "other": {(9, 3600), (1, 1)}, None: set()}[tool]
    numbered = [{"id": f"r{n}"} | rule for n, rule in enumerate(rules)]
    try:
        policy = Policy(
            rules=numbered,
            purposes={"p": None, "q": None},
            rates=rates,
            tools={"tool.x": {"seconds": 2.0}, "*": {"seconds": 4.0}},
        ).bind(CATALOG)
    except PolicyError as error:
        assert error.code == "policy.contradiction", error
        assume(False)
        raise
    decisions = [decide(access, policy, principal, Context(tool=tool))]
    decisions += [decide_action(tool, {}, policy, principal, Context())] if tool else []
    for decision in decisions:
        if decision.effect == "deny":
            assert decision.obligations.rates == ()
            continue
        assert {(rate.calls, rate.per_s) for rate in decision.obligations.rates} == expected
        assert decision.obligations.limits.seconds == {"tool.x": 2, "tool.y": 4, "other": 4, None: 10}[tool]
