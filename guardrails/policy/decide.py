"""The decision: what a statement does, held against what this person, this agent and this task may do. Pure.

Theorems, each a property test: nothing matched is a deny; a deny beats an approve beats an allow; the order of rules is irrelevant;
one more deny never allows more; a rule that errors denies (Cedar would skip it, and fail open).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from guardrails.model import (
    Access,
    ApprovalTerms,
    ColumnRef,
    Context,
    Decision,
    Mask,
    Obligations,
    Principal,
    Reason,
    RelationUse,
    RowFilter,
    Value,
)
from guardrails.policy.bind import BoundPolicy, BoundRule
from guardrails.policy.conditions import ConditionError, variables_of
from guardrails.policy.schema import ACTION_GROUPS, Exemption, Rule

__all__ = ["decide", "decide_action"]


@dataclass(frozen=True, slots=True)
class _Request:
    policy: BoundPolicy
    principal: Principal
    context: Context
    variables: Mapping[str, object]


def decide(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> Decision:
    """Decides about a statement.

    Args:
        access: What the statement does.
        policy: The policy, bound to the schema that the statement was resolved against.
        principal: On whose behalf.
        context: Agent, session, purpose.

    Returns:
        Effect, all reasons of a refusal, the rules that decided, and the obligations of a permit.
    """
    actions, relations = sorted(access.actions), sorted({u.relation for u in access.relations})
    request = _Request(policy, principal, context, variables_of(principal, context, actions, relations))
    reasons: list[Reason] = []
    used: set[str] = set()
    approvals: list[Rule] = []
    touched = _touched(access)
    for use in sorted(access.relations, key=lambda u: (u.relation, u.action, u.via or "")):
        reasons += _judge_use(use, touched, access, request, used, approvals)
    if not access.relations and not access.is_read_only:
        reasons.append(Reason("policy.no_rule", "No rule allows a change here."))
    masks, denied = _masks(access, request)
    reasons += denied
    filters, unmet = _row_filters(access, request)
    reasons += unmet
    obligations = Obligations(masks, filters, policy.limits, _terms(approvals))
    return _decision(reasons, approvals, used, obligations, policy)


def decide_action(
    name: str, arguments: Mapping[str, Value], policy: BoundPolicy, principal: Principal, context: Context
) -> Decision:
    """Decides about an action that is not SQL, by its name; nothing matched is a deny.

    Args:
        name: Such as ``email.send``; rules may name it with globs.
        arguments: The call's arguments, for conditions as `arguments`.
        policy: The bound policy.
        principal: On whose behalf.
        context: Agent, session, purpose.
    """
    variables = variables_of(principal, context, [name], []) | {"arguments": {k: str(v) for k, v in arguments.items()}}
    request = _Request(policy, principal, context, variables)
    reasons: list[Reason] = []
    used: set[str] = set()
    approvals: list[Rule] = []
    allowed = False
    for bound in policy.rules:
        if not any(_is_action(a, name) for a in bound.rule.actions):
            continue
        match = _matches(bound.rule, request)
        if isinstance(match, Reason):
            reasons.append(match)
        elif match and bound.rule.effect == "deny":
            reasons.append(_forbidden(bound.rule, name))
            used.add(bound.rule.id)
        elif match:
            allowed = True
            used.add(bound.rule.id)
            approvals += [bound.rule] if bound.rule.effect == "approve" else []
    if not allowed and not reasons:
        reasons.append(Reason("policy.no_rule", f"No rule allows the action {name[:80]}."))
    obligations = Obligations(limits=policy.limits, approval=_terms(approvals))
    return _decision(reasons, approvals, used, obligations, policy)


def _judge_use(
    use: RelationUse,
    touched: Mapping[tuple[str, str], frozenset[ColumnRef]],
    access: Access,
    request: _Request,
    used: set[str],
    approvals: list[Rule],
) -> list[Reason]:
    """Judges one relation with one action; base relations of a view need no allow of their own, but feel every deny."""
    reasons: list[Reason] = []
    columns = touched.get((use.relation, "read" if use.action == "select" else "write"), frozenset())
    allowing: list[BoundRule] = []
    missing_purposes: set[str] = set()
    for bound in request.policy.rules:
        rule = bound.rule
        if use.relation not in bound.relations or not any(_is_action(a, use.action) for a in rule.actions):
            continue
        if rule.effect == "deny" and bound.columns and not bound.columns & columns:
            continue
        match = _matches(rule, request)
        if isinstance(match, Reason):
            reasons.append(match)
        elif match and rule.effect == "deny":
            used.add(rule.id)
            reasons.append(_forbidden(rule, f"{use.action} on {use.relation}"))
        elif match:
            allowing.append(bound)
        elif rule.effect != "deny" and _matches(rule, request, ignoring_purpose=True) is True:
            missing_purposes |= set(rule.purposes)
    approvals += [b.rule for b in allowing if b.rule.effect == "approve" and (not b.columns or b.columns & columns)]
    used |= {b.rule.id for b in allowing}
    if use.via is not None:
        return reasons
    covering = [b for b in allowing if not b.columns or columns <= _covered(allowing)]
    if not allowing and missing_purposes:
        names = ", ".join(sorted(missing_purposes))
        message = f"{use.action} on {use.relation} is for the purpose {names}, which this task has not declared."
        reasons.append(Reason("policy.purpose_required", message))
    elif not allowing:
        reasons.append(Reason("policy.no_rule", f"No rule allows {use.action} on {use.relation} here."))
    elif not covering:
        outside = ", ".join(str(c) for c in sorted(columns - _covered(allowing)))
        reasons.append(Reason("policy.column_denied", f"No rule allows {use.action} of {outside}.", "Leave these columns out."))
    elif use.action in ("update", "delete") and not access.has_where and all(b.rule.where == "required" for b in covering):
        message = f"{use.action.upper()} on {use.relation} has no WHERE that limits it."
        reasons.append(Reason("policy.where_required", message, "Add a WHERE clause that names the rows to change."))
    return reasons


def _covered(rules: Iterable[BoundRule]) -> frozenset[ColumnRef]:
    return frozenset().union(*(b.columns for b in rules))


def _touched(access: Access) -> dict[tuple[str, str], frozenset[ColumnRef]]:
    """The columns of each relation by what happens to them: read or written."""
    found: dict[tuple[str, str], set[ColumnRef]] = {}
    for kind, columns in (("read", access.reads), ("write", access.writes)):
        for column in columns:
            found.setdefault((column.relation, kind), set()).add(column)
    return {key: frozenset(columns) for key, columns in found.items()}


def _matches(rule: Rule, request: _Request, *, ignoring_purpose: bool = False) -> bool | Reason:
    """Whether the rule is for this principal, agent and purpose; a Reason when its condition failed."""
    who = rule.principals
    if who is not None:
        if who.ids and request.principal.id not in who.ids:
            return False
        if who.groups and not request.principal.groups & set(who.groups):
            return False
        if who.agents and request.context.agent not in who.agents:
            return False
    if rule.purposes and not ignoring_purpose and request.context.purpose not in rule.purposes:
        return False
    condition = request.policy.conditions.get(rule.id)
    if condition is None:
        return True
    try:
        return condition.holds(request.variables)
    except ConditionError as error:
        return Reason("policy.condition_error", f"The condition of the rule {rule.id} {error}.", rule=rule.id)


def _is_action(pattern: str, action: str) -> bool:
    return action in ACTION_GROUPS.get(pattern, ()) or fnmatchcase(action, pattern)


def _forbidden(rule: Rule, what: str) -> Reason:
    return Reason(
        "policy.denied", rule.message or f"The rule {rule.id} forbids {what}.", "Leave out what the rule forbids.", rule.id
    )


def _is_exempt(exemption: Exemption | None, request: _Request) -> bool:
    if exemption is None:
        return False
    in_group = not exemption.groups or bool(request.principal.groups & set(exemption.groups))
    return in_group and (not exemption.purposes or request.context.purpose in exemption.purposes)


def _masks(access: Access, request: _Request) -> tuple[tuple[Mask, ...], list[Reason]]:
    relations = {u.relation for u in access.relations}
    masks: list[Mask] = []
    reasons: list[Reason] = []
    for column in request.policy.columns:
        if column.mask.column.relation not in relations or _is_exempt(column.rule.exemption, request):
            continue
        masks.append(column.mask)
        if column.mask.kind == "deny" and column.mask.column in access.reads:
            message = f"The column {column.mask.column} may not be read."
            reasons.append(Reason("policy.column_denied", message, "Name the columns you need, without this one."))
    return tuple(sorted(masks, key=lambda m: m.column)), reasons


def _row_filters(access: Access, request: _Request) -> tuple[tuple[RowFilter, ...], list[Reason]]:
    relations = {u.relation for u in access.relations}
    person = request.principal
    known: dict[str, object] = {**person.attributes, "id": person.id, "groups": sorted(person.groups)}
    filters: list[RowFilter] = []
    reasons: list[Reason] = []
    for row in request.policy.rows:
        relation = row.row_filter.relation
        if relation not in relations or _is_exempt(row.rule.exemption, request):
            continue
        lacking = sorted(row.attributes - set(known))
        if lacking:
            message = f"The row filter of {relation} needs principal.{lacking[0]}, which is not known of this principal."
            reasons.append(Reason("policy.obligation", message, "An administrator must add the attribute."))
            continue
        bindings = tuple((name, known[name]) for name in sorted(row.attributes))
        filters.append(RowFilter(relation, row.row_filter.predicate, bindings))  # type: ignore[arg-type]
    return tuple(sorted(filters, key=lambda f: f.relation)), reasons


def _terms(rules: Iterable[Rule]) -> ApprovalTerms | None:
    """The strictest of all approve rules: only groups that every rule names, the shortest time."""
    found = [r.approval for r in rules if r.approval is not None]
    if not found:
        return ApprovalTerms() if list(rules) else None
    named = [set(a.groups) for a in found if a.groups]
    groups = set.intersection(*named) if named else set()
    if named and not groups:
        # Nobody is in all of them by one group's name; the union with every rule's terms would be laxer than any.
        groups = {"\u0000nobody"}
    return ApprovalTerms(tuple(sorted(groups)), min(a.expires for a in found), any(a.reason_required for a in found))


def _decision(
    reasons: list[Reason], approvals: list[Rule], used: set[str], obligations: Obligations, policy: BoundPolicy
) -> Decision:
    rules = tuple(sorted(used))
    if reasons:
        unique = tuple(dict.fromkeys(reasons))
        return Decision("deny", unique, rules, Obligations(limits=policy.limits), policy.digest)
    if approvals:
        ids = ", ".join(sorted({r.id for r in approvals}))
        reason = Reason("approval.required", f"A person has to approve this first ({ids}).", rule=approvals[0].id)
        return Decision("approve", (reason,), rules, obligations, policy.digest)
    return Decision("allow", (), rules, obligations, policy.digest)
